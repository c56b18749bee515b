"""The example applications, as a person runs them."""

from __future__ import annotations

import asyncio
import json
import socket
from importlib import import_module

import aiohttp
import pytest
import uvicorn
import zmq
import zmq.asyncio

from primus_io.asyncio import ConnectError, connect
from tests.examples.programs import program
from tests.interop.peers import WAIT


def test_telemetry_greets_a_client_with_the_last_measurements_and_goes_on() -> None:
    async def main() -> None:
        async with program("telemetry.py", "serve", "--interval", "0.05") as server:
            url = await server.url()
            async with program("telemetry.py", "watch", url, "--count", "3") as watcher:
                assert await watcher.status() == 0
                shown = [report["text"] for report in watcher.reports]
                assert shown[0].startswith("{'last': [{'at':")
                assert [text[:7] for text in shown[1:]] == ["{'now':"] * 2

    asyncio.run(main())


def test_the_bridge_carries_topics_to_those_who_asked_and_values_to_the_collector() -> None:
    async def main() -> None:
        context = zmq.asyncio.Context()
        publisher, collector = context.socket(zmq.XPUB), context.socket(zmq.PULL)
        ports = [one.bind_to_random_port("tcp://127.0.0.1") for one in (publisher, collector)]
        source, target = (f"tcp://127.0.0.1:{port}" for port in ports)
        try:
            async with asyncio.timeout(WAIT), program("zeromq_bridge.py", "--from", source, "--to", target) as bridge:
                url = await bridge.url()
                await publisher.recv()  # the bridge has subscribed
                async with connect(f"{url}/?topics=news") as reader, connect(f"{url}/?topics=weather") as other:
                    await publisher.send_multipart([b"news"])  # of the wrong shape: ignored
                    await publisher.send_multipart([b"news", b'["it works"]'])
                    await publisher.send_multipart([b"weather", b'"fine"'])
                    assert await reader.receive() == {"topic": "news", "data": ["it works"]}
                    assert await other.receive() == {"topic": "weather", "data": "fine"}
                    reader.write({"vote": 1})
                    assert await collector.recv_json() == {"from": await reader.id(), "data": {"vote": 1}}
        finally:
            context.destroy(linger=0)

    asyncio.run(main())


def test_fastapi_serves_routes_and_sessions_to_users_who_have_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "0" * 64)

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(import_module("fastapi_jwt").app, log_level="warning"))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(WAIT), aiohttp.ClientSession(url) as http:
                with pytest.raises(ConnectError, match="401"):
                    await connect(url).__aenter__()
                tokens = {}
                for user, password in {"ann": "secret", "ben": "hidden"}.items():
                    async with http.post("/login", json={"user": user, "password": password}) as answer:
                        tokens[user] = (await answer.json())["token"]
                bearer = {"Authorization": f"Bearer {tokens['ann']}"}
                async with (
                    connect(f"{url}/?token={tokens['ann']}") as ann,
                    connect(f"{url}/?token={tokens['ben']}") as ben,
                ):
                    assert await ann.receive() == await ben.receive() == {"orders": []}
                    async with http.post("/orders", params={"item": "tea"}, headers=bearer) as answer:
                        assert answer.status == 200
                    assert await ann.receive() == {"ordered": "tea"}
                    async with http.get("/orders", headers=bearer) as answer:
                        assert json.loads(await answer.text()) == ["tea"]
                async with connect(f"{url}/?token={tokens['ben']}") as ben:
                    assert await ben.receive() == {"orders": []}
        finally:
            server.should_exit = True
            await serving

    asyncio.run(main())
