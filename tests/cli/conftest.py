"""Each test runs its commands on one library: asyncio, or with `each_io` on every one in turn."""

from __future__ import annotations

import pytest

from tests.cli import command


@pytest.fixture(autouse=True)
def io(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the commands of the test run on."""
    name: str = getattr(request, "param", "asyncio")
    monkeypatch.setattr(command, "IO", name)
    return name
