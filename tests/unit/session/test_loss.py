"""What is written and does not leave the core is told of, on both ends and at both seams (protocol 4.3).

What is told of is exactly what no driver or host has been given: neither more, or it might come twice, nor less.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from primus_proto import Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import ClientHost, ServerHost, SlowPipe, story
from tests.unit.wires import CLOSE, TEXT, ClientWire, Frame, ServerWire, close_frame, frame

GONE = "the connection is gone"
SPARK_ENDING = ["readyStateChange", "disconnection", "messages dropped", "end"]


def dropped(wire: ServerWire | ClientWire | ServerHost | ClientHost) -> list[tuple[str | bytes, ...]]:
    """The payloads of each event that tells of a loss since the last question."""
    kinds = (ev.MessagesDropped, ev.SparkMessagesDropped)
    return [event.payloads for event in wire.fresh() if isinstance(event, kinds)]


# --- a spark ---


def test_what_the_driver_did_not_get_is_told_of_and_what_it_got_is_not() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("given")
    wire.pump()
    wire.block(peer.channel)
    spark.write("waits")
    wire.pump()
    spark.write("written in the very turn")
    peer.eof("reset")
    assert peer.frames() == [Frame(TEXT, b'"given"')]
    events = wire.fresh()
    assert story(events) == SPARK_ENDING
    assert events[-2] == ev.SparkMessagesDropped(spark, ('"waits"', '"written in the very turn"'), GONE)


def test_a_loss_with_nothing_unsent_is_told_of_by_its_ending_alone() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("given")
    wire.pump()
    peer.eof()
    assert wire.told() == ["readyStateChange", "disconnection", "end"]


def test_the_protocols_own_messages_are_nobodys_loss() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    wire.block(peer.channel)
    peer.send(frame(TEXT, '"primus::ping::1"') + frame(TEXT, '"primus::id::"'))
    spark.write("primus is fine")
    peer.eof()
    assert dropped(wire) == [('"primus is fine"',)]


@pytest.mark.parametrize("ending", ["flatline", "goodbye", "violation"])
def test_however_the_spark_is_lost(ending: str) -> None:
    """Then what is told of is really not sent any more, though the driver could take it now."""
    wire = ServerWire(limits=Limits(close=1000.0))
    peer, spark = wire.connect()
    wire.block(peer.channel)
    spark.write("unsent")
    wire.pump()
    code = {"flatline": 1000, "goodbye": 3000, "violation": 1002}[ending]
    if ending == "flatline":
        wire.run(100.0)
    else:
        peer.send(close_frame(3000) if ending == "goodbye" else frame(TEXT, "x", mask=False))
    assert dropped(wire) == [('"unsent"',)]
    wire.unblock(peer.channel)
    (left,) = peer.frames()
    assert (left.opcode, int.from_bytes(left.payload[:2])) == (CLOSE, code)


def test_a_polite_end_loses_nothing_while_it_lasts_and_tells_nothing_after() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    wire.block(peer.channel)
    spark.write("before")
    spark.end("last")
    assert wire.told() == ["readyStateChange", "disconnection", "end"]
    wire.run(4.9)
    wire.unblock(peer.channel)
    texts = [b'"before"', b'"last"', b'"primus::server::close"']
    assert peer.frames() == [*(Frame(TEXT, text) for text in texts), Frame(CLOSE, b"\x03\xe8")]
    wire.run(0.2)
    assert peer.aborted()
    assert wire.told() == []


def test_a_polite_end_that_nobody_reads_is_over_in_time() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    wire.block(peer.channel)
    spark.write("before")
    spark.end()
    wire.run(5.1)
    assert peer.aborted()
    assert wire.take(peer.channel) == b""
    assert wire.told() == ["readyStateChange", "disconnection", "end"]
    assert wire.endpoint.next_timeout() is None


def test_what_waits_leaves_in_order_and_in_one_write() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    wire.block(peer.channel)
    for number in range(3):
        spark.write(number)
        wire.pump()
    wire.commands.clear()
    wire.unblock(peer.channel)
    assert [type(command) for command in wire.commands] == [cmd.Write]
    assert peer.frames() == [Frame(TEXT, b"0"), Frame(TEXT, b"1"), Frame(TEXT, b"2")]
    assert spark.buffered == 0
    peer.eof()
    assert dropped(wire) == []


# --- a client ---


def lose(wire: ClientWire) -> None:
    wire.eof(wire.channel, "reset")


def fall_silent(wire: ClientWire) -> None:
    wire.run(40.0)


def server_goodbye(wire: ClientWire) -> None:
    wire.feed(wire.channel, frame(TEXT, '"primus::server::close"', mask=False) + close_frame(1000, mask=False))


@pytest.mark.parametrize(
    ("how", "strategy", "after"),
    [
        (lose, None, "reconnect scheduled"),
        (lose, False, "end"),
        (fall_silent, None, "reconnect scheduled"),
        (fall_silent, False, "end"),
        (server_goodbye, None, "end"),
    ],
)
@pytest.mark.parametrize("queue_size", [None, 0])
def test_a_client_tells_of_what_it_has_not_sent(
    how: Callable[[ClientWire], None], strategy: bool | None, after: str, queue_size: int | None
) -> None:
    """Behind `close`, and before whatever comes next. It is not kept: what was sent before may be lost as well."""
    wire = ClientWire(strategy=strategy, queue_size=queue_size)
    wire.open()
    wire.client.write("given")
    wire.pump()
    wire.block(wire.channel)
    wire.client.write("waits")
    wire.pump()
    wire.client.request_id()
    wire.client.write("too")
    wire.told()
    how(wire)
    events = [event for event in wire.fresh() if not isinstance(event, ev.ReconnectStarted)]
    names = story(events)
    place = names.index("messages dropped")
    assert (names[place - 1], names[place + 1]) == ("close", after)
    assert events[place] == ev.MessagesDropped(('"waits"', '"too"'), GONE)
    assert names.count("messages dropped") == 1
    assert wire.client.buffered == 0


def test_a_client_that_ends_politely_sends_what_it_has() -> None:
    wire = ClientWire()
    channel = wire.open()
    wire.block(channel)
    wire.client.write("before")
    wire.client.end("last")
    wire.told()
    wire.run(4.0)
    assert wire.take(channel) == b""
    wire.unblock(channel)
    texts = [b'"before"', b'"last"']
    assert [sent.payload for sent in wire.frames_of(channel)] == [*texts, b"\x03\xe8"]
    wire.run(10.0)
    assert wire.told() == []


def test_what_was_queued_and_then_lost_is_told_of_once() -> None:
    wire = ClientWire()
    wire.client.write("early")
    said = wire.up()
    wire.endpoint.receive_data(wire.channel, wire.answer(said), now=wire.now)
    wire.endpoint.channel_closed(wire.channel, "reset", now=wire.now)
    assert dropped(wire) == [('"early"',)]
    wire.client.end()
    assert dropped(wire) == []


# --- the message seam ---


def test_what_a_host_has_not_fetched_is_withdrawn_from_its_commands() -> None:
    host = ServerHost()
    first, second = host.connect(), host.connect()
    for spark in (first, second):
        spark.write("fetched")
    host.commanded()
    for spark in (first, second):
        spark.write("not fetched")
        spark.receive_message('"primus::id::"', now=host.now)
    first.connection_lost(now=host.now)
    assert dropped(host) == [('"not fetched"',)]
    assert [command.spark for command in host.commanded() if isinstance(command, cmd.SendMessage)] == [second, second]


def test_what_is_told_of_is_in_order_whether_it_was_commanded_or_still_waited() -> None:
    host = ServerHost()
    spark = host.connect()
    for value in (1, 2):
        spark.write(value)
    spark.connection_blocked()
    for value in (3, 4):
        spark.write(value)
    spark.connection_lost(now=host.now)
    assert dropped(host) == [("1", "2", "3", "4")]


def test_a_host_of_a_client_is_given_nothing_for_a_connection_that_is_gone() -> None:
    host = ClientHost(strategy=False)
    host.open()
    host.client.write("not fetched")
    host.client.connection_lost("gone", now=host.now)
    host.pump()
    assert cmd.SendMessage('"not fetched"') not in host.done
    (event,) = [event for event in host.seen if isinstance(event, ev.MessagesDropped)]
    assert event == ev.MessagesDropped(('"not fetched"',), GONE)


def test_what_was_ended_politely_is_left_to_the_host() -> None:
    host = ServerHost()
    spark = host.connect()
    host.commanded()
    spark.write("last words")
    spark.end()
    assert host.sent() == ["last words", "primus::server::close"]
    assert dropped(host) == []


def test_a_drop_is_of_a_pipe_not_of_what_the_session_owes() -> None:
    """An answer that waited for room is the protocol's own."""
    host = ServerHost(limits=Limits(backlog=10))
    spark = host.connect(pipe=SlowPipe())
    spark.write("more than ten bytes")
    host.ping(spark)
    spark.connection_lost(now=host.now)
    assert dropped(host) == [('"more than ten bytes"',)]
