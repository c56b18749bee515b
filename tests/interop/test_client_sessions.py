"""Our client at the real server: how sessions end, and how they come back."""

from __future__ import annotations

from primus_io.asyncio import connect
from tests.interop.ours import ENDED, LOST, OPENED, REOPENED, our_client
from tests.interop.peers import Peers, interop


@interop()
async def test_the_clients_end_and_a_fresh_session(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url) as (primus, log):
        first = await server.wait("connection")
        await log.wait("open")
        primus.end({"last": "words"})
        await log.wait("end")
        assert (await server.wait("data"))["value"] == {"last": "words"}
        assert (await server.wait("ws-close"))["code"] == 1000
        await server.wait("disconnection")
        assert primus.write("into the void") is False
        primus.open()
        second = await server.wait("connection")
        primus.write("hello again")
        assert (await server.wait("data"))["value"] == "hello again"
        assert first["id"] != second["id"]
        assert log.public() == [*OPENED, *ENDED, *OPENED]


@interop()
async def test_the_servers_end_with_reconnect_brings_a_new_session(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url, min=0.05) as (primus, log):
        first = await server.wait("connection")
        await log.wait("open")
        server.send("end-reconnect")
        second = await server.wait("connection")
        await log.wait("open")
        assert await primus.id() == second["id"] != first["id"]
        assert log.public() == [*OPENED, *LOST, *REOPENED]
        scheduled = log.all("reconnect scheduled")[0]
        assert (scheduled["attempt"], scheduled["retries"], scheduled["delay"]) == (1, 10, 0.05)
        assert log.all("reconnected")[0]["attempt"] == 1
        assert first["query"]["_primuscb"] != second["query"]["_primuscb"]


@interop()
async def test_a_lost_connection_comes_back(peers: Peers) -> None:
    server = await peers.server(mode="echo")
    async with connect(server.url, min=0.05) as primus:
        log = peers.record(primus)
        for index in range(3):
            await server.wait("connection")
            primus.write(index)
            await log.wait("data", value=index)
            server.send("drop")
            await log.wait("open")
        assert log.public() == ["data", *LOST, *REOPENED] * 3
        # No connection stayed for long, so the attempts are counted on (protocol 4).
        assert [report["attempt"] for report in log.all("reconnected")] == [1, 2, 3]


@interop()
async def test_a_killed_server_costs_nothing_that_was_written_meanwhile(peers: Peers) -> None:
    server = await peers.server()
    options = {"min": 0.05, "max": 0.3, "factor": 2.0, "retries": 50}
    async with our_client(peers, server.url, **options) as (primus, log):
        first = await server.wait("connection")
        primus.write("before")
        await server.wait("data", value="before")
        await server.kill()
        await log.wait("reconnect scheduled", attempt=1)
        for index in range(25):
            assert primus.write({"meanwhile": index})
        await log.wait("reconnect scheduled", attempt=4)  # three attempts have failed
        for index in range(25, 50):
            assert primus.write({"meanwhile": index})
        again = await peers.server(port=server.port)
        second = await again.wait("connection")
        await log.wait("reconnected")
        primus.write("after")
        await again.wait("data", value="after")
    assert second["id"] != first["id"]
    assert again.values() == [*({"meanwhile": n} for n in range(50)), "after"]
    events = log.public()
    failed = ["reconnect", "rsc(opening)", "rsc(end)", "reconnect scheduled"]
    assert events[:18] == [*OPENED, *LOST, *failed * 3]
    assert "error" not in events
    delays = [report["delay"] for report in log.all("reconnect scheduled")]
    assert delays[0] == 0.05
    assert 0.1 <= delays[1] <= 0.2
    assert 0.2 <= delays[2] <= 0.3
    assert set(delays[3:]) == {0.3}
