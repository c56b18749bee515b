"""One byte stream as the core sees it: what to write, whether to read on, when to close.

The law kept here: output stays in the core while the driver says that the channel is blocked, and counts
against the limits there; after a close nothing more is written or taken in, and a peer that does not read cannot put
the end off; `CloseChannel` is given once, and last.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Protocol

from ..commands import CloseChannel, Command, EndWriting, PauseReading, ProbeChannel, ResumeReading, Write
from ..errors import ConnectError
from ..limits import SLICE, Limits
from ..timers import Timer, Timers

__all__ = ["Channel", "ChannelHost", "ChannelUser", "collect"]

# Seconds that a peer has to close a connection whose other half is closed.
LINGER = 1.0


class ChannelUser(Protocol):
    """What runs on a channel: the HTTP server or client side, and the WebSocket after it."""

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        """Bytes came."""

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        """The stream is gone; not said after the core itself closed it."""


class ChannelHost(Protocol):
    """What a channel and its user need of the endpoint."""

    timers: Timers
    limits: Limits

    @property
    def channel_dirty(self) -> Callable[[Channel], object]:
        """Called when a channel has something for `collect`."""

    def defer(self, call: Callable[[float], None]) -> None:
        """Have `call(now)` made once the events so far were handed out and the pipes were flushed."""


class Channel:
    """The core's end of one byte stream."""

    __slots__ = (
        "_aborted",
        "_chunks",
        "_closing",
        "_deadline",
        "_dirty",
        "_discard",
        "_end_writing",
        "_over",
        "_paused",
        "_probe",
        "_want_pause",
        "blocked",
        "buffered",
        "closed",
        "host",
        "number",
        "on_writable",
        "on_written",
        "unread",
        "user",
    )

    user: ChannelUser

    def __init__(self, number: int, host: ChannelHost) -> None:
        self.number: int = number
        self.blocked: bool = False
        self.buffered: int = 0
        self.on_writable: Callable[[float], None] | None = None
        self.on_written: Callable[[float], None] | None = None
        self.unread: bytes = b""  # bytes that came before their reader was there: behind an upgrade
        self.closed: bool = False
        """Whether the core is done with this channel, but for unsent output or a discarding linger."""
        self.host: ChannelHost = host
        self._chunks: list[bytes | memoryview] = []  # a memoryview is longer than SLICE
        self._dirty = False
        self._closing = False
        self._aborted = False
        self._discard = 0  # bytes that a linger or a closing handshake may still discard
        self._end_writing = False  # EndWriting is to be given
        self._over = False  # CloseChannel was given
        self._deadline: Timer | None = None  # of a close that the peer has a part in
        self._paused = False
        self._want_pause = False
        self._probe = False  # ProbeChannel is to be given

    def write(self, data: bytes) -> None:
        """Queue bytes; nothing after a close."""
        if data and not self.closed:
            self._chunks.append(data)
            self.buffered += len(data)
            if not self._dirty:
                self._dirty = True
                self.host.channel_dirty(self)

    def writable(self, *, now: float) -> None:
        """The driver says that the channel is not blocked any more."""
        self.blocked = False
        self.touch()
        if self.on_writable is not None:
            self.on_writable(now)

    def pause(self) -> None:
        """Ask the driver to stop reading."""
        self._want(True)

    def resume(self) -> None:
        """Ask the driver to read again."""
        self._want(False)

    def probe(self) -> None:
        """Ask the driver whether the peer is gone, while reading is paused."""
        if self._paused and not self.closed:
            self._probe = True
            self.touch()

    def hung_up(self) -> None:
        """The driver says that it is. What it sent before is limited, so it is read to its end."""
        self.resume()

    def close(self) -> None:
        """Close once the output has left, or when the peer has not read it for `Limits.close`."""
        self._closing = self.closed = True
        self.touch()

    def abort(self) -> None:
        """Close at once; unsent output is lost."""
        self._closing = self._aborted = self.closed = True
        self._chunks.clear()
        self.buffered = 0
        self.touch()

    def linger(self, *, end_writing: bool = True, now: float) -> None:
        """Close, but read and discard a little first: a reset could eat the answer that the peer has not read.

        The peer sees EOF behind the last output, unless it is for the peer to close first. The linger ends with the
        peer's EOF, after `Limits.drain` bytes or after `Limits.close`; after EOF was sent, it takes at most `LINGER`.
        """
        if not self.closed:
            self.closed = True
            self._end_writing = end_writing
            self._discard = self.host.limits.drain
            self._bound(now)
            self.resume()
            self.touch()

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        """The driver's bytes, passed on unless the channel is closed."""
        if self.unread:
            self.unread += bytes(data)
        elif not self.closed:
            self.user.receive_data(data, now=now)
        elif not self._closing:  # a linger
            self._discard -= len(data)
            if self._discard < 0:
                self.abort()

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        """The driver says that the stream is gone."""
        self.feed_unread(now=now)  # it came before the end
        was_closed = self.closed
        self.abort()
        if not was_closed:
            self.user.channel_closed(error, now=now)

    def feed_unread(self, *, now: float) -> None:
        """Give the user what came too early; called once its owner is in place."""
        if self.unread:
            data, self.unread = self.unread, b""
            self.receive_data(data, now=now)

    def touch(self) -> None:
        """Have `collect` look at this channel."""
        if not self._dirty and not self._over:
            self._dirty = True
            self.host.channel_dirty(self)

    def take(self) -> bytes | None:
        """The output that may be written now."""
        chunks = self._chunks
        if not chunks or self.blocked:
            return None
        if self.buffered > SLICE:
            return self._take_slice()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered = 0
        return data  # type: ignore[return-value]  # only one that is longer than a slice is a memoryview

    def _take_slice(self) -> bytes:
        """Take at most `SLICE` bytes, so that the driver can say after each slice that its buffer is full."""
        chunks, count, size = self._chunks, 0, 0
        while size + len(chunks[count]) <= SLICE:
            size += len(chunks[count])
            count += 1
        if count:
            data = b"".join(chunks[:count])
            del chunks[:count]
        else:
            view = memoryview(chunks[0])
            data, rest = bytes(view[:SLICE]), view[SLICE:]
            chunks[0] = rest if len(rest) > SLICE else bytes(rest)
        self.buffered -= len(data)
        return data

    def finish(self, commands: MutableSequence[Command], now: float) -> bool:
        """The commands after the writing; True when the channel has ended."""
        self._dirty = False
        if self._closing:
            if not self._chunks:
                self._over = True
                if self._deadline is not None:
                    self._deadline.cancel()
                commands.append(CloseChannel(self.number, self._aborted))
                return True
            self._bound(now)
        if self._chunks and not self.blocked:
            self.touch()  # there is another slice
        if self._want_pause is not self._paused:
            self._paused = self._want_pause
            commands.append((PauseReading if self._paused else ResumeReading)(self.number))
        if self._probe:
            self._probe = False
            if self._paused:  # otherwise reading tells
                commands.append(ProbeChannel(self.number))
        if self._end_writing and not self._chunks:
            self._end_writing = False
            commands.append(EndWriting(self.number))
            assert self._deadline is not None
            self._deadline.set(min(self._deadline.due, now + LINGER))
        return False

    def _want(self, pause: bool) -> None:
        if pause is not self._want_pause:
            self._want_pause = pause
            self.touch()

    def _bound(self, now: float) -> None:
        """From here on the peer has `Limits.close` to do its part."""
        if self._deadline is None:
            self._deadline = self.host.timers.new(lambda now: self.abort())
            self._deadline.set(now + self.host.limits.close)


def collect(dirty: list[Channel], commands: MutableSequence[Command], *, now: float) -> Sequence[Channel]:
    """Turn what the dirty channels hold into commands; returns the channels to forget.

    Channels whose only output is the same object, as a broadcast makes it, share one `Write`.
    """
    data: bytes | None
    shared: dict[int, tuple[bytes, list[int]]] = {}
    last: bytes | None = None  # the channels of a broadcast come in a row
    numbers: list[int] = []
    written = []
    changed = []
    for channel in dirty:
        chunks = channel._chunks
        if len(chunks) == 1 and channel.buffered <= SLICE and not channel.blocked:
            data = chunks.pop()  # type: ignore[assignment]  # as `take` does; none so short is a memoryview
            channel.buffered = 0
        else:
            data = channel.take()
        if data is not None:
            if data is not last:
                last, numbers = shared.setdefault(id(data), (data, []))
            numbers.append(channel.number)
            if channel.on_written is not None:
                written.append(channel)
        if channel.closed or channel._chunks or channel._probe or channel._want_pause is not channel._paused:
            changed.append(channel)
        else:
            channel._dirty = False
    for data, numbers in shared.values():
        commands.append(Write(tuple(numbers), data))
    gone = [channel for channel in changed if channel.finish(commands, now)] if changed else ()
    for channel in written:
        callback = channel.on_written
        if callback is not None and not channel.buffered:
            channel.on_written = None
            callback(now)
    return gone
