"""Everything in this folder needs Node.js and the npm packages of package.json beside it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.interop.matrix import InteropMatrix
from tests.interop.peers import missing


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--matrix"):
        config.pluginmanager.register(InteropMatrix())


@pytest.fixture(autouse=True)
def real_peers() -> None:
    """Skip where the peers cannot run; fail instead where PRIMUS_REQUIRE_INTEROP=1 says that they must."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("PRIMUS_REQUIRE_INTEROP") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def needed(*names: str) -> str:
    """A program that is no Node package. Skip without it; fail instead where PRIMUS_REQUIRE_PROGRAMS=1 says so."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    reason = f"interop: {' or '.join(names)} is not installed"
    if os.environ.get("PRIMUS_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
