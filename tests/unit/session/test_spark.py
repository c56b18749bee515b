"""A spark: what it tells of its request, writing and ending, the backlog, reading (protocol 1, 4.5, 5, 7)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import (
    Address,
    BacklogExceeded,
    CloseReason,
    ConnectionLost,
    DecodeError,
    EncodeError,
    Headers,
    Limits,
    LocalProtocolError,
    ReadyState,
    RemoteProtocolError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.link import encode
from tests.unit.sessions import PEER, ServerHost, SlowPipe, needs_drain, request, story

ENDING = ["readyStateChange", "disconnection", "end"]
SERVER_CLOSE = '"primus::server::close"'


# --- what it tells ---


def test_what_it_tells_of_its_request() -> None:
    host = ServerHost()
    asked = request("a=1&a=2&ping=3000&pong=1000&_primuscb=x", headers=Headers({"X-A": "1"}))
    spark = host.server.open_spark(asked, now=host.now)
    assert spark.query == {"a": "2", "ping": "3000", "pong": "1000", "_primuscb": "x"}
    assert spark.request.query_pairs[:2] == [("a", "1"), ("a", "2")]
    assert spark.headers["x-a"] == "1"
    assert spark.address == PEER
    assert (spark.address.ip, spark.address.port) == PEER
    assert spark.heartbeat_timeout == 3.5
    assert (spark.context, spark.close_reason, spark.skipped) == (None, None, 0)
    assert spark.ready_state is ReadyState.OPEN


def test_the_address_behind_a_trusted_proxy() -> None:
    host = ServerHost(trusted_proxies=["192.0.2.0/24"])
    spark = host.server.open_spark(request(headers=Headers({"X-Forwarded-For": "9.9.9.9"})), now=host.now)
    assert spark.address == Address("9.9.9.9", 0)


def test_ids_are_128_random_bits_and_never_repeat() -> None:
    host = ServerHost()
    ids = {host.connect().id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 32 and int(id, 16) >= 0 for id in ids)
    bits = [int(id, 16) for id in ids]
    assert all(len({number >> bit & 1 for number in bits}) == 2 for bit in range(128))


def test_sparks_compare_by_identity() -> None:
    host = ServerHost()
    first, second = host.connect(), host.connect()
    assert first != second
    assert len({first, second}) == 2


# --- writing ---


def test_write() -> None:
    host = ServerHost()
    spark = host.connect()
    for value in (0, None, "", "x"):
        assert spark.write(value) is True
    assert host.commanded() == [cmd.SendMessage(text, spark) for text in ("0", "null", '""', '"x"')]
    assert spark.buffered == 0


@pytest.mark.parametrize("value", ["primus::server::close", b"x", {1}])
def test_what_cannot_be_sent_raises_and_changes_nothing(value: Any) -> None:
    host = ServerHost()
    spark = host.connect()
    for verb in (spark.write, spark.end):
        with pytest.raises(EncodeError):
            verb(value)
    assert (host.told(), host.commanded()) == ([], [])
    assert spark.ready_state is ReadyState.OPEN


def test_write_on_a_closed_spark() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    host.fresh()
    host.commanded()
    assert spark.write("x") is False
    assert spark.write({1}) is False
    assert spark.write_message(encode(host.server.parser, "x")) is False
    assert (host.told(), host.commanded()) == ([], [])


# --- ending ---


def test_end() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    assert host.told() == ENDING
    assert host.commanded() == [cmd.SendMessage(SERVER_CLOSE, spark), cmd.Close(1000, "", spark)]
    assert spark.close_reason == CloseReason("local")
    assert spark.ready_state is ReadyState.CLOSED
    assert host.server.next_timeout() is None


def test_end_with_a_last_value_and_words_of_ones_own() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end({"bye": 1}, code=4001, reason="später")
    assert host.commanded() == [
        cmd.SendMessage('{"bye":1}', spark),
        cmd.SendMessage(SERVER_CLOSE, spark),
        cmd.Close(4001, "später", spark),
    ]
    assert spark.close_reason == CloseReason("local", 4001, "später")


def test_end_with_reconnect_does_not_say_so() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end("back soon", reconnect=True)
    assert host.told() == ENDING
    assert host.commanded() == [cmd.SendMessage('"back soon"', spark), cmd.Close(1000, "", spark)]


def test_a_second_end_changes_nothing() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    host.fresh()
    host.commanded()
    spark.end("again", code=5, reason="\ud800")
    spark.end({1})
    spark.end_with(encode(host.server.parser, "again"), reconnect=False)
    assert (host.told(), host.commanded()) == ([], [])


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end(code=code)
    assert host.commanded()[-1] == cmd.Close(code, "", spark)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000, 70000, -1, 1000.0, "1000", None])
def test_codes_that_may_not(code: Any) -> None:
    """RFC 6455, 7.4; and what would not even fit into a frame."""
    host = ServerHost()
    spark = host.connect()
    with pytest.raises(LocalProtocolError, match="code must be a close code"):
        spark.end("x", code=code)
    assert (host.told(), host.commanded()) == ([], [])
    assert spark.ready_state is ReadyState.OPEN


def test_a_reason_that_cannot_be_sent() -> None:
    host = ServerHost()
    spark = host.connect()
    with pytest.raises(LocalProtocolError, match="reason cannot be sent"):
        spark.end("x", reason="\ud800")
    assert (host.told(), host.commanded()) == ([], [])


@pytest.mark.parametrize(
    ("error", "how", "kind"),
    [
        (None, {"code": 1000}, "client"),
        (None, {"code": 1005}, "client"),
        (None, {"code": 4000, "reason": "bye"}, "client"),
        (None, {}, "lost"),
        (ConnectionLost("reset"), {}, "lost"),
        ("reset by peer", {}, "lost"),
    ],
)
def test_the_client_ends_it_or_is_lost(error: Any, how: dict[str, Any], kind: str) -> None:
    host = ServerHost()
    spark = host.connect()
    spark.connection_lost(error, now=host.now, **how)
    assert host.told() == ENDING
    assert host.commanded() == []
    assert spark.close_reason is not None
    assert (spark.close_reason.kind, spark.close_reason.code) == (kind, how.get("code", 1006))
    assert spark.close_reason.reason == how.get("reason", "")
    spark.connection_lost(now=host.now)
    assert host.told() == []


def test_lost_by_the_clients_violation() -> None:
    host = ServerHost()
    spark = host.connect()
    violation = RemoteProtocolError("a bad frame")
    spark.connection_lost(violation, code=1002, now=host.now)
    events = host.fresh()
    assert events[0] == ev.SparkError(spark, violation)
    assert story(events) == ["error", "log", *ENDING]
    assert spark.close_reason == CloseReason("lost", 1002, "", violation)


def test_the_registry_is_right_at_each_of_these_events() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    assert host.server.spark(spark.id) is None
    assert host.fresh()[1:] == [
        ev.SparkDisconnected(spark, CloseReason("local")),
        ev.SparkEnded(spark, CloseReason("local")),
    ]


# --- reading ---


def test_data_of_every_kind() -> None:
    host = ServerHost()
    spark = host.connect()
    for value in (0, False, None, "", "text", [1]):
        host.receive(spark, value)
    spark.receive_message(b"raw", now=host.now)
    assert host.fresh() == [ev.SparkData(spark, value) for value in (0, False, None, "", "text", [1], b"raw")]


def test_what_cannot_be_decoded_is_an_error_in_its_place() -> None:
    host = ServerHost()
    spark = host.connect()
    host.receive(spark, 1)
    spark.receive_message("[" * 200_000, now=host.now)
    host.receive(spark, 2)
    first, error, logged, second = host.fresh()
    assert (first, second) == (ev.SparkData(spark, 1), ev.SparkData(spark, 2))
    assert isinstance(error, ev.SparkError)
    assert isinstance(error.error, DecodeError)
    assert logged == ev.Logged("error", f"spark {spark.id}: {error.error}")
    assert host.server.spark(spark.id) is spark


@pytest.mark.parametrize(
    "text",
    [
        "primus::unknown::x",
        "primus::",
        "primus::ping",
        "primus::pong::1",
        "primus::server::close",
        "primus::id::abc",
        "primus::ping::" + "1" * 65,
    ],
)
def test_unknown_protocol_messages_are_ignored_but_not_unseen(text: str) -> None:
    """Protocol 1."""
    host = ServerHost()
    spark = host.connect()
    host.receive(spark, text)
    assert host.fresh() == [ev.SparkMessageIgnored(spark, text)]
    assert host.commanded() == []


def test_the_id_is_told() -> None:
    host = ServerHost()
    spark = host.connect()
    host.receive(spark, "primus::id::")
    assert host.sent() == [f"primus::id::{spark.id}"]
    assert host.told() == []


def test_nothing_is_taken_in_when_closed() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    host.fresh()
    host.commanded()
    for message in ("data", "primus::ping::1", "primus::id::"):
        host.receive(spark, message)
    spark.receive_ping(now=host.now)
    assert (host.told(), host.commanded()) == ([], [])


# --- the backlog ---


def test_the_backlog_is_counted_before_the_message_at_hand() -> None:
    """Protocol 7: one large message to an idle spark always goes out."""
    host = ServerHost(limits=Limits(backlog=100))
    spark = host.connect(pipe=SlowPipe())
    assert spark.write("x" * 1000) is True
    assert host.told() == []
    assert spark.write("one too many") is False
    events = host.fresh()
    assert story(events) == ["error", "log", *ENDING[:-1], "messages dropped", "end"]
    assert isinstance(events[0], ev.SparkError)
    assert isinstance(events[0].error, BacklogExceeded)
    assert str(events[0].error).startswith("1002 bytes wait")
    assert events[-2] == ev.SparkMessagesDropped(spark, (f'"{"x" * 1000}"',), "the connection is gone")
    assert spark.close_reason == CloseReason("backlog", 1006, "", events[0].error)
    assert spark.pipe.aborted


def test_at_the_limit_is_not_over_it() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    spark = host.connect(pipe=SlowPipe())
    assert spark.write("x" * 98)
    assert spark.buffered == 100
    assert spark.write("x")
    assert not spark.write("x")


def test_a_last_value_over_the_backlog_cuts_instead() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 1000)
    spark.end("bye")
    events = host.fresh()
    assert story(events) == ["error", "log", *ENDING[:-1], "messages dropped", "end"]
    assert events[-2] == ev.SparkMessagesDropped(spark, (f'"{"x" * 1000}"', '"bye"'), "the connection is gone")
    assert spark.close_reason is not None
    assert spark.close_reason.kind == "backlog"
    assert pipe.payloads() == []


def test_an_end_without_one_does_not() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 1000)
    spark.end()
    assert host.told() == ENDING
    assert pipe.payloads()[-1] == SERVER_CLOSE
    assert pipe.ending == (1000, "")


def test_crowded_and_drained() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 48)
    assert not needs_drain(spark)
    spark.drained()
    spark.write("y")
    assert needs_drain(spark)
    spark.drained()
    assert needs_drain(spark)
    pipe.take()
    spark.drained()
    assert not needs_drain(spark)
    assert host.fresh() == [ev.SparkDrained(spark)]
    spark.drained()
    assert host.told() == []


def test_half_the_limit_is_room_enough() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("y")
    spark.write("x" * 48)
    assert needs_drain(spark)
    pipe.take()
    assert spark.buffered == 50
    spark.drained()
    assert not needs_drain(spark)


def test_a_closed_spark_is_not_crowded_and_does_not_drain() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 60)
    spark.end()
    host.fresh()
    pipe.flush(now=host.now)
    spark.drained()
    assert not needs_drain(spark)
    assert host.told() == []


def test_at_the_message_seam_nothing_waits() -> None:
    host = ServerHost(limits=Limits(backlog=100))
    spark = host.connect()
    assert spark.write("x" * 1000)
    assert spark.write("x" * 1000)
    assert (spark.buffered, spark.needs_drain) == (0, False)


# --- pausing, and parsers of one's own ---


def test_pausing_is_the_pipes() -> None:
    host = ServerHost()
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.resume()
    spark.pause()
    spark.pause()
    spark.resume()
    assert pipe.heard == ["pause", "resume"]
    spark.pause()
    spark.end()
    spark.resume()
    spark.pause()
    assert pipe.heard == ["pause", "resume", "pause"], "what becomes of it after the end is its transport's business"


class Fussy:
    """A parser that refuses the protocol's own strings, but for the pings it decodes to."""

    name = "fussy"

    binary = False

    def encode(self, value: Any) -> str:
        if isinstance(value, str) and value.startswith("primus::"):
            raise KeyError(value)
        return str(value)

    def decode(self, data: str | bytes) -> Any:
        return data


def test_a_failing_parser_is_an_event_and_nothing_else_fails() -> None:
    host = ServerHost(parser=Fussy())
    spark = host.connect()
    spark.receive_message("primus::ping::1", now=host.now)
    assert host.told() == ["error", "log", "heartbeat"]
    spark.receive_message("primus::id::", now=host.now)
    assert host.told() == ["error", "log"]
    host.run(30.0)
    assert host.told() == ["heartbeat-skipped", "error", "log"]
    spark.end(5)
    assert host.told() == ["error", "log", *ENDING]
    assert host.commanded() == [cmd.SendMessage("5", spark), cmd.Close(1000, "", spark)]
