"""A flood of tiny frames: how much of it is read at once, and that other clients are served meanwhile.

How long anything takes is made up here, so that nothing depends on how busy the machine is.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from primus_io._driver import Driver
from primus_io._read_budget import FIRST_READ, MAX_READ, MIN_READ, WorkMeter
from primus_proto import ByteServer
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import Host, needing, scenario
from tests.conformance.peers import RawPeer, frame
from tests.conformance.test_messages import KINDS, over
from tests.conformance.users import mebibytes

pytestmark = needing("sockets", "reading")

COUNT = 4000
FLOOD = frame(b"1") * COUNT


class Reads:
    """How many bytes a server had at each read."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        """Each read is so much work."""
        self.sizes: list[int] = []
        self.turn = 0
        self.turns: list[int] = []  # of the reads that are not too small to tell anything
        receive = Driver.receive

        def noted(driver: Driver, number: int, data: Any) -> None:
            if isinstance(driver.endpoint, ByteServer):
                self.sizes.append(len(data))
                if len(data) >= MIN_READ:
                    self.turns.append(self.turn)
            receive(driver, number, data)

        patch.setattr(Driver, "receive", noted)
        patch.setattr(WorkMeter, "end", lambda meter: seconds)


@KINDS
@scenario()
async def test_a_flood_is_read_in_small_portions(
    host: Host, tls: Certificates, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch, seconds=1.0)
    heard: list[Any] = []

    async def handler(spark: Any) -> None:
        async for value in spark:
            heard.append(value)

    async with over(host, tls, secure, handler) as server:
        with RawPeer(server.port, tls=tls.client if secure else None) as peer:
            await host.thread(peer.open)
            await host.thread(peer.send, FLOOD)
            await host.until(lambda: len(heard) == COUNT)
            _, first, *rest = reads.sizes  # a handshake is too little to tell anything
            assert first <= FIRST_READ
            assert first + sum(rest) == len(FLOOD)
            assert max(rest) <= MIN_READ
            assert rest.count(MIN_READ) > len(rest) // 2  # and no smaller than need be


@KINDS
@scenario()
async def test_a_large_message_is_not(
    host: Host, tls: Certificates, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch, seconds=0.0)
    heard: list[int] = []

    async def handler(spark: Any) -> None:
        async for value in spark:
            heard.append(len(value))

    # Not every library gives more at once than one record of TLS, which is 16 KiB.
    large = 16 * 1024 if secure else MAX_READ
    message = frame(b'"%s"' % mebibytes(1).encode())
    async with over(host, tls, secure, handler) as server:
        with RawPeer(server.port, tls=tls.client if secure else None) as peer:
            await host.thread(peer.open)
            for count in range(1, 20):  # the peer may be slower than we are, so that there is less to read
                await host.thread(peer.send, message)
                await host.until(lambda count=count: len(heard) == count)  # type: ignore[misc]
                if max(reads.sizes) >= large:
                    break
            assert max(reads.sizes) in range(large, MAX_READ + 1)


@scenario(needs=["one thread"])
async def test_floods_take_turns(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one turn of the loop all others wait for one of them, not for all."""
    reads = Reads(monkeypatch, seconds=1.0)
    over = False

    async def count_turns() -> None:
        while not over:
            reads.turn += 1
            await host.pause(0)

    async with host.serve(None, receive=False) as server:
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(RawPeer(server.port)) for _ in range(3)]
            for peer in peers:
                await host.thread(peer.open)
            turns = host.start(count_turns())
            for peer in peers:
                await host.thread(peer.send, FLOOD)
            await host.until(lambda: sum(reads.sizes) >= len(peers) * len(FLOOD))
            over = True
            await turns.join()
    once = reads.turns[2 * len(peers) :]  # the first read of each may be in the same turn
    assert len(once) > 100
    assert len(set(once)) > 0.9 * len(once)


@scenario()
async def test_what_waits_for_a_turn_is_not_lost_with_its_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reads(monkeypatch, seconds=1.0)
    heard: list[Any] = []
    per_peer = MIN_READ // len(frame(b"1")) + 1
    async with host.serve(None) as server:
        server.on("connection", lambda spark: spark.on("data", heard.append))
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(RawPeer(server.port)) for _ in range(10)]
            for peer in peers:
                await host.thread(peer.open)
            await host.until(lambda: len(server.sparks) == len(peers))

            def send_and_leave() -> None:
                for peer in peers:
                    peer.send(frame(b"1") * per_peer)
                    peer.close()

            await host.thread(send_and_leave)
            await host.until(lambda: len(heard) == len(peers) * per_peer)
