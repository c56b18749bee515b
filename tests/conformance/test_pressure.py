"""Back-pressure in every direction, measured: a slow end slows down the other one, and memory stays bounded.

What the kernel holds between the two ends is not ours to bound: a few MiB on loopback. So every scenario sends far
more than that.
"""

from __future__ import annotations

import socket
import threading
from functools import partial
from typing import Any

import pytest

from primus_proto import Limits
from tests.conformance.hosts import SOON, Host, scenario, sockets
from tests.conformance.peers import RawPeer, accept_websocket, frame, raw_server
from tests.conformance.users import Gate, Memory, why

KIB = 1024
MESSAGE = "m" * (32 * KIB)
MOST = 4000  # messages: 125 MiB, which nobody can hold
# What both ends together may keep where the limit of the one that writes is 256 KiB: half of that and a message, and as
# much with the socket; 256 KiB that the other has read and not handled, and what came with the last of them. The rest
# is what a connection costs, receive buffers above all.
LIMIT = 256 * KIB
BOTH = (LIMIT + 2 * len(MESSAGE)) + (2 * 256 * KIB + len(MESSAGE)) + 768 * KIB


class Pump:
    """Sends until it cannot."""

    def __init__(self, session: Any, most: int = MOST, message: str = MESSAGE) -> None:
        self.sent = 0
        self.highest = 0
        self._session, self._most, self._message = session, most, message

    async def run(self) -> None:
        while self.sent < self._most and await self._session.send(self._message):
            self.sent += 1
            self.highest = max(self.highest, self._session.buffered)


async def idle_handler(session: Any, gate: Gate, heard: list[str]) -> None:
    """Iterates, once it gets to it."""
    await gate.wait()
    async for value in session:
        heard.append(value)


async def slow_handler(session: Any, gate: Gate, heard: list[str]) -> None:
    """Takes a message, and then its time."""
    async for value in session:
        heard.append(value)
        await gate.wait()


async def slow_listener(session: Any, gate: Gate, heard: list[str]) -> None:
    """The same, as a listener."""

    async def listener(value: str) -> None:
        await gate.wait()
        heard.append(value)

    session.on("data", listener)
    await session.wait_ended()


READERS = pytest.mark.parametrize("reader", [idle_handler, slow_handler, slow_listener], ids=lambda f: f.__name__)


@READERS
@scenario(timeout=60)
async def test_a_server_that_is_slow_blocks_the_clients_send(host: Host, reader: Any) -> None:
    gate, heard = Gate(host), list[str]()
    limits = Limits(queue=LIMIT)
    handler = partial(reader, gate=gate, heard=heard)
    with Memory() as memory:
        async with host.serve(handler) as server, host.connect(server.url, limits=limits, ping=False) as primus:
            pump = Pump(primus)
            sending = host.start(pump.run())
            sent = await host.settled(lambda: pump.sent)
            assert sent < MOST
            assert not sending.done
            # Half the queue, the message that was too much, what is with the socket; and what the server has read.
            assert pump.highest <= LIMIT // 2 + len(MESSAGE) + 200
            grown = memory.grown()
            print("sent", sent, "grown", grown)
            assert grown < BOTH
            gate.open()
            primus_done = host.until(lambda: len(heard) >= sent + 50, "it goes on")
            await primus_done
            pump._most = pump.sent
            await sending.join()
            await host.until(lambda: len(heard) == pump.sent)
    assert set(heard) == {MESSAGE}


@READERS
@scenario(timeout=60)
async def test_a_client_that_is_slow_blocks_the_servers_send(host: Host, reader: Any) -> None:
    gate, heard, pumps = Gate(host), list[str](), list[Pump]()
    limits = Limits(backlog=LIMIT)

    async def handler(spark: Any) -> None:
        pumps.append(Pump(spark))
        await pumps[0].run()

    with Memory() as memory:
        async with host.serve(handler, limits=limits) as server, host.connect(server.url, ping=False) as primus:
            reading = host.start(reader(primus, gate, heard))
            await host.until(lambda: pumps)
            [pump] = pumps
            sent = await host.settled(lambda: pump.sent)
            assert sent < MOST
            [spark] = server.sparks.values()
            assert spark.needs_drain
            assert pump.highest <= LIMIT // 2 + len(MESSAGE) + 200
            grown = memory.grown()
            print("sent", sent, "grown", grown)
            assert grown < BOTH
            gate.open()
            await host.until(lambda: len(heard) >= sent + 50, "it goes on")
            pump._most = pump.sent
            await reading.join()
    assert len(heard) == pump.sent


@scenario(timeout=40, needs=["sockets"])
async def test_a_peer_that_never_reads_is_cut_in_time(host: Host) -> None:
    limits = Limits(backlog=LIMIT, burst=LIMIT, stall=0.5)
    async with host.serve(None, limits=limits) as server:
        before = len(sockets())
        with RawPeer(server.port) as peer, Memory() as memory:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            highest = grown = count = 0
            while spark.state == "open":
                count += spark.write(MESSAGE)
                highest = max(highest, spark.buffered)
                await host.pause(0.001)
                grown = max(grown, memory.grown())
                assert count < MOST
            assert highest <= LIMIT + len(MESSAGE) + 200
            # Besides those: what had gone on to the transport before it said that it was full.
            assert grown < 2 * (LIMIT + len(MESSAGE)) + 128 * KIB
            assert why(spark) == "backlog"
            await host.until(lambda: not server.sparks)
            if "accepting" not in host.lacks:  # else the host closes the socket once the peer has read
                await host.until(lambda: len(sockets()) <= before + 1, "the socket closes at once", SOON)
            assert not await host.thread(lambda: closing_frame(peer)), "it was cut, not closed politely"


def closing_frame(peer: RawPeer) -> bool:
    try:
        while True:
            opcode, _ = peer.frame()
            if opcode in (0, 8):
                return opcode == 8
    except ConnectionResetError:
        return False


@scenario(timeout=40, needs=["sockets"])
async def test_send_to_a_peer_that_never_reads_waits_until_it_is_gone(host: Host) -> None:
    pumps: list[Pump] = []
    ended: list[Any] = []

    async def handler(spark: Any) -> None:
        pumps.append(Pump(spark))
        await pumps[0].run()
        ended.append(spark.close_reason)

    limits = Limits(backlog=LIMIT)
    async with host.serve(handler, limits=limits) as server:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            await host.until(lambda: pumps)
            await host.settled(lambda: pumps[0].sent)
            assert server.sparks, "send waits for room: there is no reason to cut"
            assert pumps[0].highest <= LIMIT // 2 + len(MESSAGE) + 200
            peer.reset()
        await host.until(lambda: ended)
        assert ended[0].kind == "lost"


@scenario(timeout=40, needs=["clients", "sockets"])
async def test_a_server_that_never_reads(host: Host) -> None:
    reading = threading.Event()
    limits = Limits(queue=LIMIT, close=0.3)

    def talk(peer: socket.socket) -> None:
        accept_websocket(peer)
        reading.wait()

    with raw_server(talk, receive_buffer=64 * KIB) as port, Memory() as memory:
        try:
            async with host.connect(f"http://127.0.0.1:{port}", limits=limits, ping=False, dialect="happn") as primus:
                pump = Pump(primus)
                sending = host.start(pump.run())
                assert await host.settled(lambda: pump.sent) < MOST
                assert not sending.done
                assert pump.highest <= LIMIT // 2 + len(MESSAGE) + 200
                while primus.write(MESSAGE):
                    assert primus.buffered <= LIMIT + len(MESSAGE) + 200
                assert primus.buffered > LIMIT
                # Besides what counts, the driver has a slice, and each end what it needs to receive.
                assert memory.grown() < 2 * (LIMIT + len(MESSAGE)) + 256 * KIB
                assert primus.state == "open", "a client is not cut: it may write again when the server reads"
        finally:
            reading.set()
        await sending.join()
        assert sending.result() is None


@scenario(timeout=40, needs=["sockets"])
async def test_a_flood_of_tiny_messages(host: Host) -> None:
    """What a message costs besides its bytes counts too."""
    gate, heard = Gate(host), list[str]()
    count = 40_000
    async with host.serve(partial(idle_handler, gate=gate, heard=heard)) as server:
        with RawPeer(server.port) as peer:
            with Memory() as memory:
                await host.thread(peer.open)
                sending = host.start(host.thread(peer.send, frame(b'""') * count))
                await host.until(lambda: server.sparks)
                await host.pause(0.3)
                # 4,000 of them, and one read full of others, as objects.
                assert memory.grown() < 16 * KIB * KIB
            gate.open()
            await host.until(lambda: len(heard) == count)
            await sending.join()


@scenario(timeout=30)
async def test_a_peer_that_waits_for_a_slow_reader_does_not_flatline(host: Host) -> None:
    """While a slow handler keeps the pings from being read, no heartbeat counts as missed, on either side."""
    gate, heard = Gate(host), list[str]()
    skipped: list[object] = []
    limits = Limits(heartbeat_min=0.1, queue=LIMIT)
    async with host.serve(partial(idle_handler, gate=gate, heard=heard), limits=limits) as server:
        server.on("flatline", lambda *args: skipped.append(args))
        async with host.connect(server.url, ping=0.1, pong=0.1, limits=limits) as primus:
            pump = Pump(primus)
            sending = host.start(pump.run())
            await host.settled(lambda: pump.sent)
            await host.pause(0.6)  # three timeouts of ping + pong / 2 and more
            [spark] = server.sparks.values()
            assert spark.state == "open"
            gate.open()
            pump._most = pump.sent
            await sending.join()
    assert not skipped
