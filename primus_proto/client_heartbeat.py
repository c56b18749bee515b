"""A client's heartbeat: who pings whom, and what silence means. One class for each dialect (protocol 3.1, 3.4, 3.5).

The laws kept here: a heartbeat decides from what came and from the time, and acts through its client alone; no ping
before the last one was answered, so that none can pile up; and whoever does not read holds no silence against the other
end, nor keeps silent itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client

__all__ = [
    "DEFAULT_PING",
    "DEFAULT_PONG",
    "PING_INTERVAL_MS",
    "ClientHeartbeat",
    "client_heartbeat",
    "learned_from_spec",
]

DEFAULT_PING = 25.0
DEFAULT_PONG = 10.0
DEFAULT_PING_TIMEOUT = 45.0
PING_INTERVAL_MS = 30000  # of a `primus` server that says nothing else


def client_heartbeat(client: Client) -> ClientHeartbeat:
    """The heartbeat a client begins with: the configured dialect's, `happn` where that is to be found out."""
    config = client.config
    if config.dialect == "primus":
        return AnsweringHeartbeat(client, DEFAULT_PING_TIMEOUT if config.ping_timeout is None else config.ping_timeout)
    return PingingHeartbeat(client, DEFAULT_PING if config.ping is None else config.ping)


def learned_from_spec(client: Client, spec: Mapping[str, Any]) -> ClientHeartbeat | None:
    """The heartbeat that a server's ``/spec`` asks for (protocol 3.5); None where it does not tell.

    What the user has set wins, and a server cannot ask for a storm of pings.
    """
    config = client.config
    if "pingInterval" in spec:
        interval = _seconds(spec["pingInterval"])
        if interval is None:
            return None
        learned = max(interval * 1.5, client.limits.heartbeat_min) if interval else 0.0
        return AnsweringHeartbeat(client, learned if config.ping_timeout is None else config.ping_timeout)
    timeout = _seconds(spec.get("timeout"))
    if timeout is None or config.ping is not None:
        return None
    if timeout == 0:
        return PingingHeartbeat(client, False)
    ping = min(DEFAULT_PING, timeout - 10 if timeout > 20 else timeout / 2)
    return PingingHeartbeat(client, max(ping, client.limits.heartbeat_min))


def _seconds(milliseconds: object) -> float | None:
    """A duration in a spec: 0 for false, None for what is none."""
    if milliseconds is False:
        return 0.0
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and 0 <= milliseconds < 1e15:
        return milliseconds / 1000
    return None


class ClientHeartbeat:
    """A client's heartbeat. By itself it waits for nothing; the dialects add their timers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._paused = False
        self._excused = False  # there was a pause since the timer was set: what is missed may be there, unread

    def start(self, now: float) -> None:
        """The connection is open."""

    def replace(self, other: ClientHeartbeat, now: float) -> None:
        """Take over from another one on an open connection."""
        other.stop()
        self.start(now)

    def stop(self) -> None:
        """The connection is gone."""

    def pause(self) -> None:
        """Nothing is read from the server until `resume`."""
        self._paused = self._excused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    def ping(self, value: str, now: float) -> bool:
        """A ``primus::ping::`` came. False: it means nothing in this dialect."""
        return False

    def pong(self, value: str, now: float) -> bool:
        """A ``primus::pong::`` came. False: it means nothing in this dialect."""
        return False


class PingingHeartbeat(ClientHeartbeat):
    """`happn` and `primus6`: sends a ping some time after each pong, and misses the next pong (protocol 3.1)."""

    def __init__(self, client: Client, interval: float) -> None:
        super().__init__(client)
        self._interval = interval
        self._ping_timer = client.timers.new(self._ping_due)
        self._pong_timer = client.timers.new(self._pong_due)
        self._sent: tuple[str, float] | None = None  # value and time of the outstanding ping
        self._since = 0.0  # from when on the next ping counts: the open, the last pong, a ping since then

    def start(self, now: float) -> None:
        self._sent = None
        self._since = now
        self._pong_timer.cancel()
        if self._interval:
            self._ping_timer.set(now + self._interval)

    def replace(self, other: ClientHeartbeat, now: float) -> None:
        # The server has counted all along: what was learned late must not make the ping late.
        super().replace(other, other._since if isinstance(other, PingingHeartbeat) else now)

    def stop(self) -> None:
        self._ping_timer.cancel()
        self._pong_timer.cancel()

    def pong(self, value: str, now: float) -> bool:
        # Only the pong for the outstanding ping says anything of the latency.
        if self._sent is not None and self._sent[0] == value:
            self._client.latency = now - self._sent[1]
        # A pong that waited unread says nothing of now: with it as the start, the next ping could come too late.
        self.start(self._since if self._excused else now)
        return True

    def _ping_due(self, now: float) -> None:
        value = str(self._client.epoch_ms(now))
        self._sent = (value, now)
        self._since = now
        self._client.say("ping", value)
        if self._paused:
            # No pong will be seen, but the server must go on hearing from us.
            self._ping_timer.set(now + self._interval)
        else:
            self._excused = False
            self._pong_timer.set(now + self._client.config.pong)

    def _pong_due(self, now: float) -> None:
        if self._excused:
            self._ping_due(now)
        else:
            self._client.silence(now)


class AnsweringHeartbeat(ClientHeartbeat):
    """`primus`, 7 and later: answers the server's pings, and misses the next one (protocol 3.4)."""

    def __init__(self, client: Client, timeout: float) -> None:
        super().__init__(client)
        self._timeout = timeout
        self._timer = client.timers.new(self._expired)

    def start(self, now: float) -> None:
        self._excused = self._paused
        if self._timeout:
            self._timer.set(now + self._timeout)

    def stop(self) -> None:
        self._timer.cancel()

    def ping(self, value: str, now: float) -> bool:
        self._client.say("pong", value)
        self.start(now)
        return True

    def _expired(self, now: float) -> None:
        if self._paused:
            # No ping will be seen, but the server must go on hearing from us, before each second one of its own.
            self._client.say("pong", str(self._client.epoch_ms(now)))
            self._timer.set(now + self._timeout / 2)
        elif self._excused:
            self.start(now)
        else:
            self._client.silence(now)
