"""Peers that speak nonsense, before, during and after the handshake; meanwhile others are served as if nothing were."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any

import pytest

from primus_proto import Limits
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import CLOSE, RawPeer, accept_websocket, frame, raw_server
from tests.conformance.users import Diary, echo, take

NOISE = random.Random(1).randbytes(50_000)
CODE = {name: struct.pack("!H", code) for name, code in {"protocol": 1002, "text": 1007, "size": 1009}.items()}

BEFORE = {
    "noise": NOISE,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    "a bad length": b"POST /primus HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /primus HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a bad key": b"GET /primus HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    "a bad target": b"GET http:/// HTTP/1.1\r\nHost: x\r\n\r\n",
}

# Those that perhaps only a limit puts an end to.
ENDLESS = {
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "nothing": b"",
    "newlines": b"\r\n" * 1000,
    "half a head": b"GET /primus HTTP/1.1\r\nHost: x\r\n",
    "an endless head": b"GET /primus HTTP/1.1\r\nA: " + b"a" * 100_000,
}

AFTER = {
    "noise": (b"\xff" + NOISE, CODE["protocol"]),
    "no mask": (b"\x81\x05hello", CODE["protocol"]),
    "a reserved opcode": (b"\x83\x80" + bytes(4), CODE["protocol"]),
    "no UTF-8": (frame(b'"\xff"'), CODE["text"]),
    "64 GiB": (b"\x81\xff" + struct.pack("!Q", 1 << 36) + bytes(4) + bytes(1000), CODE["size"]),
    "a long ping": (b"\x89\xfe\x01\x00" + bytes(4) + bytes(256), CODE["protocol"]),
    "crumbs": (b"\x01\x81" + bytes(5) + (b"\x00\x81" + bytes(5)) * 2000, CODE["size"]),
    "a bad close": (frame(b"\x00", CLOSE), CODE["protocol"]),
}


async def served_meanwhile(host: Host, server: Any, work: Any) -> None:
    """Do `work` while another client is in the middle of a conversation."""
    async with host.connect(server.url.replace("127.0.0.1", "localhost"), ssl=work.tls, ping=False) as other:
        other.write("before")
        assert await take(other, 1) == ["before"]
        await work()
        other.write("after")
        assert await take(other, 1) == ["after"]
        assert other.state == "open"
        assert len(server.sparks) == 1


class Work:
    """Something that a peer does, with the certificates that it takes."""

    def __init__(self, do: Any, tls: Any = None) -> None:
        self.do, self.tls = do, tls

    async def __call__(self) -> None:
        await self.do()


@pytest.mark.parametrize("what", BEFORE)
@scenario(needs=["sockets"])
async def test_before_the_handshake(host: Host, what: str) -> None:
    await before_the_handshake(host, BEFORE[what])


@pytest.mark.parametrize("what", ENDLESS)
@scenario(needs=["sockets", "handshake limits"])
async def test_before_the_handshake_and_for_ever(host: Host, what: str) -> None:
    await before_the_handshake(host, ENDLESS[what])


async def before_the_handshake(host: Host, said: bytes) -> None:
    async def do() -> None:
        with RawPeer(server.port) as peer:
            await host.thread(peer.connect)
            peer.send(said)
            answer = await host.thread(peer.rest)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]

    async with host.serve(echo, limits=Limits(handshake=0.15, close=0.15)) as server:
        await served_meanwhile(host, server, Work(do))


@scenario(needs=["sockets", "tls"])
async def test_on_a_tls_port(host: Host, tls: Certificates) -> None:
    await on_a_tls_port(host, tls, NOISE, b"GET /primus HTTP/1.1\r\nHost: x\r\n\r\n")


@scenario(needs=["sockets", "tls", "handshake limits"])
async def test_on_a_tls_port_without_a_word(host: Host, tls: Certificates) -> None:
    await on_a_tls_port(host, tls, b"")


async def on_a_tls_port(host: Host, tls: Certificates, *sayings: bytes) -> None:
    async def do() -> None:
        for said in sayings:
            with RawPeer(server.port, "localhost") as peer:
                await host.thread(peer.connect)
                peer.send(said)
                await host.thread(peer.rest)
        with RawPeer(server.port, "localhost") as peer:
            await host.thread(peer.connect)
            peer.send(BEFORE["a TLS hello"][:8])
            peer.reset()

    async with host.serve(echo, "localhost", ssl=tls.server, limits=Limits(handshake=0.15, close=0.15)) as server:
        await served_meanwhile(host, server, Work(do, tls.client))


@pytest.mark.parametrize("what", [name for name in AFTER if name != "crumbs"])
@scenario(needs=["sockets"])
async def test_after_the_handshake(host: Host, what: str) -> None:
    await after_the_handshake(host, *AFTER[what])


@scenario(needs=["sockets", "fragments"])
async def test_a_message_of_crumbs(host: Host) -> None:
    await after_the_handshake(host, *AFTER["crumbs"])


async def after_the_handshake(host: Host, data: bytes, code: bytes) -> None:
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
        await served_meanwhile(host, server, Work(do))


@scenario(timeout=40, needs=["sockets"])
async def test_at_any_moment(host: Host) -> None:
    """A good conversation cut by a reset after each of its bytes."""
    speech = (
        b"GET /primus?ping=false HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ) + frame(b'"hello"')

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
        await served_meanwhile(host, server, Work(do))


@pytest.mark.parametrize("what", [name for name in AFTER if name != "no mask"])
@scenario(needs=["sockets"])
async def test_a_server_that_speaks_garbage(host: Host, what: str) -> None:
    """The client hears an error, and connects again."""
    visits: list[int] = []

    def talk(peer: socket.socket) -> None:
        visits.append(1)
        accept_websocket(peer)
        if len(visits) == 1:
            peer.sendall(NOISE if what == "noise" else AFTER[what][0])
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
