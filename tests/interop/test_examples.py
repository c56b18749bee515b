"""The example programs and the real packages."""

from __future__ import annotations

import json
import signal

from tests.conformance.peers import unused_port
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


@interop(timeout=40)
async def test_a_real_client_at_the_server_on_aiohttp(peers: Peers) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    async with program("aiohttp_app.py", "serve", "--port", str(port), "--token", "secret") as server:
        await server.until(lambda: any("Running" in report["text"] for report in server.reports), "that it runs")
        refused = await peers.client(url, primus={"strategy": "disconnect, online"})
        refusal = await refused.wait("unexpected-response")
        assert (refusal["status"], refusal["headers"]["www-authenticate"]) == (401, "Token")
        assert json.loads(refusal["body"]) == {"error": "no entry without the token"}

        client = await peers.client(f"{url}/?token=secret", primus={"ping": 300, "pong": 5000})
        await client.wait("open")
        for value in ("hello ü", {"any": ["thing", 1.5, None]}):
            client.send("write", value=value)
            await client.wait("data", value={"echo": value})
        client.send("binary", base64="AP8B")
        assert "bytes" in (await client.wait("data"))["value"]["error"]
        for _ in range(3):
            await client.wait("pong")
        client.send("ws-ping", payload="there?")
        await client.wait("ws-pong", payload="there?")
        answer = await client.ask("get", path="/primus/spec")
        assert json.loads(answer["body"])["transformer"] == "websockets"
        answer = await client.ask("get", path="/")
        assert answer["body"] == "1 here\n"
        client.send("drop")
        await client.wait("reconnected")
        server.process.send_signal(signal.SIGINT)
        await client.wait("reconnect scheduled")
        assert await server.status() == 0
        assert server.complaints == []


@interop(timeout=40)
async def test_the_client_on_aiohttp_asks_a_real_primus_8_what_it_is(peers: Peers) -> None:
    server = await peers.server(package="primus8", mode="echo", primus={"pingInterval": 500})
    async with program("aiohttp_app.py", "connect", server.url, "hello") as chat:
        await chat.heard("hello")
        for _ in range(3):
            await server.wait("client-pong")
        chat.process.send_signal(signal.SIGINT)
        await server.wait("disconnection")
        assert await chat.status() == 130
    assert server.values() == ["hello"]


@interop(timeout=40)
async def test_a_feathers_client_asks_the_service(peers: Peers) -> None:
    async with program("feathers_service.py") as server:
        url = await server.url()
        client, other = [await peers.plugins("feathers", url=url) for _ in range(2)]
        await client.wait("open")
        await other.wait("open")
        hello, again = {"id": 1, "text": "hello"}, {"id": 2, "text": "again"}
        for method, args, result in [
            ("create", [{"text": "hello"}], hello),
            ("create", [{"text": "again"}], again),
            ("find", [{"query": {"id": 1}}], [hello]),
            ("patch", [1, {"read": True}], {**hello, "read": True}),
            ("get", [1], {**hello, "read": True}),
            ("update", [1, {"text": "bye"}], {"id": 1, "text": "bye"}),
            ("remove", [1], {"id": 1, "text": "bye"}),
            ("find", [], [again]),
        ]:
            client.send("service", method=method, args=args)
            assert (await client.wait("service"))["value"] == result
        for service, method, args, name in [
            ("nothing", "find", [], "NotFound"),
            ("messages", "get", [1], "NotFound"),
            ("messages", "get", [[]], "BadRequest"),
            ("messages", "patch", [2, {"x": 1}], None),
            ("messages", "patch", [2, [3]], "BadRequest"),
        ]:
            client.send("service", service=service, method=method, args=args)
            assert (await client.wait("service")).get("error", {}).get("name") == name
        assert [(await other.wait("created"))["value"] for _ in range(2)] == [hello, again]
        server.process.send_signal(signal.SIGINT)
        assert await server.status() == 0
        assert server.complaints == []
