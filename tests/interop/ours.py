"""Our client and server, opened with every event of theirs on record."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from primus_io.asyncio import Client, Server, connect, serve
from tests.interop.peers import EventLog, Peers

OPENED = ["rsc(opening)", "rsc(open)", "open"]
ENDED = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
# In ours `reconnect` comes before the change of state that it causes (protocol 4).
REOPENED = ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]


@contextlib.asynccontextmanager
async def our_client(peers: Peers, url: str, **options: Any) -> AsyncIterator[tuple[Client, EventLog]]:
    """Our client, opened only once its listeners are there, so that not even its first event is missed."""
    async with connect(url, wait=False, manual=True, **options) as primus:
        log = peers.record(primus)
        primus.open()
        yield primus, log


@contextlib.asynccontextmanager
async def our_server(peers: Peers, **options: Any) -> AsyncIterator[tuple[Server, EventLog]]:
    """Our server on a free port, without a handler: its sparks live until somebody ends them."""
    echo = options.pop("echo", False)
    async with serve(None, "127.0.0.1", 0, **options) as server:
        log = peers.record_server(server)
        if echo:
            server.on("connection", lambda spark: spark.on("data", spark.write))
        yield server, log
