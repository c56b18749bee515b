"""Trouble that only one end knows of, for handlers and clients of users: the same on asyncio and on trio."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from primus_io.testing import VirtualNetwork
from tests.scenarios.kits import AsyncioKit, Collector, Kit, TrioKit


@pytest.fixture(params=[AsyncioKit, TrioKit], ids=["asyncio", "trio"])
def kit(request: pytest.FixtureRequest) -> Kit:
    made: Kit = request.param()
    return made


# --- one way is dead ---


def test_a_client_that_does_not_hear_gives_up_and_its_handler_is_told(kit: Kit) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.partition(primus, way="in")
        primus.write("up")
        [spark] = server.sparks.values()
        spark.write("down")
        await anyio.sleep(36)
        assert primus.state != "open"
        assert (handler.got, handler.ends) == (["up"], ["lost"])
        await anyio.sleep(60)
        assert not server.sparks, "none opens one way"
        network.heal()
        await anyio.sleep(60)
        assert (primus.state, len(server.sparks)) == ("open", 1)


def test_a_client_that_is_not_heard_is_given_up_and_told(kit: Kit) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.partition(server, way="in")
        [spark] = server.sparks.values()
        spark.write("down")
        assert await anext(aiter(primus)) == "down"
        await anyio.sleep(80)
        assert primus.state == "open"
        await anyio.sleep(15)
        assert (primus.state != "open", handler.ends) == (True, ["flatline"])
        network.heal()
        await anyio.sleep(60)
        assert (primus.state, len(server.sparks)) == ("open", 1)
