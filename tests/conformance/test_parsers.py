"""Parsers: what both ends see of them, on every binding."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from primus_proto import ConfigError, DecodeError, EncodeError, Limits
from primus_proto.parsers import JSONParser
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Diary, echo, take, why

MOMENT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
VALUES: dict[str, list[Any]] = {
    "json": ["\ud800", {"a": [1.5, None]}],
    "ejson": [MOMENT, [b"bytes", float("inf")], {"$date": 1}],
    "binary": [b"bytes", {"a": [1.5, None]}],
    "msgpack": [MOMENT, b"bytes", {"a": [1.5, None]}],
}


@pytest.mark.parametrize("name", VALUES)
@scenario()
async def test_a_session_with_each(host: Host, name: str) -> None:
    """Values, the id, pings and the end: all of it goes through the parser."""
    server_options = {"parser": name, "limits": Limits(heartbeat_min=0.05)}
    async with (
        host.serve(echo, **server_options) as server,
        host.connect(server.url, parser=name, ping=0.1, pong=5.0) as primus,
    ):
        for value in VALUES[name]:
            assert primus.write(value)
        assert await take(primus, len(VALUES[name])) == VALUES[name]
        assert await primus.id() in server.sparks
        before = primus.latency
        await host.until(lambda: primus.latency != before)
        with pytest.raises(EncodeError):
            primus.write({1, 2})
        [spark] = server.sparks.values()
        spark.end()
        await primus.wait_ended()
        assert why(primus) == "server"


@scenario()
async def test_ends_with_different_parsers_tell_so(host: Host) -> None:
    async with host.serve(None, parser="binary") as server:
        errors: list[Any] = []
        server.on("connection", lambda spark: spark.on("error", errors.append))
        async with host.connect(server.url, parser="ejson") as primus:
            primus.write("text")
            await host.until(lambda: bool(errors))
            assert isinstance(errors[0], DecodeError)
            assert "another parser there?" in str(errors[0])


class Slow(JSONParser):
    """A parser that has to wait: the longer, the smaller the number that it is given."""

    name = "slow"

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    async def encode(self, value: Any) -> str:  # type: ignore[override]
        await self._host.pause(0.01 if value == 1 else 0.0)
        return super().encode(value)

    async def decode(self, data: str | bytes) -> Any:
        value = super().decode(data)
        await self._host.pause(0.01 if value == 2 else 0.0)
        return value


@scenario()
async def test_an_asynchronous_one_keeps_the_order(host: Host) -> None:
    """Protocol messages included: the answer to the question for the id comes after what was written before it."""
    parser = Slow(host)
    async with host.serve(echo, parser=parser) as server, host.connect(server.url, parser=parser) as primus:
        diary = Diary(host, primus, "error", "data")
        for value in range(5):
            assert primus.write(value)
        assert await primus.id() in server.sparks
        await host.until(lambda: len(diary.entries) == 5)
        server.write(1)
        server.write("last")
        await host.until(lambda: len(diary.entries) == 7)
        primus.write({1, 2})  # what cannot be sent is an error, as there is nobody left to raise it for
        await host.until(lambda: len(diary.entries) == 8)
        assert diary.all("data") == [*range(5), 1, "last"]
        assert isinstance(diary.all("error")[0], EncodeError)
        [spark] = server.sparks.values()
        spark.write("written before the end")
        spark.end()
        await primus.wait_ended()
        assert diary.all("data")[-1] == "written before the end"
        assert why(primus) == "server"


@scenario()
async def test_an_unknown_one(host: Host) -> None:
    for name in ("yaml", "Json5"):
        with pytest.raises(ConfigError, match=f"unknown parser '{name}'; known: binary, ejson, json, msgpack"):
            async with host.connect("http://127.0.0.1:1", parser=name):
                pass
