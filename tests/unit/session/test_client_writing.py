"""What a client writes: at once or later, in order; the queue; back-pressure; what is reported as dropped (4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import EncodeError, Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.messages import MESSAGE_OVERHEAD, Message
from tests.unit.sessions import ClientHost, SlowPipe, epoch_ms, needs_drain, opened, slow, story
from tests.unit.wires import TEXT, ClientWire, close_frame, frame

GONE = "the connection is gone"
HALF = MESSAGE_OVERHEAD + 50
AT = Limits(queue=2 * HALF)


def dropped(host: ClientHost | ClientWire) -> list[ev.Event]:
    return [event for event in host.fresh() if isinstance(event, ev.MessagesDropped)]


# --- sent, queued or refused ---


def test_write_sends_at_once_when_open() -> None:
    host = opened()
    values: list[Any] = ["x", 0, False, None, "", [{}]]
    for value in values:
        assert host.client.write(value) is True
    assert host.sent() == values
    assert host.client.buffered == 0


@pytest.mark.parametrize("manual", [False, True])
def test_write_before_open_is_sent_in_order_before_the_open_event(manual: bool) -> None:
    host = ClientHost(manual=manual)
    assert [host.client.write(1), host.client.write(2)] == [True, True]
    assert host.client.buffered == 2 * (MESSAGE_OVERHEAD + 1)
    if manual:
        host.client.open()
    host.pump()
    host.client.opened(now=host.now)
    assert host.sent() == [1, 2]
    assert host.client.buffered == 0


@pytest.mark.parametrize("value", ["primus::server::close", "primus::", {1, 2}, b"x", float("nan")])
def test_a_value_that_cannot_be_sent_raises_and_changes_nothing(value: Any) -> None:
    for host in (ClientHost(), opened()):
        host.told()
        host.commanded()
        before = host.client.state
        for verb in (host.client.write, host.client.end):
            with pytest.raises(EncodeError):
                verb(value)
        assert (host.told(), host.commanded(), host.client.buffered) == ([], [], 0)
        assert host.client.state is before


# --- back-pressure ---


def test_a_server_that_does_not_read_makes_write_refuse() -> None:
    """`needs_drain` above half of the limit, refused above the whole, drained at half again."""
    host, pipe = slow(limits=AT)
    assert host.client.write("x" * 48)  # 50 bytes with the quotes
    assert (needs_drain(host.client), pipe.high) == (False, False)
    assert host.client.write("x" * 48)
    assert (needs_drain(host.client), pipe.high) == (True, True)
    assert host.client.buffered == 2 * HALF
    assert host.client.write("z"), "at the limit is not above it"
    assert host.client.write("refused") is False
    pipe.take()
    host.client.drained()
    assert needs_drain(host.client)
    assert host.told() == []
    pipe.take()
    assert host.client.buffered == MESSAGE_OVERHEAD + 3
    host.client.write("z")
    host.client.drained()
    assert needs_drain(host.client)
    pipe.take()
    host.client.drained()
    assert (needs_drain(host.client), pipe.high) == (False, False)
    host.client.drained()
    assert host.told() == ["drain"]


@pytest.mark.parametrize(("size", "sent"), [(2 * HALF, 2), (2 * HALF + 1, 1)])
def test_a_ping_is_sent_up_to_the_limit_and_waits_above_it(size: int, sent: int) -> None:
    host, pipe = slow(limits=AT)
    host.client.write("x" * (size - MESSAGE_OVERHEAD - 2))
    host.client.flushed(now=host.now)
    host.run(25.0)
    assert len(pipe.payloads()) == sent


def test_a_request_and_a_ping_that_wait_are_sent_once_there_is_room() -> None:
    host, pipe = slow(limits=Limits(queue=10))
    host.client.write("x" * 20)
    host.client.flushed(now=host.now)
    host.client.request_id()
    host.run(25.0)
    assert len(pipe.payloads()) == 2
    host.client.drained()
    assert pipe.payloads() == [f'"primus::ping::{epoch_ms(host.now)}"']


def test_of_many_pings_only_the_last_is_answered_once_there_is_room() -> None:
    host, pipe = slow(limits=Limits(queue=10), dialect="primus")
    host.client.write("x" * 20)
    host.client.flushed(now=host.now)
    for number in range(100):
        host.receive(f"primus::ping::{number}")
    assert len(pipe.payloads()) == 1
    host.client.drained()
    assert pipe.payloads() == ['"primus::pong::99"']


def test_a_pending_pong_is_not_sent_on_the_next_connection() -> None:
    host, _ = slow(limits=Limits(queue=10), dialect="primus")
    host.client.write("x" * 20)
    host.client.flushed(now=host.now)
    host.receive("primus::ping::1")
    host.lose()
    host.run(0.5)
    pipe = SlowPipe()
    host.client.opened(now=host.now, pipe=pipe)
    host.client.write("y" * 20)
    pipe.flush(now=host.now)
    host.client.drained()
    assert pipe.payloads() == []


@pytest.mark.parametrize("reads", [True, False])
def test_a_long_queue_drains_when_the_server_reads_it(reads: bool) -> None:
    host, pipe = ClientHost(limits=AT), SlowPipe()
    host.client.write("x" * 48)
    assert not needs_drain(host.client)
    host.client.write("y")
    assert needs_drain(host.client)
    host.pump()
    host.client.opened(now=host.now, pipe=None if reads else pipe)
    host.pump()
    assert (needs_drain(host.client), pipe.high) == (not reads, not reads)
    pipe.flush(now=host.now)
    host.client.drained()
    assert host.told() == ["rsc(opening)", "rsc(open)", "open", "drain"]


def test_a_loss_drains_so_that_no_writer_waits_for_ever() -> None:
    host, _ = slow(limits=AT)
    host.client.write("x" * 100)
    host.lose()
    assert not needs_drain(host.client)
    assert host.told() == ["rsc(end)", "close", "messages dropped", "reconnect scheduled", "drain"]


def test_an_end_clears_needs_drain() -> None:
    host, _ = slow(limits=AT)
    host.client.write("x" * 100)
    host.client.end()
    assert not needs_drain(host.client)
    assert host.told()[-1] == "end"
    assert host.client.write_message(Message('"lost"')) is False


# --- messages that a lost connection did not carry ---


def lose(wire: ClientWire) -> None:
    wire.eof(wire.channel, "reset")


def fall_silent(wire: ClientWire) -> None:
    wire.run(40.0)


def server_ends(wire: ClientWire) -> None:
    wire.feed(wire.channel, frame(TEXT, '"primus::server::close"', mask=False) + close_frame(1000, mask=False))


@pytest.mark.parametrize(
    ("how", "strategy", "after"),
    [
        (lose, None, "reconnect scheduled"),
        (lose, False, "end"),
        (fall_silent, None, "reconnect scheduled"),
        (server_ends, None, "end"),
    ],
)
def test_a_loss_reports_exactly_what_the_driver_was_not_given(
    how: Callable[[ClientWire], None], strategy: bool | None, after: str
) -> None:
    """After `close`, and before what comes next."""
    wire = ClientWire(strategy=strategy, queue_size=0)
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


def test_a_host_is_given_no_message_for_a_lost_connection() -> None:
    host = opened(strategy=False)
    host.client.write("not fetched")
    host.client.connection_lost("gone", now=host.now)
    assert dropped(host) == [ev.MessagesDropped(('"not fetched"',), GONE)]
    assert cmd.SendMessage('"not fetched"') not in host.done
