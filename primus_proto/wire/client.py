"""The client's side of HTTP/1.1: the connections of one attempt, each carrying requests or becoming a WebSocket.

The law kept here: every request ends in exactly one of `opened`, `answered` or `failed`, whatever the server sends.
"""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import h11

from ..compression import Compression
from ..errors import ConnectError
from ..http.cookies import Cookies
from ..http.model import Answer, Headers
from ..timers import Timer
from ..transports.base import ERROR_BODY, HeaderPairs, WebSocketCarrier, refusal_error
from .channel import Channel, ChannelHost
from .deflate import CompressedWebSocket, agreed, offer
from .handshake import accept_token
from .websocket import WebSocket

__all__ = ["HttpClient", "Pool", "PoolHost"]


# Seconds without a request after which a connection is not used again. Servers close idle connections after 5 seconds
# or more, and a request that crosses the close on its way is lost.
IDLE = 4.0

# How many interim (1xx) answers one connection may bring: none is needed, and an attacker's never end.
INTERIM = 100

# Seconds that the body of a refusal may take after its head. What has come by then is taken for all of it.
REFUSAL = 1.0

UNANSWERED = "the server closed without an answer"
# Likely causes, without and with TLS. Servers that refuse a client's certificate often close without saying so.
CAUSES = {
    False: ": is it a web server, and not an https:// one?",
    True: ": does it want a certificate of this client, or is it no web server?",
}


class PoolHost(ChannelHost, Protocol):
    """What a pool needs of the endpoint."""

    rng: random.Random

    @property
    def compression(self) -> Compression | None:
        """How WebSocket messages are compressed; None if they are not."""

    def open_channel(self) -> Channel:
        """A channel to the origin, whose opening has been asked of the driver."""


@dataclass(slots=True)
class _Request:
    method: str
    target: str
    headers: HeaderPairs
    body: bytes
    failed: Callable[[ConnectError, float], None]
    limit: int  # of the answer's body
    answered: Callable[[Answer, float], None] | None = None
    received: Callable[[bytes, float], None] | None = None
    opened: Callable[[WebSocketCarrier, float], None] | None = None
    key: str = ""
    subprotocols: tuple[str, ...] = ()


class Pool:
    """One origin's connections, for one attempt (the `HttpPool` of the transports). Idle ones are used again."""

    def __init__(self, host: PoolHost, authority: str, secure: bool = False) -> None:
        self.host = host
        self.authority = authority
        self.secure = secure
        self.cookies = Cookies()
        self.answered = False
        """Whether the server has answered a request."""
        self._clients: list[HttpClient] = []
        self._paused = False

    def websocket(
        self,
        target: str,
        headers: HeaderPairs,
        opened: Callable[[WebSocketCarrier, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        subprotocols: Iterable[str] = (),
        now: float,
    ) -> None:
        offered = tuple(subprotocols)
        key = base64.b64encode(self.host.rng.getrandbits(128).to_bytes(16)).decode("ascii")
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
            *headers,
        ]
        if offered:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(offered)))
        if self.host.compression is not None:
            fields.append(("Sec-WebSocket-Extensions", offer(self.host.compression)))
        request = _Request("GET", target, fields, b"", failed, ERROR_BODY, opened=opened, key=key, subprotocols=offered)
        self._start(request, now)

    def request(
        self,
        method: str,
        target: str,
        headers: HeaderPairs,
        body: bytes,
        answered: Callable[[Answer, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        limit: int | None = None,
        received: Callable[[bytes, float], None] | None = None,
        now: float,
    ) -> None:
        fields = [*headers, ("Content-Length", str(len(body)))] if body or method == "POST" else headers
        limit = self.host.limits.body if limit is None else limit
        request = _Request(method, target, fields, body, failed, limit, answered=answered, received=received)
        self._start(request, now)

    def pause(self) -> None:
        self._paused = True
        for client in self._clients:
            client.flow(self._paused)

    def resume(self) -> None:
        self._paused = False
        for client in self._clients:
            client.flow(self._paused)

    def abort(self, *, now: float) -> None:
        """Drop every connection; no request is told."""
        for client in self._clients:
            client.stop()
        self._clients.clear()

    def forget(self, client: HttpClient) -> None:
        """A connection is of no further use as HTTP."""
        if client in self._clients:
            self._clients.remove(client)

    def _start(self, request: _Request, now: float) -> None:
        for client in [client for client in self._clients if client.idle]:
            if now - client.idle_since <= IDLE:
                break
            self.forget(client)
            client.channel.close()
        else:
            client = HttpClient(self, self.host.open_channel())
            self._clients.append(client)
        client.start(request, now)
        client.flow(self._paused)


class HttpClient:
    """The user of a client's channel until (and unless) it becomes a WebSocket."""

    def __init__(self, pool: Pool, channel: Channel) -> None:
        self.pool = pool
        self.channel = channel
        self.request: _Request | None = None
        self.idle_since = math.inf
        """When the last answer was complete."""
        self._up = False
        self._heard = False  # anything at all from the server
        self._conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=pool.host.limits.head)
        self._interim = 0
        self._response: h11.Response | None = None
        self._body = bytearray()
        self._streamed = 0  # bytes of the body given to the request's `received`
        self._timer: Timer | None = None  # of the body of a refusal
        channel.user = self

    @property
    def idle(self) -> bool:
        return self.request is None and not self.channel.closed

    def start(self, request: _Request, now: float) -> None:
        self.request = request
        if self._up:
            self._send(request)

    def stop(self) -> None:
        """Drop the connection; the request is not told."""
        self.request = None
        self._stop_timer()
        self.channel.abort()

    def flow(self, paused: bool) -> None:
        """Stop reading if `paused` and the answer is a stream; otherwise read."""
        if paused and self.request is not None and self.request.received is not None:
            self.channel.pause()
        else:
            self.channel.resume()

    def channel_opened(self, *, now: float) -> None:
        """The byte stream is up. To say it again does no harm."""
        if not self._up:
            self._up = True
            if self.request is not None:
                self._send(self.request)

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        if not data:
            return  # h11 takes an empty string for EOF
        if self.request is None:
            self._drop()  # nobody asked, and it must not be taken for the answer to what is asked next
            return
        if not self._heard and data[0] == 0x15:  # a TLS alert record
            self._fail("the server speaks TLS here: use https://", now)
            return
        self._heard = True
        self._conn.receive_data(data)  # type: ignore[arg-type]  # it only appends to a bytearray
        self._pump(now)

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        if self._up and error is None and self._response is not None:
            self._conn.receive_data(b"")  # an answer may end with the connection
            self._pump(now)
        if not self._up:
            self._fail(error or "the connection could not be opened", now)
        else:
            # A reset can eat the alert in which the server says that it wants a certificate.
            known = self._heard or self.pool.answered
            if error is not None and self.pool.secure and not known and "certificate" not in str(error):
                error = f"{error}; perhaps the server wants a certificate of this client"
            self._fail(error or UNANSWERED + ("" if self.pool.answered else CAUSES[self.pool.secure]), now)

    def _send(self, request: _Request) -> None:
        fields = [("Host", self.pool.authority), *self.pool.cookies.added_to(request.headers)]
        head = h11.Request(
            method=request.method,
            target=request.target,
            headers=[(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields],
        )
        data = self._conn.send(head) or b""
        if request.body:
            data += self._conn.send(h11.Data(data=request.body)) or b""
        self.channel.write(data + (self._conn.send(h11.EndOfMessage()) or b""))

    def _pump(self, now: float) -> None:
        try:
            while self.request is not None:
                event = self._conn.next_event()
                if event is h11.NEED_DATA:
                    return
                self._event(event, self.request, now)
        except h11.RemoteProtocolError as error:
            what = "does not speak HTTP" if self._response is None else "broke off its answer"
            self._fail(f"the server {what}: {str(error)[:200]}", now)

    def _event(self, event: object, request: _Request, now: float) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if event.status_code == 101:
                self._upgraded(event, request, now)
            elif self._interim > INTERIM:
                self._fail("the server gives interim answers without end", now)
        elif isinstance(event, h11.Response):
            self._response = event
            self.pool.cookies.learn(v.decode("latin-1") for k, v in event.headers if k == b"set-cookie")
            if event.status_code != 200 or request.opened is not None:
                self._timer = self.pool.host.timers.new(lambda now: self._answered(request, now))
                self._timer.set(now + REFUSAL)
        elif isinstance(event, h11.Data) and request.received is not None and self._status == 200:
            self._streamed += len(event.data)
            if self._streamed > request.limit:
                self._fail(f"the answer is larger than {request.limit} bytes", now)
            else:
                request.received(bytes(event.data), now)
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > request.limit:
                del self._body[request.limit :]
                if request.opened:
                    self._answered(request, now)
                else:
                    self._fail(f"the answer is larger than {request.limit} bytes", now)
        else:  # EndOfMessage: h11 is told of an EOF only where that ends an answer
            self._answered(request, now)

    def _upgraded(self, event: h11.InformationalResponse, request: _Request, now: float) -> None:
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        extensions, settings = headers.get_all("sec-websocket-extensions"), self.pool.host.compression
        deflate = agreed(settings, extensions) if settings is not None and extensions else None
        if (
            request.opened is None
            or headers.tokens("upgrade") != ["websocket"]
            or "upgrade" not in headers.tokens("connection")
            or headers.get("sec-websocket-accept") != accept_token(request.key)
            or (extensions and deflate is None)
            or headers.get_all("sec-websocket-protocol") not in ([], *([each] for each in request.subprotocols))
        ):
            self._fail("the server's answer is no valid WebSocket handshake", now)
            return
        self.request = None
        self.pool.forget(self)
        host = self.pool.host
        subprotocol = headers.get("sec-websocket-protocol")
        limit = host.limits.message
        carrier: WebSocket
        if deflate is None:
            carrier = WebSocket(self.channel, host.limits, limit, subprotocol, client_rng=host.rng)
        else:
            carrier = CompressedWebSocket(
                self.channel, host.limits, limit, subprotocol, deflate=deflate, client_rng=host.rng
            )
        self.channel.unread = bytes(self._conn.trailing_data[0])
        self.channel.user = carrier
        request.opened(carrier, now)
        self.channel.touch()  # so that what is unread gets fed

    def _answered(self, request: _Request, now: float) -> None:
        assert self._response is not None
        self.pool.answered = True
        self._stop_timer()
        headers = Headers((k.decode("latin-1"), v.decode("latin-1")) for k, v in self._response.headers.raw_items())
        answer = Answer(self._response.status_code, headers, bytes(self._body))
        self.request = self._response = None
        self._body.clear()
        self._streamed = 0
        self.idle_since = now
        self.channel.resume()
        conn = self._conn
        more = conn.trailing_data[0]  # nobody asked for it
        if conn.our_state is h11.DONE and conn.their_state is h11.DONE and not more and request.answered is not None:
            conn.start_next_cycle()
        else:
            self._drop()
        if request.answered is not None:
            request.answered(answer, now)
        else:
            request.failed(refusal_error(answer), now)

    @property
    def _status(self) -> int:
        return 0 if self._response is None else self._response.status_code

    def _fail(self, error: ConnectError | str, now: float) -> None:
        request, self.request = self.request, None
        self._drop()
        if request is not None:
            request.failed(error if isinstance(error, ConnectError) else ConnectError(error), now)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        self._stop_timer()
        self.pool.forget(self)
        self.channel.close()
