"""Plugins and transforms beside the real ones: primus-emitter 3.1.1 and primus-rooms 3.4.3."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from primus_io.asyncio import connect, serve
from primus_proto import DROP, Packet
from primus_proto.plugins import Ack, Emitter, Rooms, ServerEmitter, ServerRooms
from tests.interop.peers import Peers, interop


@pytest.mark.parametrize("release", [6, 8])
@interop()
async def test_the_real_client_and_our_server_ask_each_other(peers: Peers, release: int) -> None:
    async with serve(None, plugins="emitter") as server:
        everyone = server.extension(ServerEmitter)
        everyone.on("sum", lambda spark, a, b: a + b)
        everyone.on("both", lambda spark, *args: Ack(None, list(args)))
        heard: list[Any] = []
        everyone.on("news", lambda spark, *args: heard.append(args))
        client = await peers.plugins("client", url=server.url, release=release)
        await client.wait("open")
        client.send("ask", name="sum", args=[1, 2])
        assert (await client.wait("ask"))["args"] == [3]
        client.send("send", name="news", args=[None, {"a": 1}])
        client.send("ask", name="both", args=[None])
        assert (await client.wait("ask"))["args"] == [None, [None]]
        assert heard == [(None, {"a": 1})]
        [spark] = server.sparks.values()
        emitter = spark.extension(Emitter)
        assert await emitter.call("sum", 20, 3, timeout=5) == 23
        assert await emitter.call("both", None) == [None, None]
        assert everyone.send("news", "all") == 1
        assert (await client.wait("news"))["args"] == ["all"]


@pytest.mark.parametrize("release", [6, 8])
@interop()
async def test_our_client_and_the_real_server_ask_each_other(peers: Peers, release: int) -> None:
    server = await peers.plugins("server", release=release)
    async with connect(server.url, plugins=["emitter"]) as primus:
        emitter = primus.extension(Emitter)
        emitter.on("sum", lambda a, b: a + b)
        assert await emitter.call("sum", 1, 2, timeout=5) == 3
        assert await emitter.call("both", [1, None]) == [None, [1, None]]
        server.send("ask", name="sum", args=[4, 5])
        assert (await server.wait("ask"))["args"] == [9]
        heard: list[Any] = []
        emitter.on("news", lambda *args: heard.append(args))
        emitter.send("news", None, "x")
        assert (await server.wait("news"))["args"] == [None, "x"]
        server.send("send", name="news", args=["all", None])
        server.send("ask", name="sum", args=[1, 1])
        await server.wait("ask")
        assert heard == [("all", None)]


def mark(session: Any, incoming: str, outgoing: str) -> None:
    """Transforms like those of the real peer."""

    def marked(text: str) -> Any:
        async def transform(packet: Packet) -> object:
            if packet.data == "drop":
                return DROP
            if isinstance(packet.data, str):
                packet.data += text
            return None

        return transform

    session.transform("incoming", marked(incoming))
    session.transform("outgoing", marked(outgoing))


VALUES = ["one", None, "drop", 0, ["drop"], "two"]


@pytest.mark.parametrize("release", [6, 8])
@interop()
async def test_transforms_of_both_ends_apply_one_after_the_other(peers: Peers, release: int) -> None:
    theirs = await peers.plugins("server", plugins=[], transforms=True, release=release)
    async with connect(theirs.url) as primus, serve(None) as ours:
        mark(primus, "in", "out")
        mark(ours, "in", "out")
        client = await peers.plugins("client", plugins=[], transforms=True, release=release, url=ours.url)
        await theirs.wait("connection")
        await client.wait("open")
        [spark] = ours.sparks.values()
        for value in VALUES:
            primus.write(value)
            spark.write(value)
            theirs.send("all", value=value)
            client.send("write", value=value)
        for session in (primus, spark):
            assert [await session.receive() for _ in range(5)] == ["one>in", None, 0, ["drop"], "two>in"]
        for peer in (theirs, client):
            await peer.wait("data", value="twoout<")
            assert peer.values() == ["oneout<", None, 0, ["drop"], "twoout<"]


@interop()
async def test_rooms_are_the_same_beside_the_real_ones(peers: Peers) -> None:
    """The same members, patterns and writes reach the same clients, of their server and of ours."""
    joins = {"a": "news:* two words", "b": "news:1", "c": "news:1:x"}
    rooms = ["news:1", "news:2", "news:*", "*", "words", "news:1 two", "nobody"]
    theirs = await peers.plugins("server", plugins=["rooms"])
    heard: dict[str, dict[str, list[Any]]] = {"theirs": {}, "ours": {}}
    async with serve(None, plugins=["rooms"]) as ours, contextlib.AsyncExitStack() as stack:
        clients: dict[str, list[Any]] = {"theirs": [], "ours": []}
        for which, url in (("theirs", theirs.url), ("ours", ours.url)):
            for name, joined in joins.items():
                primus = await stack.enter_async_context(connect(url))
                clients[which].append(primus)
                values = heard[which][name] = []
                primus.on("data", values.append)
                if which == "theirs":
                    await theirs.wait("connection")
                    await theirs.ask("join", room=joined)
                else:
                    ours.sparks[await primus.id()].extension(Rooms).join(joined)
        for room in rooms:
            theirs.send("room", room=room, value=room)
            ours.extension(ServerRooms).room(room).write(room)
        theirs.send("all", value="over")
        ours.write("over")
        while not all(values[-1:] == ["over"] for values in (*heard["theirs"].values(), *heard["ours"].values())):
            await asyncio.sleep(0.005)
    assert heard["ours"] == heard["theirs"]
    assert heard["ours"]["a"] == ["news:1", "news:2", "news:*", "words", "news:1 two", "over"]
