"""A client's heartbeat: which end sends pings, and when the server is lost (protocol 3.1, 3.4 and 3.5).

There is one class for each dialect. The laws kept here: a heartbeat depends only on what arrived and on the time, and
acts only through its client. No ping is sent before the last one was answered, so that none can pile up. While reading
is paused, missed heartbeats are not counted and our own are still sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from ..config import ClientConfig
from ..limits import Limits
from ..timers import Timers
from .neglect import SILENCE
from .states import ReadyState

__all__ = ["DEFAULT_PING", "DEFAULT_PONG", "ClientHeartbeat", "HeartbeatClient", "client_heartbeat"]

DEFAULT_PING = 25.0
DEFAULT_PONG = 10.0
DEFAULT_PING_TIMEOUT = 45.0
PONG_SKIP = 1.0  # seconds after a pong in which a happn server answers no ping, by default


class HeartbeatClient(Protocol):
    """What a heartbeat needs of its client."""

    config: ClientConfig
    heartbeat: ClientHeartbeat
    latency: float | None
    limits: Limits
    ready_state: ReadyState
    timers: Timers

    def epoch_ms(self, now: float) -> int: ...

    def say(self, name: str, value: str) -> None:
        """Send a protocol message."""

    def reply(self, name: str, value: str, now: float) -> None:
        """`say`, in answer to the server."""

    def heartbeat_lost(self, missed: str, now: float) -> None:
        """The server counts as lost; `missed` says what did not arrive."""


def client_heartbeat(client: HeartbeatClient) -> ClientHeartbeat:
    """Make the first heartbeat of a client: that of its dialect, or `happn` until the server's dialect is known."""
    return _answering(client) if client.config.dialect == "primus" else _pinging(client)


def _pinging(client: HeartbeatClient, ping: float = DEFAULT_PING) -> ClientHeartbeat:
    """Make a heartbeat that sends pings. The user's option `ping` takes precedence over the argument."""
    return PingingHeartbeat(client, ping if client.config.ping is None else client.config.ping)


def _answering(client: HeartbeatClient, timeout: float = DEFAULT_PING_TIMEOUT) -> ClientHeartbeat:
    """Make a heartbeat that answers pings. The user's option `ping_timeout` takes precedence over the argument."""
    return AnsweringHeartbeat(client, timeout if client.config.ping_timeout is None else client.config.ping_timeout)


def _told(client: HeartbeatClient, spec: Mapping[str, Any]) -> ClientHeartbeat | None:
    """Make the heartbeat that a server's ``/spec`` asks for (protocol 3.5); None if it does not say.

    The interval is at least `Limits.heartbeat_min`, so a server cannot make its clients send a flood of pings.
    """
    least = client.limits.heartbeat_min
    if "pingInterval" in spec:
        interval = _seconds(spec["pingInterval"])
        return None if interval is None else _answering(client, max(interval * 1.5, least) if interval else 0.0)
    timeout = _seconds(spec.get("timeout"))
    if timeout is None:
        return None
    if timeout == 0:  # such a server still answers pings, and one of happn-primus waits for them
        return _pinging(client)
    return _pinging(client, max(min(DEFAULT_PING, timeout - 10 if timeout > 20 else timeout / 2), least))


def _seconds(milliseconds: object) -> float | None:
    """Read a duration in a spec. False is 0; anything invalid is None."""
    if milliseconds is False:
        return 0.0
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and 0 <= milliseconds < 1e15:
        return milliseconds / 1000
    return None


class ClientHeartbeat(ABC):
    """A client's heartbeat. The dialects add the timers."""

    def __init__(self, client: HeartbeatClient, period: float) -> None:
        self._client = client
        self._period = period  # seconds; 0: no timer
        self._since = 0.0  # the start of the current period: the open, or the last sign of life
        self._paused = False
        self._excused = False  # reading was paused since the timer was set: what is missed may be waiting unread
        self._proven = False  # a sign of life of this dialect came on this connection

    @property
    def patience(self) -> float:
        """Seconds of silence that it allows."""
        return self._period or SILENCE

    @abstractmethod
    def start(self, now: float) -> None:
        """The connection is open."""

    def learn(self, spec: Mapping[str, Any], now: float) -> None:
        """The server has sent its spec: change to the heartbeat that suits it."""
        told = _told(self._client, spec)
        if told is not None and (type(told), told._period) != (type(self), self._period):
            self._become(told, now)

    def _become(self, heartbeat: ClientHeartbeat, now: float) -> None:
        self._client.heartbeat = self._inherited(heartbeat)
        if self._client.ready_state is ReadyState.OPEN:
            self._cancel()
            heartbeat.take_over(self, now)

    def _inherited(self, heartbeat: ClientHeartbeat) -> ClientHeartbeat:
        if self._paused:
            heartbeat.pause()
        return heartbeat

    def take_over(self, other: ClientHeartbeat, now: float) -> None:
        """Start in place of another heartbeat, on an open connection."""
        self.start(now)

    def stop(self) -> ClientHeartbeat:
        """The connection is gone. Returns the heartbeat for the next one.

        What was learned about the server is kept if a sign of life on this connection confirmed it.
        """
        self._cancel()
        proven, self._proven = self._proven, False
        return self if proven else self._inherited(client_heartbeat(self._client))

    @abstractmethod
    def _cancel(self) -> None:
        """Turn the timers off."""

    def pause(self) -> None:
        """Nothing is read from the server until `resume`."""
        self._paused = self._excused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    @abstractmethod
    def ping(self, value: str, now: float) -> bool:
        """A ``primus::ping::`` arrived. Returns False if it has no meaning in this dialect."""

    def pong(self, value: str, now: float) -> bool:
        """A ``primus::pong::`` arrived. Returns False if it has no meaning in this dialect."""
        return False


class PingingHeartbeat(ClientHeartbeat):
    """`happn` and `primus6`: sends a ping some time after each pong, and waits for the next pong (protocol 3.1)."""

    def __init__(self, client: HeartbeatClient, period: float) -> None:
        super().__init__(client, period)
        self._ping_timer = client.timers.new(self._ping_due)
        self._pong_timer = client.timers.new(self._pong_due)
        self._sent: tuple[str, float] | None = None  # value and time of the outstanding ping

    def start(self, now: float) -> None:
        self._sent = None
        self._since = now
        self._pong_timer.cancel()
        if self._period:
            self._ping_timer.set(now + self._period)

    def take_over(self, other: ClientHeartbeat, now: float) -> None:
        # The server counts from the open. A dialect that becomes known late must not make the ping late.
        self.start(other._since)

    def _cancel(self) -> None:
        self._ping_timer.cancel()
        self._pong_timer.cancel()

    def ping(self, value: str, now: float) -> bool:
        if self._client.config.dialect != "auto":
            return False
        self._become(_answering(self._client), now)  # only a server of dialect primus sends pings
        return self._client.heartbeat.ping(value, now)

    def pong(self, value: str, now: float) -> bool:
        # Only the pong for the outstanding ping measures the latency.
        if self._sent is not None and self._sent[0] == value:
            self._client.latency = now - self._sent[1]
        self._proven = True
        if min(self._ping_timer.due, self._pong_timer.due) < now:
            self._excused = True  # this process was suspended or late, so the pong may have waited
        if self._excused:
            # The pong may have waited unread, so the next ping must not be timed from now: it could be too late. But it
            # must not follow the pong so closely that the server answers both pings at once (protocol 3.2).
            self.start(max(self._since, now + min(PONG_SKIP, self._period / 2) - self._period))
        else:
            self.start(now)
        return True

    def _ping_due(self, now: float) -> None:
        value = str(self._client.epoch_ms(now))
        self._sent = (value, now)
        self._since = now
        self._client.say("ping", value)
        if self._paused:
            # The pong will not be read, but the server still needs our pings.
            self._ping_timer.set(now + self._period)
        else:
            self._excused = False
            self._pong_timer.set(now + self._client.config.pong)

    def _pong_due(self, now: float) -> None:
        if self._excused:
            self._ping_due(now)
        else:
            self._client.heartbeat_lost("the server did not answer a ping in time", now)


class AnsweringHeartbeat(ClientHeartbeat):
    """`primus`, 7 and later: answers the server's pings, and waits for the next one (protocol 3.4)."""

    def __init__(self, client: HeartbeatClient, period: float) -> None:
        super().__init__(client, period)
        self._timer = client.timers.new(self._expired)

    def start(self, now: float) -> None:
        self._since = now
        self._excused = self._paused
        if self._period:
            self._timer.set(now + self._period)

    def _cancel(self) -> None:
        self._timer.cancel()

    def ping(self, value: str, now: float) -> bool:
        self._proven = True
        self._client.reply("pong", value, now)
        self.start(now)
        return True

    def _expired(self, now: float) -> None:
        if self._paused:
            # The ping will not be read, but the server still needs our pongs, before every second ping of its own.
            self._client.say("pong", str(self._client.epoch_ms(now)))
            self._timer.set(now + self._period / 2)
        elif self._excused:
            self.start(now)
        else:
            self._client.heartbeat_lost("the server sent no ping in time", now)
