"""A client and a spark as object streams of anyio."""

from __future__ import annotations

import anyio
import pytest

from primus_io.anyio import Spark, connect, object_stream, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_values_go_both_ways_and_the_end_is_told() -> None:
    async def echo(spark: Spark) -> None:
        stream = object_stream(spark)
        async for value in stream:
            await stream.send(value)

    async with serve(echo) as server, connect(server.url) as primus:
        stream = object_stream(primus)
        values: list[object] = [None, 0, {"a": []}]
        for value in values:
            await stream.send(value)
            assert await stream.receive() == value
        await stream.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send("too late")
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send("too late")
