"""Messages that are compressed, on both ends or on one."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Compression, ConfigError
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import echo, mebibytes, take

VALUES = ["short", "again " * 1000, "again " * 1000, {"a": ["\u20ac" * 2000]}, mebibytes(2), None]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(True, True), (True, False), (False, True), (Compression(context_takeover=True, threshold=0), True)],
    ids=str,
)
@scenario(needs=["accepting"])
async def test_values_come_back(host: Host, ours: Any, theirs: Any) -> None:
    async with host.serve(echo, compression=ours) as server, host.connect(server.url, compression=theirs) as primus:
        for value in VALUES:
            await primus.send(value)
        assert await take(primus, len(VALUES)) == VALUES


@scenario()
async def test_mistakes_are_named(host: Host) -> None:
    with pytest.raises(ConfigError, match="compression"):
        host.serve(echo, compression="yes")
    with pytest.raises(ConfigError, match="compression must be True, False or a Compression"):
        async with host.connect("http://localhost:1", compression="yes"):
            pass
