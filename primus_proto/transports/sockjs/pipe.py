"""`SockJSPipe`: what sessions over requests share on both ends (protocol 9)."""

from __future__ import annotations

from ...errors import RemoteProtocolError
from ..polling import PollingPipe, too_long

__all__ = ["SockJSPipe"]


class SockJSPipe(PollingPipe[str]):
    """A session over requests."""

    transport = "sockjs"
    __slots__ = ()

    def _handle(self, text: str, now: float) -> None:
        if self.ending is not None or self._peer_end is not None:
            return
        limit = self._host.limits.message
        if too_long(text, limit):
            why = f"message larger than {limit} bytes"
            self._ended_by_peer(1009, why, RemoteProtocolError(f"SockJS: {why}"))
        else:
            self.session.receive_message(text, now=now)
