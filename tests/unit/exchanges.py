"""Exchanges and WebSockets of a host that speaks HTTP itself, such as an ASGI server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from primus_proto import Headers, Request
from primus_proto.http.model import Address
from primus_proto.session.messages import Message
from primus_proto.transports.base import CarrierOwner, HeaderPairs
from primus_proto.wire.handshake import check_handshake, choose_subprotocol
from tests.unit.wires import Reply

__all__ = ["ForeignCarrier", "ForeignExchange", "foreign_request"]


def foreign_request(method: str, target: str, headers: dict[str, str] | None = None) -> Request:
    return Request(method, target, Headers(headers or {}), Address("192.0.2.1", 1))


class ForeignExchange:
    """An exchange of the host's. It keeps what it was answered."""

    carrier_type: type[ForeignCarrier]

    def __init__(self, request: Request, body: bytes = b"") -> None:
        self.request = request
        self.extra_headers: tuple[tuple[str, str], ...] = ()
        self.on_gone: Callable[[float], None] | None = None
        self.on_drained: Callable[[float], None] | None = None
        self.open = True
        self.sent = 0
        self.buffered = 0
        self.blocked = False
        self.answer: Reply | None = None
        self.carrier: ForeignCarrier | None = None
        self._body = body

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if len(self._body) > limit:
            self.respond(413, now=now)
        else:
            handler(self._body, now)

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        self.stream(status, headers, now=now)
        self.write(b"" if self.request.method == "HEAD" else body, now=now)
        self.finish(now=now)

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        assert self.open, "answered once"
        assert self.answer is None, "answered once"
        fields = {name.lower(): value for name, value in (*headers, *self.extra_headers)}
        self.answer = Reply(status, fields, b"", b"")

    def write(self, data: bytes, *, now: float) -> None:
        assert self.open, "nothing behind the answer"
        assert self.answer is not None
        self.sent += len(data)
        self.answer = self.answer._replace(body=self.answer.body + data)

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
    ) -> ForeignCarrier | None:
        refusal = check_handshake(self.request)
        if refusal is not None:
            self.respond(refusal.status, refusal.headers, refusal.body, now=now)
            return None
        self.respond(101, headers, now=now)
        self.carrier = self.carrier_type(owner, choose_subprotocol(self.request, subprotocols))
        return self.carrier


class ForeignCarrier:
    """A WebSocket of the host's. It keeps what it was told to do."""

    def __init__(self, owner: CarrierOwner, subprotocol: str | None) -> None:
        self.owner = owner
        self.subprotocol = subprotocol
        self.buffered = 0
        self.blocked = False
        self.done: list[object] = []

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        self.done += [message.payload for message in messages]

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        raise NotImplementedError

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        self.done.append((code, reason))

    def abort(self, *, now: float) -> None:
        self.done.append("abort")
        self.owner.closed(1006, "", None, now=now)

    def pause(self) -> None:
        self.done.append("pause")

    def resume(self) -> None:
        self.done.append("resume")

    def check_peer(self) -> None:
        self.done.append("check peer")

    def make_write(self, messages: Sequence[Message]) -> None:
        return None

    def make_text_write(self, frames: Sequence[bytes]) -> None:
        return None

    def report_drained(self) -> None:
        """Nothing waits here."""


ForeignExchange.carrier_type = ForeignCarrier
