"""Bursts: an end that reads loses nothing of what is written at once."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Limits
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import RawPeer
from tests.conformance.users import Diary, why

KIB = 1024
BURSTS = pytest.mark.parametrize(("count", "kib"), [(17, 64), (2, 1024), (3, 4096)])


@BURSTS
@scenario(timeout=60)
async def test_a_burst_arrives(host: Host, count: int, kib: int) -> None:
    """From listeners of a server, from a handler in one turn, as a broadcast, and from a client."""
    value = "b" * (kib * KIB)
    taken: list[bool] = []
    counted: list[int] = []

    def burst(session: Any) -> None:
        taken.extend([session.write(value) for _ in range(count)])

    async def handler(spark: Any) -> None:
        spark.on("data", lambda got: burst(spark) if got == "listener" else None)
        async for got in spark:
            if got == "handler":
                burst(spark)
            else:
                counted.append(len(got))

    async with host.serve(handler) as server:
        server.on("connection", burst)
        async with host.connect(server.url) as primus:
            lengths: list[int] = []
            primus.on("data", lambda got: lengths.append(len(got)))
            await host.until(lambda: len(lengths) == count)
            for turn, which in enumerate(("listener", "handler"), 2):
                primus.write(which)
                await host.until(lambda: len(lengths) == turn * count)  # noqa: B023
            assert [server.write(value) for _ in range(count)] == [1] * count
            await host.until(lambda: len(lengths) == 4 * count)
            counted.clear()
            burst(primus)
            await host.until(lambda: len(counted) == count)
            assert set(lengths) == set(counted) == {len(value)}
            assert all(taken)
            assert len(taken) == 4 * count


@scenario(timeout=40)
async def test_a_burst_is_delivered_before_an_end(host: Host) -> None:
    value = "b" * KIB * KIB

    def burst(spark: Any) -> None:
        for _ in range(3):
            spark.write(value)
        spark.end("bye")

    async with host.serve(None) as server:
        server.on("connection", burst)
        async with host.connect(server.url) as primus:
            got: list[int] = []
            primus.on("data", lambda value: got.append(len(value)))
            await primus.wait_ended()
            await host.until(lambda: got == [*[len(value)] * 3, 3])


@scenario(timeout=40, needs=["sockets"])
async def test_what_has_no_room_is_refused_and_told(host: Host) -> None:
    """`write` returns False for as long as the peer reads nothing, and after `Limits.stall` the spark is cut."""
    value = "b" * 64 * KIB
    limits = Limits(backlog=128 * KIB, burst=256 * KIB, stall=1.0)
    async with host.serve(None, limits=limits) as server:
        diary = Diary(host, server, "log")
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            refused = 0
            while spark.state == "open":
                refused += not spark.write(value)
                assert spark.buffered <= limits.burst + len(value) + KIB
                await host.pause(0.001)
            assert refused > 10
            assert why(spark) == "backlog"
            assert spark.close_reason is not None
            assert "bytes wait unsent" in str(spark.close_reason.error)
        told = [text for level, text in diary.all("log") if level == "warning"]
        assert len(told) == 1
        assert "values are not taken" in told[0]
