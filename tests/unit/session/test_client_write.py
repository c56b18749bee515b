"""What a client writes: at once, or later and in order; the queue; what cannot be; back-pressure (protocol 4.3)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import EncodeError, Limits
from primus_proto import events as ev
from primus_proto.session.messages import Message
from tests.unit.sessions import ClientHost, SlowPipe, epoch_ms, needs_drain, opened, slow


def test_write_when_open() -> None:
    host = opened()
    values: list[Any] = ["x", 0, False, None, "", [{}]]
    for value in values:
        assert host.client.write(value) is True
    assert host.sent() == values
    assert host.client.buffered == 0


@pytest.mark.parametrize("manual", [False, True])
def test_write_before_open_is_sent_in_order_before_the_open_event(manual: bool) -> None:
    host = ClientHost(manual=manual)
    assert host.client.write(1) is True
    assert host.client.write(2) is True
    assert host.client.buffered == 2
    if manual:
        host.client.open()
    host.pump()
    host.client.opened(now=host.now)
    assert host.client.buffered == 0
    assert host.sent() == [1, 2]


def test_write_while_reconnecting() -> None:
    host = opened()
    host.lose()
    host.client.write("waiting")
    host.run(0.5)
    host.client.write("attempting")
    host.open()
    host.client.write("open")
    assert host.sent() == ["waiting", "attempting", "open"]


def test_write_after_the_end_does_nothing() -> None:
    host = opened()
    host.client.end()
    host.fresh()
    assert host.client.write("lost") is False
    assert host.client.write_message(Message('"lost"')) is False
    host.client.open()
    host.open()
    assert "lost" not in host.sent()
    host.client.destroy()
    assert host.client.write({1}) is False


def test_what_the_end_drops_is_reported_before_it() -> None:
    host = ClientHost()
    host.client.write("a")
    host.client.end("b")
    events = host.fresh()
    assert events[-2] == ev.MessagesDropped(('"a"', '"b"'), "the client ended")
    assert isinstance(events[-1], ev.Ended)


def test_a_full_queue_drops_the_oldest_and_says_so() -> None:
    host = ClientHost(queue_size=2)
    assert [host.client.write(value) for value in (1, 2, 3)] == [True, True, True]
    assert host.fresh()[1:] == [ev.MessagesDropped(("1",), "the queue is full")]
    host.open()
    assert host.sent() == [2, 3]


def test_a_queue_of_nothing() -> None:
    host = ClientHost(queue_size=0)
    assert host.client.write(1) is False
    assert host.fresh()[1:] == [ev.MessagesDropped(("1",), "the queue is full")]
    host.open()
    assert host.client.write(2) is True
    assert host.sent() == [2]


def test_the_queue_is_bounded_in_bytes() -> None:
    host = ClientHost(limits=Limits(queue=10))
    assert host.client.write("aaaa")
    assert host.client.write("bbbb")
    assert host.client.write("x" * 20) is False
    dropped = [event.payloads for event in host.fresh() if isinstance(event, ev.MessagesDropped)]
    assert dropped == [('"aaaa"',), ('"' + "x" * 20 + '"',)]
    assert host.client.buffered == 6


@pytest.mark.parametrize("value", ["primus::server::close", "primus::", {1, 2}, b"x", float("nan")])
def test_what_cannot_be_sent_raises_and_changes_nothing(value: Any) -> None:
    """Whether it is open, waiting, or to be the last."""
    for host in (ClientHost(), opened()):
        host.told()
        host.commanded()
        before = host.client.state
        for verb in (host.client.write, host.client.end):
            with pytest.raises(EncodeError):
                verb(value)
        assert (host.told(), host.commanded(), host.client.buffered) == ([], [], 0)
        assert host.client.state is before


def test_a_server_that_does_not_read() -> None:
    """Back-pressure: needs_drain above half, refused above the whole, drained at half again."""
    host, pipe = slow(limits=Limits(queue=100))
    assert host.client.write("x" * 48)  # 50 bytes with the quotes
    assert not needs_drain(host.client)
    assert host.client.write("y")
    assert needs_drain(host.client)
    assert host.client.write("z" * 70)
    assert host.client.buffered == 125
    assert host.client.write("refused") is False
    assert host.told() == []
    pipe.take()
    host.client.drained()
    assert needs_drain(host.client)
    pipe.flush(now=host.now)
    host.client.drained()
    assert not needs_drain(host.client)
    assert host.told() == ["drain"]
    host.client.drained()
    assert host.told() == []


def test_half_the_limit_is_room_enough() -> None:
    host, pipe = slow(limits=Limits(queue=100))
    host.client.write("y")
    host.client.write("x" * 48)
    assert needs_drain(host.client)
    pipe.take()
    assert host.client.buffered == 50
    host.client.drained()
    assert not needs_drain(host.client)


def test_the_protocols_own_messages_are_not_refused() -> None:
    host, pipe = slow(limits=Limits(queue=10))
    host.client.write("x" * 20)
    assert host.client.write(1) is False
    host.client.request_id()
    host.run(25.0)
    assert len(pipe.payloads()) == 2, "the ping waits for room, and the last of several is enough"
    host.client.drained()
    assert pipe.payloads() == [f'"primus::ping::{epoch_ms(host.now)}"']


def test_a_server_that_pings_and_does_not_read_is_owed_one_pong() -> None:
    host, pipe = slow(limits=Limits(queue=10), dialect="primus")
    host.client.write("x" * 20)
    for number in range(100):
        host.receive(f"primus::ping::{number}")
    assert len(pipe.payloads()) == 1
    host.client.drained()
    assert pipe.payloads() == ['"primus::pong::99"']


def test_what_a_lost_connection_was_owed_the_next_one_is_not() -> None:
    """An answer to a ping of the old one would be news of the new one."""
    host, _ = slow(limits=Limits(queue=10), dialect="primus")
    host.client.write("x" * 20)
    host.receive("primus::ping::1")
    host.lose()
    host.run(0.5)
    pipe = SlowPipe()
    host.client.opened(now=host.now, pipe=pipe)
    host.client.write("y" * 20)
    host.client.drained()
    assert pipe.payloads() == [f'"{"y" * 20}"']
    host.client.drained()
    assert pipe.payloads() == []


def test_a_crowded_queue_drains_by_being_sent() -> None:
    host = ClientHost(limits=Limits(queue=100))
    host.client.write("x" * 80)
    assert needs_drain(host.client)
    host.open()
    assert not needs_drain(host.client)
    assert host.told() == ["rsc(opening)", "rsc(open)", "open", "drain"]


def test_a_crowded_queue_stays_so_where_the_server_does_not_read() -> None:
    host = ClientHost(limits=Limits(queue=100))
    host.client.write("x" * 80)
    host.pump()
    pipe = SlowPipe()
    host.client.opened(now=host.now, pipe=pipe)
    assert needs_drain(host.client)
    assert pipe.high
    pipe.flush(now=host.now)
    host.client.drained()
    assert host.told()[-1] == "drain"


def test_a_loss_drains_what_can_no_longer_be_sent() -> None:
    """Or whoever waits for room would wait for ever."""
    host, _ = slow(limits=Limits(queue=100))
    host.client.write("x" * 80)
    assert needs_drain(host.client)
    host.lose()
    assert not needs_drain(host.client)
    assert host.told() == ["rsc(end)", "close", "messages dropped", "reconnect scheduled", "drain"]


def test_an_end_leaves_nothing_crowded() -> None:
    host, _ = slow(limits=Limits(queue=100))
    host.client.write("x" * 80)
    host.client.end()
    assert not needs_drain(host.client)
    assert host.told()[-1] == "end"
