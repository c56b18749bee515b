"""A spark's heartbeat: timeout, skips, unsolicited pongs, flatline, pongs not repeated (protocol 3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import CloseReason, Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import START, ServerHost, SlowPipe, epoch_ms, story

ENDING = ["readyStateChange", "disconnection", "end"]


@pytest.mark.parametrize(
    ("query", "timeout"),
    [
        ("ping=25000&pong=10000", 30.0),
        ("", 30.0),
        ("ping=4000&pong=3000", 5.5),
        ("ping=2000&pong=0", 2.0),
        ("ping=1&pong=1", 1.0),
        ("ping=0.1&pong=0", 1.0),
        ("ping=900&pong=100", 1.0),
        ("ping=700000&pong=2000", 701.0),
        ("ping=1799000&pong=1000", 1799.5),
        ("ping=1800000&pong=1", 1800.0),
        ("ping=1e99", 30.0),
        ("ping=" + "9" * 500, 1800.0),
        ("pong=999999999999", 1800.0),
        ("ping=false", None),
        ("ping=0", None),
    ],
)
def test_the_timeout_is_learned_and_held_within_limits(query: str, timeout: float | None) -> None:
    host = ServerHost(dialect="happn")
    spark = host.connect(query)
    assert spark.heartbeat_timeout == timeout
    assert host.server.next_timeout() == (None if timeout is None else START + timeout)


def test_the_limits_are_an_option() -> None:
    host = ServerHost(limits=Limits(heartbeat_min=2.0, heartbeat_max=20.0))
    assert host.connect("ping=100&pong=100").heartbeat_timeout == 2.0
    assert host.connect().heartbeat_timeout == 30.0
    assert host.connect("ping=100000").heartbeat_timeout == 60.0


def test_a_ping_is_answered_by_its_own_value_and_is_a_heartbeat() -> None:
    host = ServerHost(pong_skip_time=0)
    spark = host.connect()
    for value in ("1795369060554", "007", "abc", "a:b::c", "", "1" * 64):
        host.ping(spark, value)
        assert host.sent() == [f"primus::pong::{value}"]
        assert host.fresh() == [ev.SparkHeartbeat(spark)]


def test_a_ping_restarts_the_timer_and_the_count() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(59.0)
    assert spark.skipped == 1
    host.ping(spark)
    assert spark.skipped == 0
    assert host.server.next_timeout() == START + 59.0 + 30.0


def test_a_websocket_ping_does_the_same_without_a_pong() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(40.0)
    host.fresh()
    host.commanded()
    spark.receive_ping(now=host.now)
    assert host.fresh() == [ev.SparkHeartbeat(spark)]
    assert host.commanded() == []
    assert spark.skipped == 0
    assert host.server.next_timeout() == START + 70.0


def test_nothing_else_does() -> None:
    """Other data would put off the unsolicited pong until it is too late."""
    host = ServerHost()
    spark = host.connect()
    host.run(10.0)
    for message in ("data", "primus::id::", "primus::pong::1", "primus::ping"):
        host.receive(spark, message)
    spark.receive_message("{", now=host.now)
    assert host.server.next_timeout() == START + 30.0


def test_skips_then_flatline() -> None:
    host = ServerHost()
    spark = host.connect()
    for count in (1, 2):
        host.run(30.0)
        assert host.fresh() == [ev.HeartbeatSkipped(spark, count)]
        assert host.sent() == [f"primus::pong::{epoch_ms(host.now)}"]
        assert spark.skipped == count
    host.run(30.0)
    events = host.fresh()
    assert story(events) == [*ENDING, "flatline"]
    assert events[-1] == ev.Flatlined(spark, 3)
    assert host.commanded() == [cmd.Close(1000, "", spark)], "no primus::server::close: the client is to come back"
    assert spark.close_reason == CloseReason("flatline")
    assert host.server.next_timeout() is None


def test_no_pong_before_the_clients_ping_is_due_however_small_the_upper_limit() -> None:
    """It would put the ping off; what the limit bounds is the silence."""
    host = ServerHost(limits=Limits(heartbeat_max=18.0))
    spark = host.connect()
    host.run(29.999)
    assert (host.told(), host.sent()) == ([], [])
    host.run(0.001)
    assert (host.told(), len(host.sent())) == (["heartbeat-skipped"], 1)
    host.run(23.999)
    assert host.told() == []
    host.run(0.001)
    assert host.fresh()[-1] == ev.Flatlined(spark, 2)


def test_silence_is_counted_from_the_last_sign_of_life() -> None:
    host = ServerHost(limits=Limits(heartbeat_max=18.0))
    spark = host.connect()
    for _ in range(10):
        host.run(53.9)
        host.ping(spark)
        host.run(53.9)
        spark.receive_ping(now=host.now)
    assert "flatline" not in host.told()
    spark.pause()
    host.run(300.0)
    spark.resume()
    host.run(30.0 + 53.9)
    assert spark.is_open, "nor do we hold against it what we do not read"
    host.run(0.1)
    assert host.fresh()[-1] == ev.Flatlined(spark, 2)


@pytest.mark.parametrize("allowed", [2, 3, 7])
def test_as_many_skips_as_are_allowed(allowed: int) -> None:
    host = ServerHost(allow_skipped_heartbeats=allowed)
    host.connect()
    host.run(1000.0)
    counts = [event.count for event in host.seen if isinstance(event, ev.HeartbeatSkipped)]
    assert counts == list(range(1, allowed + 1))
    assert [event.count for event in host.seen if isinstance(event, ev.Flatlined)] == [allowed + 1]
    assert host.wakes == allowed + 1


def test_no_heartbeat_no_timer_but_pings_are_answered() -> None:
    host = ServerHost()
    spark = host.connect("ping=false")
    host.ping(spark)
    assert host.sent() == ["primus::pong::1"]
    assert host.told() == ["heartbeat"]
    spark.receive_ping(now=host.now)
    host.run(1e6)
    assert host.wakes == 0
    assert host.told() == ["heartbeat"]


def test_a_closed_spark_has_no_timer() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.connection_lost(now=host.now)
    assert host.server.next_timeout() is None


# --- pongs are not repeated ---


def test_pings_that_come_together_get_one_answer() -> None:
    host = ServerHost()
    spark = host.connect()
    for value in "abc":
        host.ping(spark, value)
    assert host.sent() == ["primus::pong::a"]
    assert host.told() == ["heartbeat"] * 3
    host.run(0.999)
    host.ping(spark, "d")
    assert host.sent() == []
    host.run(0.001)
    host.ping(spark, "e")
    assert host.sent() == ["primus::pong::e"]


@pytest.mark.parametrize(("ping", "skip", "least"), [(25.0, 1.0, 1.0), (1.0, 1.0, 0.5), (2.0, 0.25, 0.25)])
def test_the_smaller_of_the_option_and_half_the_clients_ping(ping: float, skip: float, least: float) -> None:
    host = ServerHost(pong_skip_time=skip)
    spark = host.connect(f"ping={ping * 1000:.0f}&pong=10000")
    host.ping(spark)
    host.run(least - 0.0625)
    host.ping(spark)
    assert len(host.sent()) == 1
    host.run(0.0625)
    host.ping(spark)
    assert len(host.sent()) == 1


def test_unsolicited_pongs_count() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(30.0)
    assert len(host.sent()) == 1
    host.run(0.5)
    host.ping(spark)
    assert host.sent() == []


def test_a_ping_that_is_not_answered_again_is_a_heartbeat_but_does_not_restart_the_timer() -> None:
    """The client counts from the pong that it got, so the next unsolicited one must not leave later for this ping."""
    host = ServerHost()
    spark = host.connect()
    host.run(30.5)
    host.fresh()
    host.ping(spark)
    assert host.fresh() == [ev.SparkHeartbeat(spark)]
    assert spark.skipped == 0
    assert host.server.next_timeout() == START + 60.0
    host.run(0.5)
    host.ping(spark)
    assert host.server.next_timeout() == START + 61.0, "this one is answered"
    host.run(0.25)
    host.ping(spark)
    assert host.server.next_timeout() == START + 61.0


def test_a_ping_that_is_not_answered_again_begins_a_new_silence() -> None:
    host = ServerHost(limits=Limits(heartbeat_max=18.0))
    spark = host.connect()
    host.run(30.5)
    host.ping(spark)
    assert host.server.next_timeout() == START + 60.0, "not the 54 s after the opening"
    host.run(54.0)
    assert host.fresh()[-1] == ev.Flatlined(spark, 2)


def test_each_spark_by_itself() -> None:
    host = ServerHost()
    for spark in (host.connect(), host.connect()):
        host.ping(spark)
        assert host.sent() == ["primus::pong::1"]


@pytest.mark.parametrize("skip", [0.0, 1.0, 3600.0])
@pytest.mark.parametrize("ping", [0.05, 0.3, 1.0, 25.0])
def test_a_healthy_client_gets_every_pong(ping: float, skip: float) -> None:
    """Whatever the option says: half the client's own interval is the most."""
    host = ServerHost(pong_skip_time=skip, limits=Limits(heartbeat_min=0.01))
    spark = host.connect(f"ping={ping * 1000:.0f}&pong={ping * 1000:.0f}")
    for _ in range(20):
        host.run(ping)
        host.ping(spark)
        assert host.sent() == ["primus::pong::1"]
    assert host.told() == ["heartbeat"] * 20


@given(st.lists(st.floats(0, 40), max_size=30))
def test_pongs_never_outnumber_pings_and_skips(gaps: list[float]) -> None:
    """However the pings are delayed."""
    host = ServerHost()
    spark = host.connect()
    pings = 0
    for gap in gaps:
        host.run(gap)
        if spark.close_reason is not None:
            break
        host.ping(spark)
        pings += 1
    skips = sum(isinstance(event, ev.HeartbeatSkipped) for event in host.seen)
    pongs = sum(isinstance(command, cmd.SendMessage) for command in host.done)
    assert pongs <= pings + skips
    assert sum(isinstance(event, ev.SparkHeartbeat) for event in host.seen) == pings


# --- while the application does not read ---


def test_pings_that_are_not_read_are_not_skipped() -> None:
    """But the client is told that the server lives."""
    host = ServerHost()
    spark = host.connect()
    spark.pause()
    host.run(3000.0)
    assert host.told() == []
    assert spark.skipped == 0
    assert len(host.sent()) == 100


def test_after_a_pause_the_client_has_the_whole_time_again() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(29.0)
    spark.pause()
    host.run(0.5)
    spark.resume()
    host.run(0.5)
    assert host.told() == []
    host.run(30.0)
    assert host.told() == ["heartbeat-skipped"]


def test_a_pause_before_the_last_ping_excuses_nothing() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.pause()
    spark.resume()
    host.ping(spark)
    host.fresh()
    host.run(30.0)
    assert host.told() == ["heartbeat-skipped"]


def test_answers_wait_for_the_backlog_to_fall() -> None:
    """A client that is slow to receive still lives: what it asks is answered when there is room, once of each kind."""
    host = ServerHost(limits=Limits(backlog=100))
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 1000)
    for message in ("primus::ping::1", "primus::id::", "primus::id::"):
        host.receive(spark, message)
    assert host.told() == ["heartbeat"], "it was not cut, and its ping counts"
    assert len(pipe.payloads()) == 1
    pipe.take()
    spark.drained()
    assert host.told() == ["drain"]
    assert pipe.payloads() == ['"primus::pong::1"', f'"primus::id::{spark.id}"']
    spark.write("x" * 1000)
    pipe.take()
    spark.drained()
    assert host.told() == ["drain"]
    assert pipe.payloads() == [], "each is given once"


def test_a_pause_neither_counts_nor_forgives() -> None:
    host = ServerHost()
    spark = host.connect()
    host.run(31.0)
    spark.pause()
    spark.resume()
    host.run(89.0)
    assert [event.count for event in host.seen if isinstance(event, ev.HeartbeatSkipped)] == [1, 2]
    assert [event.count for event in host.seen if isinstance(event, ev.Flatlined)] == [3]
