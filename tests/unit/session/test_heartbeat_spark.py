"""A spark's heartbeat in each dialect, and how the dialect is found out (protocol 3.2 to 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import CloseReason, Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.heartbeat_spark import learned_heartbeat
from tests.unit.sessions import SPARK_OVER, START, ServerHost, epoch_ms, request, story

NO_DIALECT = "_primuscb=1"  # a query that does not tell the dialect
DEFAULT = (25.0, 10.0)


# --- what the connect URL tells ---


@pytest.mark.parametrize(
    ("query", "learned"),
    [
        ("ping=300&pong=100", (0.3, 0.1)),
        ("ping=2000.&pong=0", (2.0, 0.0)),
        ("ping=007", (0.007, 10.0)),
        ("ping=" + "9" * 5000, (float("inf"), 10.0)),  # the spark holds it within `Limits`
        ("ping=false&pong=10000", None),
        ("ping=0&pong=10000", None),
        ("", DEFAULT),
        ("pong=4000", (25.0, 4.0)),
        ("ping=&pong=", DEFAULT),
        ("ping=abc&pong=x", DEFAULT),
        ("ping=-1&pong=-1", DEFAULT),
        ("ping=1e3&pong=1e3", DEFAULT),
        ("ping=Infinity&pong=1e309", DEFAULT),
        ("ping=0x10&pong=NaN", DEFAULT),
        ("ping=%D9%A1%D9%A2", DEFAULT),  # Arabic digits
        ("pong=false", DEFAULT),
        ("ping=1000&ping=1000", DEFAULT),
        ("pong=1&pong=2&ping=3000", (3.0, 10.0)),
        ("Ping=1&PONG=1", DEFAULT),
    ],
)
def test_ping_and_pong_are_read_from_the_connect_url(query: str, learned: tuple[float, float] | None) -> None:
    assert learned_heartbeat(request(query)) == learned


@pytest.mark.parametrize(
    ("query", "limits", "timeout"),
    [
        ("ping=4000&pong=3000", Limits(), 5.5),
        ("ping=0.1&pong=0", Limits(), 1.0),
        ("ping=599000&pong=1000", Limits(), 599.5),
        ("ping=2000000000", Limits(), 600.0),
        ("ping=" + "9" * 500, Limits(), 600.0),
        ("ping=1000&pong=" + "9" * 400, Limits(), 600.0),
        ("ping=false", Limits(), None),
        ("ping=100&pong=100", Limits(heartbeat_min=2.0), 2.0),
        ("ping=100000", Limits(heartbeat_max=20.0), 20.0),
    ],
)
def test_the_timeout_is_held_within_limits(query: str, limits: Limits, timeout: float | None) -> None:
    host = ServerHost(dialect="happn", limits=limits)
    spark = host.connect(query)
    assert spark.heartbeat_timeout == timeout
    assert host.server.next_timeout() == (None if timeout is None else START + timeout)


@pytest.mark.parametrize("query", ["ping=25000", "pong=1", "ping=", "ping=false"])
def test_ping_or_pong_in_the_url_means_happn(query: str) -> None:
    assert ServerHost().connect(query).dialect == "happn"


# --- happn: signs of life ---


def test_each_ping_is_answered_with_its_value_and_is_a_heartbeat() -> None:
    host = ServerHost(pong_skip_time=0)
    spark = host.connect()
    for value in ("1795369060554", "abc", "a:b::c", "", "1" * 64):
        host.ping(spark, value)
        assert host.sent() == [f"primus::pong::{value}"]
        assert host.fresh() == [ev.SparkHeartbeat(spark)]


@pytest.mark.parametrize("websocket", [False, True])
def test_a_ping_of_either_kind_restarts_the_timer_and_the_count(websocket: bool) -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(40.0)
    assert spark.skipped == 1
    host.fresh()
    host.commanded()
    if websocket:
        spark.receive_ping(now=host.now)
    else:
        host.ping(spark)
    assert host.fresh() == [ev.SparkHeartbeat(spark)]
    assert host.sent() == ([] if websocket else ["primus::pong::1"])
    assert spark.skipped == 0
    assert host.server.next_timeout() == START + 70.0


def test_no_other_message_restarts_the_timer() -> None:
    """Otherwise data would put off the unsolicited pong until it is too late."""
    host = ServerHost()
    spark = host.connect()
    host.run(10.0)
    for message in ("data", "primus::id::", "primus::pong::1", "primus::ping"):
        host.receive(spark, message)
    spark.receive_message("{", now=host.now)
    assert host.server.next_timeout() == START + 30.0


def test_a_client_without_heartbeat_has_no_timer_but_its_pings_are_answered() -> None:
    host = ServerHost()
    spark = host.connect("ping=false")
    host.ping(spark)
    spark.receive_ping(now=host.now)
    assert host.sent() == ["primus::pong::1"]
    assert host.told() == ["heartbeat", "heartbeat"]
    assert host.server.next_timeout() is None


# --- happn: skips and flatline ---


@pytest.mark.parametrize("allowed", [2, 3, 7])
def test_after_the_allowed_skips_the_spark_flatlines(allowed: int) -> None:
    host = ServerHost(allow_skipped_heartbeats=allowed)
    spark = host.connect()
    for count in range(1, allowed + 1):
        host.run(30.0)
        assert host.fresh() == [ev.HeartbeatSkipped(spark, count)]
        assert host.sent() == [f"primus::pong::{epoch_ms(host.now)}"]
        assert spark.skipped == count
    host.run(30.0)
    events = host.fresh()
    assert story(events) == [*SPARK_OVER, "flatline"]
    assert events[-1] == ev.Flatlined(spark, allowed + 1)
    assert host.commanded() == [cmd.Close(1000, "", spark)], "no primus::server::close: the client is to come back"
    assert spark.close_reason == CloseReason("flatline")
    assert host.server.next_timeout() is None
    assert host.wakes == allowed + 1


def test_heartbeat_max_bounds_the_silence_not_the_first_timeout() -> None:
    host = ServerHost(limits=Limits(heartbeat_max=54.0))
    spark = host.connect()
    host.run(29.999)
    assert (host.told(), host.sent()) == ([], [])
    host.run(0.001)
    assert (host.told(), len(host.sent())) == (["heartbeat-skipped"], 1)
    host.run(23.999)
    assert host.told() == []
    host.run(0.001)
    assert host.fresh()[-1] == ev.Flatlined(spark, 2)


# --- happn: pongs are not repeated ---


def test_pings_that_come_together_get_one_answer() -> None:
    host = ServerHost()
    spark = host.connect()
    for value in "abc":
        host.ping(spark, value)
    assert host.sent() == ["primus::pong::a"]
    assert host.told() == ["heartbeat"] * 3
    other = host.connect()
    host.ping(other)
    assert host.sent() == ["primus::pong::1"], "another spark is not concerned"


@pytest.mark.parametrize(("ping", "skip", "least"), [(25.0, 1.0, 1.0), (1.0, 1.0, 0.5), (2.0, 0.25, 0.25)])
def test_pongs_are_pong_skip_time_apart_or_half_of_the_clients_ping(ping: float, skip: float, least: float) -> None:
    host = ServerHost(pong_skip_time=skip)
    spark = host.connect(f"ping={ping * 1000:.0f}&pong=10000")
    host.ping(spark)
    host.run(least - 0.0625)
    host.ping(spark)
    assert len(host.sent()) == 1
    host.run(0.0625)
    host.ping(spark)
    assert len(host.sent()) == 1


def test_a_ping_that_gets_no_second_answer_is_a_heartbeat_but_does_not_restart_the_timer() -> None:
    """The client counts from the pong that it got, so the next unsolicited one must not leave later for this ping."""
    host = ServerHost()
    spark = host.connect()
    host.run(30.5)
    assert len(host.sent()) == 1
    host.fresh()
    host.ping(spark)
    assert host.sent() == []
    assert host.fresh() == [ev.SparkHeartbeat(spark)]
    assert spark.skipped == 0
    assert host.server.next_timeout() == START + 60.0
    host.run(0.5)
    host.ping(spark)
    assert host.server.next_timeout() == START + 61.0, "this one is answered"
    host.run(0.25)
    host.ping(spark)
    assert host.server.next_timeout() == START + 61.0


def test_a_ping_that_gets_no_second_answer_begins_a_new_silence() -> None:
    host = ServerHost(limits=Limits(heartbeat_max=54.0))
    spark = host.connect()
    host.run(30.5)
    host.ping(spark)
    assert host.server.next_timeout() == START + 60.0, "not the 54 s after the opening"
    host.run(54.0)
    assert host.fresh()[-1] == ev.Flatlined(spark, 2)


# --- happn: while the application does not read ---


def test_while_paused_no_heartbeat_is_skipped_and_pongs_are_sent() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(29.0)
    spark.pause()
    host.run(3000.5)
    assert (host.told(), spark.skipped) == (["log"], 0)
    assert len(host.sent()) == 100
    spark.resume()
    host.run(30.25)
    assert host.told() == []
    host.run(0.25)
    assert host.told() == ["heartbeat-skipped"], "the whole time again after a pause"


@pytest.mark.parametrize(("ping_in_pause", "seconds"), [(False, 30.0), (True, 60.0)])
def test_a_pause_excuses_unless_a_ping_came_after_it(ping_in_pause: bool, seconds: float) -> None:
    """A ping that came during a pause leaves the excuse: another one may lie unread behind it."""
    host = ServerHost()
    spark = host.connect()
    spark.pause()
    if not ping_in_pause:
        spark.resume()
    host.ping(spark)
    host.fresh()
    spark.resume()
    host.run(seconds - 0.001)
    assert host.told() == []
    host.run(0.001)
    assert host.told() == ["heartbeat-skipped"]


# --- primus6 ---


def test_primus6_every_message_is_a_heartbeat_and_restarts_the_timer() -> None:
    host = ServerHost(dialect="primus6", timeout=35.0)
    spark = host.connect(NO_DIALECT)
    assert (spark.dialect, spark.heartbeat_timeout) == ("primus6", 35.0)
    for value in ("x", "primus::ping::007", "primus::ping::008", "primus::id::", "primus::strange"):
        host.run(34.0)
        host.receive(spark, value)
        assert host.fresh()[0] == ev.SparkHeartbeat(spark)
        assert host.server.next_timeout() == host.now + 35.0
    assert host.sent() == ["primus::pong::007", "primus::pong::008", f"primus::id::{spark.id}"]
    host.run(34.0)
    spark.receive_message("not JSON", now=host.now)
    spark.receive_ping(now=host.now)
    assert host.told() == ["heartbeat", "error", "log", "heartbeat"]
    host.run(34.999)
    assert host.told() == []
    host.run(0.001)
    assert host.told() == SPARK_OVER
    assert host.commanded() == [cmd.Close(1000, "", spark)], "no primus::server::close: the client is to come back"


@pytest.mark.parametrize(("dialect", "silence"), [("primus6", 70.0), ("primus", 60.0)])
def test_while_paused_nobody_is_cut_and_then_the_time_runs(dialect: str, silence: float) -> None:
    host = ServerHost(dialect=dialect)
    spark = host.connect(NO_DIALECT)
    spark.pause()
    host.run({"primus6": 350.0, "primus": 300.0}[dialect])
    assert len(host.sent()) == {"primus6": 0, "primus": 10}[dialect]
    assert host.told() == ["log"]
    spark.resume()
    host.run(silence - 1.0)
    assert host.told() == []
    host.run(1.0)
    assert host.told() == SPARK_OVER


# --- primus ---


def test_primus_a_client_has_until_the_next_ping_to_answer() -> None:
    host = ServerHost(dialect="primus")
    spark = host.connect(NO_DIALECT)
    for count in (1, 2, 3):
        host.run(30.0)
        (text,) = host.sent()
        assert text == f"primus::ping::{epoch_ms(START + 30.0 * count)}"
        host.receive(spark, text.replace("ping", "pong"))
        assert host.told() == ["heartbeat"]
    host.receive(spark, "data is no sign of life")
    host.ping(spark)  # of another dialect
    host.run(59.999)
    assert len(host.sent()) == 1
    assert host.told() == ["data", "message ignored"]
    host.run(0.001)
    assert host.told() == SPARK_OVER
    assert host.commanded() == [cmd.Close(1000, "", spark)]


# --- auto: the dialect is not known ---


def test_auto_a_ping_means_primus6() -> None:
    host = ServerHost()
    spark = host.connect(NO_DIALECT)
    assert spark.dialect == "auto"
    assert host.server.next_timeout() == START + 35.0
    host.receive(spark, "no ping")
    spark.receive_ping(now=host.now)
    host.receive(spark, "primus::pong::1")
    assert host.told() == ["data", "heartbeat", "message ignored"]
    host.run(34.0)
    spark.receive_messages(['"primus::ping::1"', "1", "2"], now=host.now)
    assert (spark.dialect, spark.heartbeat_timeout) == ("primus6", 35.0)
    assert host.sent() == ["primus::pong::1"]
    assert host.told() == ["heartbeat", "heartbeat", "data", "heartbeat", "data"]
    assert host.server.next_timeout() == host.now + 35.0
    host.server.tells_heartbeats = False  # nobody listens
    host.receive(spark, 3)
    assert host.told() == ["data"]


@pytest.mark.parametrize("interval", [10.0, False])
def test_auto_no_ping_means_primus(interval: Any) -> None:
    host = ServerHost(detect_after=5.0, ping_interval=interval)
    spark = host.connect(NO_DIALECT)
    host.run(5.0)
    assert spark.dialect == "primus"
    assert host.sent() == ([f"primus::ping::{epoch_ms(START + 5.0)}"] if interval else [])
    assert host.server.next_timeout() == (START + 15.0 if interval else None)


def test_auto_a_pause_does_not_put_the_decision_off_and_is_remembered() -> None:
    host = ServerHost()
    spark = host.connect(NO_DIALECT)
    spark.pause()
    host.run(200.0)
    assert spark.dialect == "primus"
    assert len(host.sent()) == 6
    assert spark.is_open


# --- floods, and clients that have no heartbeat ---


@pytest.mark.parametrize("query", ["ping=1", NO_DIALECT])
@pytest.mark.parametrize("kind", ["ping", "id"])
def test_of_a_flood_a_hundred_are_answered_in_a_second_and_then_the_last(query: str, kind: str) -> None:
    host = ServerHost(pong_skip_time=0.0)
    spark = host.connect(query)
    for number in range(5000):
        host.receive(spark, f"primus::ping::{number}" if kind == "ping" else "primus::id::")
    assert len(host.sent()) == 100
    host.run(1.0)
    assert host.sent() == ["primus::pong::4999" if kind == "ping" else f"primus::id::{spark.id}"]
    host.receive(spark, "primus::id::")
    assert host.sent() == [f"primus::id::{spark.id}"]


def test_the_silence_of_a_client_without_heartbeat_can_be_bounded() -> None:
    host = ServerHost(limits=Limits(idle=60.0))
    spark = host.connect("ping=false")
    host.run(59.0)
    host.receive(spark, "data")
    host.run(59.0)
    spark.receive_ping(now=host.now)
    host.run(59.0)
    spark.pause()
    host.run(100.0)
    spark.resume()
    assert spark.is_open, "nothing was read"
    assert spark.heartbeat_timeout is None
    host.told()
    host.run(120.0)
    assert host.told() == SPARK_OVER
    assert spark.close_reason == CloseReason("flatline")


def test_a_client_with_heartbeat_is_not_idle() -> None:
    host = ServerHost(limits=Limits(idle=5.0))
    spark = host.connect()
    host.run(6.0)
    assert spark.is_open
