"""Values that a spark gives to its only listener without an event."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from functools import partial

import pytest

from primus_io.asyncio import Spark, connect, serve
from primus_proto.wire.frames import client_frame

HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_an_exit_in_a_listener_ends_the_loop_and_calls_it_no_more_before_that() -> None:
    calls: list[object] = []

    def take(value: object) -> None:
        calls.append(value)
        if value == "exit":
            raise SystemExit(3)

    def connection(spark: Spark) -> None:
        spark.on("data", take)

    async def main() -> None:
        async with serve(None, "127.0.0.1", 0) as server:
            server.on("connection", connection)
            async with connect(server.url) as primus:
                primus.write("first")  # from here on the listener is called directly
                while not calls:
                    await asyncio.sleep(0)
                for value in ("second", "exit", "third"):  # which come in one read
                    primus.write(value)
                try:
                    await asyncio.sleep(10)
                finally:
                    calls.append("unwound")

    with pytest.raises(SystemExit, match="3"):
        asyncio.run(main())
    assert calls[:4] == ["first", "second", "exit", "unwound"]


class Two:
    """Two clients whose messages come in the same turn of the loop, to sparks with these listeners."""

    def __init__(self, *listeners: Callable[[Spark, object], object]) -> None:
        self.loop = asyncio.new_event_loop()
        self.listeners = listeners
        self.peers: list[socket.socket] = []
        self.stack = contextlib.AsyncExitStack()
        self.warm = 0

    def __enter__(self) -> Two:
        self.loop.run_until_complete(self.open())
        self.send("warm", "warm")  # because the first value that a listener gets comes with an event
        self.run_until(lambda: self.warm == 2 * len(self.listeners))
        return self

    def __exit__(self, *exc: object) -> None:
        for peer in self.peers:
            peer.close()
        self.loop.run_until_complete(self.stack.aclose())
        self.loop.close()

    async def open(self) -> None:
        server = await self.stack.enter_async_context(serve(None, "127.0.0.1", 0))
        server.on("connection", self.connection)
        for _ in range(2):
            self.peers.append(socket.create_connection(("127.0.0.1", server.port)))
            self.peers[-1].setblocking(False)
            self.peers[-1].sendall(HANDSHAKE)
            assert b" 101 " in await self.loop.sock_recv(self.peers[-1], 1000)

    def connection(self, spark: Spark) -> None:
        def take(listener: Callable[[Spark, object], object], value: object) -> None:
            if value == "warm":
                self.warm += 1
            else:
                listener(spark, value)

        for listener in self.listeners:
            spark.on("data", partial(take, listener))

    def answered(self) -> int:
        """How many of the clients have something to read."""
        return len(select.select(self.peers, [], [], 0)[0])

    def send(self, *values: str) -> None:
        """Send one from each."""
        for peer, value in zip(self.peers, values, strict=True):
            peer.sendall(client_frame(f'"{value}"', bytes(4)))

    def run_until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0)

        self.loop.run_until_complete(asyncio.wait_for(wait(), 10))


@pytest.mark.parametrize("several", [False, True], ids=["one listener", "several"])
@pytest.mark.parametrize("sizes", [(1, 1000), (1000, 1)])  # the system says which is read first
def test_what_was_read_together_with_an_exit_is_not_lost(several: bool, sizes: tuple[int, int]) -> None:
    heard: list[object] = []

    def leave(spark: Spark, value: object) -> None:
        heard.append(value)
        raise SystemExit(3)

    with Two(leave, *([lambda spark, value: None] if several else [])) as two:
        two.send("x" * sizes[0], "x" * sizes[1])
        with pytest.raises(SystemExit, match="3"):
            two.run_until(lambda: False)
        with contextlib.suppress(SystemExit):  # it may have been called both times before the loop ended
            two.run_until(lambda: len(heard) == 2)
        assert len(heard) == 2


def test_a_slow_listener_does_not_keep_the_answer_to_what_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primus_io._driver.GATHERING", -1.0)  # every listener is slow
    calls: list[int] = []

    def answer(spark: Spark, value: object) -> None:
        calls.append(two.answered())
        spark.write(value)

    with Two(answer) as two:
        two.send("a", "b")
        two.run_until(lambda: two.answered() == 2)
    assert calls == [0, 1]


def test_much_that_is_written_leaves_before_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primus_io._driver.GATHERING", 60.0)
    needed: list[bool] = []

    def relay(spark: Spark, value: object) -> None:
        first, *_ = spark.server.sparks.values()
        needed.append(first._core.needs_drain)
        first.write("x" * first._core.server.limits.backlog)

    with Two(relay) as two:
        two.send("a", "b")
        two.run_until(lambda: len(needed) == 2)
    assert needed == [False, False]
