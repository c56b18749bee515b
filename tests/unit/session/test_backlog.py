"""What waits unsent for a spark: what is accepted, when its client counts as slow, and when it is cut (protocol 7)."""

from __future__ import annotations

import pytest

from primus_proto import BacklogExceeded, CloseReason, Limits, Spark
from primus_proto import events as ev
from primus_proto.session.messages import MESSAGE_OVERHEAD, SERVER_CLOSE
from tests.unit.sessions import SPARK_OVER, ServerHost, SlowPipe, needs_drain, reason, story

GONE = "the connection is gone"
SPARK_LOSS = ["readyStateChange", "disconnection", "messages dropped", "end"]
UNIT = MESSAGE_OVERHEAD + 100
LIMITS = Limits(backlog=4 * UNIT, burst=8 * UNIT, stall=10.0)


async def late(packet: object) -> None:
    """A transform that waits."""


VALUE = "x" * 98  # 100 bytes with the quotes


@pytest.fixture
def host() -> ServerHost:
    return ServerHost(limits=LIMITS, dialect="primus", ping_interval=False)


@pytest.fixture
def pipe() -> SlowPipe:
    return SlowPipe()


@pytest.fixture
def spark(host: ServerHost, pipe: SlowPipe) -> Spark:
    return host.connect(pipe=pipe)


def offer(host: ServerHost, spark: Spark, taken: int = 0) -> None:
    """What an endpoint does after a turn: the pipe hands over what can leave, and the session is told."""
    for _ in range(taken):
        assert isinstance(spark.pipe, SlowPipe)
        spark.pipe.take()
    spark.drained()
    if spark.pipe.high:
        spark.flushed(now=host.now)


# --- what is accepted ---


def test_a_burst_is_accepted_up_to_its_limit_and_cuts_nobody(host: ServerHost, spark: Spark) -> None:
    """The value that is being written is not counted. Refused values are told once."""
    assert [spark.write(VALUE) for _ in range(12)] == [True] * 9 + [False] * 3
    told = host.fresh()
    assert told == [
        ev.Logged("warning", f"spark {spark.id}: values are not taken, because {9 * UNIT} bytes wait unsent")
    ]
    offer(host, spark, taken=9)
    assert host.told() == ["drain"]
    host.run(60.0)
    assert spark.is_open
    assert spark.write(VALUE)


def test_one_value_may_have_any_size(host: ServerHost, spark: Spark) -> None:
    assert spark.write("x" * 100_000)
    assert spark.write("one too many") is False
    assert spark.is_open


def test_the_limit_of_a_burst_is_at_least_that_of_the_backlog() -> None:
    host = ServerHost(limits=Limits(backlog=4 * UNIT, burst=0))
    spark = host.connect(pipe=SlowPipe())
    assert [spark.write(VALUE) for _ in range(6)] == [True] * 5 + [False]


def test_tiny_values_count_for_what_they_cost(spark: Spark) -> None:
    written = 0
    while spark.write(1):
        written += 1
    assert written == LIMITS.burst // (MESSAGE_OVERHEAD + 1) + 1


def test_a_spark_needs_drain_above_half_of_the_backlog_and_drains_at_half(
    host: ServerHost, pipe: SlowPipe, spark: Spark
) -> None:
    for _ in range(2):
        spark.write(VALUE)
    assert not needs_drain(spark)
    spark.write("")
    spark.drained()
    assert needs_drain(spark)
    pipe.take()
    spark.drained()
    assert not needs_drain(spark)
    spark.drained()
    assert host.fresh() == [ev.SparkDrained(spark)]


# --- who is cut, and when ---


def test_a_client_that_keeps_below_the_backlog_may_take_its_time(host: ServerHost, spark: Spark) -> None:
    for _ in range(5):
        spark.write(VALUE)
    offer(host, spark)
    offer(host, spark, taken=2)
    host.run(100.0)
    assert spark.is_open


def test_a_client_that_takes_nothing_is_cut_after_the_stall(host: ServerHost, pipe: SlowPipe, spark: Spark) -> None:
    for _ in range(5):
        spark.write(VALUE)
    host.run(100.0)
    assert spark.is_open, "nothing has been offered yet"
    offer(host, spark)
    host.run(9.9)
    spark.write(VALUE)
    offer(host, spark)
    assert spark.is_open
    host.run(0.1)
    events = host.fresh()
    assert story(events) == ["error", "log", *SPARK_LOSS]
    error = reason(spark).error
    assert isinstance(error, BacklogExceeded)
    assert str(error) == f"the client does not read: {6 * UNIT} bytes wait unsent, and none left for 10 s"
    assert events[0] == ev.SparkError(spark, error)
    assert events[-2] == ev.SparkMessagesDropped(spark, (f'"{VALUE}"',) * 6, GONE)
    assert spark.close_reason == CloseReason("backlog", 1006, "", error)
    assert pipe.aborted
    assert host.server.next_timeout() is None


@pytest.mark.parametrize("waiting", [4, 5])
def test_a_backlog_at_the_limit_is_not_over_it(host: ServerHost, spark: Spark, waiting: int) -> None:
    for _ in range(waiting):
        spark.write(VALUE)
    offer(host, spark)
    host.run(10.0)
    assert spark.is_open is (waiting == 4)


def test_a_client_that_reads_slowly_is_not_cut(host: ServerHost, spark: Spark) -> None:
    for _ in range(9):
        spark.write(VALUE)
    for _ in range(20):
        offer(host, spark, taken=1)
        host.run(5.0)
        spark.write(VALUE)
    assert spark.is_open


def test_a_client_that_reads_too_slowly_for_what_is_written_is_cut(host: ServerHost, spark: Spark) -> None:
    """Otherwise it would miss one value after the other, and not know."""
    for _ in range(9):
        spark.write(VALUE)
    for _ in range(4):
        offer(host, spark, taken=1)
        spark.write(VALUE)
        spark.write(VALUE)
        host.run(5.0)
    error = reason(spark).error
    assert str(error) == (
        f"the client reads too slowly: {9 * UNIT} bytes wait unsent, and 2 values had no room within 10 s"
    )


def test_a_stall_that_is_over_is_forgotten(host: ServerHost, pipe: SlowPipe, spark: Spark) -> None:
    for _ in range(3):
        for _ in range(5):
            spark.write(VALUE)
        offer(host, spark)
        host.run(9.0)
        offer(host, spark, taken=5)
    assert spark.is_open
    host.run(60.0)
    assert host.told() == ["drain"] * 3
    assert host.server.next_timeout() is None


# --- ends and answers meanwhile ---


@pytest.mark.parametrize("last", [True, False])
def test_an_end_sends_what_was_written_and_cuts_nobody(
    host: ServerHost, pipe: SlowPipe, spark: Spark, last: bool
) -> None:
    for _ in range(9):
        spark.write(VALUE)
    offer(host, spark)
    if last:
        spark.end("bye")
    else:
        spark.end()
    assert host.told() == SPARK_OVER
    assert not needs_drain(spark)
    assert pipe.payloads()[9:] == [*(['"bye"'] if last else []), f'"{SERVER_CLOSE}"']
    assert pipe.ending == (1000, "")
    spark.drained()
    spark.flushed(now=host.now)
    assert (host.told(), host.server.next_timeout()) == ([], None)


def test_an_answer_keeps_its_place_behind_what_only_waits_for_a_flush() -> None:
    host, pipe = ServerHost(limits=LIMITS), SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 1000)
    host.receive(spark, "primus::ping::1")
    spark.write("y")
    assert pipe.payloads()[1:] == ['"primus::pong::1"', '"y"']


def test_a_client_that_has_read_everything_is_answered_whatever_waits_for_a_transform() -> None:
    host, pipe = ServerHost(limits=LIMITS), SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 1000)
    spark.flushed(now=host.now)
    pipe.take()
    spark.transform("outgoing", late)
    for number in range(10):
        spark.write(number)
    spark.drained()
    host.receive(spark, "primus::ping::1")
    assert pipe.payloads() == ['"primus::pong::1"']
    spark.connection_lost("reset", now=host.now)  # which gives the transform up


def test_answers_wait_for_the_backlog_to_fall_one_of_each_kind() -> None:
    """A client that is slow to receive still lives: it is not cut, and its ping counts."""
    host, pipe = ServerHost(limits=LIMITS), SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 2000)
    spark.flushed(now=host.now)
    for message in ("primus::ping::1", "primus::id::", "primus::id::"):
        host.receive(spark, message)
    assert host.told() == ["heartbeat"]
    assert len(pipe.payloads()) == 1
    spark.drained()
    assert host.told() == ["drain"]
    assert pipe.payloads() == ['"primus::pong::1"', f'"primus::id::{spark.id}"']
    spark.write("x" * 2000)
    pipe.take()
    spark.drained()
    assert host.told() == ["drain"]
    assert pipe.payloads() == [], "each is sent once"
