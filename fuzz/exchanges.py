"""Exchanges of a host that speaks HTTP itself, so that fuzzing a transport does not pay for parsing requests."""

from __future__ import annotations

from collections.abc import Sequence

from primus_proto.session.messages import Message
from tests.unit.exchanges import ForeignCarrier, ForeignExchange, foreign_request

__all__ = ["HostExchange"]


class Carrier(ForeignCarrier):
    """A WebSocket of the host's, whose peer closes when it is asked to."""

    closed = False

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        if not self.closed:
            super().send(messages, now=now)

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        """The peer would answer."""

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        if not self.closed:
            self.closed = True
            self.owner.closed(code, reason, None, now=now)

    def abort(self, *, now: float) -> None:
        self.close(1006, now=now)


class HostExchange(ForeignExchange):
    """One request."""

    carrier_type = Carrier
    carrier: Carrier | None

    def __init__(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        super().__init__(foreign_request(method, target, headers), body)

    def leave(self, now: float) -> None:
        """The peer has gone."""
        self.open = False
        if self.on_gone is not None:
            on_gone, self.on_gone = self.on_gone, None
            on_gone(now)
