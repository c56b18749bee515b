"""The command against the real happn-primus, in both directions."""

from __future__ import annotations

import os
import sys

import pytest

from tests.cli.command import PRIMUS, environment
from tests.interop.peers import Peer, Peers, interop, missing


@pytest.fixture(autouse=True)
def real_peers() -> None:
    """As in tests/interop: skipped without Node, unless the tests must run."""
    reason = missing()
    if reason is not None and os.environ.get("PRIMUS_REQUIRE_INTEROP") == "1":
        pytest.fail(reason, pytrace=False)
    if reason is not None:
        pytest.skip(reason)


async def primus(peers: Peers, *args: str) -> Peer:
    """The command with --json, whose lines are a peer's reports."""
    peer = Peer(f"primus {args[0]}", peers.logs)
    await peer.start(*PRIMUS, *args, "--json", env=environment())
    return peer


def write(peer: Peer, *lines: str) -> None:
    assert peer.process.stdin is not None
    peer.process.stdin.write("".join(f"{line}\n" for line in lines).encode())


@interop()
async def test_primus_connect_talks_to_their_server_and_comes_back(peers: Peers) -> None:
    server = await peers.server(mode="echo", primus={"pongSkipTime": 1})
    options = ("--ping", "0.2", "--pong", "0.5", "--min", "0.1")
    client = await primus(peers, "connect", f"{server.url}/?token=t", *options)
    try:
        connection = await server.wait("connection")
        assert connection["query"]["token"] == "t"
        await client.wait("open")
        write(client, '{"hello": ["wörld", null, 1.5]}')
        assert (await client.wait("data"))["data"] == {"hello": ["wörld", None, 1.5]}
        await server.wait("heartbeat")
        server.send("end-reconnect")
        assert (await client.wait("reconnect scheduled"))["attempt"] == 1
        write(client, '"while away"')
        await client.wait("reconnected")
        assert (await server.wait("connection"))["id"] != connection["id"]
        assert (await client.wait("data"))["data"] == "while away"
        server.send("end", value="bye")
        assert (await client.wait("data"))["data"] == "bye"
        assert (await client.wait("close", reason="server"))["event"] == "close"
        await client.wait("end")
        assert await client.process.wait() == 0
    finally:
        await client.stop()


@interop()
async def test_what_is_piped_in_has_arrived_at_their_server_when_primus_connect_ends(peers: Peers) -> None:
    server = await peers.server()
    client = await primus(peers, "connect", server.url)
    write(client, *[f'{{"number": {number}}}' for number in range(1_000)])
    assert client.process.stdin is not None
    client.process.stdin.close()
    assert await client.process.wait() == 0
    await client.stop()
    await server.until(lambda: len(server.values()) == 1_000, "every message")
    assert server.values() == [{"number": number} for number in range(1_000)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
@interop()
async def test_primus_serve_serves_their_client(peers: Peers) -> None:
    server = await primus(peers, "serve", "--port", "0", "--pong-skip-time", "0")
    try:
        client = await peers.client((await server.wait("listening"))["url"], primus={"ping": 1000, "pong": 1000})
        id = (await server.wait("connection"))["id"]
        client.send("write", value={"a": [1, "ü"]})
        assert (await client.wait("data"))["value"] == {"a": [1, "ü"]}
        assert (await client.ask("id"))["id"] == id
        await server.wait("heartbeat", id=id)
        server.process.terminate()
        await client.wait("end")
        assert "reconnect scheduled" not in client.names()
        assert await server.process.wait() == 0
        assert server.names()[-4:] == ["readyStateChange", "disconnection", "end", "close"]
    finally:
        await server.stop()


@interop()
async def test_primus_spec_reads_theirs(peers: Peers) -> None:
    server = await peers.server()
    spec = await primus(peers, "spec", server.url)
    try:
        told = (await spec.wait("spec"))["spec"]
        assert {"version": "6.0.1", "parser": "json", "transformer": "websockets"}.items() <= told.items()
    finally:
        await spec.stop()
