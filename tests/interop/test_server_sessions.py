"""The real client at our server: how sessions end, and how they come back."""

from __future__ import annotations

import pytest

from tests.interop.ours import our_server
from tests.interop.peers import Peers, interop

OPENED = ["rsc(opening)", "rsc(open)", "open"]
ENDED = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
REOPENED = ["rsc(opening)", "reconnect", "reconnected", "rsc(open)", "open"]
AT_ONCE = {"reconnect": {"min": 50}}
SPARK_ENDED = ["readyStateChange", "disconnection", "end"]


@interop()
async def test_the_clients_end(peers: Peers) -> None:
    async with our_server(peers) as (server, log):
        client = await peers.client(server.url)
        await client.wait("open")
        first = await log.wait("connection")
        client.send("end", value={"last": "words"})
        await client.wait("end")
        await log.wait("end")
        assert log.all("data")[0]["value"] == {"last": "words"}
        assert log.names() == ["connection", "data", *SPARK_ENDED]
        assert client.public() == [*OPENED, *ENDED]
        assert len(server.sparks) == 0
        # The same client again is a new session.
        client.send("open")
        again = await log.wait("connection")
        await client.wait("open")
        assert again["id"] != first["id"]
        assert server.spark(again["id"]) is again["spark"]


@pytest.mark.parametrize("reconnect", [False, True])
@interop()
async def test_closing_our_server_tells_every_client(peers: Peers, reconnect: bool) -> None:
    async with our_server(peers) as (server, log):
        clients = [await peers.client(server.url, primus={"reconnect": {"min": 60000}}) for _ in range(2)]
        for client in clients:
            await client.wait("open")
            await log.wait("connection")
        await server.close(reconnect=reconnect)
        await log.wait("close")
        for client in clients:
            await client.wait("reconnect scheduled" if reconnect else "end")
            assert client.public() == [*OPENED, *(LOST if reconnect else ENDED)]
        assert log.names()[2:] == [*SPARK_ENDED * 2, "close"]


@pytest.mark.parametrize("how", ["kill", "destroy"])
@interop()
async def test_a_client_that_goes_is_noticed(peers: Peers, how: str) -> None:
    async with our_server(peers) as (server, log):
        client = await peers.client(server.url, primus={"strategy": False})
        await client.wait("open")
        await log.wait("connection")
        if how == "kill":
            await client.kill()
        else:
            client.send(how)
        await log.wait("disconnection")
        await log.wait("end")
        assert log.names() == ["connection", *SPARK_ENDED]
        assert len(server.sparks) == 0


@interop()
async def test_a_killed_server_costs_nothing_that_was_written_meanwhile(peers: Peers) -> None:
    server = await peers.own_server()
    options = {"reconnect": {"min": 50, "max": 300, "retries": 50}}
    client = await peers.client(server.url, primus=options)
    await client.wait("open")
    first = await server.wait("connection")
    client.send("write", value="before")
    await server.wait("data", value="before")
    await server.kill()
    await client.wait("reconnect scheduled", attempt=3)  # two attempts have failed
    client.send("write-many", tag="meanwhile", count=50)
    assert (await client.ask("state"))["queued"] == 50
    again = await peers.own_server(port=server.port)
    second = await again.wait("connection")
    await client.wait("reconnected")
    client.send("write", value="after")
    await again.wait("data", value="after")
    assert second["id"] != first["id"]
    assert again.values() == [*({"meanwhile": n} for n in range(50)), "after"]
    assert client.public()[:6] == [*OPENED, *LOST]
