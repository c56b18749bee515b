"""For every test: how long hypothesis may look (`--hypothesis-profile=long`: much longer); options of the suites."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The same examples in every run, few enough for a run after each change.
settings.register_profile("fast", max_examples=60, derandomize=True, deadline=None)
settings.register_profile("long", max_examples=10_000, deadline=None)
settings.load_profile("fast")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="print the conformance matrix; a hole in it is a failure")
