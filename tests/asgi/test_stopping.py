"""What clients and sparks see when uvicorn stops: too late for a goodbye, unless somebody says it in time.

And the task in which the end comes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import trio
import uvicorn

import primus_io.trio
from primus_io.asgi import Primus
from primus_io.asyncio import connect
from primus_proto import LocalProtocolError
from tests.conformance.users import why


class Polite(uvicorn.Server):
    """Says goodbye first."""

    def __init__(self, config: uvicorn.Config, primus: Primus) -> None:
        super().__init__(config)
        self.primus = primus

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.primus.close()
        await super().shutdown(sockets)


async def _stopped(polite: bool) -> tuple[Any, Any, list[str]]:
    """A client and its spark, after the server that hosts them has been told to stop; what happened, in order."""
    order: list[str] = []
    handled = asyncio.Event()

    async def handler(spark: Any) -> None:
        await spark.wait_ended()
        await asyncio.sleep(0.01)
        order.append("handler")
        handled.set()

    primus = Primus(handler)
    primus.on("close", lambda: order.append("primus"))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(primus, log_config=None)
    server = Polite(config, primus) if polite else uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}", strategy=False) as client:
        client.on("close", lambda: order.append("client"))
        [spark] = primus.sparks.values()
        server.should_exit = True
        await client.wait_ended()
        await handled.wait()
    await serving
    return client, spark, order


def test_a_stopping_server_looks_like_a_lost_connection() -> None:
    client, spark, order = asyncio.run(_stopped(polite=False))
    assert (why(client), client.close_reason.code) == ("lost", 1012)
    assert (why(spark), spark.close_reason.code) == ("lost", 1012)
    assert "is stopping" in str(spark.close_reason.error)
    assert order[-1] == "primus", "the lifespan ends after all else"


def test_closing_primus_first_tells_the_clients_to_stay_away() -> None:
    client, spark, _ = asyncio.run(_stopped(polite=True))
    assert (why(client), why(spark)) == ("server", "local")


def test_a_lifespan_may_end_in_another_task() -> None:
    async def main() -> None:
        primus = Primus()
        for _ in range(2):
            await asyncio.create_task(primus.__aenter__())
            await asyncio.create_task(primus.__aexit__(None, None, None))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize(
    "make",
    [
        Primus,
        lambda: primus_io.trio.serve(None),
        lambda: primus_io.trio.connect("http://127.0.0.1:9", wait=False),
    ],
    ids=["asgi", "serve", "connect"],
)
def test_on_trio_it_has_to_end_in_its_own_task_and_says_so(make: Any) -> None:
    """Its connections are closed all the same. Its own task may leave it still."""

    async def main() -> None:
        block, entered, refused = make(), trio.Event(), trio.Event()

        async def own() -> None:
            async with block:
                entered.set()
                await refused.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own)
            await entered.wait()
            with pytest.raises(LocalProtocolError, match="only that task can leave the block"):
                await block.__aexit__(None, None, None)
            assert block._io.closed
            refused.set()

    trio.run(main)
