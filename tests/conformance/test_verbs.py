"""Verbs of a server for all or some of its sparks, and waiting for one event."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from primus_proto import ConnectError, ConnectionLost, LocalProtocolError
from primus_proto.events import SparkConnected
from tests.conformance.hosts import Host, scenario
from tests.conformance.test_sessions import stay
from tests.conformance.users import take


@scenario()
async def test_a_value_for_some_sparks(host: Host) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(host.serve(stay))
        clients = [await stack.enter_async_context(host.connect(server.url)) for _ in range(4)]
        sparks = {await client.id(): client for client in clients}
        first, second, third = list(server.sparks.values())[:3]
        assert server.write("some", to=[first, second, first]) == 2
        assert server.write("one", to=[first, second], exclude=[first]) == 1
        assert server.write("none", to=[]) == 0
        assert server.write("all") == 4
        expected = {first.id: ["some", "all"], second.id: ["some", "one", "all"], third.id: ["all"]}
        for id, values in expected.items():
            assert await take(sparks[id], len(values)) == values
        for wrong in (first, ["x"], "x"):
            with pytest.raises(LocalProtocolError, match=r"to takes a collection of sparks, as in to=\[spark\]"):
                server.write("x", to=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("awaits", [False, True])
@scenario(needs=["one thread"])
async def test_each_spark_in_turn(host: Host, awaits: bool) -> None:
    seen: list[Any] = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(host.serve(stay))
        for _ in range(3):
            await stack.enter_async_context(host.connect(server.url))
        first, second, third = server.sparks.values()

        def visit(spark: Any) -> object:
            seen.append(spark)
            if spark is first:
                second.end()
            return None if len(seen) < 3 else False

        async def visit_later(spark: Any) -> object:
            if spark is first:
                await stack.enter_async_context(host.connect(server.url))  # a newcomer
                await stack.enter_async_context(host.connect(server.url))
            return visit(spark)

        if awaits:
            await server.for_each(visit_later)
            assert seen[:2] == [first, third]
            assert len(seen) == 3
            assert len(server.sparks) == 4
        else:
            server.for_each(visit)
            assert seen == [first, third]
        with pytest.raises(ZeroDivisionError):
            server.for_each(lambda spark: 1 / 0)


@scenario()
async def test_once(host: Host) -> None:
    said: list[Any] = []
    async with host.serve(stay) as server:
        server.once("connection", lambda spark: said.append("first"))

        @server.once(SparkConnected)
        def connected(event: Any) -> None:
            said.append("class")

        def removed(spark: Any) -> None:
            said.append("removed")

        assert server.once("connection", removed) is removed
        server.off("connection", removed)

        def both(spark: Any) -> None:
            said.append("both")

        server.on("connection", both)
        server.once("connection", both)
        async with host.connect(server.url):  # until all are told: listeners of a spark that has ended are not called
            await host.told(lambda: len(said) == 4)
        async with host.connect(server.url):
            await host.told(lambda: len(said) == 5)
        with pytest.raises(LocalProtocolError, match="there is no event 'conection' here"):
            server.once("conection", removed)
        with pytest.raises(LocalProtocolError, match="must be callable"):
            server.once("connection", 3)  # type: ignore[arg-type]
    assert said.count("class") == 1  # on threads it runs beside the others
    assert [each for each in said if each != "class"] == ["first", "both", "both", "both"]


@scenario()
async def test_waiting_for_an_event(host: Host) -> None:
    async with host.serve(stay) as server:
        waiting = host.start(wait(server, "connection"))
        async with host.connect(server.url) as primus:
            await waiting.join()
            [spark] = server.sparks.values()
            assert waiting.result() is spark
            waiting = host.start(wait(primus, "data"))
            await host.pause(0.05)
            spark.write({"a": 1})
            await waiting.join()
            assert waiting.result() == {"a": 1}
            with pytest.raises(TimeoutError, match=r"no event 'reconnect' within 0\.01 seconds"):
                await primus.wait_for("reconnect", 0.01)
            mistakes: list[Any] = ["1", -1]
            for wrong in mistakes:
                with pytest.raises(LocalProtocolError, match="timeout must be a number of seconds"):
                    await primus.wait_for("reconnect", wrong)
            waiting = host.start(wait(primus, "reconnect"))
            ended = host.start(wait(primus, "end"))
            await host.pause(0.05)
            spark.end()
            await waiting.join()
            await ended.join()
            assert ended.result() is None
            with pytest.raises(ConnectionLost, match="has ended without the event 'reconnect'"):
                waiting.result()
            assert await primus.wait_for("end") is None


async def wait(emitter: Any, event: Any) -> Any:
    return await emitter.wait_for(event, 5)


@scenario(needs=["accepting"])
async def test_a_server_that_ends_its_sessions_and_goes_on_listening(host: Host) -> None:
    said: list[str] = []
    async with host.serve(stay) as server:
        server.on("close", lambda: said.append("close"))
        async with host.connect(server.url) as primus:
            await server.close("bye", close=False)
            assert await take(primus, 1) == ["bye"]
            await primus.wait_ended()
        await host.told(lambda: said == ["close"])
        for _ in range(2):
            with pytest.raises(ConnectError) as caught:
                async with host.connect(server.url, strategy=False):
                    pass
            assert caught.value.status == 503
        await server.close()
    assert said == ["close"]
