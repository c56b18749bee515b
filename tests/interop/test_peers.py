"""The real packages against each other: the peers and the harness tell the truth, without code of ours."""

from __future__ import annotations

import pytest

from tests.interop.peers import Peers, interop
from tests.interop.values import JSON_VALUES, canonical, mebibyte

OPENED = ["rsc(opening)", "rsc(open)", "open"]


@interop()
async def test_every_json_type_comes_back(peers: Peers) -> None:
    server = await peers.server(mode="echo")
    client = await peers.client(server.url)
    for value in JSON_VALUES:
        client.send("write", value=value)
    await client.until(lambda: len(client.values()) == len(JSON_VALUES), "every echo")
    assert [canonical(value) for value in client.values()] == [canonical(value) for value in JSON_VALUES]
    assert not any("\u2028" in report["raw"] or "\u2029" in report["raw"] for report in server.all("data"))


@interop()
async def test_a_mebibyte_comes_back(peers: Peers) -> None:
    server = await peers.server(mode="echo")
    client = await peers.client(server.url)
    client.send("write", value=mebibyte("x"))
    assert (await client.wait("data"))["value"] == mebibyte("x")


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
async def test_heartbeat_and_flatline(peers: Peers) -> None:
    server = await peers.server(primus={"pongSkipTime": 1})
    client = await peers.client(server.url, primus={"ping": 200, "pong": 200})
    for _ in range(3):
        await client.wait("pong")
    assert client.public() == OPENED
    client.send("mute-pings")
    assert (await server.wait("flatline"))["count"] == 3
    await client.wait("reconnect scheduled")
    assert "offline" not in client.public()  # the unsolicited pongs came in time


@interop()
async def test_refusal_is_read_in_full(peers: Peers) -> None:
    server = await peers.server(authorization={"message": "no entry", "authenticate": 'Basic realm="r"'})
    client = await peers.client(server.url, primus={"strategy": "disconnect, online"})
    refusal = await client.wait("unexpected-response")
    assert (refusal["status"], refusal["body"]) == (401, '{"error":"no entry"}')
    assert refusal["headers"]["www-authenticate"] == 'Basic realm="r"'
    await client.wait("end")
    assert client.public() == ["rsc(opening)", "error", "rsc(end)", "close", "end"]


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
