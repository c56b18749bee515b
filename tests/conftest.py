"""For every test: how long hypothesis may look. `pytest --hypothesis-profile=long` looks much longer."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, few enough for a run after each change.
settings.register_profile("fast", max_examples=60, derandomize=True, deadline=None)
settings.register_profile("long", max_examples=10_000, deadline=None)
settings.load_profile("fast")
