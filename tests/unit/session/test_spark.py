"""A spark: what it shows of its request, reading, writing, ending (protocol 1, 4.3, 4.5, 5)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import (
    Address,
    CloseReason,
    ConnectionLost,
    DecodeError,
    EncodeError,
    Headers,
    LocalProtocolError,
    ReadyState,
    RemoteProtocolError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.encoding import encode
from primus_proto.session.transforms import Packet
from tests.unit.sessions import PEER, SPARK_OVER, Fussy, ServerHost, reason, request, story
from tests.unit.wires import TEXT, Frame, ServerWire, frame

SERVER_CLOSE = '"primus::server::close"'
GONE = "the connection is gone"
SPARK_LOSS = ["readyStateChange", "disconnection", "messages dropped", "end"]


@pytest.fixture
def host() -> ServerHost:
    return ServerHost()


# --- what it shows ---


def test_a_spark_shows_its_request(host: ServerHost) -> None:
    asked = request("a=1&a=2&ping=3000&pong=1000&_primuscb=x", headers=Headers({"X-A": "1"}))
    spark = host.server.open_spark(asked, now=host.now)
    assert spark.query == {"a": "2", "ping": "3000", "pong": "1000", "_primuscb": "x"}
    assert spark.request.query_pairs[:2] == [("a", "1"), ("a", "2")]
    assert spark.headers["x-a"] == "1"
    assert spark.address == PEER
    assert spark.heartbeat_timeout == 3.5
    assert (spark.context, spark.close_reason, spark.skipped) == (None, None, 0)
    assert spark.ready_state is ReadyState.OPEN


def test_the_address_of_a_client_behind_a_trusted_proxy_is_the_forwarded_one() -> None:
    host = ServerHost(trusted_proxies=["192.0.2.0/24"])
    spark = host.server.open_spark(request(headers=Headers({"X-Forwarded-For": "9.9.9.9"})), now=host.now)
    assert spark.address == Address("9.9.9.9", 0)


# --- reading ---


def test_data_of_every_kind_is_told_with_its_size(host: ServerHost) -> None:
    spark = host.connect()
    values = (0, False, None, "", "text", [1])
    for value in values:
        host.receive(spark, value)
    spark.receive_message(b"raw", now=host.now)
    events = host.fresh()
    assert events == [ev.SparkData(spark, value) for value in (*values, b"raw")]
    assert [event.size for event in events if isinstance(event, ev.SparkData)] == [1, 5, 4, 2, 6, 3, 3]


def test_a_message_that_cannot_be_decoded_is_an_error_in_its_place(host: ServerHost) -> None:
    spark = host.connect()
    host.receive(spark, 1)
    spark.receive_message("[" * 200_000, now=host.now)
    host.receive(spark, 2)
    first, error, logged, second = host.fresh()
    assert (first, second) == (ev.SparkData(spark, 1), ev.SparkData(spark, 2))
    assert isinstance(error, ev.SparkError)
    assert isinstance(error.error, DecodeError)
    assert logged == ev.Logged("error", f"spark {spark.id}: {error.error}")
    assert spark.is_open


def test_a_closed_spark_takes_nothing_in(host: ServerHost) -> None:
    spark = host.connect()
    spark.end()
    host.fresh()
    host.commanded()
    for message in ("data", "primus::ping::1", "primus::id::"):
        host.receive(spark, message)
    spark.receive_ping(now=host.now)
    assert (host.told(), host.commanded()) == ([], [])


# --- writing and ending ---


def test_write_sends_at_once(host: ServerHost) -> None:
    spark = host.connect()
    for value in (0, None, "", "x" * 1000):
        assert spark.write(value) is True
    assert host.sent() == [0, None, "", "x" * 1000]
    assert (spark.buffered, spark.needs_drain) == (0, False)


@pytest.mark.parametrize(
    ("verb", "args", "error"),
    [
        *[(verb, (value,), EncodeError) for verb in ("write", "end") for value in (SERVER_CLOSE[1:-1], b"x", {1})],
        *[
            ("end", ("x", code), LocalProtocolError)
            for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1, 1000.0, "1000", None)
        ],
        ("end", ("x", 1000, "\ud800"), LocalProtocolError),
    ],
)
def test_what_cannot_be_sent_raises_and_changes_nothing(
    host: ServerHost, verb: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    """Of close codes: RFC 6455, 7.4."""
    spark = host.connect()
    data, *close = args
    with pytest.raises(error):
        getattr(spark, verb)(data, **dict(zip(("code", "reason"), close, strict=False)))
    assert (host.told(), host.commanded()) == ([], [])
    assert spark.ready_state is ReadyState.OPEN


@pytest.mark.parametrize("code", [1000, 1003, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent_are(host: ServerHost, code: int) -> None:
    spark = host.connect()
    spark.end(code=code)
    assert host.commanded()[-1] == cmd.Close(code, "", spark)


def test_end_sends_the_last_value_and_says_that_the_server_closes(host: ServerHost) -> None:
    spark = host.connect()
    spark.end({"bye": 1}, code=4001, reason="später")
    assert host.commanded() == [
        cmd.SendMessage('{"bye":1}', spark),
        cmd.SendMessage(SERVER_CLOSE, spark),
        cmd.Close(4001, "später", spark),
    ]
    why = CloseReason("local", 4001, "später")
    assert spark.close_reason == why
    assert host.fresh() == [
        ev.SparkReadyStateChanged(spark),
        ev.SparkDisconnected(spark, why),
        ev.SparkEnded(spark, why),
    ]
    assert spark.ready_state is ReadyState.CLOSED
    assert host.server.spark(spark.id) is None
    assert host.server.next_timeout() is None


def test_end_with_reconnect_does_not_say_that_the_server_closes(host: ServerHost) -> None:
    spark = host.connect()
    spark.end("back soon", reconnect=True)
    assert host.told() == SPARK_OVER
    assert host.commanded() == [cmd.SendMessage('"back soon"', spark), cmd.Close(1000, "", spark)]


def test_nothing_can_be_written_or_ended_after_the_end(host: ServerHost) -> None:
    spark = host.connect()
    spark.end()
    host.fresh()
    host.commanded()
    assert (spark.write({1}), spark.write_message(encode(host.server.parser, "x"))) == (False, False)
    spark.end({1}, code=5, reason="\ud800")
    spark.end_with(encode(host.server.parser, "again"), reconnect=False)
    assert (host.told(), host.commanded()) == ([], [])


@pytest.mark.parametrize(
    ("error", "how", "kind"),
    [
        (None, {"code": 1000}, "client"),
        (None, {"code": 1005}, "client"),
        (None, {"code": 4000, "reason": "bye"}, "client"),
        (None, {}, "lost"),
        (ConnectionLost("reset"), {}, "lost"),
        ("reset by peer", {"code": 1001}, "lost"),
    ],
)
def test_a_spark_is_ended_by_the_client_or_lost(host: ServerHost, error: Any, how: dict[str, Any], kind: str) -> None:
    spark = host.connect()
    spark.connection_lost(error, now=host.now, **how)
    assert host.told() == SPARK_OVER
    assert host.commanded() == []
    why = reason(spark)
    assert (why.kind, why.code, why.reason) == (kind, how.get("code", 1006), how.get("reason", ""))
    if isinstance(error, str):
        assert isinstance(why.error, ConnectionLost)
        assert (str(why.error), why.error.code) == (error, 1001)
    spark.connection_lost(now=host.now)
    assert host.told() == []


def test_a_violation_by_the_client_is_told_first(host: ServerHost) -> None:
    spark = host.connect()
    violation = RemoteProtocolError("a bad frame")
    spark.connection_lost(violation, code=1002, now=host.now)
    events = host.fresh()
    assert events[0] == ev.SparkError(spark, violation)
    assert story(events) == ["error", "log", *SPARK_OVER]
    assert spark.close_reason == CloseReason("lost", 1002, "", violation)


@pytest.mark.parametrize("how", ["spark", "server"])
def test_a_spark_that_is_ended_amid_events_gets_no_more_data(host: ServerHost, how: str) -> None:
    spark, other = host.connect(), host.connect()
    for value in (1, 2):
        spark.receive_message(str(value), now=host.now)
        other.receive_message(str(value), now=host.now)
    items = host.server.poll(now=host.now)
    assert [next(items), next(items)] == [ev.SparkData(spark, 1), ev.SparkData(other, 1)]
    with pytest.raises(EncodeError):
        spark.end("primus::no")
    if how == "spark":
        spark.end("bye", reconnect=True)
    else:
        host.server.close()
    left = [item.spark for item in items if isinstance(item, ev.SparkData)]
    assert left == ([other] if how == "spark" else [])
    spark.refuse(EncodeError("late"))
    assert host.told() == []


def test_values_are_given_directly_unless_events_wait_and_until_the_end(host: ServerHost) -> None:
    spark = host.connect()
    given: list[Any] = []

    def take(value: Any, message: str | bytes) -> None:
        given.append((value, message))
        if value == 2:
            spark.end()

    spark.receive_message("0", now=host.now)
    spark.direct = take
    spark.receive_message("1", now=host.now)
    assert not given
    assert host.told() == ["data", "data"]
    spark.receive_messages(['"one"', '"primus::id::"', "2", "3", '"primus::what::"'], now=host.now)
    assert given == [("one", '"one"'), (2, "2")]
    assert host.told() == SPARK_OVER


def test_what_a_transform_delivers_is_withheld_after_an_end(host: ServerHost) -> None:
    spark = host.connect()
    spark.transform("incoming", lambda packet: packet.deliver(print))
    for value in (1, 2):
        spark.receive_message(str(value), now=host.now)
    items = host.server.poll(now=host.now)
    assert isinstance(next(items), ev.Delivery)
    spark.end()
    assert not [item for item in items if isinstance(item, ev.Delivery)]


def test_a_transform_that_ends_a_spark_gets_nothing_more(host: ServerHost) -> None:
    spark = host.connect()
    got = []

    def last(packet: Packet) -> None:
        got.append(packet.data)
        spark.end()

    spark.transform("incoming", last)
    spark.receive_messages(["1", "2"], now=host.now)
    assert got == [1]


def test_ending_a_lost_spark_withholds_its_data(host: ServerHost) -> None:
    spark = host.connect()
    spark.receive_message("1", now=host.now)
    spark.connection_lost(now=host.now)
    spark.end()
    assert "data" not in host.told()


# --- messages that a lost connection did not carry ---


def test_a_loss_reports_exactly_what_the_driver_was_not_given() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("given")
    wire.pump()
    wire.block(peer.channel)
    peer.send(frame(TEXT, '"primus::ping::1"') + frame(TEXT, '"primus::id::"'))  # answers are not reported
    spark.write("waits")
    wire.pump()
    spark.write("written in the same turn")
    wire.told()
    peer.eof("reset")
    assert peer.frames() == [Frame(TEXT, b'"given"')]
    events = wire.fresh()
    assert story(events) == SPARK_LOSS
    assert events[-2] == ev.SparkMessagesDropped(spark, ('"waits"', '"written in the same turn"'), GONE)


# --- pausing, and a parser that fails ---


def test_a_failing_parser_is_an_error_event_and_nothing_else_fails() -> None:
    host = ServerHost(parser=Fussy())
    spark = host.connect()
    spark.receive_message("primus::ping::1", now=host.now)
    assert host.told() == ["error", "log", "heartbeat"]
    spark.receive_message("primus::id::", now=host.now)
    told, _ = host.fresh()
    assert isinstance(told, ev.SparkError)
    assert (told.spark, str(told.error)) == (spark, f"not primus::id::{spark.id}")
    host.run(30.0)
    assert host.told() == ["heartbeat-skipped", "error", "log"]
    spark.end(5)
    assert host.told() == ["error", "log", *SPARK_OVER]
    assert host.commanded() == [cmd.SendMessage("5", spark), cmd.Close(1000, "", spark)]
