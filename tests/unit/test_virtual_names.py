"""Who is who on a network that a loop runs, and what there is of the world: addresses, the wall clock, chance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from primus_io.asyncio import connect, fetch_spec, serve
from primus_io.testing import VirtualNetwork, run
from primus_proto import ConnectError, LocalProtocolError
from primus_proto import events as ev


async def echo(spark: Any) -> None:
    async for value in spark:
        await spark.send(value)


async def stay(spark: Any) -> None:
    await spark.wait_ended()


# --- addresses and names ---


def test_ports() -> None:
    async def main() -> None:
        async with serve(echo) as one, serve(echo) as two, serve(echo, "server") as three:
            assert [one.url, two.url] == ["http://127.0.0.1:49152", "http://127.0.0.1:49153"]
            assert three.port not in (one.port, two.port)
            with pytest.raises(OSError, match="in use"):
                async with serve(echo, "localhost", one.port):
                    pass
            async with connect(f"http://localhost:{two.port}") as primus:
                [spark] = two.sparks.values()
                assert spark.address.ip == "127.0.0.1"
                assert await primus.id() == spark.id
            async with connect(three.url):
                [spark] = three.sparks.values()
                assert spark.address.ip.startswith("10.0.0.")
        with pytest.raises(ConnectError, match=r"(?i)cannot connect to 127.0.0.1:49152: connection refused"):
            async with connect(one.url, strategy=False):
                pass
        async with serve(echo, "127.0.0.1", one.port):
            pass

    run(main())


def test_clients_and_servers_are_nodes() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, serve(echo, "server", 8080) as other:
            first, second = connect("http://server"), connect("http://server:8080", manual=True)
            async with first as one, second as two:
                names = [network.node(who).name for who in (server, other, one, two)]
                assert names == ["server", "server:8080", "client1", "client2"]
                for who, name in zip((server, other, one, two), names, strict=True):
                    assert network.node(who) is network.node(name) is network.node(network.node(who))
                two.open()
                assert await two.id() in other.sparks
                assert network.node(two).name == "client2", "whenever it connects"
                [spark] = server.sparks.values()
                with pytest.raises(LocalProtocolError, match="there are: server, server:8080, client1, client2"):
                    network.node(spark)
        async with connect("http://server", wait=False, retries=0) as three:
            assert network.node(three).name == "client3"

    network = VirtualNetwork()
    run(main(), network)
    with pytest.raises(LocalProtocolError, match="there are: none"):
        network.node("server")


def test_endpoints_of_the_core_are_on_the_same_network() -> None:
    """A handler of yours and a thousand clients without a task each; or the other way round."""

    async def main() -> None:
        async with serve(echo, "server", 80) as server:
            clients = [network.connect("http://server") for _ in range(100)]
            await asyncio.sleep(1)
            assert len(server.sparks) == 100
            for number, client in enumerate(clients):
                client.write(number)
            await asyncio.sleep(1)
            heard = [event.data for client in clients for event in client.all(ev.DataReceived)]
            assert heard == list(range(100))
            for client in clients:
                client.end()
            await asyncio.sleep(1)
            assert not server.sparks
        core = network.serve(host="core", on_event=answer)
        async with connect("http://core") as primus:
            primus.write("question")
            assert await anext(aiter(primus)) == "answer"
        await asyncio.sleep(1)
        assert core.seen(ev.SparkDisconnected) == 1

    def answer(server: Any, event: ev.Event) -> None:
        if isinstance(event, ev.SparkData):
            event.spark.write("answer")

    network = VirtualNetwork(latency=0.01)
    run(main(), network)


def test_the_spec() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80):
            assert (await fetch_spec("http://server"))["pathname"] == "/primus"

    run(main())


def test_what_is_left_of_a_network_goes_on_when_its_loop_is_gone() -> None:
    async def main() -> None:
        await serve(None, "server", 80).__aenter__()
        await asyncio.sleep(5)
        client.write("on its way")
        await asyncio.sleep(0.5)
        raise ZeroDivisionError

    network = VirtualNetwork(latency=1.0)
    client = network.connect("http://server", retries=3)
    with pytest.raises(ZeroDivisionError):
        run(main(), network)
    assert client.names[-1] == "open"
    network.run(60)
    assert client.seen(ev.ReconnectScheduled) == 3
    assert client.names[-1] == "end"


# --- the wall clock, and chance ---


class Recorded(VirtualNetwork):
    """Keeps what went over its lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bytes: list[bytes] = []

    def _cut(self, data: bytes) -> list[bytes]:
        self.bytes.append(data)
        return super()._cut(data)


def test_the_wall_clock_is_the_networks_and_jumps_disturb_nobody() -> None:
    async def main() -> None:
        async with serve(stay, "server", 80) as server, connect("http://server", ping=10) as primus:
            loop: Any = asyncio.get_running_loop()
            for seconds, who in ((3600, primus), (-7200, server), (86400, "client1"), (-60, None)):
                network.jump(seconds, who)
                await asyncio.sleep(60)
            assert primus.state == "open"
            assert primus.latency == pytest.approx(0.2)
            assert loop.wall_offset == 1000 - 60
            assert primus._core.wall_offset == 1000 + 3600 + 86400 - 60
            assert server._core.wall_offset == 1000 - 7200 - 60

    network = Recorded(latency=0.1, wall_offset=1000.0)
    run(main(), network)
    assert "client1: the wall clock jumps by 86400 s" in network.story(200)


def test_the_connect_url_and_the_ids_come_from_the_seed_and_the_virtual_clock() -> None:
    async def main() -> str:
        async with serve(stay, "server", 80), connect("http://server") as primus:
            return await primus.id()

    def once(**options: Any) -> tuple[str, list[bytes]]:
        network = Recorded(**options)
        return run(main(), network), network.bytes[:2]

    assert once(seed=1) == once(seed=1)
    assert once(seed=1)[0] != once(seed=2)[0]
    (_, early), (_, late) = once(seed=1, wall_offset=1e9), once(seed=1, wall_offset=1.5e9)
    assert early[0] != late[0], "_primuscb"
