"""What both byte endpoints share: their channels, the verbs of the driver, and how output is collected."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sized

from . import events as ev
from .commands import Command
from .errors import ConnectError, LocalProtocolError
from .limits import Limits
from .session.core import Core, poll
from .timers import Timers
from .transports.pipe import Pipe, flush_pipes
from .wire.channel import Channel, collect

__all__ = ["Endpoint"]

Data = bytes | bytearray | memoryview


class Endpoint(ABC):
    """Base of the endpoints. A subclass adds every queue of its own to `_agenda`, or `poll` may overlook it."""

    def __init__(self, session: Core) -> None:
        self._session = session
        self.queued_events: Sized = session.queued_events
        """Events that `poll` has not handed out yet."""
        self.timers: Timers = session.timers
        self.limits: Limits = session.limits
        self.rng: random.Random = session.rng
        self._channels: dict[int, Channel] = {}
        self._last_channel = 0
        self._dirty_channels: list[Channel] = []
        self._dirty_pipes: deque[Pipe] = deque()
        self._dirty = (self._dirty_pipes, self._dirty_channels)
        self._commands: deque[Command] = deque()
        # Where all that `poll` has to do shows, but for dirty pipes and `Core.is_unsettled`.
        self._agenda: tuple[Sized, ...] = (
            *(session.queued_events, session.queued_commands, session.timers.delays),
            *(self._commands, self._dirty_channels),
        )
        self.channel_dirty: Callable[[Channel], object] = self._dirty_channels.append
        """See `ChannelHost`."""
        self.touch: Callable[[Pipe], object] = self._dirty_pipes.append
        """See `PipeHost`."""

    # --- the driver's side ---

    def receive_data(self, channel: int, data: Data, *, now: float) -> None:
        """Bytes arrived on a channel. No reference to `data` is kept; an empty one means nothing."""
        known = self._channels.get(channel) or self._find(channel)
        if known is None:
            return
        (known if known.unread or known.closed else known.user).receive_data(data, now=now)

    def channel_closed(self, channel: int, error: ConnectError | str | None = None, *, now: float) -> None:
        """The channel is at EOF, lost, or could not be opened (`error` says why).

        A ConnectError is reported as it is, with its cause.
        """
        known = self._find(channel)
        if known is not None:
            known.channel_closed(error, now=now)

    def channel_blocked(self, channel: int) -> None:
        """The driver's buffer is full: no `Write` for this channel until `channel_writable`."""
        known = self._find(channel)
        if known is not None:
            known.blocked = True

    def channel_writable(self, channel: int, *, now: float) -> None:
        """The driver can take output again."""
        known = self._find(channel)
        if known is not None:
            known.writable(now=now)

    def channel_hung_up(self, channel: int) -> None:
        """The peer has closed or lost a channel whose reading is paused (`ProbeChannel`)."""
        known = self._find(channel)
        if known is not None:
            known.hung_up()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, absolute, on the clock of `now`; None: nothing is due. Pure."""
        return self.timers.next()

    def handle_timeout(self, *, now: float) -> None:
        """Do what is due; early and extra calls are harmless."""
        self.timers.fire(now)

    def poll(self, *, now: float) -> Iterator[ev.Event | Command]:
        """Hand out what to know and to do, one item at a time: events, then the commands they caused.

        The next item depends on what was done about the one before: after `end()` in an event, no data of that session
        follows. A caller that breaks off loses nothing. Costs next to nothing when there is nothing.
        """
        session, pipes = self._session, self._dirty_pipes
        if not now >= session.polled:  # otherwise without the call
            session.check_clock(now)
        session.polled = now
        if not (session.is_unsettled or any(self._agenda)):
            # Most often there is nothing, or answers to what came, which take fewer steps.
            return self._poll_pipes(now) if pipes else iter(())
        return poll(session.queued_events, self._commands, self._work, now, self._dirty)

    def _poll_pipes(self, now: float) -> Iterator[ev.Event | Command]:
        """`poll` where pipes have something, and nothing else."""
        pipes = self._dirty_pipes
        while pipes and not self._commands:
            write = pipes[0].take_write(shared=len(pipes) == 1)
            if write is None:
                break
            pipes.popleft()
            yield write
        if pipes or any(self._agenda):  # not an answer, or something was fed in meanwhile
            yield from poll(self._session.queued_events, self._commands, self._work, now, self._dirty)

    @property
    def is_idle(self) -> bool:
        """Whether `poll` would hand out nothing. May be False even so."""
        return not (self._session.is_unsettled or self._dirty_pipes or any(self._agenda))

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    # --- for channels and transports ---

    def defer(self, call: Callable[[float], None]) -> None:
        """See `ChannelHost`."""

        def run(now: float) -> None:
            flush_pipes(self._dirty_pipes, now=now)
            call(now)

        self._session.defer(run)

    # --- inside ---

    def _work(self, now: float) -> None:
        """Turn everything that was asked for into commands."""
        self._prepare(now)
        if self._dirty_channels:
            for channel in self._dirty_channels.copy():
                if channel.unread:
                    channel.feed_unread(now=now)
        if self._dirty_pipes:
            for pipe in self._dirty_pipes:
                if pipe.text_frames is not None and (write := pipe.take_write(shared=False)) is not None:
                    self._commands.append(write)
            flush_pipes(self._dirty_pipes, now=now)
        if self._dirty_channels:
            dirty = self._dirty_channels.copy()
            self._dirty_channels.clear()
            for channel in collect(dirty, self._commands, now=now):
                self._forget(channel.number)

    @abstractmethod
    def _prepare(self, now: float) -> None:
        """Do what has to happen before output is collected."""

    def _new_channel(self) -> Channel:
        self._last_channel += 1
        channel = Channel(self._last_channel, self)
        self._channels[channel.number] = channel
        return channel

    def _forget(self, number: int) -> None:
        self._channels.pop(number, None)

    def _find(self, number: int) -> Channel | None:
        """A channel by number; None for one that is over, LocalProtocolError for one that never was."""
        if not 0 < number <= self._last_channel:
            raise LocalProtocolError(f"there never was a channel {number}")
        return self._channels.get(number)
