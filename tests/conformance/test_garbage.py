"""Peers that send nonsense before, during and after the handshake, while others are served as usual."""

from __future__ import annotations

import random
import socket
import struct
from functools import partial
from typing import Any

import pytest

from primus_proto import Limits
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import Host, needing, scenario
from tests.conformance.peers import CLOSE, RawPeer, accept_websocket, frame, handshake, raw_server
from tests.conformance.users import Diary, echo, take

NOISE = random.Random(1).randbytes(50_000)

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)

# The core tells all kinds apart (tests/unit/wire). Here are one or two of each, for the sockets.
BEFORE = [
    pytest.param(NOISE, id="noise"),
    # These end by a time limit.
    pytest.param(b"", id="nothing", marks=needing("handshake limits")),
    pytest.param(b"GET /primus HTTP/1.1\r\nHost: x\r\n", id="half a head", marks=needing("handshake limits")),
]
AFTER = {
    "noise": (b"\xff" + NOISE, b"\x03\xea"),
    "no UTF-8": (frame(b'"\xff"'), b"\x03\xef"),
    "64 GiB": (b"\x81\xff" + struct.pack("!Q", 1 << 36) + bytes(4) + bytes(1000), b"\x03\xf1"),
}


async def served_meanwhile(host: Host, server: Any, work: Any, tls: Any = None) -> None:
    """Do `work` while another client is in the middle of a conversation."""
    async with host.connect(server.url.replace("127.0.0.1", "localhost"), ssl=tls, ping=False) as other:
        other.write("before")
        assert await take(other, 1) == ["before"]
        await work()
        other.write("after")
        assert await take(other, 1) == ["after"]
        assert other.state == "open"
        assert len(server.sparks) == 1


@pytest.mark.parametrize("said", BEFORE)
@scenario(needs=["sockets"])
async def test_before_the_handshake(host: Host, said: bytes) -> None:
    async def do() -> None:
        with RawPeer(server.port) as peer:
            await host.thread(peer.connect)
            peer.send(said)
            answer = await host.thread(peer.rest)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]

    async with host.serve(echo, limits=Limits(handshake=0.15, close=0.15)) as server:
        await served_meanwhile(host, server, do)


@pytest.mark.parametrize(
    "said", [pytest.param(NOISE, id="noise"), pytest.param(b"", id="nothing", marks=needing("handshake limits"))]
)
@scenario(needs=["sockets", "tls"])
async def test_on_a_tls_port(host: Host, tls: Certificates, said: bytes) -> None:
    async def do() -> None:
        with RawPeer(server.port, "localhost") as peer:
            await host.thread(peer.connect)
            peer.send(said)
            await host.thread(peer.rest)
        with RawPeer(server.port, "localhost") as peer:
            await host.thread(peer.connect)
            peer.send(TLS_HELLO[:8])
            peer.reset()

    async with host.serve(echo, "localhost", ssl=tls.server, limits=Limits(handshake=0.15, close=0.15)) as server:
        await served_meanwhile(host, server, do, tls.client)


@pytest.mark.parametrize("what", AFTER)
@scenario(needs=["sockets"])
async def test_after_the_handshake(host: Host, what: str) -> None:
    data, code = AFTER[what]

    async def do() -> None:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            peer.send(data)
            frames: list[tuple[int, bytes]] = []
            while not frames or frames[-1][0] not in (0, CLOSE):
                frames.append(await host.thread(peer.frame))
            assert frames[-1][0] == CLOSE
            assert frames[-1][1].startswith(code), frames[-1]
            peer.send(NOISE)
        await diary.wait("disconnection")
        [spark] = diary.all("disconnection")
        assert spark.close_reason.kind == "lost"

    async with host.serve(echo, limits=Limits(close=0.5)) as server:
        diary = Diary(host, server, "disconnection")
        await served_meanwhile(host, server, do)


@pytest.mark.parametrize("how", ["handler", "listener", "async listener"])
@scenario(needs=["sockets", "wire"])
async def test_what_came_before_a_violation_is_answered(host: Host, how: str) -> None:
    """Also by an application that takes its time, and then the server hangs up at once."""

    async def slowly(spark: Any, value: Any) -> None:
        await host.pause(0.02)
        spark.write(value)

    async def handler(spark: Any) -> None:
        async for value in spark:
            await slowly(spark, value)

    async with host.serve(handler if how == "handler" else None) as server:
        if how == "listener":
            server.on("connection", lambda spark: spark.on("data", spark.write))
        elif how == "async listener":
            server.on("connection", lambda spark: spark.on("data", partial(slowly, spark)))
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            peer.send(frame(b"1") + frame(b"2") + b"\xff\x80" + bytes(4))
            assert [await host.thread(peer.frame) for _ in range(2)] == [(1, b"1"), (1, b"2")]
            assert (await host.thread(peer.frame))[0] == CLOSE
            assert await host.thread(peer.rest) == b""


@scenario(timeout=40, needs=["sockets"])
async def test_a_connection_that_is_cut_at_any_byte(host: Host) -> None:
    """A good conversation cut by a reset after each of its bytes."""
    speech = handshake() + frame(b'"hello"')

    async def do() -> None:
        for length in range(0, len(speech) + 1, 7):
            with RawPeer(server.port) as peer:
                await host.thread(peer.connect)
                peer.send(speech[:length])
                if length % 2:
                    await host.pause(0.002)
                (peer.reset if length % 4 < 2 else peer.close)()
        await host.until(lambda: len(server.sparks) == 1)

    async with host.serve(echo) as server:
        await served_meanwhile(host, server, do)


@scenario(needs=["clients", "sockets"])
async def test_a_server_that_speaks_garbage(host: Host) -> None:
    """The client hears an error, and connects again."""
    visits: list[int] = []

    def talk(peer: socket.socket) -> None:
        visits.append(1)
        accept_websocket(peer)
        if len(visits) == 1:
            peer.sendall(NOISE)
        else:
            peer.sendall(frame(b'"hello"', masked=False))
        while peer.recv(10_000):
            pass

    with raw_server(talk) as port:
        options = {"dialect": "happn", "min": 0.01, "manual": True, "limits": Limits(close=0.1)}
        async with host.connect(f"http://127.0.0.1:{port}", **options) as primus:
            diary = Diary(host, primus, "error", "reconnected")
            primus.open()
            assert await take(primus, 1) == ["hello"]
            await diary.says(["error", "reconnected"])
