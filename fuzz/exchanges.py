"""Exchanges of a host that speaks HTTP itself, so that fuzzing a transport does not pay for parsing requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from primus_proto import Headers, Request
from primus_proto.http.model import Address
from primus_proto.session.messages import Message
from primus_proto.transports.base import CarrierOwner, HeaderPairs

__all__ = ["Carrier", "HostExchange"]


class HostExchange:
    """One request. It keeps the answer."""

    def __init__(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.request = Request(method, target, Headers(headers or {}), Address("192.0.2.1", 5))
        self.extra_headers: tuple[tuple[str, str], ...] = ()
        self.on_gone: Callable[[float], None] | None = None
        self.on_drained: Callable[[float], None] | None = None
        self.open = True
        self.blocked = False
        self.sent = self.buffered = 0
        self.answer = b""
        self.carrier: Carrier | None = None
        self._body = body

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if len(self._body) > limit:
            self.respond(413, now=now)
        else:
            handler(self._body, now)

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        assert self.open, "answered once"
        self.write(body, now=now)
        self.open = False

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        assert self.open, "answered once"

    def write(self, data: bytes, *, now: float) -> None:
        assert self.open, "nothing behind the answer"
        self.sent += len(data)
        self.answer += data

    def finish(self, *, now: float) -> None:
        self.open = False

    def abort(self, *, now: float) -> None:
        self.open = False

    def accept_websocket(
        self,
        owner: CarrierOwner,
        limit: int,
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        *,
        now: float,
    ) -> Carrier:
        assert self.open, "answered once"
        self.open = False
        self.carrier = Carrier(owner)
        return self.carrier

    def leave(self, now: float) -> None:
        """The peer has gone."""
        self.open = False
        if self.on_gone is not None:
            on_gone, self.on_gone = self.on_gone, None
            on_gone(now)


class Carrier:
    """A WebSocket of the host's. It keeps what was sent."""

    subprotocol = None
    buffered = 0
    blocked = False

    def __init__(self, owner: CarrierOwner) -> None:
        self.owner = owner
        self.sent: list[str | bytes] = []
        self.closed = self.paused = False

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        if not self.closed:
            self.sent += [message.payload for message in messages]

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        """The peer would answer."""

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        if not self.closed:
            self.closed = True
            self.owner.closed(code, reason, None, now=now)

    def abort(self, *, now: float) -> None:
        self.close(1006, now=now)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def report_drained(self) -> None:
        """Nothing waits here."""
