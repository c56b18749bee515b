"""The driver on `selectors`, over real sockets: both ends on one loop, and the chat against primus_io's two ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from selectors import EVENT_READ
from time import monotonic
from typing import Any

import pytest

from primus_io.asyncio import connect, serve
from primus_proto import ByteClient, ByteServer, ClientConfig, Limits, ServerConfig
from primus_proto import events as ev
from selectors_chat import fresh
from selectors_driver import Channel, Driver, Loop
from tests.conformance.peers import frame, handshake
from tests.examples.programs import descriptors, program
from tests.interop.peers import WAIT

PIECE = "x" * 64 * 1024
LARGE = 8 * 1024 * 1024  # more than the system takes at once


class Deadline(Driver):
    """Ends a test that waits for what does not come."""

    def __init__(self, loop: Loop) -> None:
        self.until = monotonic() + 3 * WAIT
        self.turns = 0  # to be made without waiting
        loop.drivers.append(self)

    def deadlines(self) -> Iterator[float]:
        yield 0.0 if self.turns else self.until

    def turn(self) -> None:
        self.turns = max(0, self.turns - 1)
        assert monotonic() < self.until, "not in time"


class World:
    """A server that echoes and any clients of it, on one loop; all that happened to each."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.loop = Loop()
        self.deadline = Deadline(self.loop)
        self.server_events: list[Any] = []
        self.endpoint = ByteServer(ServerConfig(limits=limits or Limits()), **fresh())
        self.server = self.endpoint.server
        self.driver = Driver(self.loop, self.endpoint, self.echo)
        self.listener = self.driver.listen("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]

    def echo(self, event: ev.Event) -> None:
        self.server_events.append(event)
        if isinstance(event, ev.SparkData):
            event.spark.write({"echo": event.data})

    def client(self, host: str = "127.0.0.1", **options: Any) -> tuple[ByteClient, Driver, list[Any]]:
        seen: list[Any] = []
        config = ClientConfig(url=f"http://{host}:{self.port}", **{"min": 0.01, **options})
        endpoint = ByteClient(config, **fresh())
        return endpoint, Driver(self.loop, endpoint, seen.append), seen

    def run(self, done: Callable[[], object]) -> None:
        self.loop.run(done)

    def go_round(self) -> None:
        """The loop goes round a few times, and waits for nothing."""
        self.deadline.turns = 5
        self.run(lambda: not self.deadline.turns)

    def stop_listening(self) -> None:
        self.loop.watch(self.listener, 0, print)
        self.listener.close()

    def close(self) -> None:
        """End everything, and see that nothing is left."""
        if self.listener.fileno() >= 0:
            self.stop_listening()
        self.server.close()
        drivers = [driver for driver in self.loop.drivers if not isinstance(driver, Deadline)]
        for driver in drivers:
            if isinstance(driver.endpoint, ByteClient):
                driver.endpoint.client.end()
        self.run(lambda: not any(driver.channels or driver.closing for driver in drivers))
        assert not self.loop.selector.get_map()
        self.loop.selector.close()


@contextlib.contextmanager
def opened(limits: Limits | None = None) -> Iterator[World]:
    before = descriptors()
    world = World(limits=limits)
    yield world
    world.close()
    assert descriptors() == before


@pytest.fixture
def world() -> Iterator[World]:
    with opened() as world:
        yield world


def values(events: list[Any]) -> list[Any]:
    return [event.data for event in events if isinstance(event, ev.DataReceived)]


def kinds(events: list[Any]) -> set[type]:
    return {type(event) for event in events}


def the_spark(world: World) -> Any:
    world.run(lambda: world.server.sparks)
    return next(iter(world.server))


def the_channel(driver: Driver) -> Channel:
    [channel] = driver.channels.values()
    return channel


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_messages_both_ways_and_a_clients_end(world: World, host: str) -> None:
    endpoint, driver, seen = world.client(host)
    for number in range(100):
        endpoint.client.write(number)
    world.run(lambda: len(values(seen)) == 100)
    assert values(seen) == [{"echo": number} for number in range(100)]
    endpoint.client.end()
    world.run(lambda: not driver.channels and not world.driver.channels)
    assert seen[-1].reason.kind == "local"
    assert world.server_events[-1].reason.kind == "client"


def test_a_lost_connection_comes_back(world: World) -> None:
    endpoint, _, seen = world.client()
    first = the_spark(world)
    the_channel(world.driver).sock.shutdown(socket.SHUT_RDWR)  # no goodbye
    world.run(lambda: ev.Reconnected in kinds(seen))
    endpoint.client.write("again")
    world.run(lambda: values(seen) == [{"echo": "again"}])
    assert the_spark(world).id != first.id
    assert first.close_reason.kind == "lost"


def test_a_server_that_is_not_there_is_tried_again(world: World) -> None:
    world.stop_listening()
    _, driver, seen = world.client(retries=2)
    world.run(lambda: ev.Ended in kinds(seen))
    assert seen[-1].reason.kind == "retries"
    assert "cannot connect" in str(seen[-1].reason.error)
    assert not driver.channels


@pytest.mark.parametrize(
    ("url", "words"), [("https://127.0.0.1", "no TLS"), ("http://nobody.invalid", "cannot find nobody.invalid")]
)
def test_what_cannot_be_opened_says_why(world: World, monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    endpoint = ByteClient(ClientConfig(url=url, strategy=False), **fresh())
    seen: list[Any] = []
    Driver(world.loop, endpoint, seen.append)
    world.run(lambda: ev.Ended in kinds(seen))
    assert words in str(seen[-1].reason.error)


def test_a_client_that_ends_while_it_connects_leaves_no_socket(world: World) -> None:
    endpoint, driver, seen = world.client()
    driver.turn()
    sock = the_channel(driver).sock
    endpoint.client.end()
    driver.turn()
    assert not driver.channels
    assert sock.fileno() < 0
    assert ev.Opened not in kinds(seen)


def test_what_a_slow_reader_has_not_read_waits_in_the_core(world: World) -> None:
    """In the driver it would not count against the limits."""
    endpoint, _, seen = world.client()
    spark = the_spark(world)
    world.run(lambda: ev.Opened in kinds(seen))
    endpoint.client.pause()
    sent = 0
    while not spark.needs_drain:
        assert spark.write(PIECE)
        sent += 1
        world.go_round()
        assert sent < 1000
    assert values(seen) == []
    assert spark.buffered > 512 * 1024
    assert len(the_channel(world.driver).unsent) < 2 * len(PIECE)
    endpoint.client.resume()
    world.run(lambda: len(values(seen)) == sent)
    assert ev.SparkDrained in kinds(world.server_events)
    assert spark.buffered == 0


def reset(peer: socket.socket) -> None:
    """Leave without a word to the end."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize("reading", [True, False])
def test_a_reset_is_noticed(world: World, reading: bool) -> None:
    """By reading, or, where the application has paused it, by writing."""
    with socket.create_connection(("127.0.0.1", world.port)) as peer:
        peer.sendall(handshake())
        spark = the_spark(world)
        if not reading:
            spark.pause()
            world.go_round()
        reset(peer)
    if not reading:
        world.go_round()
        assert spark.is_open
        spark.write("anybody there?")
    world.run(lambda: not spark.is_open)
    assert spark.close_reason.kind == "lost"
    assert "reset" in str(spark.close_reason.error)


@contextlib.contextmanager
def goodbye_before_all_was_read(close: float) -> Iterator[tuple[World, socket.socket]]:
    """A peer that says goodbye while more waits for it than the system takes."""
    with opened(Limits(close=close)) as world, socket.create_connection(("127.0.0.1", world.port)) as peer:
        peer.sendall(handshake())
        the_spark(world).end("x" * LARGE)
        world.run(lambda: the_channel(world.driver).unsent)
        peer.sendall(frame(b"\x03\xe8", 8))
        yield world, peer


def test_a_close_waits_for_what_was_written() -> None:
    received: list[bytes] = []
    with goodbye_before_all_was_read(close=WAIT) as (world, peer):
        assert world.driver.channels, "it is closed before anything was read"
        world.loop.watch(peer, EVENT_READ, lambda _: received.append(peer.recv(65536)))
        world.run(lambda: received and not received[-1])
        world.loop.watch(peer, 0, print)
        assert not world.driver.channels
        assert not world.driver.closing
    whole = b"".join(received)
    assert len(whole) > LARGE
    assert whole.endswith(frame(b"\x03\xe8", 8, masked=False)), "the last that was written"


def test_a_close_does_not_wait_for_ever() -> None:
    started = monotonic()
    with goodbye_before_all_was_read(close=0.2) as (world, _):
        world.run(lambda: not world.driver.channels and not world.driver.closing)
        assert 0.2 <= monotonic() - started < 2 * WAIT


# --- the program ---


def test_the_chat_with_clients_of_primus_io() -> None:
    async def main() -> None:
        async with asyncio.timeout(4 * WAIT), program("selectors_chat.py", "serve") as server:
            url = await server.url()
            async with connect(url) as first, connect(url, strategy=False) as second:
                me = await first.id()
                heard: asyncio.Queue[Any] = asyncio.Queue()
                second.on("data", heard.put_nowait)
                first.write("hello")
                while await heard.get() != {"from": me, "text": "hello"}:
                    pass
                async with program("selectors_chat.py", "connect", url) as third:
                    await third.say("primus::not for you", "and you?")
                    while (said := await heard.get()).get("text") != "and you?":
                        pass
                    first.write("fine")
                    await third.heard({"from": me, "text": "fine"})
                    third.process.stdin.close()  # type: ignore[union-attr]
                    assert await third.status() == 0
                    [complaint] = third.complaints
                    assert "primus::" in complaint
                while await heard.get() != {"left": said["from"]}:
                    pass
                server.process.send_signal(signal.SIGINT)
                await second.wait_ended()
                assert second.close_reason is not None
                assert second.close_reason.kind == "lost"  # so that one with the strategy comes back
                assert await server.status() == 0
            assert server.complaints == []

    asyncio.run(main())


def test_the_chat_program_with_a_server_of_primus_io() -> None:
    async def main() -> None:
        sparks: asyncio.Queue[Any] = asyncio.Queue()

        async def handler(spark: Any) -> None:
            await sparks.put(spark)
            async for line in spark:
                spark.write({"heard": line})

        async with asyncio.timeout(4 * WAIT), serve(handler) as server:
            async with program("selectors_chat.py", "connect", server.url) as chat:
                await chat.say("one", "two")
                await chat.heard({"heard": "two"})
                first = await sparks.get()
                first.end("come back", reconnect=True)
                again = await sparks.get()
                await chat.say("three")
                await chat.heard({"heard": "three"})
                assert again.id != first.id
                again.end("bye")
                assert await chat.status() == 1, "it did not want to leave"
                assert chat.reports == [{"heard": "one"}, {"heard": "two"}, "come back", {"heard": "three"}, "bye"]
            [complaint] = chat.complaints
            assert "again in 0.5 s" in complaint

    asyncio.run(main())


@pytest.mark.parametrize(
    ("args", "words"),
    [(["connect", "nonsense"], "url must start with http://"), (["serve", "--host", "192.0.2.1"], "assign")],
)
def test_bad_usage_says_what_is_wrong(args: list[str], words: str) -> None:
    async def main() -> None:
        async with program("selectors_chat.py", *args) as chat:
            assert await chat.status() == 1
        assert words in "\n".join(chat.complaints)

    asyncio.run(main())
