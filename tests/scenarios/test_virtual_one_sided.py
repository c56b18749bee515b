"""Trouble that only one end knows of, for handlers and clients of users: the same on asyncio and on trio."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import trio

from primus_io.testing import VirtualNetwork
from primus_proto import LocalProtocolError
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


# --- one end is suspended ---


def test_a_client_that_is_suspended_for_a_while_loses_nothing(kit: Kit) -> None:
    """Its driver is, and what is written meanwhile leaves as it wakes; the tasks that use it go on, and wait."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        heard: list[Any] = []
        primus.on("data", heard.append)
        for name in ("offline", "close"):
            primus.on(name, lambda *_, name=name: heard.append(name))
        [spark] = server.sparks.values()
        await anyio.sleep(20)
        network.suspend(primus)
        primus.write("written")
        spark.write("said")
        await anyio.sleep(60)
        assert (heard, handler.got, len(server.sparks)) == ([], [], 1)
        network.resume(primus)
        await anyio.sleep(1)
        assert (heard, handler.got) == (["said"], ["written"])
        await anyio.sleep(120)
        assert (heard, list(server.sparks.values())) == (["said"], [spark])


def test_a_client_that_sleeps_for_an_hour_comes_back(kit: Kit) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.suspend("client1")
        network.call_at(network.now + 3600, lambda: network.resume(primus))
        await anyio.sleep(3599)
        assert (primus.state, handler.ends) == ("open", ["flatline"]), "it does not know"
        await anyio.sleep(10)
        assert (primus.state, len(server.sparks)) == ("open", 1)
        primus.write("back")
        await anyio.sleep(1)
        assert handler.got == ["back"]


def test_a_server_that_hangs_for_a_minute(kit: Kit) -> None:
    """Nobody listens to what the clients say, and its own judgement waits, too; they give up, and come back."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.suspend(server)
        await anyio.sleep(60)
        assert primus.state != "open"
        network.resume(server)
        await anyio.sleep(60)
        assert (primus.state, len(server.sparks)) == ("open", 1)
        assert handler.ends == ["lost"]


def test_who_leaves_in_its_sleep_leaves_for_good(kit: Kit) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    async def main() -> None:
        async with kit.serve(handler, "server", 80) as server:
            async with kit.connect("http://server") as primus:
                network.suspend(primus)
            await anyio.sleep(60)
            network.resume("client1")
            assert not server.sparks
            await kit.settle()
        assert not network._links

    kit.run(main, network)


def test_what_has_no_driver_cannot_be_suspended(kit: Kit) -> None:
    network = VirtualNetwork()

    async def main() -> None:
        async with kit.serve(Collector(), "server", 80):
            peer: Any
            if isinstance(kit, AsyncioKit):
                _, peer = await asyncio.open_connection("server", 80)
            else:
                peer = await trio.open_tcp_stream("server", 80)
            with pytest.raises(LocalProtocolError, match=r"client1 cannot be suspended, only its network: use freeze"):
                network.suspend("client1")
            network.resume("client1")
            await peer.aclose() if isinstance(peer, trio.abc.Stream) else peer.close()

    kit.run(main, network)
