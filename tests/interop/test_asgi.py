"""The real client at our application under uvicorn: values, heartbeats, ends, refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from primus_io.asgi import Primus
from primus_proto import Limits, Refused
from tests.conformance.hosts_asgi import ServeUvicorn, ServeUvicornWsproto
from tests.interop.peers import EventLog, Peers, interop
from tests.interop.values import JSON_VALUES, canonical, mebibyte

OPENED = ["rsc(opening)", "rsc(open)", "open"]


@contextlib.asynccontextmanager
async def our_application(peers: Peers, serve: Any, **options: Any) -> AsyncIterator[tuple[Primus, EventLog]]:
    """Under uvicorn, on a free port; it echoes."""
    async with serve(None, **options) as primus:
        log = peers.record_server(primus)
        primus.on("connection", lambda spark: spark.on("data", spark.write))
        yield primus, log


@pytest.mark.parametrize("serve", [ServeUvicorn, ServeUvicornWsproto])
@interop()
async def test_a_session(peers: Peers, serve: Any) -> None:
    async with our_application(peers, serve, limits=Limits(heartbeat_min=0.05)) as (primus, log):
        options = {"ping": 100, "pong": 2000, "reconnect": {"min": 50}}
        client = await peers.client(f"{primus.url}/?token=a%20b", primus=options)
        spark = (await log.wait("connection"))["spark"]
        assert spark.query["token"] == "a b"
        assert (await client.ask("id"))["id"] == spark.id
        values = [*JSON_VALUES, mebibyte("ü")]
        for value in values:
            client.send("write", value=value)
        await client.until(lambda: len(client.values()) == len(values), "every echo")
        assert [canonical(value) for value in client.values()] == [canonical(value) for value in values]
        for _ in range(3):
            await log.wait("heartbeat")
        assert client.public() == [*OPENED, *["data"] * len(values)]
        spark.end(reconnect=True)
        (await log.wait("connection"))["spark"].end("bye")
        await client.wait("end")
        assert client.public()[-4:] == ["data", "rsc(end)", "close", "end"]
        assert (await client.wait("ws-close"))["code"] == 1000
        client.send("open")
        again = await log.wait("connection")
        client.send("end", value="last words")
        await log.wait("end", id=again["id"])
        assert log.all("data")[-1]["value"] == "last words"


@interop()
async def test_a_refusal_says_why(peers: Peers) -> None:
    def authorize(request: Any) -> None:
        raise Refused("no entry", authenticate="Basic")

    async with our_application(peers, ServeUvicorn, authorize=authorize) as (primus, _):
        client = await peers.client(primus.url, primus={"strategy": "disconnect, online"})
        refusal = await client.wait("unexpected-response")
        assert (refusal["status"], json.loads(refusal["body"])) == (401, {"error": "no entry"})
        assert refusal["headers"]["www-authenticate"] == "Basic"
        await client.wait("end")
