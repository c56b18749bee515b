"""The real packages against each other, without code of ours: a test of the harness."""

from __future__ import annotations

import pytest

from tests.interop.peers import Peers, interop

OPENED = ["rsc(opening)", "rsc(open)", "open"]


@interop()
async def test_server_end_and_its_reconnect_differ(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(f"{server.url}/?token=t%20t", primus={"reconnect": {"min": 50}})
    first = await server.wait("connection")
    assert (first["query"]["token"], first["query"]["ping"], first["query"]["pong"]) == ("t t", 25000, 10000)
    await client.wait("open")
    server.send("end-reconnect")
    second = await server.wait("connection")
    assert second["id"] != first["id"]
    assert (await client.wait("reconnected"))["attempt"] == 1
    await client.wait("open")
    assert (await client.ask("id"))["id"] == second["id"]
    server.send("end", value="bye")
    await client.wait("end")
    assert client.public()[3:] == [
        *("rsc(end)", "close", "reconnect scheduled", "rsc(opening)", "reconnect", "reconnected"),
        *("rsc(open)", "open", "data", "rsc(end)", "close", "end"),
    ]


@interop()
async def test_a_peer_goes_when_its_stdin_closes(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(server.url)
    await client.wait("open")
    for peer in (client, server):
        assert peer.process.stdin is not None
        peer.process.stdin.close()
        assert await peer.process.wait() == 0


@interop()
async def test_a_failed_wait_shows_what_every_peer_said(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(f"{server.url}/?secret=sesame")
    await client.wait("open")
    await server.wait("connection")
    with pytest.raises(AssertionError, match=r"their client 1 did not say 'data' within 0.01 s(?s:.)*sesame"):
        await client.wait("data", timeout=0.01)
    await server.kill()
    with pytest.raises(AssertionError, match="their server 0 ended"):
        await server.wait("data")
