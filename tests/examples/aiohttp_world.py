"""What the tests of the host on aiohttp need: its two ends and what they are told, and peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from aiohttp_app import fresh
from aiohttp_host import ClientHost, ServerHost
from primus_proto import Client, ClientConfig, Limits, Request, Server, ServerConfig, Spark
from primus_proto import events as ev
from tests.conformance.peers import handshake
from tests.examples.programs import descriptors
from tests.interop.peers import WAIT

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def real(main: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of a coroutine function: with a deadline, and without a descriptor left behind."""

    def test() -> None:
        async def run() -> None:
            async with asyncio.timeout(3 * WAIT):
                await main()
            await asyncio.sleep(0)

        before = descriptors()
        asyncio.run(run())
        assert descriptors() == before

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


class Story:
    """The events of one host; `until` waits for something to be true after one of them."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.changed = asyncio.Event()

    def __call__(self, event: ev.Event) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(WAIT):
            while not (found := condition()):
                self.changed.clear()
                await self.changed.wait()
        return found

    async def first(self, kind: type[ev.Event], skip: int = 0) -> Any:
        await self.until(lambda: len(self.all(kind)) > skip)
        return self.all(kind)[skip]

    def all(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def values(self) -> list[Any]:
        return [event.data for event in self.events if isinstance(event, ev.DataReceived | ev.SparkData)]


class EchoStory(Story):
    """What a server is told. Each value is sent back, no faster than the client reads."""

    def __call__(self, event: ev.Event) -> None:
        if isinstance(event, ev.SparkData):
            event.spark.write({"echo": event.data})
            if event.spark.needs_drain:
                event.spark.pause()
        elif isinstance(event, ev.SparkDrained):
            event.spark.resume()
        super().__call__(event)


@contextlib.asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[str]:
    """The application on a free port; its URL."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        async with asyncio.timeout(WAIT):
            await runner.cleanup()


@contextlib.asynccontextmanager
async def hosting(
    authorize: Callable[[Request], Awaitable[object]] | None = None, parser: Any = "json", **limits: Any
) -> AsyncIterator[tuple[ServerHost, EchoStory, str]]:
    story = EchoStory()
    config = ServerConfig(parser=parser, limits=Limits(**limits))
    host = ServerHost(Server(config, **fresh()), story, authorize)
    app = web.Application()
    host.mount(app)
    async with running(app) as url:
        yield host, story, url
    assert not host.server.sparks


@contextlib.asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[tuple[Client, Story, ClientHost]]:
    story = Story()
    client = Client(ClientConfig(url=url, **{"min": 0.01, **options}), **fresh())
    async with aiohttp.ClientSession() as session:
        host = ClientHost(client, session, story)
        yield client, story, host
        client.end()
        host.pump()
        async with asyncio.timeout(WAIT):
            await host.finish()


def a_spark(host: ServerHost) -> Spark:
    return next(iter(host.server))


async def take(source: Any, count: int) -> AsyncIterator[Any]:
    async for value in source:
        yield value
        count -= 1
        if count == 0:
            return


@contextlib.asynccontextmanager
async def deaf(url: str, words: bytes = b"") -> AsyncIterator[asyncio.StreamWriter]:
    """A peer that opens a WebSocket and never reads."""
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(handshake() + words)
    yield writer
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def until_closed(sock: Any) -> None:
    """Wait until the system has the descriptor back."""
    async with asyncio.timeout(WAIT):
        while sock.fileno() >= 0:
            await asyncio.sleep(0.001)


async def wait_for_beats(server: Any, count: int) -> None:
    beats = asyncio.Semaphore(0)
    for spark in server.sparks.values():
        spark.on("heartbeat", lambda: beats.release())
    for _ in range(count):
        await beats.acquire()


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A server that says what `talk` writes, and closes when that returns."""

    async def talked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(talked, "127.0.0.1", 0)
    yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    server.close()
