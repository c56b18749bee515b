"""A call as the core sees it: an exchange, and the WebSocket that it may become.

The law kept here: an exchange is answered once, and the loss of its peer is reported once. What ASGI cannot express is
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import primus_proto as pp
from primus_proto.http.model import Request, error_response, text_response, without_headers
from primus_proto.session.messages import Message
from primus_proto.transports.base import CarrierOwner
from primus_proto.wire.handshake import check_handshake, choose_subprotocol

from .call import ASGIMessage, Call, CallHost, Receive, Send

__all__ = ["HttpExchange", "WebSocketExchange"]

HeaderPairs = Iterable[tuple[str, str]]

# Fields that HTTP/2 and later do not allow (RFC 9113, 8.2.2).
HOP_BY_HOP = ("connection", "upgrade")
HIGH = 64 * 1024  # if the host has not taken more bytes than this, the core keeps the rest
# Close codes for violations of the protocol by the peer, whichever end closed.
VIOLATIONS = {1002: "protocol error", 1003: "data it cannot take", 1007: "not UTF-8", 1009: "message too large"}


class Exchange(Call):
    """One call, and the right to answer it (the `Exchange` of the transports)."""

    _response_type = (
        "http.response"  # how the types of the messages of an answer begin; empty if the host supports none
    )
    _hop_by_hop = True  # whether an answer may have Connection and Upgrade fields

    def __init__(self, host: CallHost, request: Request, receive: Receive, send: Send) -> None:
        super().__init__(host, receive, send)
        self.request = request
        self.extra_headers: tuple[tuple[str, str], ...] = ()
        self.on_gone: Callable[[float], None] | None = None
        self.on_drained: Callable[[float], None] | None = None
        self.open = True
        self.sent = 0
        self._started = False
        self._has_body = False

    @property
    def blocked(self) -> bool:
        return self.buffered > HIGH

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        length = [] if status in (204, 304) else [("Content-Length", str(len(body)))]
        if self._start(status, [*headers, *length], close):
            self._send_body(body if self._has_body else b"", False)

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        self._start(status, list(headers), False)

    def write(self, data: bytes, *, now: float) -> None:
        if self.open and self._has_body and data:
            self._send_body(data, True)

    def finish(self, *, now: float) -> None:
        if self.open:
            if not self._started:
                raise pp.LocalProtocolError("there is no answer to finish")
            self._send_body(b"", False)

    def abort(self, *, now: float) -> None:
        if self.open:
            self.open = False
            self.stop()

    def _start(self, status: int, headers: list[tuple[str, str]], close: bool) -> bool:
        if not self.open:
            return False
        if self._started:
            raise pp.LocalProtocolError("an answer to this request has begun already")
        self._started = True
        headers += without_headers(self.extra_headers, headers)
        self._has_body = self.request.method != "HEAD" and status not in (204, 304)
        self._disarm()
        if not self._response_type:
            self._queue({"type": "websocket.close"})  # before the WebSocket is accepted, this is a 403
            self.open = False
            self._finish()
            return False
        if not self._hop_by_hop:
            headers = [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
        elif close or self._host.endpoint.closing:
            headers = [*headers, ("Connection", "close")]
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._queue({"type": f"{self._response_type}.start", "status": status, "headers": fields})
        return True

    def _send_body(self, data: bytes, more: bool) -> None:
        self._queue({"type": f"{self._response_type}.body", "body": data, "more_body": more}, len(data))
        self.sent += len(data)
        if not more:
            self.open = False
            self._finish()

    def _drained(self, now: float) -> None:
        callback, self.on_drained = self.on_drained, None
        if callback is not None:
            callback(now)

    def _lost(self, why: str, now: float) -> None:
        if not self.open:
            Exchange._drained(self, now)  # a host may end a call before its sender is told that the answer has left
            return
        self.open = False
        self.on_drained = None
        if self.on_gone is not None:
            self.on_gone(now)


class HttpExchange(Exchange):
    """A call for an HTTP request."""

    def __init__(self, host: CallHost, request: Request, receive: Receive, send: Send) -> None:
        super().__init__(host, request, receive, send)
        self._hop_by_hop = request.http_version.startswith("1")
        # Calling `receive` asks for the body, and the peer may be waiting for a 100 (RFC 9110, 10.1.1).
        self._receiving = "100-continue" not in request.headers.tokens("expect")
        self._body = bytearray()
        self._whole = False
        self._limit = 0
        self._handler: Callable[[bytes, float], None] | None = None

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if not self.open:
            return
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            self._too_large(limit, now)
            return
        self._limit, self._handler = limit, handler
        self._arm(now + self._host.endpoint.limits.handshake, self._late)
        self._set_receiving(True)
        self._check(now)

    def accept_websocket(
        self,
        owner: CarrierOwner,
        limit: int,
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        *,
        now: float,
    ) -> None:
        """Refuse: a host that supports WebSockets would not have sent this as an HTTP request."""
        answer = check_handshake(self.request) or text_response(
            501, "Not Implemented: the server that hosts this application has no WebSockets"
        )
        self.respond(answer.status, answer.headers, answer.body, now=now)

    def _begin(self, now: float) -> None:
        self._host.endpoint.request(self, now=now)

    def _receive_message(self, message: ASGIMessage, now: float) -> None:
        if message["type"] == "http.disconnect":
            self._lost("", now)
            self.stop()
        elif self.open:  # otherwise it is the rest of an unwanted body
            self._body += message.get("body", b"")
            self._whole = not message.get("more_body", False)
            self._check(now)

    def _check(self, now: float) -> None:
        handler = self._handler
        if handler is None:
            self._set_receiving(self._whole)  # stop after one unrequested part of a body
        elif len(self._body) > self._limit:
            self._too_large(self._limit, now)
        elif self._whole:
            self._disarm()
            self._handler = None
            body = bytes(self._body)
            self._body.clear()
            handler(body, now)

    def _lost(self, why: str, now: float) -> None:
        self._disarm()
        super()._lost(why, now)

    def _too_large(self, limit: int, now: float) -> None:
        self._refuse(413, f"request body larger than {limit} bytes", now)

    def _late(self, now: float) -> None:
        self._refuse(408, "the request body did not arrive in time", now)

    def _refuse(self, status: int, message: str, now: float) -> None:
        answer = error_response(status, message)
        self.respond(answer.status, answer.headers, answer.body, close=True, now=now)


class WebSocketExchange(Exchange):
    """A call for a WebSocket. Until it is accepted, it is a request that may be answered."""

    _hop_by_hop = False

    def __init__(self, host: CallHost, request: Request, answers: bool, receive: Receive, send: Send) -> None:
        super().__init__(host, request, receive, send)
        self._response_type = "websocket.http.response" if answers else ""
        self._carrier: WebSocket | None = None

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if self.open:
            handler(b"", now)

    def accept_websocket(
        self,
        owner: CarrierOwner,
        limit: int,
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        *,
        now: float,
    ) -> WebSocket | None:
        if not self.open:
            return None
        self.open = False
        subprotocol = choose_subprotocol(self.request, subprotocols)
        pairs = (*headers, *self.extra_headers)
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        self._queue({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        self._carrier = WebSocket(self, owner, limit, subprotocol)
        return self._carrier

    def _begin(self, now: float) -> None:
        """Do nothing: the host first sends ``websocket.connect``."""

    def _receive_message(self, message: ASGIMessage, now: float) -> None:
        kind = message["type"]
        if kind == "websocket.connect":
            self._host.endpoint.request(self, now=now)
        elif kind == "websocket.disconnect":
            if self._carrier is not None:
                self._carrier.ended(message, now)
            self._lost("", now)
            self.stop()
        elif self._carrier is not None:
            text = message.get("text")
            self._carrier.received(message["bytes"] if text is None else text, now)

    def _drained(self, now: float) -> None:
        if self._carrier is not None:
            self._carrier.owner.drained(now=now)
        super()._drained(now)

    def _lost(self, why: str, now: float) -> None:
        super()._lost(why, now)
        if self._carrier is not None:
            self._carrier.lost(why, now)


class WebSocket:
    """The carrier on a call (the `WebSocketCarrier` of the transports)."""

    __slots__ = ("_call", "_close_reported", "_limit", "_open", "owner", "subprotocol")

    def __init__(self, call: WebSocketExchange, owner: CarrierOwner, limit: int, subprotocol: str | None) -> None:
        self.owner = owner
        self.subprotocol = subprotocol
        self._call = call
        self._limit = limit
        self._open = True  # not closed by this end
        self._close_reported = False  # the owner was told

    @property
    def buffered(self) -> int:
        return self._call.buffered

    @property
    def blocked(self) -> bool:
        return self._call.blocked

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        if self._open:
            for message in messages:
                kind = "text" if isinstance(message.payload, str) else "bytes"
                self._call._queue({"type": "websocket.send", kind: message.payload}, message.size)

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        """Do nothing: ASGI has no pings, the host sends its own."""

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        if self._open:
            self._open = False
            self._call._queue({"type": "websocket.close", "code": code, "reason": reason})

    def abort(self, *, now: float) -> None:
        self._open = False
        self._call.stop()
        self._report_close(1006, "", None, now)

    def pause(self) -> None:
        self._call._set_receiving(False)

    def resume(self) -> None:
        self._call._set_receiving(True)

    def check_peer(self) -> None:
        """ASGI does not tell."""

    def make_write(self, messages: Sequence[Message]) -> None:
        return None

    def make_text_write(self, texts: Sequence[bytes]) -> None:
        return None

    def report_drained(self) -> None:
        """Do nothing: it always reports that."""

    # --- for the call ---

    def received(self, data: str | bytes, now: float) -> None:
        """Handle a message. The host may have let it grow larger than the limit here."""
        if self._close_reported:
            return
        if len(data) <= self._limit:
            size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode(errors="replace"))
            if size <= self._limit:
                self.owner.received(data, now=now)
                return
        reason = f"message larger than {self._limit} bytes"
        self.close(1009, reason, now=now)
        call = self._call
        call._arm(now + call._host.endpoint.limits.close, lambda now: call.stop())
        call._finish()
        self._report_close(1009, reason, pp.RemoteProtocolError(f"WebSocket: {reason}"), now)

    def ended(self, message: ASGIMessage, now: float) -> None:
        """Handle the host's ``websocket.disconnect``."""
        code, reason = message.get("code", 1005), message.get("reason") or ""
        error: pp.PrimusError | None = None
        if code == 1006 or (code == 1005 and "reason" not in message):  # uvicorn's form of 1006
            self.lost("the connection was closed without a closing handshake", now)
            return
        if code == 1012:
            error = pp.ConnectionLost("the server that hosts this application is stopping", code=code)
        elif code in VIOLATIONS:
            error = pp.RemoteProtocolError(f"WebSocket: {reason or VIOLATIONS[code]}")
        self._report_close(code, reason, error, now)

    def lost(self, why: str, now: float) -> None:
        """Handle a loss without a close frame."""
        self._open = False
        self._report_close(1006, "", pp.ConnectionLost(why), now)

    def _report_close(self, code: int, reason: str, error: pp.PrimusError | None, now: float) -> None:
        if not self._close_reported:
            self._close_reported = True
            self.owner.closed(code, reason, error, now=now)
