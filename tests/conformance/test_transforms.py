"""Transforms: what both ends see of them, on every binding."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import DROP, Limits, LocalProtocolError, Packet, TransformError
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Diary, echo, take


@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
@scenario()
async def test_both_ends_transform_what_goes_in_and_out_in_order(host: Host, waits: bool) -> None:
    def tag(name: str) -> Any:
        def change(packet: Packet) -> object:
            if packet.data == ["drop"]:
                return DROP
            packet.data = [*packet.data, name]
            return None

        async def change_later(packet: Packet) -> object:
            await host.pause(0.005 if packet.data[0] == "slow" else 0.0)
            return change(packet)

        return change_later if waits else change

    async with host.serve(echo) as server:
        server.transform("incoming", tag("server in"))
        server.transform("outgoing")(tag("server out"))
        async with host.connect(server.url) as primus:
            primus.transform("outgoing", tag("client out"))
            primus.transform("incoming", tag("client in"))
            for value in ("slow", "drop", "fast"):
                assert primus.write([value]) is True
            path = ["client out", "server in", "server out", "client in"]
            assert await take(primus, 2) == [["slow", *path], ["fast", *path]]
            assert server.write(["all"]) == 1
            assert await take(primus, 1) == [["all", "server out", "client in"]]


@scenario()
async def test_a_transform_of_one_spark_has_the_spark(host: Host) -> None:
    def connected(spark: Any) -> None:
        spark.transform("outgoing", lambda packet: setattr(packet, "data", [packet.data, packet.session is spark]))

    async with host.serve(None) as server:
        server.on("connection", connected)
        async with host.connect(server.url) as primus:
            await host.until(lambda: len(server.sparks) == 1)
            [spark] = server.sparks.values()
            spark.on("data", spark.write)
            primus.write(None)
            assert await take(primus, 1) == [[None, True]]


@scenario()
async def test_a_failing_transform_is_an_error_and_costs_one_message(host: Host) -> None:
    async def broken(packet: Packet) -> None:
        await host.pause(0.001)
        if packet.data is None:
            raise ZeroDivisionError("oops")

    async with host.serve(echo) as server, host.connect(server.url) as primus:
        diary = Diary(host, primus, "error")
        primus.transform("incoming", broken)
        primus.write(None)
        primus.write("fine")
        assert await take(primus, 1) == ["fine"]
        error = await diary.wait("error")
        assert isinstance(error, TransformError)
        assert (error.direction, error.data) == ("incoming", None)


@scenario()
async def test_a_transform_that_never_returns_is_given_up(host: Host) -> None:
    async def stuck(packet: Packet) -> None:
        if packet.data == "stuck":
            await host.pause(0.5)

    async with host.serve(echo, limits=Limits(transform=0.05)) as server:
        server.transform("incoming", stuck)
        async with host.connect(server.url) as primus:
            primus.write("stuck")
            primus.write("fine")
            assert await take(primus, 1) == ["fine"]


@scenario()
async def test_the_last_value_passes_a_slow_transform_before_the_close(host: Host) -> None:
    async def slow(packet: Packet) -> None:
        await host.pause(0.02)

    async def handler(spark: Any) -> None:
        spark.transform("outgoing", slow)
        spark.write("first")
        spark.end("last")

    async with host.serve(handler) as server, host.connect(server.url) as primus:
        assert await take(primus, 3) == ["first", "last"]


@scenario()
async def test_what_is_wrong_with_a_transform_is_said_at_once(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        each: Any
        for each in (server, primus):
            with pytest.raises(LocalProtocolError, match="incoming"):
                each.transform("both", print)
            with pytest.raises(LocalProtocolError, match="function"):
                each.transform("incoming", 5)
