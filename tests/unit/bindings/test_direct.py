"""Values that a spark gives to its only listener without an event."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

import pytest

from primus_io.asyncio import Spark, connect, serve
from primus_proto.wire.frames import client_frame

HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MESSAGE = client_frame('"hello"', bytes(4))


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


def have_two_read_together(listener: Callable[[int], object]) -> None:
    """Two clients send before the server reads. `listener` gets the number of those that have an answer already."""
    peers: list[socket.socket] = []

    def connection(spark: Spark) -> None:
        @spark.on("data")
        def take(value: object) -> None:
            listener(len(select.select(peers, [], [], 0)[0]))
            spark.write(value)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serve(None, "127.0.0.1", 0) as server:
            server.on("connection", connection)
            for _ in range(2):
                peers.append(socket.create_connection(("127.0.0.1", server.port)))
                peers[-1].setblocking(False)
                peers[-1].sendall(HANDSHAKE)
                assert b" 101 " in await loop.sock_recv(peers[-1], 1000)
            for peer in peers:
                peer.sendall(MESSAGE)
            for peer in peers:
                assert await loop.sock_recv(peer, 1000) == b'\x81\x07"hello"'

    try:
        asyncio.run(main())
    finally:
        for peer in peers:
            peer.close()


def test_an_exit_in_a_listener_keeps_others_that_were_read_with_it_from_being_called() -> None:
    calls: list[int] = []

    def leave(answered: int) -> None:
        calls.append(answered)
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        have_two_read_together(leave)
    assert calls == [0]


def test_a_slow_listener_does_not_keep_the_answer_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primus_io._driver.GATHERING", -1.0)  # every listener is slow
    calls: list[int] = []
    have_two_read_together(calls.append)
    assert calls == [0, 1]
