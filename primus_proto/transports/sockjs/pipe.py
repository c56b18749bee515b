"""`SockJSPipe`: what sessions over requests share on both ends (protocol 9): what has come, and the end.

The laws kept here: a session is notified of its end once; a pipe that was closed is over after `Limits.close` at the
latest.
"""

from __future__ import annotations

from ...errors import PrimusError, RemoteProtocolError
from ...http.model import Request
from ...timers import Timer
from ..base import PipeHost
from ..pipe import Pipe
from ..polling import Inbox
from .frames import too_long

__all__ = ["SockJSPipe"]


class SockJSPipe(Pipe):
    """A session over requests."""

    transport = "sockjs"
    __slots__ = ("_host", "_inbox", "_linger", "over")

    def __init__(self, host: PipeHost, request: Request | None = None) -> None:
        super().__init__(host.touch, request)
        self._host = host
        self.over = False
        """Whether nothing is left to be done."""
        self._inbox = Inbox[str](host.timers, self._handle)
        self._linger: Timer | None = None

    # --- the session's side ---

    @property
    def buffered(self) -> int:
        return self._outbox_size + self._unread

    def pause(self) -> None:
        self._inbox.paused = True

    def resume(self) -> None:
        self._inbox.paused = False
        self._touch()

    # --- the endpoint's side ---

    def flush(self, *, now: float) -> None:
        if self.over:
            return
        if self.aborted:
            self._drop(now)
            return
        if self.ending is not None and self._linger is None:
            self._linger = self._host.timers.new(self._drop)
            self._linger.set(now + self._host.limits.close)
            self._inbox.clear(now=now)
            self.resume()  # the peer's own end must get through
        if self._inbox:
            self._inbox.run(now=now)
        if not self.over:
            self._send(now)

    # --- each end's part ---

    @property
    def _unread(self) -> int:
        """Bytes that have left the outbox, and that the peer has not taken."""
        raise NotImplementedError

    def _send(self, now: float) -> None:
        """Send what can be sent."""
        raise NotImplementedError

    # --- inside ---

    def _handle(self, text: str, now: float) -> None:
        """A message came, and it is its turn."""
        if self.ending is not None:
            return
        limit = self._host.limits.message
        if too_long(text, limit):
            why = f"message larger than {limit} bytes"
            self._end(1009, why, RemoteProtocolError(f"SockJS: {why}"), now)
        else:
            self.session.receive_message(text, now=now)

    def _left(self, now: float) -> None:
        """What was sent last has been taken."""
        if self.high and self.ending is None:
            self.session.drained()
        self._touch()

    # --- the end ---

    def _end(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        """The peer has ended it, or is gone."""
        if self.over:
            return
        self.over = True
        if self.ending is None:
            self.ending = (code, reason)
            self.session.connection_lost(error, code=code, reason=reason, now=now)
        self._release(now)

    def _drop(self, now: float) -> None:
        """Drop everything that is left."""
        if not self.over:
            self.over = True
            self._release(now)

    def _release(self, now: float) -> None:
        """Release requests and timers."""
        self.withdraw()
        if self._linger is not None:
            self._linger.cancel()
        self._inbox.clear(now=now)
