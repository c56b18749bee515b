"""Everything in this folder needs Node.js and the npm packages of package.json beside it."""

from __future__ import annotations

import os

import pytest

from tests.interop.peers import missing


@pytest.fixture(autouse=True)
def real_peers() -> None:
    """Skip where the peers cannot run; fail instead where PRIMUS_REQUIRE_INTEROP=1 says that they must."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("PRIMUS_REQUIRE_INTEROP") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
