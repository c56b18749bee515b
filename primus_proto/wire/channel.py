"""One byte stream as the core sees it: what is to be written, whether to read on, when to close.

The law kept here: output stays in the core while the driver says that the channel is blocked, and counts
against the limits there; after a close nothing more is written or taken in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..commands import CloseChannel, Command, PauseReading, ResumeReading, Write
from ..config import Limits
from ..timers import Timer, Timers

__all__ = ["Channel", "ChannelHost", "ChannelUser", "collect"]


class ChannelUser(Protocol):
    """What runs on a channel: the HTTP server or client side, and the WebSocket after it."""

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        """Bytes came."""

    def channel_closed(self, error: str | None, *, now: float) -> None:
        """The stream is gone; not said after the core itself closed it."""


class ChannelHost(Protocol):
    """What a channel and its user need of the endpoint."""

    timers: Timers
    limits: Limits

    def channel_dirty(self, channel: Channel) -> None:
        """The channel has something for `collect`."""


class Channel:
    """The core's end of one byte stream."""

    __slots__ = (
        "_aborted",
        "_chunks",
        "_closing",
        "_dirty",
        "_host",
        "_linger",
        "_paused",
        "_want_pause",
        "blocked",
        "buffered",
        "number",
        "on_written",
        "unread",
        "user",
    )

    user: ChannelUser

    def __init__(self, number: int, host: ChannelHost) -> None:
        self.number = number
        self.blocked = False
        self.buffered = 0
        self.on_written: Callable[[float], None] | None = None
        self.unread = b""  # bytes that came before their reader was there: behind an upgrade
        self._host = host
        self._chunks: list[bytes] = []
        self._dirty = False
        self._closing = False
        self._aborted = False
        self._linger: Timer | None = None
        self._paused = False
        self._want_pause = False

    @property
    def closed(self) -> bool:
        """Whether the core is done with this channel, but for unsent output or a discarding linger."""
        return self._closing or self._linger is not None

    def write(self, data: bytes) -> None:
        """Queue bytes; nothing after a close."""
        if not self._closing and data:
            self._chunks.append(data)
            self.buffered += len(data)
            self.touch()

    def pause(self) -> None:
        """Ask the driver to stop reading."""
        self._want_pause = True
        self.touch()

    def resume(self) -> None:
        """Ask the driver to read again."""
        self._want_pause = False
        self.touch()

    def close(self) -> None:
        """Close once the output has left."""
        self._closing = True
        self.touch()

    def abort(self) -> None:
        """Close at once; unsent output is lost."""
        self._closing = self._aborted = True
        self.touch()

    def linger(self, *, now: float) -> None:
        """Close, but read and discard for a while first: a reset could eat the answer that the peer has not read.

        Ends with the peer's EOF or after `Limits.close`.
        """
        if not self.closed:
            self._linger = self._host.timers.new(lambda now: self.abort())
            self._linger.set(now + self._host.limits.close)
            self.resume()

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        """The driver's bytes, passed on unless the channel is closed."""
        if self.unread:
            self.unread += bytes(data)
        elif not self.closed:
            self.user.receive_data(data, now=now)

    def channel_closed(self, error: str | None, *, now: float) -> None:
        """The driver says that the stream is gone."""
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
        if not self._dirty:
            self._dirty = True
            self._host.channel_dirty(self)

    def take(self) -> bytes | None:
        """The output that may be written now."""
        chunks = self._chunks
        if not chunks or self.blocked or self._aborted:
            return None
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered = 0
        return data

    def finish(self, commands: list[Command]) -> bool:
        """The commands after the writing; True when the channel is to be forgotten."""
        self._dirty = False
        if self._closing and (self._aborted or not self._chunks):
            if self._linger is not None:
                self._linger.cancel()
            commands.append(CloseChannel(self.number, self._aborted))
            return True
        if self._want_pause != self._paused:
            self._paused = self._want_pause
            commands.append((PauseReading if self._paused else ResumeReading)(self.number))
        return False


def collect(dirty: list[Channel], commands: list[Command], *, now: float) -> list[Channel]:
    """Turn what the dirty channels hold into commands; returns the channels to forget.

    Channels whose only output is the same object, as a broadcast makes it, share one `Write`.
    """
    shared: dict[int, tuple[bytes, list[int]]] = {}
    written: list[Callable[[float], None]] = []
    for channel in dirty:
        data = channel.take()
        if data is not None:
            group = shared.get(id(data))
            if group is None:
                shared[id(data)] = (data, [channel.number])
            else:
                group[1].append(channel.number)
            if channel.on_written is not None:
                written.append(channel.on_written)
                channel.on_written = None
    commands.extend(Write(tuple(numbers), data) for data, numbers in shared.values())
    gone = [channel for channel in dirty if channel.finish(commands)]
    dirty.clear()
    for callback in written:
        callback(now)
    return gone
