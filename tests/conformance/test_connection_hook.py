"""Listeners of `connection` that wait: nothing of the spark is delivered before they are done, and they may refuse."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Limits, Refused
from primus_proto.events import SparkData
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Diary, Gate, take, why

TICKS = 20  # messages


@pytest.mark.parametrize("by", ["handler", "listener", "server's listener", "listener added by the hook"])
@scenario()
async def test_what_arrives_meanwhile_is_delivered_afterwards(host: Host, by: str) -> None:
    said: list[Any] = []
    gate = Gate(host)

    async def slow(spark: Any) -> None:
        said.append("slow")
        if by == "listener added by the hook":
            spark.on("data", said.append)
        await gate.wait()
        said.append("slow is done")

    def plain(spark: Any) -> None:
        said.append("plain")
        if by == "listener":
            spark.on("data", said.append)

    async def handler(spark: Any) -> None:
        said.append("handler")
        async for value in spark:
            said.append(value)

    async with host.serve(handler if by == "handler" else None) as server:
        server.on("connection", slow)
        server.on("connection", plain)
        if by == "server's listener":
            server.on(SparkData, lambda event: said.append(event.data))
        async with host.connect(server.url) as primus:
            for number in range(TICKS):
                primus.write(number)
            await primus.id()  # an answer to a message behind those
            await host.told(lambda: said)
            assert said == ["slow"]
            gate.open()
            await host.until(lambda: TICKS - 1 in said)
            primus.write("last")
            await host.until(lambda: "last" in said)
    order = ["slow", "slow is done", "plain", *(["handler"] if by == "handler" else []), *range(TICKS), "last"]
    assert said == order


@pytest.mark.parametrize("awaits", [False, True])
@scenario()
async def test_a_refusal_is_final(host: Host, awaits: bool) -> None:
    said: list[Any] = []

    def refuse(spark: Any) -> None:
        spark.on("error", lambda error: said.append(str(error)))
        raise Refused("banned")

    async def refuse_later(spark: Any) -> None:
        await host.pause(0.01)
        refuse(spark)

    async def handler(spark: Any) -> None:
        said.append("handler")

    async with host.serve(handler) as server:
        server.on("connection", refuse_later if awaits else refuse)
        server.on("connection", lambda spark: said.append("next"))
        server.on("disconnection", lambda spark: said.append("disconnection"))
        async with host.connect(server.url, min=0.01) as primus:
            diary = Diary(host, primus, "reconnect scheduled", "end")
            primus.write("early")
            await primus.wait_ended()
            assert why(primus) == "server"
            await host.until(lambda: "disconnection" in said)
        assert diary.all("reconnect scheduled") == []
    assert said == ["banned", "disconnection"]


@pytest.mark.parametrize("too_long", [False, True])
@scenario()
async def test_a_failure_lets_the_client_come_back(host: Host, too_long: bool) -> None:
    calls: list[Any] = []
    gate = Gate(host)

    async def fail_once(spark: Any) -> None:
        calls.append(spark)
        if len(calls) == 1:
            if too_long:
                await gate.wait()
            else:
                await host.pause(0.01)
            raise ZeroDivisionError

    async def handler(spark: Any) -> None:
        await spark.send("welcome")
        await spark.wait_ended()

    async with host.serve(handler, limits=Limits(authorization=0.1)) as server:
        server.on("connection", fail_once)
        async with host.connect(server.url, min=0.01) as primus:
            assert await take(primus, 1) == ["welcome"]
        gate.open()
    assert len(calls) == 2
    assert calls[0].close_reason.code == 1011


@scenario()
async def test_a_listener_that_reads_may_take_its_time(host: Host) -> None:
    said: list[Any] = []

    async def log_in(spark: Any) -> None:
        spark.write("name?")
        said.append(await spark.receive())
        await host.pause(0.2)

    async def handler(spark: Any) -> None:
        async for value in spark:
            said.append(value)

    async with host.serve(handler, limits=Limits(authorization=0.1)) as server:
        server.on("connection", log_in)
        async with host.connect(server.url) as primus:
            assert await take(primus, 1) == ["name?"]
            primus.write("ann")
            primus.write("hello")
            await host.until(lambda: "hello" in said)
    assert said == ["ann", "hello"]


@scenario()
async def test_a_client_that_leaves_meanwhile(host: Host) -> None:
    """What it sent is delivered all the same, and its end is told after the listeners."""
    said: list[Any] = []
    gate = Gate(host)

    async def slow(spark: Any) -> None:
        await gate.wait()
        said.append("slow is done")
        spark.on("end", lambda: said.append("end"))

    async def handler(spark: Any) -> None:
        said.extend(await take(spark, 9))

    async with host.serve(handler) as server:
        server.on("connection", slow)
        server.on("connection", lambda spark: said.append("next"))
        async with host.connect(server.url) as primus:
            primus.write(1)
            primus.write(2)
            await primus.id()
        await host.until(lambda: not server.sparks)
        gate.open()
        await host.until(lambda: len(said) == 4)
    assert (said[0], sorted(said[1:], key=str)) == ("slow is done", [1, 2, "end"])


@scenario()
async def test_what_is_kept_is_bounded(host: Host) -> None:
    gate = Gate(host)
    received: list[int] = []

    async def slow(spark: Any) -> None:
        await gate.wait()

    async with host.serve(None) as server:
        server.on("connection", slow)
        server.on("connection", lambda spark: spark.on("data", lambda value: received.append(len(value))))
        async with host.connect(server.url) as primus:
            sent: list[int] = []

            async def send() -> None:
                for _ in range(64):
                    await primus.send("x" * 10**6)
                    sent.append(10**6)

            sending = host.start(send())
            assert len(await host.settled(lambda: sent.copy())) < 50  # the server has stopped reading
            gate.open()
            await host.until(lambda: received == 64 * [10**6])
            await sending.join()


@scenario()
async def test_a_server_that_closes_does_not_wait_for_one_that_hangs(host: Host) -> None:
    said: list[str] = []

    async def slow(spark: Any) -> None:
        said.append("slow")
        await host.pause(60)

    async def handler(spark: Any) -> None:
        said.append("handler")

    started = host.time()
    async with host.serve(handler, limits=Limits(close=0.2)) as server:
        server.on("connection", slow)
        async with host.connect(server.url, strategy=False) as primus:
            primus.write(1)
            await host.until(lambda: said)
            await server.close()
            await primus.wait_ended()
    assert host.time() - started < 10
    assert said == ["slow"]
