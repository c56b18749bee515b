"""A session's life: heartbeats, being lost and found, ids, and every way to end."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConnectionLost, Limits, LocalProtocolError
from tests.conformance.hosts import SOON, Host, scenario
from tests.conformance.peers import RawPeer
from tests.conformance.users import Diary, echo, take, why

EVENTS = (
    *("open", "close", "end", "error", "offline", "online", "timeout", "readyStateChange"),
    *("reconnect scheduled", "reconnect", "reconnected", "reconnect timeout", "reconnect failed"),
)
OPENED = ["readyStateChange(opening)", "readyStateChange(open)", "open"]
LOST = ["readyStateChange(end)", "close", "reconnect scheduled"]
FOUND = ["reconnect", "readyStateChange(opening)", "reconnected", "readyStateChange(open)", "open"]
ENDED = ["readyStateChange(end)", "close", "end"]


async def stay(spark: Any) -> None:
    """A handler that never ends its spark."""
    await spark.wait_ended()


# --- heartbeats ---


@scenario()
async def test_a_heartbeat_at_every_interval(host: Host) -> None:
    async with host.serve(stay) as server:
        beats: list[float] = []
        server.on("connection", lambda spark: spark.on("heartbeat", lambda: beats.append(host.time())))
        started = host.time()
        async with host.connect(server.url, ping=0.3, pong=2) as primus:
            assert primus.latency is not None
            assert 0 <= primus.latency < 1, "the time the open took"
            [spark] = server.sparks.values()
            assert spark.heartbeat_timeout == 1.3
            diary = Diary(host, primus, *EVENTS)
            await host.until(lambda: len(beats) == 2)
            await host.pause(0.05)
            assert 0 <= primus.latency < 1, "the time the pong took"
            assert diary.names == []
    assert started + 0.3 <= beats[0]
    assert started + 0.6 <= beats[1] < started + 0.6 + SOON


@scenario(needs=["sockets"])
async def test_a_peer_that_does_not_ping_flatlines(host: Host) -> None:
    reasons: list[Any] = []

    async def handler(spark: Any) -> None:
        await spark.wait_ended()
        reasons.append(spark.close_reason.kind)

    async with host.serve(handler, limits=Limits(heartbeat_min=0.1, close=0.3)) as server:
        diary = Diary(host, server, "connection", "heartbeat-skipped", "disconnection", "flatline")
        with RawPeer(server.port) as peer:
            await host.thread(peer.open, "/primus?ping=66&pong=66")
            await diary.wait("flatline")
            assert diary.names == ["connection", *["heartbeat-skipped"] * 2, "disconnection", "flatline"]
            spark = diary.all("connection")[0]
            assert diary.all("heartbeat-skipped") == [(spark, 1), (spark, 2)]
            assert diary.all("flatline") == [(spark, 3)]
            frames = [await host.thread(peer.frame) for _ in range(3)]
            assert [payload[:15] for _, payload in frames[:2]] == [b'"primus::pong::'] * 2
            assert frames[2] == (8, b"\x03\xe8"), "closed without primus::server::close: the client may come back"
        await host.until(lambda: reasons == ["flatline"])


# --- lost and found ---


@scenario()
async def test_the_server_ends_and_wants_the_client_back(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url, min=0.01, manual=True) as primus:
        diary = Diary(host, primus, *EVENTS, "data")
        primus.open()
        first = await primus.id()
        spark = server.spark(first)
        assert spark is not None
        spark.end({"see": "you"}, reconnect=True)
        assert spark.state == "closed"
        await diary.wait("close")
        assert why(primus) == "lost"
        for number in range(50):
            assert primus.write(number), "kept for the next connection"
        second = await primus.id()
        assert second != first
        [spark] = server.sparks.values()
        assert spark.id == second
        assert await take(spark, 50) == list(range(50))
        await diary.wait("open", 2)
        assert diary.names == [*OPENED, "data", *LOST, *FOUND]
        [scheduled] = diary.all("reconnect scheduled")
        assert (scheduled.attempt, scheduled.retries, scheduled.delay) == (1, 10, 0.01)
        assert isinstance(scheduled.error, ConnectionLost)


@scenario(needs=["clients"])
async def test_iteration_goes_on_over_reconnects_and_ends_with_the_end(host: Host) -> None:
    async def handler(spark: Any) -> None:
        sessions.append(spark)
        spark.write(len(sessions))
        spark.end(reconnect=len(sessions) < 4)

    sessions: list[Any] = []
    async with host.serve(handler) as server, host.connect(server.url, min=0.01, factor=1) as primus:
        assert [value async for value in primus] == [1, 2, 3, 4]
        assert why(primus) == "server"


# --- ends ---


@scenario()
async def test_the_client_ends(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        spark_diary = Diary(host, next(iter(server.sparks.values())), "readyStateChange", "end", "error")
        server_diary = Diary(host, server, "disconnection")
        diary = Diary(host, primus, *EVENTS)
        primus.end("bye")
        primus.end("a second time")
        assert primus.state == "closed"
        await diary.wait("end")
        assert diary.names == ENDED
        await spark_diary.wait("end")
        assert spark_diary.names == ["readyStateChange", "end"]
        assert len(server_diary.entries) == 1
        assert primus.close_reason is not None
        assert (primus.close_reason.kind, str(primus.close_reason)) == ("local", "local (1000)")


@scenario()
async def test_the_server_ends(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url) as primus:
        diary = Diary(host, primus, *EVENTS)
        [spark] = server.sparks.values()
        spark.end("bye")
        assert not server.sparks
        assert not spark.write("too late")
        assert not await spark.send("too late")
        assert [value async for value in primus] == ["bye"]
        await diary.says(ENDED)
        assert why(primus) == "server"
        assert why(spark) == "local"


@pytest.mark.parametrize("way", ["reset", "close"])
@scenario(needs=["sockets"])
async def test_a_peer_that_vanishes(host: Host, way: str) -> None:
    ended: list[Any] = []

    async def handler(spark: Any) -> None:
        assert [value async for value in spark] == []
        ended.append(spark.close_reason)

    async with host.serve(handler) as server:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            getattr(peer, way)()
            await host.until(lambda: ended)
    assert (ended[0].kind, ended[0].code) == ("lost", 1006)


def kept(primus: Any) -> int:
    """How many values have arrived that nobody has taken."""
    return len(primus._inbox or ()) + len(getattr(primus, "_received", ()))


@scenario(needs=["clients"])
async def test_what_was_not_read_before_leaving_can_be_read_afterwards(host: Host) -> None:
    async def handler(spark: Any) -> None:
        for number in range(3):
            spark.write(number)
        await stay(spark)

    async with host.serve(handler) as server, host.connect(server.url) as primus:
        assert await take(primus, 1) == [0]
        await host.until(lambda: kept(primus) == 2)
    assert [value async for value in primus] == [1, 2]

    async with host.serve(handler) as server, host.connect(server.url) as primus:
        await host.until(lambda: kept(primus) == 3)
    heard: list[Any] = []
    primus.on("data", heard.append)  # nothing runs any more that could call it
    assert [value async for value in primus] == [0, 1, 2]
    assert heard == []


@scenario(needs=["clients"])
async def test_the_network_goes_and_comes(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url, min=0.01) as primus:
        diary = Diary(host, primus, *EVENTS)
        primus.network_offline()
        await diary.wait("end")
        primus.network_online()
        await diary.wait("open")
        await primus.send("back")
        assert await take(primus, 1) == ["back"]


# --- ids ---


@scenario(needs=["clients"])
async def test_the_id_is_the_sparks(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url, wait=False) as primus:
        asking = [host.start(primus.id()) for _ in range(20)]
        for task in asking:
            await task.join()
        assert {task.result() for task in asking} == set(server.sparks)
        assert await primus.id() == asking[0].result()


@scenario(needs=["clients", "one thread"])
async def test_no_id_when_the_end_comes_before_the_answer(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url) as primus:
        asking = host.start(primus.id())
        primus.end()
        await asking.join()
        with pytest.raises(ConnectionLost, match="ended before the server sent the id"):
            asking.result()


@scenario(needs=["clients"])
async def test_no_id_after_the_end(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url) as primus:
        primus.end()
        await primus.wait_ended()
        with pytest.raises(ConnectionLost):
            await primus.id()
    with pytest.raises(ConnectionLost):
        await primus.id()
    assert not primus.write("left")
    assert not await primus.send("left")
    assert [value async for value in primus] == []
    with pytest.raises(LocalProtocolError):
        primus.open()
