"""The message seam: a host says when its WebSocket takes no more, and is told when to stop reading."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from primus_proto import ByteServer, Client, ClientConfig, Limits, LocalProtocolError, Server, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.limits import SLICE
from primus_proto.session.messages import MESSAGE_OVERHEAD
from tests.unit.sessions import ServerHost, needs_drain, opened, reason
from tests.unit.wires import ServerWire

KIB = "x" * (1022 - MESSAGE_OVERHEAD)  # 1,024 bytes as JSON, with what a message costs
SMALL = Limits(backlog=4096, burst=8192, queue=4096)


@pytest.fixture
def host() -> ServerHost:
    return ServerHost(limits=SMALL)


@pytest.fixture
def spark(host: ServerHost) -> Spark:
    return host.connect()


def dropped(host: ServerHost) -> list[Any]:
    return [event.payloads for event in host.fresh() if isinstance(event, ev.SparkMessagesDropped)]


# --- a WebSocket that takes no more ---


def test_a_blocked_sparks_messages_wait_and_count(host: ServerHost, spark: Spark) -> None:
    spark.write("first")
    assert host.sent() == ["first"]
    spark.connection_blocked()
    for value in (1, 2):
        assert spark.write(value)
    assert host.commanded() == []
    assert spark.buffered == 2 * (MESSAGE_OVERHEAD + 1)
    spark.connection_writable(now=host.now)
    spark.write(3)
    assert host.sent() == [1, 2, 3]
    assert spark.buffered == 0


def test_a_blocked_spark_that_ends_hands_over_its_messages(host: ServerHost, spark: Spark) -> None:
    spark.connection_blocked()
    spark.write(1)
    spark.end(2, reconnect=True, code=4000, reason="why")
    assert host.commanded() == [cmd.SendMessage("1", spark), cmd.SendMessage("2", spark), cmd.Close(4000, "why", spark)]
    assert spark.buffered == 0
    assert dropped(host) == []


def test_a_blocked_spark_has_the_backlog_of_any_other(host: ServerHost, spark: Spark) -> None:
    spark.connection_blocked()
    for _ in range(3):
        assert spark.write(KIB)
    assert needs_drain(spark)
    spark.connection_writable(now=host.now)
    assert host.told() == ["drain"]
    spark.connection_blocked()
    assert [spark.write(KIB) for _ in range(10)] == [True] * 9 + [False]
    host.run(SMALL.stall)
    assert host.commanded()[-1] == cmd.Abort(spark)
    assert reason(spark).kind == "backlog"


def test_a_blocked_client_keeps_what_it_writes() -> None:
    host = opened(limits=SMALL)
    host.client.connection_blocked()
    assert [host.client.write(KIB) for _ in range(6)] == [True] * 5 + [False]
    assert (host.client.buffered, needs_drain(host.client)) == (5120, True)
    assert host.commanded() == []
    host.client.connection_writable(now=host.now)
    assert host.sent() == [KIB] * 5
    assert host.told() == ["drain"]


def test_the_next_connection_of_a_blocked_client_is_not_blocked() -> None:
    host = opened()
    host.client.connection_blocked()
    host.client.write("lost with it")
    host.lose()
    host.client.connection_blocked()  # there is no connection
    host.client.connection_writable(now=host.now)
    host.run(1.0)
    host.open()
    host.client.write("hello")
    assert host.sent() == ["hello"]


def test_only_the_host_of_the_websocket_can_block_a_spark() -> None:
    wire = ServerWire()
    spark = wire.accept().upgrade()
    for verb in (spark.connection_blocked, lambda: spark.connection_writable(now=wire.now)):
        with pytest.raises(LocalProtocolError, match="channel_"):
            verb()
    assert spark.write("still there")


# --- messages that the host has not fetched ---


def test_a_lost_sparks_messages_are_withdrawn_and_reported_in_order(host: ServerHost) -> None:
    first, second = host.connect(), host.connect()
    for spark in (first, second):
        spark.write("fetched")
    host.commanded()
    for spark in (first, second):
        spark.write(1)
        spark.write(2)
        spark.receive_message('"primus::id::"', now=host.now)
    first.connection_blocked()
    first.write(3)
    first.connection_lost(now=host.now)
    assert dropped(host) == [("1", "2", "3")]
    assert [command.spark for command in host.commanded() if isinstance(command, cmd.SendMessage)] == [second] * 3


def test_a_host_may_find_out_while_it_sends_that_a_spark_is_lost(host: ServerHost, spark: Spark) -> None:
    other = host.connect()
    host.commanded()
    for value in (1, 2):
        spark.write(value)
        other.write(value)
    items = host.server.poll(now=host.now)
    assert next(items) == cmd.SendMessage("1", spark)
    spark.connection_lost(now=host.now)
    left = list(items)
    assert [item.data for item in left if isinstance(item, cmd.SendMessage)] == ["1", "2"]
    assert [item.payloads for item in left if isinstance(item, ev.SparkMessagesDropped)] == [("2",)]


def test_much_is_handed_over_in_slices() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.connection_writable(now=host.now)  # it was not blocked
    for number in range(3):
        spark.write(str(number) * SLICE)
    polls = [
        [command.data[1] for command in host.server.poll(now=host.now) if isinstance(command, cmd.SendMessage)]
        for _ in range(2)
    ]
    assert polls == [["0", "1", "2"], []]


# --- reading no more ---


def test_a_paused_spark_tells_its_host_and_reads_on_for_the_close(host: ServerHost, spark: Spark) -> None:
    for verb in (spark.resume, spark.pause, spark.pause, spark.resume, spark.resume):
        verb()
    assert host.commanded() == [cmd.Pause(spark), cmd.Resume(spark)]
    spark.pause()
    spark.end(reconnect=True)
    assert host.commanded() == [cmd.Pause(spark), cmd.Resume(spark), cmd.Close(1000, "", spark)]
    spark.resume()
    spark.pause()
    assert host.commanded() == []


@pytest.mark.parametrize("now", [9.0, math.nan])
def test_a_clock_that_goes_backwards_is_refused(now: float) -> None:
    client, server = Client(ClientConfig(url="http://h"), rng=random.Random(1)), Server(rng=random.Random(1))
    for poll in (client.poll, server.poll, ByteServer(rng=random.Random(1)).poll):
        list(poll(now=10.0))
        with pytest.raises(LocalProtocolError, match=r"is before 10\.0, the time of the last poll"):
            poll(now=now)
        list(poll(now=10.0))
