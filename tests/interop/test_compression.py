"""permessage-deflate with the real packages: ws 1.1 under happn-primus, ws 8 under primus 8, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from primus_io.asyncio import Compression
from primus_proto.wire.deflate import CompressedWebSocket
from tests.interop.ours import our_client, our_server
from tests.interop.peers import Peers, interop
from tests.interop.values import JSON_VALUES, mebibyte

VALUES = [*JSON_VALUES, "again " * 1000, "again " * 1000, mebibyte("y")]
SETTINGS = [
    True,
    Compression(context_takeover=True, threshold=0),
    Compression(window_bits=9, level=9, threshold=0),
    Compression(window_bits=10, context_takeover=True, threshold=0),
]
PACKAGES: list[Any] = [pytest.param({}, id="ws 1.1"), pytest.param({"package": "primus8"}, id="ws 8")]


def compresses(session: Any) -> bool:
    core = session._core
    return isinstance((core.pipe if hasattr(core, "pipe") else core._pipe).carrier, CompressedWebSocket)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("compression", SETTINGS, ids=str)
@interop(timeout=60)
async def test_our_client(peers: Peers, package: dict[str, Any], compression: Any) -> None:
    server = await peers.server(primus={"compression": True}, mode="echo", **package)
    async with our_client(peers, server.url, compression=compression) as (primus, log):
        await log.wait("open")
        assert compresses(primus)
        for value in VALUES:
            await primus.send(value)
        await log.until(lambda: len(log.values()) == len(VALUES), "all values")
    assert log.values() == VALUES


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("compression", SETTINGS, ids=str)
@interop(timeout=60)
async def test_our_server(peers: Peers, package: dict[str, Any], compression: Any) -> None:
    async with our_server(peers, echo=True, compression=compression) as (server, log):
        client = await peers.client(server.url, **package)
        await log.wait("connection")
        [spark] = server.sparks.values()
        assert compresses(spark)
        for value in VALUES:
            client.send("write", value=value)
        await client.until(lambda: len(client.values()) == len(VALUES), "all values back")
        assert client.values() == VALUES
