"""The server's side of one HTTP/1.1 channel: requests become exchanges, one at a time and in order.

The law kept here: whatever bytes come, the outcome is an exchange, an error answer, or the end of the channel.
h11 does the syntax, except that of ordinary requests to upgrade (`read_upgrade`). What it leaves open (pipelining
behind an unanswered request, early answers to unread bodies, peers that ask and do not read, time) is decided here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import h11

from ..compression import Compression
from ..errors import ConnectError
from ..http.model import Address, Headers, PeerCertificate, Request
from ..timers import Deadlines
from ..transports.base import CarrierOwner, HeaderPairs
from .channel import Channel, ChannelHost
from .deflate import CompressedWebSocket, Deflate
from .exchange import HttpExchange, error_parts
from .upgrade import read_upgrade
from .websocket import WebSocket

__all__ = ["HttpServer", "HttpServerHost"]


# h11 gets the input in slices of this size, each when it wants one. So what waits behind an unanswered request waits
# here, where its length is known, and what h11 has not parsed stays small.
SLICE = 4096

# The beginning of an absolute-form target, as a proxy gets it (RFC 9112, 3.2.2).
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.ASCII | re.IGNORECASE)

# Line breaks in a head that h11 takes, and that others read in another way: a bare LF, and one that folds a line.
_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\n[ \t]")

# The peer's own words in answers and in the log are cut to this length.
_QUOTE = 200


class HttpServerHost(ChannelHost, Protocol):
    """What the HTTP side needs of the endpoint."""

    compression: Compression | None
    """How WebSocket messages are compressed; None if they are not."""
    deadlines: Deadlines
    """Of what has to arrive within `Limits.handshake`."""

    @property
    def closing(self) -> bool:
        """Whether every answer has to be the last of its channel."""

    def request(self, exchange: HttpExchange, *, now: float) -> None:
        """A request's head is complete."""

    def admit(self, channel: int, request: Request) -> bool:
        """Whether the client of a request may have this connection."""

    def bad_peer(self, text: str) -> None:
        """A peer broke HTTP and was told so: worth a line in the log."""

    def epoch(self, now: float) -> float:
        """Seconds since 1970."""


@lru_cache(maxsize=128)
def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


def _date(epoch: float) -> str:
    """A time as ``Date`` has it (RFC 9110, 5.6.7)."""
    from email.utils import formatdate  # here, because it takes a while to import, and a WebSocket needs none

    return formatdate(epoch, usegmt=True)


def _check_head(head: bytes) -> None:
    if _AMBIGUOUS.search(head):
        raise h11.RemoteProtocolError("a line that is folded, or that ends without a carriage return")


class HttpServer:
    """The user of a server's channel until (and unless) a WebSocket takes over."""

    __slots__ = (
        "_exchange",
        "_fed",
        "_h11",
        "_head",
        "_input",
        "_pumping",
        "_waiting",
        "certificate",
        "channel",
        "host",
        "peer",
    )

    def __init__(
        self,
        channel: Channel,
        host: HttpServerHost,
        peer: Address,
        certificate: PeerCertificate | None = None,
        *,
        now: float,
    ) -> None:
        self.certificate: PeerCertificate | None = certificate
        self.channel: Channel = channel
        self.host: HttpServerHost = host
        self.peer: Address = peer
        self._h11: h11.Connection | None = None  # made when it is needed first
        self._head = b""  # of a request to upgrade that h11 has not seen
        self._exchange: HttpExchange | None = None
        self._input = bytearray()  # what h11 has not been given yet
        self._fed = 0  # what it has been given of the head that is expected
        self._pumping = False
        self._waiting = False  # for what the request before caused, so that no answer depends on how requests were cut
        host.deadlines.start(self, now)

    # --- the channel's user ---

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        if self._h11 is None and self._exchange is None and len(data) <= self.host.limits.head:
            head = bytes(data)
            ordinary = read_upgrade(head)
            if ordinary is not None:
                self._head = head
                target, headers = ordinary
                self._begin(Request("GET", target, headers, self.peer), False, 0, now)
                return
        self._input += data
        self.pump(now)

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        self.disarm()
        self._input.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange._gone(now)

    def close_when_idle(self) -> None:
        """The server is closing: close the channel unless an answer is under way."""
        if self._exchange is None and not self.channel.closed:
            self._close()

    # --- requests ---

    @property
    def _conn(self) -> h11.Connection:
        conn = self._h11
        if conn is None:
            conn = self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self.host.limits.head)
            if self._head:  # it is answered like any other request
                conn.receive_data(self._head)
                conn.next_event(), conn.next_event()  # the request, and the end of its empty body
                self._head = b""
        return conn

    def pump(self, now: float) -> None:
        """Take events out of h11 for as long as somebody wants them."""
        if self._pumping:
            return
        self._pumping = True
        bodiless = False
        try:
            while self._wants_input():
                conn = self._conn
                before = conn.trailing_data[0]
                event = conn.next_event()
                if event is not h11.NEED_DATA:
                    if type(event) is h11.Request:
                        bodiless = event.method == b"HEAD"
                        _check_head(before[: len(before) - len(conn.trailing_data[0])])
                        bodiless = False  # from here on its exchange takes care of that
                    self._event(event, now)
                elif self._input:
                    self._feed()
                else:
                    break
        except h11.RemoteProtocolError as error:
            self._bad_request(error, not bodiless, now)
        finally:
            self._pumping = False
        self._flow()

    def _feed(self) -> None:
        head = self.host.limits.head
        size = min(SLICE, head)
        if self._exchange is None:  # so that it depends on no cut whether a head is too large
            size = min(size, head + 1 - self._fed)
        part = self._input[:size]
        del self._input[:size]
        self._fed += len(part)
        self._conn.receive_data(part)  # type: ignore[arg-type]  # it only appends it to a bytearray

    def _wants_input(self) -> bool:
        channel = self.channel
        if channel.closed or channel.user is not self or self._waiting:
            return False
        if self._exchange is not None:
            return self._exchange.reading
        return channel.buffered <= self.host.limits.backlog  # a peer that does not read gets no more answers

    def _flow(self) -> None:
        """Let the driver read on, unless enough waits here already."""
        channel = self.channel
        if channel.closed or channel.user is not self:
            self._input.clear()
            return
        if channel.buffered > self.host.limits.backlog and channel.on_written is None:
            channel.on_written = self.pump
        if len(self._input) > self.host.limits.pipelined:
            channel.pause()
        else:
            channel.resume()

    def _event(self, event: object, now: float) -> None:
        if isinstance(event, h11.Request):
            self._request(event, now)
        elif isinstance(event, h11.Data):
            assert self._exchange is not None
            self._exchange._data(event.data, now)
        else:  # EndOfMessage: h11 is never told of an EOF, so it has no more to say
            assert self._exchange is not None
            self._exchange._complete(now)

    def _request(self, event: h11.Request, now: float) -> None:
        items = event.headers.raw_items()
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in items)
        target = event.target.decode("ascii")
        origin = _ORIGIN.match(target)
        if origin is not None:
            target = target[origin.end() :]
            if not target.startswith("/"):
                target = "/" + target
        length = headers.get("content-length")
        chunked = "transfer-encoding" in headers
        has_body = chunked or (length is not None and int(length) > 0)
        request = Request(event.method.decode(), target, headers, self.peer, http_version=event.http_version.decode())
        if not has_body:
            # h11 stays in SEND_BODY even so, and every early answer would have to close the connection.
            self._conn.next_event()
        self._begin(request, has_body, int(length) if length else 0, now)

    def _begin(self, request: Request, has_body: bool, length: int, now: float) -> None:
        request.peer_certificate = self.certificate
        self._exchange = exchange = HttpExchange(self, request, has_body, length)
        self.disarm()
        if not request.target.startswith("/") or request.method == "CONNECT":
            exchange._error(400, "request target not understood", now)  # "*" and host:port are of no use here
        elif not self.host.admit(self.channel.number, request):
            exchange._error(503, "too many connections from one address", now)
        else:
            self.host.request(exchange, now=now)

    def _bad_request(self, error: h11.RemoteProtocolError, with_body: bool, now: float) -> None:
        exchange = self._exchange
        text = str(error)[:_QUOTE]
        if exchange is None and self._conn.trailing_data[0][:1] == b"\x16":  # a TLS record with a handshake in it
            text = "this port speaks plain HTTP, the peer began a TLS handshake"
        self.host.bad_peer(f"{self.peer.ip}:{self.peer.port}: bad HTTP: {text}")
        # The answer has other words: those of h11 depend on how much of the request has come.
        status = error.error_status_hint
        words = "bad HTTP" if status == 400 else f"bad HTTP: {HTTPStatus(status).phrase}"
        if exchange is not None:
            exchange._error(status, words, now)
        else:
            self._answer(status, words, now, with_body=with_body)

    def expired(self, now: float) -> None:
        """The head (or the next one on a kept-alive connection), or the body, did not come in time."""
        exchange = self._exchange
        if exchange is not None:
            exchange._error(408, "the request body did not arrive in time", now)
        elif self._conn.trailing_data[0]:
            self._answer(408, "the request head did not arrive in time", now)
        else:
            self._close()

    def _close(self) -> None:
        self.disarm()
        self.channel.close()

    # --- answers, for the exchange ---

    def head(self, status: int, headers: HeaderPairs, now: float) -> None:
        """Send a response head; the framing headers are h11's or the caller's."""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if not any(name.lower() == b"date" for name, _ in fields):
            fields.append((b"Date", _date(self.host.epoch(now)).encode()))
        event = h11.Response(status_code=status, headers=fields, reason=_phrase(status))
        self.channel.write(self._conn.send(event) or b"")

    def data(self, data: bytes) -> None:
        """Send a part of the body."""
        self.channel.write(self._conn.send(h11.Data(data=data)) or b"")

    def inform(self, status: int, headers: HeaderPairs = ()) -> None:
        """Send an interim answer, such as 100."""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        event = h11.InformationalResponse(status_code=status, headers=fields, reason=_phrase(status))
        self.channel.write(self._conn.send(event) or b"")

    def wants_continue(self) -> bool:
        """Whether the peer waits for a 100 before it sends the body."""
        return self._conn.they_are_waiting_for_100_continue

    def arm(self, now: float) -> None:
        """Begin to wait for the peer's part."""
        self.host.deadlines.start(self, now)

    def disarm(self) -> None:
        """No longer wait for the peer."""
        self.host.deadlines.stop(self)

    def end(self, now: float) -> None:
        """The answer is complete: on to the next request, or close."""
        self.channel.write(self._conn.send(h11.EndOfMessage()) or b"")
        self._exchange = None
        self.disarm()
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE and not self.host.closing:
            self._conn.start_next_cycle()
            self._fed = len(self._conn.trailing_data[0])
            self.arm(now)
            if self._fed or self._input:  # a request that was pipelined
                self._waiting = True
                self.host.defer(self._go_on)
        elif self._input or self._conn.trailing_data[0] or self._conn.their_state in (h11.SEND_BODY, h11.ERROR):
            self.channel.linger(now=now)  # there is input, or will be, that nobody reads
        else:
            self._close()

    def _go_on(self, now: float) -> None:
        self._waiting = False
        self.pump(now)

    def upgrade(
        self,
        owner: CarrierOwner,
        limit: int,
        head: bytes,
        subprotocol: str | None,
        deflate: Deflate | None = None,
    ) -> WebSocket:
        """Answer with `head` and hand the channel over to a WebSocket. What came behind waits in `Channel.unread`."""
        channel = self.channel
        self._exchange = None
        channel.write(head)
        if self._h11 is not None or self._input:
            behind = self._h11.trailing_data[0] if self._h11 is not None else b""
            channel.unread = bytes(behind + self._input)
            self._input.clear()
            channel.resume()
        if deflate is None:
            carrier = WebSocket(channel, self.host.limits, limit, subprotocol)
        else:
            carrier = CompressedWebSocket(channel, self.host.limits, limit, subprotocol, deflate=deflate)
        carrier.owner = owner
        channel.user = carrier
        return carrier

    def abort(self) -> None:
        """Drop the connection."""
        self.disarm()
        self._exchange = None
        self.channel.abort()

    def _answer(self, status: int, message: str, now: float, *, with_body: bool = True) -> None:
        """A last answer, to what has not become an exchange."""
        self.disarm()
        headers, body = error_parts(status, message)
        self.head(status, [*headers, ("Content-Length", str(len(body))), ("Connection", "close")], now)
        if with_body:
            self.data(body)
        self.channel.linger(now=now)
