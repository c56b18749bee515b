"""Every binding talks to the real packages, both ways: values of every kind, large values, heartbeats, ids, ends.

What Primus is like is proven once, by the other files here, on asyncio; this is about the sockets of each binding.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import primus_io.asyncio
import primus_io.threads
import primus_io.trio
from tests.interop.peers import Peers, interop
from tests.interop.values import JSON_VALUES, canonical, mebibyte

VALUES = [*JSON_VALUES, mebibyte("x")]
HEARTBEAT: dict[str, Any] = {"ping": 0.2, "pong": 5.0}
ENOUGH = "enough"


@dataclass
class Visit:
    """What a client of ours has seen."""

    id: str
    latencies: set[float | None]
    values: list[Any]
    reason: str


@dataclass
class Binding:
    """How to talk to a server until it ends that, and how to serve: echo until ENOUGH comes."""

    visit: Callable[[str], Awaitable[Visit]]
    serve: Callable[[], AbstractAsyncContextManager[str]]


async def visit_on(binding: Any, url: str) -> Visit:
    async with binding.connect(url, **HEARTBEAT) as primus:
        seen = Visit(await primus.id(), {primus.latency}, [], "")
        for value in VALUES:
            await primus.send(value)
        async for value in primus:
            seen.values.append(value)
            seen.latencies.add(primus.latency)
        assert primus.close_reason is not None
        seen.reason = primus.close_reason.kind
    return seen


async def echo(spark: primus_io.asyncio.Spark) -> None:
    async for value in spark:
        await spark.send(value)
        if value == ENOUGH:
            break


@contextlib.asynccontextmanager
async def serve_on_asyncio() -> AsyncIterator[str]:
    async with primus_io.asyncio.serve(echo) as server:
        yield server.url


@contextlib.asynccontextmanager
async def serve_on_trio() -> AsyncIterator[str]:
    """In a thread: trio's loop beside the one that the peers are driven from."""
    urls: queue.SimpleQueue[str] = queue.SimpleQueue()
    done = threading.Event()

    async def main() -> None:
        async with primus_io.trio.serve(echo) as server:
            urls.put(server.url)
            await trio.to_thread.run_sync(done.wait)

    serving = asyncio.ensure_future(asyncio.to_thread(trio.run, main))
    try:
        yield await asyncio.to_thread(urls.get)
    finally:
        done.set()
        await serving


def visit_in_threads(url: str) -> Visit:
    with primus_io.threads.connect(url, **HEARTBEAT) as primus:
        seen = Visit(primus.id(), {primus.latency}, [], "")
        writer = threading.Thread(target=lambda: [primus.send(value) for value in VALUES])
        writer.start()
        for value in primus:
            seen.values.append(value)
            seen.latencies.add(primus.latency)
        writer.join()
        assert primus.close_reason is not None
        seen.reason = primus.close_reason.kind
    return seen


@contextlib.asynccontextmanager
async def serve_in_threads() -> AsyncIterator[str]:
    def echo_blocking(spark: primus_io.threads.Spark) -> None:
        for value in spark:
            spark.send(value)
            if value == ENOUGH:
                break

    serving = primus_io.threads.serve(echo_blocking)
    server = await asyncio.to_thread(serving.__enter__)
    try:
        yield server.url
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


BINDINGS = {
    "asyncio": Binding(lambda url: visit_on(primus_io.asyncio, url), serve_on_asyncio),
    "trio": Binding(lambda url: asyncio.to_thread(trio.run, visit_on, primus_io.trio, url), serve_on_trio),
    "threads": Binding(lambda url: asyncio.to_thread(visit_in_threads, url), serve_in_threads),
}
EACH = pytest.mark.parametrize("binding", BINDINGS.values(), ids=BINDINGS)


@EACH
@interop()
async def test_our_client_at_the_real_server(peers: Peers, binding: Binding) -> None:
    server = await peers.server(mode="echo", primus={"pongSkipTime": 1, "compression": True})
    visiting = asyncio.ensure_future(binding.visit(server.url))
    connection = await server.wait("connection")
    await server.until(lambda: len(server.all("heartbeat")) >= 2, "two heartbeats")
    await server.until(lambda: len(server.values()) == len(VALUES), "every value")
    server.send("end", value="bye")
    seen = await visiting
    assert seen.id == connection["id"]
    assert [canonical(value) for value in seen.values] == [canonical(value) for value in [*VALUES, "bye"]]
    assert seen.reason == "server"
    assert len(seen.latencies) > 1, "a pong was measured"


@EACH
@interop()
async def test_the_real_client_at_our_server(peers: Peers, binding: Binding) -> None:
    async with binding.serve() as url:
        client = await peers.client(url, primus={"ping": 200, "pong": 5000})
        for value in VALUES:
            client.send("write", value=value)
        await client.until(lambda: len(client.values()) == len(VALUES), "every echo")
        client.send("write", value=ENOUGH)
        await client.wait("end")
    assert [canonical(value) for value in client.values()] == [canonical(value) for value in [*VALUES, ENOUGH]]
    assert "reconnect scheduled" not in client.names()
