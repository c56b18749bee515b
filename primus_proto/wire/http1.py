"""The server's side of one HTTP/1.1 channel: requests become exchanges, one at a time and in order.

The law kept here: whatever bytes come, the outcome is an exchange, an error answer, or the end of the channel.
h11 does the syntax; what it leaves open (pipelining behind an unanswered request, early answers to unread
bodies, time) is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import h11

from ..http import Address, Headers, Request, error_response
from ..transports.base import CarrierOwner, HeaderPairs
from .channel import Channel, ChannelHost
from .websocket import WebSocket, accept_token, check_handshake

__all__ = ["HttpExchange", "HttpServer", "HttpServerHost"]


class HttpServerHost(ChannelHost, Protocol):
    """What the HTTP side needs of the endpoint."""

    def request(self, exchange: HttpExchange, *, now: float) -> None:
        """A request's head is complete."""

    def bad_peer(self, text: str) -> None:
        """A peer broke HTTP and was told so: worth a line in the log."""

    def epoch(self, now: float) -> float:
        """Seconds since 1970."""


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


class HttpServer:
    """The user of a server's channel until (and unless) a WebSocket takes over."""

    __slots__ = ("_conn", "_exchange", "_held", "_pumping", "_timer", "channel", "host", "peer")

    def __init__(self, channel: Channel, host: HttpServerHost, peer: Address, *, now: float) -> None:
        self.channel = channel
        self.host = host
        self.peer = peer
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=host.limits.head)
        self._exchange: HttpExchange | None = None
        self._held = 0  # bytes that came behind the exchange and wait in h11
        self._pumping = False
        self._timer = host.timers.new(self._expired)
        self._timer.set(now + host.limits.handshake)

    # --- the channel's user ---

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        if not data:
            return  # h11 takes an empty string for EOF
        self._conn.receive_data(data)  # type: ignore[arg-type]  # it only appends to a bytearray
        exchange = self._exchange
        if exchange is not None and not exchange.reading:
            self._held += len(data)
            if self._held > self.host.limits.pipelined:
                self.channel.pause()
        self.pump(now)

    def channel_closed(self, error: str | None, *, now: float) -> None:
        self._timer.cancel()
        self._gone(now)

    def close_when_idle(self) -> None:
        """The server is closing: let go of the channel unless an answer is under way."""
        if self._exchange is None and not self.channel.closed:
            self._close()

    # --- requests ---

    def pump(self, now: float) -> None:
        """Take events out of h11 for as long as somebody wants them."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self.channel.closed and (self._exchange is None or self._exchange.reading):
                event = self._conn.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._event(event, now)
        except h11.RemoteProtocolError as error:
            self._bad_request(error, now)
        finally:
            self._pumping = False

    def _event(self, event: object, now: float) -> None:
        if isinstance(event, h11.Request):
            self._request(event, now)
        elif isinstance(event, h11.Data):
            assert self._exchange is not None
            self._exchange._data(event.data, now)
        elif isinstance(event, h11.EndOfMessage):
            assert self._exchange is not None
            self._exchange._complete(now)
        else:  # ConnectionClosed
            self._close()

    def _request(self, event: h11.Request, now: float) -> None:
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        target = event.target.decode("latin-1")
        if not target.startswith("/"):
            # absolute-form, as a proxy gets it (RFC 9112, 3.2.2); "*" and host:port are of no use here
            _, separator, rest = target.partition("://")
            slash = rest.find("/")
            target = (rest[slash:] if slash >= 0 else "/") if separator else ""
        length = headers.get("content-length")
        has_body = "transfer-encoding" in headers or (length is not None and int(length) > 0)
        request = Request(event.method.decode(), target, headers, self.peer, http_version=event.http_version.decode())
        exchange = HttpExchange(self, request, has_body, int(length) if length else 0)
        if not has_body:
            # h11 stays in SEND_BODY even so, and every early answer would have to close the connection.
            self._conn.next_event()
        self._exchange = exchange
        self._timer.cancel()
        if target:
            self.host.request(exchange, now=now)
        else:
            exchange._error(400, "request target not understood", now)

    def _bad_request(self, error: h11.RemoteProtocolError, now: float) -> None:
        data, _ = self._conn.trailing_data
        status = error.error_status_hint
        tls = data[:2] == b"\x16\x03"
        text = "this port speaks plain HTTP, the peer began a TLS handshake" if tls else f"{error}"
        self.host.bad_peer(f"{self.peer.ip}:{self.peer.port}: bad HTTP: {text}")
        self._gone(now)
        if self._conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(status, *_parts(status, text), now)
        self.channel.linger(now=now)
        self._timer.cancel()

    def _expired(self, now: float) -> None:
        """The head (or the next one on a kept-alive connection), or the body, did not come in time."""
        exchange = self._exchange
        if exchange is not None:
            exchange._error(408, "the request body did not arrive in time", now)
        elif self._conn.trailing_data[0]:
            self._answer(408, *_parts(408, "the request head did not arrive in time"), now)
            self.channel.linger(now=now)
        else:
            self._close()

    def _gone(self, now: float) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange._gone(now)

    def _close(self) -> None:
        self._timer.cancel()
        self.channel.close()

    # --- answers, for the exchange ---

    def head(self, status: int, headers: HeaderPairs, now: float) -> None:
        """Send a response head; the framing headers are h11's or the caller's."""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if not any(name.lower() == b"date" for name, _ in fields):
            fields.append((b"Date", formatdate(self.host.epoch(now), usegmt=True).encode()))
        event = h11.Response(status_code=status, headers=fields, reason=_phrase(status))
        self.channel.write(self._conn.send(event) or b"")

    def data(self, data: bytes) -> None:
        """Send a part of the body."""
        self.channel.write(self._conn.send(h11.Data(data=data)) or b"")

    def inform(self, status: int, headers: HeaderPairs = ()) -> None:
        """Send an interim answer, such as 100 or 101."""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        event = h11.InformationalResponse(status_code=status, headers=fields, reason=_phrase(status))
        self.channel.write(self._conn.send(event) or b"")

    def wants_continue(self) -> bool:
        """Whether the peer waits for a 100 before it sends the body."""
        return self._conn.they_are_waiting_for_100_continue

    def arm(self, now: float) -> None:
        """Begin to wait for the peer's part."""
        self._timer.set(now + self.host.limits.handshake)

    def end(self, now: float) -> None:
        """The answer is complete: on to the next request, or close."""
        self.channel.write(self._conn.send(h11.EndOfMessage()) or b"")
        self._exchange = None
        self._held = 0
        self._timer.cancel()
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE:
            self._conn.start_next_cycle()
            self.channel.resume()
            self.arm(now)
            self.pump(now)
        elif self._conn.their_state is h11.SEND_BODY or self._conn.trailing_data[0]:
            self.channel.linger(now=now)  # there is input that nobody will read
        else:
            self._close()

    def upgrade(self, owner: CarrierOwner, limit: int, headers: HeaderPairs) -> WebSocket:
        """Hand the channel over to a WebSocket; what came behind the handshake waits in `Channel.unread`."""
        self._exchange = None
        self._timer.cancel()
        self.inform(101, headers)
        self.channel.unread = bytes(self._conn.trailing_data[0])
        carrier = WebSocket(self.channel, self.host.limits, limit, server=True)
        carrier.owner = owner
        self.channel.user = carrier
        self.channel.resume()
        return carrier

    def _answer(self, status: int, headers: HeaderPairs, body: bytes, now: float) -> None:
        """A last answer that belongs to no exchange."""
        self.head(status, [*headers, ("Content-Length", str(len(body))), ("Connection", "close")], now)
        self.data(body)


def _parts(status: int, message: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    response = error_response(status, message)
    return response.headers, response.body


class HttpExchange:
    """One request and the right to answer it (the `Exchange` of the transports)."""

    __slots__ = (
        "_body",
        "_handler",
        "_has_body",
        "_length",
        "_limit",
        "_server",
        "_streaming",
        "on_drained",
        "on_gone",
        "open",
        "reading",
        "request",
        "sent",
    )

    def __init__(self, server: HttpServer, request: Request, has_body: bool, length: int) -> None:
        self.request = request
        self.on_gone: Callable[[float], None] | None = None
        self.on_drained: Callable[[float], None] | None = None
        self.open = True
        self.sent = 0
        self.reading = False
        self._server = server
        self._has_body = has_body
        self._length = length
        self._limit = 0
        self._body = bytearray()
        self._handler: Callable[[bytes, float], None] | None = None
        self._streaming = False

    @property
    def buffered(self) -> int:
        return self._server.channel.buffered

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if not self._has_body:
            handler(b"", now)
        elif self._length > limit:
            self._error(413, f"request body larger than {limit} bytes", now)
        else:
            self._limit = limit
            self._handler = handler
            self.reading = True
            self._server.channel.resume()
            self._server.arm(now)
            if self._server.wants_continue():
                self._server.inform(100)
            self._server.pump(now)

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        if self._start(status, [*headers, *self._framing(status, len(body))], close, now):
            if self._may_have_body(status):
                self._server.data(body)
                self.sent = len(body)
            self._finish(now)

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        self._streaming = self._start(status, list(headers), False, now) and self._may_have_body(status)

    def write(self, data: bytes, *, now: float) -> None:
        if self.open and self._streaming and data:
            self._server.data(data)
            self._server.channel.on_written = self._written
            self.sent += len(data)

    def finish(self, *, now: float) -> None:
        if self.open:
            self._finish(now)

    def abort(self, *, now: float) -> None:
        if self.open:
            self.open = False
            self._server.channel.abort()

    def accept_websocket(
        self, owner: CarrierOwner, limit: int, headers: HeaderPairs = (), subprotocol: str | None = None, *, now: float
    ) -> WebSocket | None:
        if not self.open:
            return None
        refusal = check_handshake(self.request)
        if refusal is not None:
            self.respond(refusal.status, refusal.headers, refusal.body, now=now)
            return None
        self.open = False
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_token(self.request.headers["sec-websocket-key"])),
            *headers,
        ]
        if subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        return self._server.upgrade(owner, limit, fields)

    # --- for the HttpServer ---

    def _data(self, data: bytes | bytearray, now: float) -> None:
        self._body += data
        if len(self._body) > self._limit:
            self._error(413, f"request body larger than {self._limit} bytes", now)

    def _complete(self, now: float) -> None:
        self.reading = self._has_body = False
        self._server._timer.cancel()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler(bytes(self._body), now)

    def _gone(self, now: float) -> None:
        if self.open:
            self.open = False
            if self.on_gone is not None:
                self.on_gone(now)

    def _error(self, status: int, message: str, now: float) -> None:
        headers, body = _parts(status, message)
        self.respond(status, headers, body, close=True, now=now)

    def _written(self, now: float) -> None:
        callback, self.on_drained = self.on_drained, None
        if callback is not None:
            callback(now)

    def _may_have_body(self, status: int) -> bool:
        return self.request.method != "HEAD" and status not in (204, 304)

    def _framing(self, status: int, length: int) -> list[tuple[str, str]]:
        return [] if status in (204, 304) else [("Content-Length", str(length))]

    def _start(self, status: int, headers: list[tuple[str, str]], close: bool, now: float) -> bool:
        if not self.open:
            return False
        self.reading = False
        if close or self._has_body:  # an unread body is in the way of the next request
            headers = [*headers, ("Connection", "close")]
        self._server.head(status, headers, now)
        return True

    def _finish(self, now: float) -> None:
        self.open = False
        self._server.end(now)
