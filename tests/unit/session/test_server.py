"""The server: its registry, broadcast, and closing (protocol 4.5)."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from primus_proto import CloseReason, EncodeError, Limits, LocalProtocolError, ReadyState, Server, ServerConfig
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from primus_proto.session.messages import Message
from primus_proto.transports.pipe import Pipe
from tests.unit.sessions import OFFSET, START, ServerHost, SlowPipe, epoch_ms, polled, request, story

ENDING = ["readyStateChange", "disconnection", "end"]
SERVER_CLOSE = '"primus::server::close"'


def test_a_server_is_ready_at_once() -> None:
    server = Server(rng=random.Random(1))
    assert polled(server, now=0.0) == ([ev.Initialised()], [])
    assert polled(server, now=0.0) == ([], [])
    assert server.config == ServerConfig()
    assert server.next_timeout() is None


def test_the_registry() -> None:
    host = ServerHost()
    first, second = host.connect(), host.connect()
    assert len(host.server) == 2
    assert list(host.server) == [first, second]
    assert host.server.spark(first.id) is first
    assert host.server.sparks == {first.id: first, second.id: second}
    first.end()
    assert host.server.spark(first.id) is None
    assert list(host.server) == [second]


def test_sparks_may_end_while_they_are_gone_through() -> None:
    host = ServerHost()
    sparks = [host.connect() for _ in range(3)]
    for spark in host.server:
        spark.end()
        host.connect()
    assert all(spark.ready_state is ReadyState.CLOSED for spark in sparks)
    assert len(host.server) == 3


def test_a_connection_is_told_with_its_spark() -> None:
    host = ServerHost()
    spark = host.server.open_spark(request(), now=host.now)
    assert host.fresh() == [ev.SparkConnected(spark)]
    assert host.server.sparks[spark.id] is spark


def test_ids_are_made_of_the_randomness_given() -> None:
    def ids(seed: int) -> list[str]:
        server = Server(rng=random.Random(seed))
        return [server.open_spark(request(), now=0.0).id for _ in range(3)]

    assert ids(1) == ids(1) != ids(2)


def test_wall_time() -> None:
    host = ServerHost()
    assert host.server.epoch(START) == START + OFFSET
    assert host.server.epoch_ms(START + 0.0015) == epoch_ms(START) + 1


# --- broadcast ---


class Counting(JSONParser):
    """Counts how often it encodes."""

    encoded = 0

    def encode(self, value: Any) -> str:
        self.encoded += 1
        return super().encode(value)


def test_a_broadcast_is_encoded_once_and_everybody_gets_the_same() -> None:
    parser = Counting()
    host = ServerHost(parser=parser)
    pipes = [SlowPipe() for _ in range(10)]
    sparks = [host.connect(pipe=pipe) for pipe in pipes]
    assert host.server.write({"to": "all"}, exclude=[sparks[3]]) == 9
    assert parser.encoded == 1
    taken = [message for pipe in pipes if (message := pipe.take()) is not None]
    assert len(taken) == 9
    assert len({id(message) for message in taken}) == 1
    assert pipes[3].buffered == 0


def test_a_broadcast_to_nobody() -> None:
    host = ServerHost()
    assert host.server.write(1) == 0
    spark = host.connect()
    assert host.server.write(1, exclude={spark}) == 0
    with pytest.raises(LocalProtocolError, match="exclude takes sparks as the core's events carry them; got "):
        host.server.write(1, exclude=[spark.id])  # type: ignore[list-item]
    assert host.commanded() == []


def test_a_broadcast_that_cannot_be_sent() -> None:
    host = ServerHost()
    host.connect()
    for value in ("primus::x", {1}, b"x"):
        with pytest.raises(EncodeError):
            host.server.write(value)
    assert (host.told(), host.commanded()) == ([], [])


def test_a_broadcast_counts_who_took_it_and_cuts_who_does_not_read() -> None:
    host = ServerHost(limits=Limits(backlog=10))
    slow = host.connect(pipe=SlowPipe())
    host.connect()
    assert host.server.write("x" * 20) == 2
    assert host.server.write("x") == 1
    events = host.fresh()
    assert story(events) == ["error", "log", *ENDING[:-1], "messages dropped", "end"]
    assert events[-2] == ev.SparkMessagesDropped(slow, (f'"{"x" * 20}"',), "the connection is gone")
    assert slow.ready_state is ReadyState.CLOSED
    assert len(host.server) == 1


# --- closing ---


def test_close_ends_every_spark_and_then_says_so() -> None:
    host = ServerHost()
    first, second = host.connect(), host.connect()
    host.server.close()
    assert host.server.closing
    assert host.told() == [*ENDING, *ENDING, "close"]
    assert host.commanded() == [
        cmd.SendMessage(SERVER_CLOSE, first),
        cmd.Close(1000, "", first),
        cmd.SendMessage(SERVER_CLOSE, second),
        cmd.Close(1000, "", second),
    ]
    assert host.server.next_timeout() is None
    host.run(1e6)
    assert host.told() == []


def test_close_with_nobody_there() -> None:
    host = ServerHost()
    assert not host.server.closing
    host.server.close()
    assert host.told() == ["close"]


def test_close_with_last_words_and_reconnect() -> None:
    host = ServerHost()
    spark = host.connect()
    host.server.close("back soon", reconnect=True)
    assert host.commanded() == [cmd.SendMessage('"back soon"', spark), cmd.Close(1000, "", spark)]


def test_last_words_are_encoded_once_when_close_is_called() -> None:
    parser = Counting()
    host = ServerHost(parser=parser)
    pipes = [SlowPipe() for _ in range(5)]
    for pipe in pipes:
        host.connect(pipe=pipe)
    words: list[Any] = ["bye"]
    host.server.close(words, reconnect=True, timeout=5.0)
    words.append({1})  # no longer anything that could be sent
    host.run(5.0)
    assert parser.encoded == 1
    taken: list[Message | None] = [pipe.take() for pipe in pipes]
    assert len({id(message) for message in taken}) == 1
    assert taken[0] is not None
    assert taken[0].payload == '["bye"]'


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_close_after_a_time(seconds: float) -> None:
    host = ServerHost()
    spark = host.connect("ping=false")
    host.server.close("bye", timeout=seconds)
    assert host.told() == []
    assert host.server.next_timeout() == START + seconds
    assert spark.write("still here")
    host.run(seconds - 0.25)
    assert host.told() == []
    host.run(0.25)
    assert host.told() == [*ENDING, "close"]
    assert host.sent() == ["still here", "bye", "primus::server::close"]
    assert host.server.next_timeout() is None


def test_close_after_a_time_does_not_wait_for_nobody() -> None:
    host = ServerHost()
    spark = host.connect("ping=false")
    host.server.close(timeout=5.0)
    host.pump()
    spark.connection_lost(code=1000, now=host.now)
    assert host.told() == [*ENDING, "close"]
    assert host.server.next_timeout() is None
    host.run(10.0)
    assert host.wakes == 0


def test_a_second_close_changes_nothing() -> None:
    host = ServerHost()
    host.connect("ping=false")
    host.server.close("first", reconnect=True, timeout=5.0)
    host.server.close("second")
    host.server.close(timeout=1.0)
    assert host.told() == []
    assert host.server.next_timeout() == START + 5.0
    host.run(5.0)
    assert host.sent() == ["first"]
    host.server.close()
    assert host.told() == [*ENDING, "close"]


@pytest.mark.parametrize("data", ["primus::x", {1}])
def test_last_words_that_cannot_be_sent_close_nothing(data: Any) -> None:
    host = ServerHost()
    host.connect()
    with pytest.raises(EncodeError):
        host.server.close(data)
    assert not host.server.closing
    assert (host.told(), host.commanded()) == ([], [])


@pytest.mark.parametrize("timeout", [-1.0, math.nan, math.inf])
def test_a_time_that_never_comes_closes_nothing(timeout: float) -> None:
    host = ServerHost()
    with pytest.raises(LocalProtocolError, match="timeout must be a number of seconds"):
        host.server.close(timeout=timeout)
    assert not host.server.closing
    assert host.told() == []


@pytest.mark.parametrize("timeout", [0.0, 5.0])
def test_who_comes_while_closing_is_sent_away_politely(timeout: float) -> None:
    host = ServerHost()
    host.connect()
    host.server.close("bye", timeout=timeout)
    spark = host.server.open_spark(request(), now=host.now)
    assert spark.close_reason == CloseReason("local")
    assert host.commanded()[-3:] == [
        cmd.SendMessage('"bye"', spark),
        cmd.SendMessage(SERVER_CLOSE, spark),
        cmd.Close(1000, "", spark),
    ]


def test_closed_waits_for_whatever_else_is_busy() -> None:
    host = ServerHost()
    busy = True
    host.server.watch_busy(lambda: busy)
    host.connect()
    host.server.close()
    assert host.told() == ENDING
    busy = False
    assert host.told() == ["close"]


# --- the pipe of the message seam ---


def test_a_pipe_over_commands_says_nothing_after_its_end() -> None:
    host = ServerHost()
    spark = host.connect()
    pipe: Pipe = spark.pipe
    assert pipe.transport == "messages"
    pipe.flush(now=host.now)
    assert host.commanded() == []
    pipe.close(1001, "bye")
    pipe.close()
    pipe.abort()
    pipe.send(Message("late"))
    for verb in (pipe.pause, pipe.resume, pipe.block, pipe.unblock):
        verb()
    assert host.commanded() == [cmd.Close(1001, "bye", spark)]
    other = host.connect()
    other.pipe.abort()
    other.pipe.abort()
    assert host.commanded() == [cmd.Abort(other)]


def test_two_hours_of_a_spark_take_no_timer() -> None:
    """As long as its pings come."""
    host = ServerHost()
    spark = host.connect()
    for _ in range(288):
        host.run(25.0)
        host.ping(spark)
    assert host.wakes == 0
    assert host.told() == ["heartbeat"] * 288
