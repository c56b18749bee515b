"""The server: its registry, broadcast, closing (protocol 4.5), and what a host that speaks HTTP answers (2 and 6)."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from primus_proto import (
    CloseReason,
    ConfigError,
    EncodeError,
    Headers,
    LocalProtocolError,
    Request,
    Response,
    Server,
    ServerConfig,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.spec import spec_response
from primus_proto.parsers import JSONParser
from tests.unit.sessions import PEER, SPARK_OVER, START, ServerHost, SlowPipe, commanded, polled, request

SERVER_CLOSE = '"primus::server::close"'


@pytest.fixture
def host() -> ServerHost:
    return ServerHost()


def test_a_server_is_ready_at_once() -> None:
    server = Server(rng=random.Random(1))
    assert polled(server, now=0.0) == ([ev.Initialised()], [])
    assert polled(server, now=0.0) == ([], [])
    assert server.config == ServerConfig()
    assert server.next_timeout() is None


def test_without_an_offset_the_drivers_clock_is_unix_time() -> None:
    server = Server(rng=random.Random(1))
    spark = server.open_spark(request(), now=0.0)
    server.handle_timeout(now=30.0)
    assert commanded(server, now=30.0) == [cmd.SendMessage('"primus::pong::30000"', spark)]


def test_the_registry_has_the_open_sparks(host: ServerHost) -> None:
    first = host.server.open_spark(request(), now=host.now)
    assert host.fresh() == [ev.SparkConnected(first)]
    second = host.connect()
    assert len(host.server) == 2
    assert list(host.server) == [first, second]
    assert host.server.spark(first.id) is first
    assert host.server.sparks == {first.id: first, second.id: second}
    first.end()
    assert host.server.spark(first.id) is None
    assert list(host.server) == [second]


def test_sparks_may_end_and_come_while_you_iterate(host: ServerHost) -> None:
    sparks = [host.connect() for _ in range(3)]
    for spark in host.server:
        spark.end()
        host.connect()
    assert not any(spark.is_open for spark in sparks)
    assert len(host.server) == 3


def test_ids_are_128_bits_of_the_randomness_given() -> None:
    def ids(seed: int) -> list[str]:
        server = Server(rng=random.Random(seed))
        return [server.open_spark(request(), now=0.0).id for _ in range(100)]

    assert ids(1) == ids(1) != ids(2)
    assert len({*ids(1)}) == 100
    assert {len(id) for id in ids(1)} == {32}
    assert all(len({int(id, 16) >> bit & 1 for id in ids(1)}) == 2 for bit in range(128))


# --- broadcast ---


class Counting(JSONParser):
    """Counts how often it encodes."""

    encoded = 0

    def encode(self, value: Any) -> str:
        self.encoded += 1
        return super().encode(value)


def test_a_broadcast_is_encoded_once_and_sent_to_all_but_the_excluded() -> None:
    parser = Counting()
    host = ServerHost(parser=parser)
    pipes = [SlowPipe() for _ in range(10)]
    sparks = [host.connect(pipe=pipe) for pipe in pipes]
    assert host.server.write({"to": "all"}, exclude=[sparks[3]]) == 9
    assert parser.encoded == 1
    taken = [message for pipe in pipes for message in pipe.take_all()]
    assert len(taken) == 9
    assert len({id(message) for message in taken}) == 1
    assert pipes[3].buffered == 0


def test_a_delay_may_be_cancelled_before_its_time_is_known(host: ServerHost) -> None:
    over: list[str] = []
    host.server.after(1, lambda now: over.append("kept"))
    host.server.after(1, lambda now: over.append("cancelled")).cancel()
    host.run(2)
    assert over == ["kept"]


def test_a_wrong_broadcast_raises_and_changes_nothing(host: ServerHost) -> None:
    spark = host.connect()
    with pytest.raises(LocalProtocolError, match="exclude takes sparks as the core's events carry them; got "):
        host.server.write(1, exclude=[spark.id])  # type: ignore[list-item]
    with pytest.raises(LocalProtocolError, match="to takes sparks as the core's events carry them; got "):
        host.server.write(1, to=[spark.id])  # type: ignore[list-item]
    with pytest.raises(LocalProtocolError, match="another server"):
        host.server.write(1, to=[ServerHost().connect()])
    for value in ("primus::x", {1}, b"x"):
        with pytest.raises(EncodeError):
            host.server.write(value)
    assert (host.told(), host.commanded()) == ([], [])


# --- closing ---


@pytest.mark.parametrize("reconnect", [False, True])
def test_close_ends_every_spark_and_then_says_so(host: ServerHost, reconnect: bool) -> None:
    sparks = host.connect(), host.connect()
    host.server.close("bye", reconnect=reconnect)
    assert host.server.closing
    assert host.told() == [*SPARK_OVER, *SPARK_OVER, "close"]
    texts = ['"bye"', *([] if reconnect else [SERVER_CLOSE])]
    commands = [[*(cmd.SendMessage(text, spark) for text in texts), cmd.Close(1000, "", spark)] for spark in sparks]
    assert host.commanded() == [*commands[0], *commands[1]]
    assert host.server.next_timeout() is None
    host.server.close()
    assert host.told() == []


def test_close_encodes_the_last_value_once_and_at_once() -> None:
    parser = Counting()
    host = ServerHost(parser=parser)
    pipes = [SlowPipe() for _ in range(5)]
    for pipe in pipes:
        host.connect(pipe=pipe)
    words: list[Any] = ["bye"]
    host.server.close(words, reconnect=True, timeout=5.0)
    words.append({1})  # cannot be sent
    host.run(5.0)
    assert parser.encoded == 1
    taken = [pipe.take_all()[0] for pipe in pipes]
    assert len({id(message) for message in taken}) == 1
    assert taken[0].payload == '["bye"]'


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_close_after_a_time_keeps_sessions_until_then(host: ServerHost, seconds: float) -> None:
    spark = host.connect("ping=false")
    host.server.close("bye", timeout=seconds)
    host.server.close("second")  # changes nothing
    assert host.told() == []
    assert host.server.next_timeout() == START + seconds
    assert spark.write("still here")
    host.run(seconds - 0.25)
    assert host.told() == []
    host.run(0.25)
    assert host.told() == [*SPARK_OVER, "close"]
    assert host.sent() == ["still here", "bye", "primus::server::close"]
    assert host.server.next_timeout() is None


def test_close_after_a_time_is_over_once_the_last_spark_is_gone(host: ServerHost) -> None:
    spark = host.connect("ping=false")
    host.server.close(timeout=5.0)
    host.pump()
    spark.connection_lost(code=1000, now=host.now)
    assert host.told() == [*SPARK_OVER, "close"]
    assert host.server.next_timeout() is None


@pytest.mark.parametrize(
    ("data", "timeout", "error"),
    [
        ("primus::x", 0.0, EncodeError),
        ({1}, 0.0, EncodeError),
        *[("bye", seconds, LocalProtocolError) for seconds in (-1.0, math.nan, math.inf)],
    ],
)
def test_a_wrong_close_raises_and_closes_nothing(
    host: ServerHost, data: Any, timeout: float, error: type[Exception]
) -> None:
    host.connect()
    with pytest.raises(error):
        host.server.close(data, timeout=timeout)
    assert not host.server.closing
    assert (host.told(), host.commanded()) == ([], [])


@pytest.mark.parametrize("timeout", [0.0, 5.0])
@pytest.mark.parametrize("reconnect", [False, True])
def test_a_session_that_opens_while_closing_is_ended_like_the_others(
    host: ServerHost, timeout: float, reconnect: bool
) -> None:
    host.server.close("bye", reconnect=reconnect, timeout=timeout)
    spark = host.server.open_spark(request(), now=host.now)
    assert spark.close_reason == CloseReason("local")
    assert host.sent() == ["bye", *([] if reconnect else ["primus::server::close"])]
    assert host.told() == ["connection", *SPARK_OVER, "close"]


def test_close_waits_without_a_timer_for_what_is_still_busy(host: ServerHost) -> None:
    busy = True
    host.server.watch_busy(lambda: busy)
    host.connect()
    host.server.close()
    assert host.told() == SPARK_OVER
    assert host.server.next_timeout() is None
    busy = False
    assert host.told() == ["close"]


# --- what a host answers to requests ---

UPGRADE = ("Upgrade", "WebSocket")


def head(target: str, *headers: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, target, Headers(headers), PEER)


@pytest.mark.parametrize("target", ["/primus", "/primus?a=b", "/primus/deeper", "/primus/spec"])
def test_a_handshake_under_the_pathname_asks_for_a_session(host: ServerHost, target: str) -> None:
    for _ in range(2):
        assert host.server.answer(head(target, UPGRADE)) == Headers()
    refused = host.server.answer(head(target, UPGRADE, method="POST"))
    assert isinstance(refused, Response)
    assert refused.status == 426
    assert (host.told(), host.commanded(), host.server.next_timeout()) == ([], [], None)


@pytest.mark.parametrize(
    ("options", "version", "member"),
    [
        ({}, "6.0.1", {"timeout": 35000}),
        ({"dialect": "happn", "timeout": False}, "6.0.1", {"timeout": 35000}),
        ({"dialect": "primus6", "timeout": 2.5}, "6.1.0", {"timeout": 2500}),
        ({"dialect": "primus6", "timeout": 0}, "6.1.0", {"timeout": False}),
        ({"dialect": "primus"}, "8.0.9", {"pingInterval": 30000}),
        ({"dialect": "primus", "ping_interval": False}, "8.0.9", {"pingInterval": False}),
    ],
)
def test_the_spec_tells_the_heartbeat_of_the_dialect(options: Any, version: str, member: dict[str, Any]) -> None:
    spec = json.loads(spec_response(ServerConfig(**options)).body)
    common = {"version": version, "pathname": "/primus", "parser": "json", "transformer": "websockets"}
    assert spec == {**common, **member}
    ((name, value),) = member.items()
    assert type(spec[name]) is type(value), "False is not 0"


@pytest.mark.parametrize("reconnect", ["no", 0, None])
def test_only_true_has_clients_come_back(reconnect: Any) -> None:
    """A word like "no" would count as a yes."""
    host = ServerHost()
    spark = host.connect()
    for end in (spark.end, host.server.close):
        with pytest.raises(ConfigError, match="reconnect must be True or False"):
            end(reconnect=reconnect)
    assert spark.is_open
    assert not host.server.closing
