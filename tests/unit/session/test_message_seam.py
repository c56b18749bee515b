"""The message seam: a host with WebSockets of its own says when they take no more, and is told when to read no more."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Limits, LocalProtocolError, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import ClientHost, ServerHost, needs_drain
from tests.unit.wires import ServerWire

KIB = "x" * 1022  # 1,024 bytes as JSON
SMALL = Limits(backlog=4096, queue=4096)


@pytest.fixture
def host() -> ServerHost:
    return ServerHost(limits=SMALL)


@pytest.fixture
def spark(host: ServerHost) -> Spark:
    return host.connect()


def opened(**options: Any) -> ClientHost:
    host = ClientHost(**options)
    host.open()
    assert [type(command) for command in host.commanded()] == [cmd.Connect]
    host.told()
    return host


# --- a WebSocket that takes no more ---


def test_while_a_spark_is_blocked_messages_wait_and_count(host: ServerHost, spark: Spark) -> None:
    spark.write("first")
    assert host.sent() == ["first"]
    spark.connection_blocked()
    for value in (1, 2):
        assert spark.write(value)
    assert host.commanded() == []
    assert spark.buffered == 2
    spark.connection_writable(now=host.now)
    assert host.sent() == [1, 2]
    assert spark.buffered == 0
    spark.write(3)
    assert host.sent() == [3]


def test_a_blocked_spark_has_the_backlog_of_any_other(host: ServerHost, spark: Spark) -> None:
    """Crowded above half of it, drained below, and cut above the whole."""
    spark.connection_blocked()
    for full in (False, False, True):
        assert spark.write(KIB)
        assert needs_drain(spark) is full
    assert host.told() == []
    spark.connection_writable(now=host.now)
    assert host.told() == ["drain"]
    assert host.sent() == [KIB] * 3

    spark.connection_blocked()
    for _ in range(5):
        assert spark.write(KIB)
    assert spark.write("one too many") is False
    assert host.commanded() == [cmd.Abort(spark)]
    assert host.told() == ["error", "log", "readyStateChange", "disconnection", "messages dropped", "end"]
    assert spark.close_reason is not None
    assert spark.close_reason.kind == "backlog"
    assert spark.buffered == 0
    spark.connection_writable(now=host.now)
    assert host.commanded() == []


def test_pings_of_a_blocked_peer_are_answered_once_it_reads(host: ServerHost, spark: Spark) -> None:
    spark.connection_blocked()
    for _ in range(5):
        spark.write(KIB)
    host.ping(spark, "7")
    host.now += 5
    host.ping(spark, "8")
    assert host.sent() == []
    spark.connection_writable(now=host.now)
    assert host.sent() == [KIB] * 5 + ["primus::pong::8"]


def test_a_blocked_spark_that_ends_hands_over_what_waits(host: ServerHost, spark: Spark) -> None:
    spark.connection_blocked()
    spark.write(1)
    spark.end(2, reconnect=True, code=4000, reason="why")
    assert host.commanded() == [cmd.SendMessage("1", spark), cmd.SendMessage("2", spark), cmd.Close(4000, "why", spark)]
    assert spark.buffered == 0


def test_a_blocked_client_keeps_what_it_writes() -> None:
    host = opened(limits=SMALL)
    host.client.connection_blocked()
    for _ in range(5):
        assert host.client.write(KIB)
    assert host.client.write("too much") is False
    assert (host.client.buffered, needs_drain(host.client)) == (5120, True)
    assert host.commanded() == []
    host.client.connection_writable(now=host.now)
    assert host.sent() == [KIB] * 5
    assert host.told() == ["drain"]
    assert host.client.buffered == 0


def test_the_next_connection_is_not_blocked() -> None:
    host = opened()
    host.client.connection_blocked()
    host.client.write("lost with it")
    host.lose()
    for verb in (host.client.connection_blocked, lambda: host.client.connection_writable(now=host.now)):
        verb()  # there is no connection
    host.run(1.0)
    host.open()
    host.commanded()
    host.client.write("hello")
    assert host.sent() == ["hello"]


def test_only_a_host_with_the_websocket_can_say_so() -> None:
    wire = ServerWire()
    spark = wire.accept().upgrade()
    for verb in (spark.connection_blocked, lambda: spark.connection_writable(now=wire.now)):
        with pytest.raises(LocalProtocolError, match="channel_"):
            verb()
    assert spark.write("still there")


# --- reading no more ---


def test_a_paused_spark_tells_its_host(host: ServerHost, spark: Spark) -> None:
    for verb in (spark.pause, spark.pause, spark.resume, spark.resume):
        verb()
    assert host.commanded() == [cmd.Pause(spark), cmd.Resume(spark)]


def test_a_paused_spark_that_ends_reads_on_for_the_close(host: ServerHost, spark: Spark) -> None:
    spark.pause()
    spark.end(reconnect=True)
    assert host.commanded() == [cmd.Pause(spark), cmd.Resume(spark), cmd.Close(1000, "", spark)]


def test_a_paused_client_tells_its_host_for_each_connection() -> None:
    host = opened()
    host.client.pause()
    host.client.pause()
    assert host.commanded() == [cmd.Pause()]
    host.lose()
    host.run(1.0)
    host.open()
    assert host.commanded()[1:] == [cmd.Pause()]
    host.client.resume()
    host.client.resume()
    assert host.commanded() == [cmd.Resume()]


# --- the spec, asked by the host ---


@pytest.mark.parametrize("spec", [None, [], "pingInterval", 7, {}, {"timeout": "soon"}, {"pingInterval": None}])
def test_what_is_no_spec_teaches_nothing(spec: object) -> None:
    host = opened()
    due = host.client.next_timeout()
    host.client.learn(spec, now=host.now)
    assert host.client.next_timeout() == due
    assert host.fresh() == list[ev.Event]()
