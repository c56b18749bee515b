"""Channels: what is written when, who closes and how often, and that a broadcast is one command."""

from __future__ import annotations

import pytest

from primus_proto import Limits, LocalProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.errors import ConnectError
from primus_proto.wire.channel import Channel
from tests.unit.sessions import polled
from tests.unit.wire.http_bench import Channels
from tests.unit.wires import TEXT, ClientWire, Frame, ServerWire, frames


class User:
    """What runs on the channel: it remembers."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.ended: list[object] = []

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        self.got.append(bytes(data))

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        self.ended.append(error)


class Host(Channels):
    def channel(self, number: int = 1) -> tuple[Channel, User]:
        channel = Channel(number, self)
        channel.user = user = User()
        return channel, user


@pytest.fixture
def host() -> Host:
    return Host(Limits(close=5.0))


def test_all_that_was_written_is_one_write(host: Host) -> None:
    channel, _ = host.channel(7)
    for data in (b"a", b"", b"bc"):
        channel.write(data)
    assert channel.buffered == 3
    assert host.collected() == [cmd.Write((7,), b"abc")]
    assert channel.buffered == 0
    assert host.collected() == []


def test_while_blocked_output_stays_in_the_channel(host: Host) -> None:
    channel, _ = host.channel()
    channel.blocked = True
    channel.write(b"one")
    channel.write(b"two")
    assert host.collected() == []
    assert channel.buffered == 6
    channel.blocked = False
    channel.touch()
    assert host.collected() == [cmd.Write((1,), b"onetwo")]


def test_on_written_is_called_once_when_all_has_left(host: Host) -> None:
    channel, _ = host.channel()
    called: list[float] = []
    channel.on_written = called.append
    channel.blocked = True
    channel.write(b"x")
    host.collected(now=1.0)
    assert called == []
    channel.blocked = False
    channel.touch()
    host.collected(now=2.0)
    channel.write(b"y")
    host.collected(now=3.0)
    assert called == [2.0]


def test_close_comes_after_the_output_and_abort_without_it(host: Host) -> None:
    channel, _ = host.channel()
    channel.write(b"bye")
    channel.close()
    channel.write(b"too late")
    assert host.collected() == [cmd.Write((1,), b"bye"), cmd.CloseChannel(1)]

    channel, _ = host.channel(2)
    channel.write(b"lost")
    channel.abort()
    assert channel.buffered == 0
    assert host.collected() == [cmd.CloseChannel(2, abort=True)]


def test_a_channel_is_closed_once(host: Host) -> None:
    channel, user = host.channel()
    channel.close()
    assert len(host.collected()) == 1
    channel.close()
    channel.abort()
    channel.pause()
    channel.linger(now=0.0)
    channel.write(b"x")
    channel.channel_closed(None, now=0.0)
    assert host.collected() == []
    assert user.ended == []
    assert host.timers.next() is None


def test_a_blocked_close_has_a_deadline(host: Host) -> None:
    """A peer that does not read must not keep a channel and its output for ever."""
    channel, _ = host.channel()
    channel.blocked = True
    channel.write(b"never read")
    channel.close()
    assert host.collected(now=10.0) == []
    channel.touch()
    assert host.collected(now=12.0) == []
    assert host.timers.next() == 15.0
    host.timers.fire(15.0)
    assert host.collected() == [cmd.CloseChannel(1, abort=True)]

    channel, _ = host.channel(2)
    channel.blocked = True
    channel.write(b"read late")
    channel.close()
    assert host.collected(now=20.0) == []
    channel.blocked = False
    channel.touch()
    assert host.collected(now=21.0) == [cmd.Write((2,), b"read late"), cmd.CloseChannel(2)]
    assert host.timers.next() is None


def test_lingering_reads_and_discards_and_ends(host: Host) -> None:
    channel, user = host.channel()
    channel.pause()
    channel.write(b"sorry")
    channel.linger(now=1.0)
    channel.linger(now=2.0)
    assert channel.closed
    assert host.collected(now=1.0) == [cmd.Write((1,), b"sorry"), cmd.EndWriting(1)]
    channel.receive_data(b"more", now=3.0)
    channel.write(b"nothing more is said")
    assert host.collected(now=3.0) == []
    assert host.timers.next() == 2.0
    host.timers.fire(2.0)
    assert host.collected(now=2.0) == [cmd.CloseChannel(1, abort=True)]
    assert user.got == []


def test_lingering_is_bounded_in_bytes(host: Host) -> None:
    channel, _ = host.channel()
    channel.linger(now=0.0)
    channel.receive_data(bytes(host.limits.drain), now=0.0)
    assert host.collected() == [cmd.EndWriting(1)]
    channel.receive_data(b"x", now=0.0)
    assert host.collected() == [cmd.CloseChannel(1, abort=True)]


def test_eof_follows_the_last_output_that_a_slow_peer_takes(host: Host) -> None:
    channel, _ = host.channel()
    channel.blocked = True
    channel.write(b"sorry")
    channel.linger(now=0.0)
    assert host.collected() == []
    assert host.timers.next() == host.limits.close
    channel.writable(now=4.5)
    assert host.collected(now=4.5) == [cmd.Write((1,), b"sorry"), cmd.EndWriting(1)]
    assert host.timers.next() == host.limits.close


def test_lingering_ends_with_the_peer(host: Host) -> None:
    channel, user = host.channel()
    channel.linger(now=1.0)
    channel.channel_closed(None, now=2.0)
    assert host.collected(now=2.0) == [cmd.CloseChannel(1, abort=True)]
    assert host.timers.next() is None
    assert user.ended == []  # it had been closed before


def test_pause_and_resume_are_commanded_once(host: Host) -> None:
    channel, _ = host.channel()
    channel.probe()  # while it is read, reading tells
    channel.pause()
    channel.pause()
    assert host.collected() == [cmd.PauseReading(1)]
    channel.pause()
    assert host.collected() == []
    channel.resume()
    channel.pause()
    assert host.collected() == []
    channel.probe()
    channel.resume()
    assert host.collected() == [cmd.ResumeReading(1)]


def test_unread_bytes_are_fed_in_order(host: Host) -> None:
    channel, user = host.channel()
    channel.unread = b"first "
    channel.receive_data(memoryview(b"second"), now=0.0)
    assert user.got == []
    channel.feed_unread(now=0.0)
    channel.feed_unread(now=0.0)
    channel.receive_data(b"third", now=0.0)
    assert user.got == [b"first second", b"third"]


def test_unread_bytes_are_fed_before_the_end(host: Host) -> None:
    channel, user = host.channel()
    channel.unread = b"last words"
    channel.channel_closed("reset", now=0.0)
    assert user.got == [b"last words"]
    assert user.ended == ["reset"]


# --- the same, seen from the driver ---


def test_numbers_are_never_reused_and_stale_ones_ignored() -> None:
    wire = ServerWire()
    first = wire.accept()
    first.eof()
    assert first.aborted()
    second = wire.accept()
    assert second.channel == first.channel + 1
    endpoint = wire.endpoint
    endpoint.receive_data(first.channel, b"GET / HTTP/1.1\r\n\r\n", now=wire.now)
    endpoint.channel_closed(first.channel, "again", now=wire.now)
    endpoint.channel_blocked(first.channel)
    endpoint.channel_writable(first.channel, now=wire.now)
    endpoint.channel_hung_up(first.channel)
    assert polled(endpoint, now=wire.now) == ([], [])
    assert endpoint.channels == 1


@pytest.mark.parametrize("number", [0, -1, 2, 99])
def test_an_unknown_channel_number_is_refused(number: int) -> None:
    server, client = ServerWire(), ClientWire()
    server.accept()
    for endpoint in (server.endpoint, client.endpoint):
        with pytest.raises(LocalProtocolError, match="never was"):
            endpoint.receive_data(number, b"x", now=0.0)
        with pytest.raises(LocalProtocolError):
            endpoint.channel_closed(number, now=0.0)
        with pytest.raises(LocalProtocolError):
            endpoint.channel_blocked(number)
        with pytest.raises(LocalProtocolError):
            endpoint.channel_writable(number, now=0.0)
        assert not any(isinstance(item, ev.Closed | ev.SparkEnded) for item in endpoint.poll(now=1000.0))
        assert endpoint.channels == 1
    with pytest.raises(LocalProtocolError):
        client.endpoint.channel_opened(number, now=0.0)


def test_a_broadcast_is_one_command_and_one_object() -> None:
    wire = ServerWire()
    peers = [wire.connect()[0] for _ in range(5)]
    wire.commands.clear()
    assert wire.server.write({"to": "all"}) == 5
    wire.pump()
    (write,) = wire.commands
    assert isinstance(write, cmd.Write)
    assert write.channels == tuple(peer.channel for peer in peers)
    assert frames(write.data) == [Frame(TEXT, b'{"to":"all"}')]


def test_a_broadcast_joins_what_waits_already() -> None:
    wire = ServerWire()
    (_, one), (busy, two), (slow, _) = (wire.connect() for _ in range(3))
    wire.block(slow.channel)
    two.write("before")
    wire.commands.clear()
    wire.server.write("all")
    two.write("after")
    wire.pump()
    data = {write.channels: frames(write.data) for write in wire.commands if isinstance(write, cmd.Write)}
    assert data == {
        (1,): [Frame(TEXT, b'"all"')],
        (2,): [Frame(TEXT, each) for each in (b'"before"', b'"all"', b'"after"')],
    }
    assert one.buffered == two.buffered == 0
    busy.frames()
    wire.unblock(slow.channel)
    assert slow.frames() == [Frame(TEXT, b'"all"')]


def test_writing_in_the_turn_in_which_the_peer_goes_leaves_nothing_behind() -> None:
    """The pipe is dirty when its carrier closes: no timer is set for it any more, and the channel closes once."""
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("too late")
    peer.eof("reset")
    assert peer.aborted()
    assert wire.endpoint.next_timeout() is None
    wire.run(60)
    assert [command for command in wire.commands if isinstance(command, cmd.CloseChannel)] == [
        cmd.CloseChannel(1, True)
    ]
    assert spark.buffered == 0


def test_what_a_driver_reports_while_it_writes_is_handed_out_by_the_same_poll() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("x")
    items = wire.endpoint.poll(now=wire.now)
    assert type(next(items)) is cmd.Write
    wire.endpoint.channel_closed(peer.channel, "reset", now=wire.now)
    assert [type(item) for item in items][-2:] == [ev.SparkEnded, cmd.CloseChannel]


def test_a_poll_that_nobody_goes_through_loses_nothing() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("x")
    wire.endpoint.poll(now=wire.now)
    wire.pump()
    assert peer.frames() == [Frame(TEXT, b'"x"')]
