"""Values that a spark gives to its only listener without an event."""

from __future__ import annotations

import asyncio

import pytest

from primus_io.asyncio import Spark, connect, serve


def test_an_exit_in_a_listener_ends_the_loop_and_calls_it_no_more_before_that() -> None:
    calls: list[object] = []

    def take(value: object) -> None:
        calls.append(value)
        if value == "exit":
            raise SystemExit(3)

    def connection(spark: Spark) -> None:
        spark.on("data", take)

    async def main() -> None:
        async with serve(None, "127.0.0.1", 0) as server:
            server.on("connection", connection)
            async with connect(server.url) as primus:
                primus.write("first")  # from here on the listener is called directly
                while not calls:
                    await asyncio.sleep(0)
                for value in ("second", "exit", "third"):  # which come in one read
                    primus.write(value)
                try:
                    await asyncio.sleep(10)
                finally:
                    calls.append("unwound")

    with pytest.raises(SystemExit, match="3"):
        asyncio.run(main())
    assert calls[:4] == ["first", "second", "exit", "unwound"]
