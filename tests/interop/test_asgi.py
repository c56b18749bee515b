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
SERVERS = pytest.mark.parametrize("serve", [ServeUvicorn, ServeUvicornWsproto])


@contextlib.asynccontextmanager
async def our_application(peers: Peers, serve: Any, **options: Any) -> AsyncIterator[tuple[Primus, EventLog]]:
    """Under uvicorn, on a free port; it echoes."""
    async with serve(None, **options) as primus:
        log = peers.record_server(primus)
        primus.on("connection", lambda spark: spark.on("data", spark.write))
        yield primus, log


@SERVERS
@interop()
async def test_every_json_type_and_a_mebibyte_both_ways(peers: Peers, serve: Any) -> None:
    async with our_application(peers, serve) as (primus, log):
        client = await peers.client(f"{primus.url}/?token=a%20b")
        assert (await log.wait("connection"))["spark"].query["token"] == "a b"
        values = [*JSON_VALUES, mebibyte("ü")]
        for value in values:
            client.send("write", value=value)
        await client.until(lambda: len(client.values()) == len(values), "every echo")
        assert [canonical(value) for value in client.values()] == [canonical(value) for value in values]


@SERVERS
@interop()
async def test_heartbeats_and_the_id(peers: Peers, serve: Any) -> None:
    async with our_application(peers, serve, limits=Limits(heartbeat_min=0.05)) as (primus, log):
        client = await peers.client(primus.url, primus={"ping": 100, "pong": 500})
        spark = (await log.wait("connection"))["spark"]
        beats: list[int] = []
        spark.on("heartbeat", lambda: beats.append(1))
        assert (await client.ask("id"))["id"] == spark.id
        await client.until(lambda: len(beats) >= 3, "three heartbeats")
        assert client.public() == OPENED


@SERVERS
@interop()
async def test_each_end_ends_it(peers: Peers, serve: Any) -> None:
    async with our_application(peers, serve) as (primus, log):
        client = await peers.client(primus.url)
        await log.wait("connection")
        client.send("end", value="last words")
        await log.wait("end")
        assert log.all("data")[0]["value"] == "last words"

        client = await peers.client(primus.url, primus={"reconnect": {"min": 50}})
        (await log.wait("connection"))["spark"].end(reconnect=True)
        (await log.wait("connection"))["spark"].end("bye")
        await client.wait("end")
        assert client.public()[-4:] == ["data", "rsc(end)", "close", "end"]
        assert (await client.wait("ws-close"))["code"] == 1000


@SERVERS
@interop()
async def test_a_refusal_says_why(peers: Peers, serve: Any) -> None:
    def authorize(request: Any) -> None:
        raise Refused("no entry", authenticate="Basic")

    async with our_application(peers, serve, authorize=authorize) as (primus, _):
        client = await peers.client(primus.url, primus={"strategy": "disconnect, online"})
        refusal = await client.wait("unexpected-response")
        assert (refusal["status"], json.loads(refusal["body"])) == (401, {"error": "no entry"})
        assert refusal["headers"]["www-authenticate"] == "Basic"
        await client.wait("end")
