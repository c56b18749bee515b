"""The heartbeat: what a server learns of it from the connect URL, and the client that beats (protocol 3.1, 3.2).

The laws kept here: no ping before the last one was answered, so that none can pile up; and whoever does not read holds
no silence against the other end, nor keeps silent itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .config import ClientConfig
from .http import Request
from .timers import Timers

__all__ = ["ClientHeartbeat", "learned_heartbeat"]

DEFAULT_PING = 25.0
DEFAULT_PONG = 10.0


def learned_heartbeat(request: Request) -> tuple[float, float] | None:
    """The client's (ping, pong) in seconds from its connect URL; None: it has no heartbeat (protocol 3.2)."""
    ping = _milliseconds(request, "ping", DEFAULT_PING)
    pong = _milliseconds(request, "pong", DEFAULT_PONG)
    return None if not ping else (ping, pong)


def _milliseconds(request: Request, key: str, default: float) -> float:
    values = [value for name, value in request.query_pairs if name == key]
    if len(values) != 1:
        return default
    if key == "ping" and values[0] == "false":
        return 0.0
    return float(values[0]) / 1000 if re.fullmatch(r"\d+(\.\d*)?", values[0], re.ASCII) else default


class ClientHeartbeat:
    """Sends a ping some time after each pong, and tells when the answer does not come.

    `ping(now)` sends one and returns the value that identifies its pong; `missed(now)` is called when that did not
    come in time.
    """

    def __init__(
        self, config: ClientConfig, timers: Timers, ping: Callable[[float], str], missed: Callable[[float], None]
    ) -> None:
        self.latency: float | None = None
        """Seconds the last ping took to be answered; before any was, whatever the client put here."""
        self._config = config
        self._ping = ping
        self._missed = missed
        self._ping_timer = timers.new(self._ping_due)
        self._pong_timer = timers.new(self._pong_due)
        self._sent: tuple[str, float] | None = None  # value and time of the outstanding ping
        self._paused = False
        self._excused = False  # there was a pause since the ping: the pong may be there, unread

    def start(self, now: float) -> None:
        """The connection is open, or the server has shown that it is there: a ping is due in `ping` seconds."""
        self._sent = None
        self._pong_timer.cancel()
        if self._config.ping is not False:
            self._ping_timer.set(now + self._config.ping)

    def pong(self, value: str, now: float) -> None:
        """A pong came; only the one for the outstanding ping says anything of the latency."""
        if self._sent is not None and self._sent[0] == value:
            self.latency = now - self._sent[1]
        self.start(now)

    def stop(self) -> None:
        """The connection is gone."""
        self._ping_timer.cancel()
        self._pong_timer.cancel()

    def pause(self) -> None:
        """Nothing is read from the server until `resume`."""
        self._paused = self._excused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    def _ping_due(self, now: float) -> None:
        self._sent = (self._ping(now), now)
        if self._paused:
            # No pong will be seen, but the server must go on hearing from us.
            self._ping_timer.set(now + self._config.ping)
        else:
            self._excused = False
            self._pong_timer.set(now + self._config.pong)

    def _pong_due(self, now: float) -> None:
        if self._excused:
            self._ping_due(now)
        else:
            self._missed(now)
