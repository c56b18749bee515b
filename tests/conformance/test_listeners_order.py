"""Coroutine listeners: which of them wait for each other, and what is said where one would wait for itself."""

from __future__ import annotations

from typing import Any

import pytest

from primus_io import Spark, _turns
from primus_proto import LocalProtocolError
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Gate, echo


@scenario()
async def test_coroutine_listeners_run_in_order_for_each_spark_and_beside_each_other_for_all(host: Host) -> None:
    said: list[tuple[str, Any]] = []
    gate = Gate(host)

    def connected(spark: Spark) -> None:
        name = spark.query["name"]

        @spark.on("data")
        async def data(value: Any) -> None:
            if name == "slow":
                await gate.wait()
            await host.pause(0.002 * (3 - value))  # the first takes longest
            said.append((name, value))

        @spark.on("end")
        async def ended() -> None:
            said.append((name, "end"))

    async with host.serve(None) as server:
        server.on("connection", connected)
        async with host.connect(f"{server.url}?name=slow") as slow:
            for number in range(3):
                slow.write(number)
            async with host.connect(f"{server.url}?name=fast") as fast:
                for number in range(3):
                    fast.write(number)
                await host.until(lambda: len(said) == 3)
            await host.until(lambda: len(said) == 4)
            assert said == [("fast", 0), ("fast", 1), ("fast", 2), ("fast", "end")]
        gate.open()
        await host.until(lambda: len(said) == 8)
        assert said[4:] == [("slow", 0), ("slow", 1), ("slow", 2), ("slow", "end")]


@scenario()
async def test_coroutine_listeners_of_the_server_keep_the_order_of_a_spark_too(host: Host) -> None:
    said: list[str] = []
    async with host.serve(None) as server:

        @server.on("connection")
        async def connected(spark: Any) -> None:
            await host.pause(0.05)
            said.append("connection")

        @server.on("disconnection")
        async def disconnected(spark: Any) -> None:
            said.append("disconnection")

        async with host.connect(server.url):
            pass
        await host.until(lambda: len(said) == 2)
    assert said == ["connection", "disconnection"]


@scenario()
async def test_listeners_of_different_events_do_not_wait_for_each_other(host: Host) -> None:
    """One may wait for what another one does. They start in order all the same."""
    answered, said = Gate(host), list[Any]()

    async def opened() -> None:
        said.append("open")
        primus.write("question")
        await answered.wait()
        said.append("answered")

    async def data(value: Any) -> None:
        said.append(value)
        answered.open()

    async with host.serve(echo) as server, host.connect(server.url, manual=True) as primus:
        primus.on("open", opened)
        primus.on("data", data)
        primus.open()
        await host.until(lambda: len(said) == 3)
    assert said == ["open", "question", "answered"]


@scenario()
async def test_a_listener_that_keeps_others_waiting_is_named(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, heard, named = Gate(host), list[Any](), "stubborn of 'data' has not returned"
    monkeypatch.setattr(_turns, "PATIENCE", 0.05)

    async def stubborn(value: Any) -> None:
        await gate.wait()
        heard.append(value)

    async with host.serve(None) as server:
        server.on("connection", lambda spark: spark.on("data", stubborn))
        async with host.connect(server.url) as primus:
            primus.write(1)
            await host.pause(0.2)
            assert named not in caplog.text, "nobody waits for it"
            primus.write(2)
            await host.until(lambda: named in caplog.text)
            await host.pause(0.2)
            assert caplog.text.count(named) == 1
            gate.open()
            await host.until(lambda: heard == [1, 2])


@pytest.mark.parametrize("then", ["on", "receive"])
@scenario()
async def test_a_listener_of_data_that_removes_itself_leaves_the_rest_to_the_next(host: Host, then: str) -> None:
    """Also what arrived in the same burst, and was on its way to it."""
    said: list[Any] = []

    async def second(value: Any) -> None:
        said.append(("second", value))

    async def handshake(value: Any) -> None:
        said.append(("first", value))
        primus.off("data", first)
        if then == "on":
            primus.on("data", host.listener(second))
        else:
            said.extend([("second", await primus.receive()) for _ in range(2)])

    async def pour(spark: Any) -> None:
        for number in range(3):
            spark.write(number)
        await spark.wait_ended()

    first = host.listener(handshake)
    async with host.serve(pour) as server, host.connect(server.url, manual=True) as primus:
        primus.on("data", first)
        primus.open()
        await host.until(lambda: len(said) == 3)
    assert said == [("first", 0), ("second", 1), ("second", 2)]


@pytest.mark.parametrize("once", [False, True])
@scenario()
async def test_receiving_in_a_listener_of_data_is_an_error_unless_that_has_been_removed(host: Host, once: bool) -> None:
    said: list[Any] = []

    async def data(value: Any) -> None:
        try:
            said.append((value, await primus.receive()))
        except LocalProtocolError as error:
            said.append(str(error))

    async def pour(spark: Any) -> None:
        spark.write(1)
        spark.write(2)
        await spark.wait_ended()

    async with host.serve(pour) as server, host.connect(server.url, manual=True) as primus:
        (primus.once if once else primus.on)("data", host.listener(data))
        primus.open()
        await host.until(lambda: len(said) == (1 if once else 2))
    assert said == [(1, 2)] if once else all("gets every value itself" in text for text in said)
