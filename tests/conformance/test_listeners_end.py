"""A listener that ends its session: values that came with the last one are treated like later ones (protocol 4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_io import Spark
from tests.conformance.hosts import Host, scenario


@pytest.mark.parametrize("how", ["end", "end later", "raise", "raise later"])
@scenario()
async def test_after_the_end_of_a_spark_its_data_listeners_are_not_called(host: Host, how: str) -> None:
    heard: list[Any] = []

    def connected(spark: Spark) -> None:
        def data(value: Any) -> None:
            heard.append(value)
            if how.startswith("raise"):
                raise ZeroDivisionError
            spark.end("bye")

        async def data_later(value: Any) -> None:
            await host.pause(0.002)
            data(value)

        spark.on("data", data_later if how.endswith("later") else data)

    async with host.serve(None) as server:
        server.on("connection", connected)
        async with host.connect(server.url, strategy=False) as primus:
            for number in range(5):
                primus.write(number)
            assert [value async for value in primus] == ([] if how.startswith("raise") else ["bye"])
    assert heard == [0]


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@scenario(needs=["clients"])
async def test_after_the_end_of_a_client_its_data_listeners_hear_only_the_next_connection(
    host: Host, awaits: bool
) -> None:
    heard: list[Any] = []

    def connected(spark: Spark) -> None:
        for number in range(3):
            spark.write(number)

    async with host.serve(None) as server, host.connect(server.url, manual=True) as primus:
        server.on("connection", connected)

        def data(value: Any) -> None:
            heard.append(value)
            if len(heard) == 1:
                primus.end()
                primus.open()

        async def data_later(value: Any) -> None:
            await host.pause(0.002)
            data(value)

        primus.on("data", data_later if awaits else data)
        primus.open()
        await host.until(lambda: len(heard) >= 4)
    assert heard == [0, 0, 1, 2]
