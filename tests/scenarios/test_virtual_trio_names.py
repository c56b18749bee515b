"""Who is who in a virtual network of trio's, and what of trio's own is on it beside the binding."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from primus_io.testing import VirtualNetwork, run_trio
from primus_io.trio import connect, fetch_spec, serve
from primus_proto import LocalProtocolError
from primus_proto import events as ev
from tests.scenarios.kits import echo


def test_nodes_have_the_same_names_as_on_asyncio() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, serve(echo, "server", 8080) as other:
            assert other.url == "http://server:8080"
            async with connect(server.url) as one, connect(other.url, manual=True) as two:
                for who, name in ((server, "server"), (other, "server:8080"), (one, "client1"), (two, "client2")):
                    assert network.node(who) is network.node(name) is network.node(network.node(who))
                two.open()
                assert await two.id() in other.sparks
                [spark] = server.sparks.values()
                assert spark.address.ip == "10.0.0.1"
                with pytest.raises(LocalProtocolError, match="there are: server, server:8080, client1, client2"):
                    network.node(spark)
            with pytest.raises(OSError, match="cannot listen on server:80: Address already in use"):
                async with serve(echo, "server", 80):
                    pass

    network = VirtualNetwork()
    run_trio(main, network)


def test_a_client_of_a_handler_is_its_own_node() -> None:
    """Not the server's, in whose task it begins."""

    async def relay(spark: Any) -> None:
        async with connect("http://behind") as primus:
            async for value in spark:
                primus.write(value)
                spark.write(await anext(aiter(primus)))

    async def main() -> None:
        async with serve(echo, "behind", 80), serve(relay, "server", 80), connect("http://server") as primus:
            primus.write("hello")
            assert await anext(aiter(primus)) == "hello"
            assert {"server", "behind", "client1", "client2"} == {node.name for node in network._all()}
            stream = await trio.open_tcp_stream("server", 80)
            assert network.node("client3").name == "client3"
            await stream.aclose()

    network = VirtualNetwork(latency=0.05)
    run_trio(main, network)


def test_endpoints_of_the_core_are_on_the_same_network() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server:
            clients = [network.connect("http://server") for _ in range(100)]
            await trio.sleep(1)
            assert len(server.sparks) == 100
            for number, client in enumerate(clients):
                client.write(number)
            await trio.sleep(1)
            heard = [event.data for client in clients for event in client.all(ev.DataReceived)]
            assert heard == list(range(100))

    network = VirtualNetwork(latency=0.01)
    run_trio(main, network)


def test_the_wall_clock_is_the_networks_and_jumps_disturb_nobody() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, connect("http://server", ping=10) as primus:
            for seconds, who in ((3600, primus), (-7200, server), (86400, "client1"), (-60, None)):
                network.jump(seconds, who)
                await trio.sleep(60)
            assert primus.state == "open"
            assert primus.latency == pytest.approx(0.2)
            assert primus._core.wall_offset == 1000 + 3600 + 86400 - 60
            assert server._core.wall_offset == 1000 - 7200 - 60
            assert (await fetch_spec("http://server"))["pathname"] == "/primus"

    network = VirtualNetwork(latency=0.1, wall_offset=1000.0)
    run_trio(main, network)
