"""One HTTP request and the right to answer it.

The law kept here: it is answered once. After the answer, or once the peer has left, an exchange does nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import LocalProtocolError
from ..http.model import Request, error_response, without_headers
from ..transports.base import CarrierOwner, HeaderPairs
from .deflate import choose
from .handshake import check_handshake, choose_subprotocol, switching_protocols
from .websocket import WebSocket

if TYPE_CHECKING:
    from .http1 import HttpServer

__all__ = ["HttpExchange", "error_parts"]


def error_parts(status: int, message: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body of an answer that says what was wrong."""
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
        "_started",
        "_streaming",
        "extra_headers",
        "on_drained",
        "on_gone",
        "open",
        "reading",
        "request",
        "sent",
    )

    # Set by `read`, if there is a body.
    _limit: int
    _body: bytearray
    _handler: Callable[[bytes, float], None]

    def __init__(self, server: HttpServer, request: Request, has_body: bool, length: int) -> None:
        self.request: Request = request
        self.extra_headers: tuple[tuple[str, str], ...] = ()
        self.on_gone: Callable[[float], None] | None = None
        self.on_drained: Callable[[float], None] | None = None
        self.open: bool = True
        self.sent: int = 0
        self.reading: bool = False
        self._server = server
        self._has_body = has_body
        self._length = length
        self._started = False
        self._streaming = False

    @property
    def buffered(self) -> int:
        return self._server.channel.buffered

    @property
    def blocked(self) -> bool:
        return self._server.channel.blocked

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        if not self.open:
            return
        if not self._has_body:
            handler(b"", now)
        elif self._length > limit:
            self._error(413, f"request body larger than {limit} bytes", now)
        else:
            self._limit = limit
            self._body = bytearray()
            self._handler = handler
            self.reading = True
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
            if self.on_drained is not None:
                self._report_written()
            self._finish(now)

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        self._streaming = self._start(status, list(headers), False, now) and self._may_have_body(status)

    def write(self, data: bytes, *, now: float) -> None:
        if self.open and self._streaming and data:
            self._server.data(data)
            self._report_written()
            self.sent += len(data)

    def finish(self, *, now: float) -> None:
        if self.open:
            if not self._started:
                raise LocalProtocolError("there is no answer to finish")
            self._finish(now)

    def abort(self, *, now: float) -> None:
        if self.open:
            self.open = False
            self._server.abort()

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
        refusal = check_handshake(self.request, body=self._has_body)
        if refusal is not None:
            self.respond(refusal.status, refusal.headers, refusal.body, now=now)
            return None
        self.open = False
        fields = [*headers, *self.extra_headers]
        subprotocol = choose_subprotocol(self.request, subprotocols) if subprotocols else None
        if subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        settings = self._server.host.compression
        chosen = settings and choose(settings, self.request.headers.get_all("sec-websocket-extensions"))
        deflate = None
        if chosen:
            deflate, answer = chosen
            fields.append(("Sec-WebSocket-Extensions", answer))
        head = switching_protocols(self.request, fields)
        return self._server.upgrade(owner, limit, head, subprotocol, deflate)

    # --- for the HttpServer ---

    def _data(self, data: bytes | bytearray, now: float) -> None:
        self._body += data
        if len(self._body) > self._limit:
            self._error(413, f"request body larger than {self._limit} bytes", now)

    def _complete(self, now: float) -> None:
        self.reading = self._has_body = False
        self._server.disarm()
        body = bytes(self._body)
        self._body.clear()
        handler = self._handler
        del self._handler
        handler(body, now)

    def _gone(self, now: float) -> None:
        self.open = False
        if self.on_gone is not None:
            self.on_gone(now)

    def _error(self, status: int, message: str, now: float) -> None:
        headers, body = error_parts(status, message)
        self.respond(status, headers, body, close=True, now=now)

    def _report_written(self) -> None:
        """Have `_written` called when the output has left, after what waits for that already."""
        channel = self._server.channel
        earlier = channel.on_written
        if earlier is None or earlier == self._written:
            channel.on_written = self._written
        else:

            def both(now: float) -> None:
                earlier(now)
                self._written(now)

            channel.on_written = both

    def _written(self, now: float) -> None:
        callback, self.on_drained = self.on_drained, None
        if callback is not None:
            callback(now)
        self._server.pump(now)

    def _may_have_body(self, status: int) -> bool:
        return self.request.method != "HEAD" and status not in (204, 304)

    def _framing(self, status: int, length: int) -> list[tuple[str, str]]:
        return [] if status in (204, 304) else [("Content-Length", str(length))]

    def _start(self, status: int, headers: list[tuple[str, str]], close: bool, now: float) -> bool:
        if not self.open:
            return False
        if self._started:
            raise LocalProtocolError("an answer to this request has begun already")
        self._started = True
        self.reading = False
        self._server.disarm()
        headers += without_headers(self.extra_headers, headers)
        # An unread body is in the way of the next request. What follows a refused upgrade may be meant as frames.
        if close or self._has_body or self.request.is_upgrade or self._server.host.closing:
            headers = [*headers, ("Connection", "close")]
        self._server.head(status, headers, now)
        return True

    def _finish(self, now: float) -> None:
        self.open = False
        self._server.end(now)
