"""The example programs and the real packages: each end of ours with a driver of its own, at its real counterpart."""

from __future__ import annotations

import signal

from tests.examples.programs import program
from tests.interop.peers import Peers, interop


@interop(timeout=40)
async def test_real_clients_chat_at_the_server_on_selectors(peers: Peers) -> None:
    async with program("selectors_chat.py", "serve") as server:
        url = await server.url()
        first = await peers.client(url, primus={"ping": 300, "pong": 5000})
        second = await peers.client(url, primus={"reconnect": {"min": 60_000}})
        await second.wait("open")
        me = (await first.ask("id"))["id"]
        first.send("write", value="hello ü")
        await second.wait("data", value={"from": me, "text": "hello ü"})
        second.send("write", value={"not": "a string"})
        await second.wait("data", value={"error": "say a string"})
        for _ in range(3):
            await first.wait("pong")
        first.send("end")
        await second.wait("data", value={"left": me})
        server.process.send_signal(signal.SIGINT)
        await second.wait("reconnect scheduled")  # it says that it will be back
        assert await server.status() == 0
        assert server.complaints == []


@interop(timeout=40)
async def test_the_client_on_selectors_chats_at_a_real_server(peers: Peers) -> None:
    server = await peers.server(mode="echo")
    async with program("selectors_chat.py", "connect", server.url) as chat:
        first = await server.wait("connection")
        await chat.say("hello ü")
        await chat.heard("hello ü")
        server.send("drop")
        second = await server.wait("connection")
        await chat.say("again")
        await chat.heard("again")
        assert first["id"] != second["id"]
        server.send("end", value="bye")
        await chat.heard("bye")
        assert await chat.status() == 1
