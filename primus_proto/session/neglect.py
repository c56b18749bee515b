"""Watches for an application that does not take the values of a session, so that nothing is read from the peer.

While nothing is read, the end of the session is not read either. The laws kept here: an application that takes values,
however slowly, is ordinary back-pressure. Once nothing was read for as long as the heartbeat allows, a `log` event
reports that, once. From then on the driver is asked whether the peer is gone. If it is, what it sent is read to the
end for the sake of the protocol, and its values are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..timers import Timer
from .states import ReadyState

__all__ = ["PROBE", "SILENCE", "Neglect", "NeglectHost"]

PROBE = 5.0
"""Seconds between two questions whether the peer is gone."""
SILENCE = 35.0
"""Seconds without reading that are ordinary where there is no heartbeat."""


class HasPatience(Protocol):
    """A heartbeat."""

    @property
    def patience(self) -> float:
        """Seconds of silence that it allows."""


class NeglectHost(Protocol):
    """What it needs of the session."""

    receives: bool

    @property
    def ready_state(self) -> ReadyState:
        """Whether there is a connection."""

    @property
    def heartbeat(self) -> HasPatience:
        """Says how long silence may last."""

    @property
    def neglected(self) -> bool:
        """Whether the application keeps the session from reading."""

    def after(self, seconds: float, callback: Callable[[float], object]) -> Timer: ...

    def warn(self, text: str) -> None:
        """Emit a `log` event."""

    def check_peer(self) -> None:
        """Have the pipe ask whether the peer is gone."""


class Neglect:
    """The watch of one session, made when its application pauses it for the first time."""

    __slots__ = ("_host", "_pauses", "_receives", "_seen", "_timer", "_told")

    def __init__(self, host: NeglectHost) -> None:
        self._host = host
        self._pauses = 0
        self._seen = 0  # pauses when the timer was set
        self._timer: Timer | None = None
        self._told = False
        self._receives = host.receives  # before it was told

    def paused(self) -> None:
        """The application has paused the session, or has taken a value while it was paused."""
        self._pauses += 1
        self.resumed()
        if self._timer is None:
            self._start()

    def resumed(self) -> None:
        """The application takes values."""
        if self._told:
            self._told = False
            self._host.receives = self._receives

    def stop(self) -> None:
        """The session is over."""
        if self._timer is not None:
            self._timer.drop()
            self._timer = None

    def _start(self) -> None:
        # Reading may pause and go on many times a second, so the timer is left on meanwhile.
        self._seen = self._pauses
        self._timer = self._host.after(self._host.heartbeat.patience, self._look)

    def _look(self, now: float) -> None:
        host, self._timer = self._host, None
        if not host.neglected:
            return
        if self._seen != self._pauses or host.ready_state is not ReadyState.OPEN:
            self._start()
            return
        if not self._told:
            self._told = True
            host.receives = False
            host.warn(
                f"nothing was read for {host.heartbeat.patience:g} seconds, because nobody takes the values that have "
                "arrived, so the end of the connection may go unnoticed: take them, or give the option receive=False"
            )
        host.check_peer()
        self._timer = host.after(PROBE, self._look)
