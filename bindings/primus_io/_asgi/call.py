"""One call of an ASGI application: its request, and the messages that the host receives and sends.

The law kept here: one task calls `receive` and one task calls `send`, in order. If either raises, the peer is gone.
Messages that `send` has not taken count as `buffered`. Nothing is received while reading is paused.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import copy_context
from typing import Any, Protocol
from urllib.parse import quote

import anyio
import anyio.lowlevel

import primus_proto as pp
from primus_proto.http.model import Address, Headers, Request, owns
from primus_proto.timers import Timer

from .._io import AsyncEvent

__all__ = ["ASGIMessage", "Application", "Call", "CallHost", "Receive", "Scope", "Send", "read_scope"]

Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Characters that a path may have besides letters and digits (RFC 3986, 3.3).
PATH = "/~!$&'()*+,;=:@-._"

# Messages that are sent before the host gets a turn, which it may use to say that the peer has gone. Until it does,
# asyncio logs a line for each.
SENDS = 32


def read_scope(scope: Scope) -> Request:
    """Make the request of a scope. The part of the path before the application's own paths becomes its `root`."""
    # Hosts give `path` with the root in front, as the specification demands since 2.4, or without it.
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    if root and owns(root, path):
        path = path[len(root) :]
    target = quote(path, PATH, errors="replace")
    if query := scope.get("query_string", b"").decode("latin-1"):
        target += "?" + query
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    websocket = scope["type"] == "websocket"
    headers = Headers(pairs)
    if websocket and "upgrade" not in headers:  # HTTP/2 has another way to ask for it
        headers = Headers([*pairs, ("upgrade", "websocket")])
    ip, port = scope.get("client") or ("", 0)
    request = Request(
        "GET" if websocket else scope["method"],
        target,
        headers,
        Address(ip, port or 0),
        http_version=scope.get("http_version", "1.1"),
        root=quote(root, PATH, errors="replace"),
    )
    request.scope = scope
    request.host_context = copy_context()
    chain = ((scope.get("extensions") or {}).get("tls") or {}).get("client_cert_chain")
    if chain:  # the TLS extension of ASGI
        request.peer_certificate = pp.PeerCertificate(ssl.PEM_cert_to_DER_cert(next(iter(chain))), {})
    return request


class CallHost(Protocol):
    """What a call needs from its runner."""

    endpoint: pp.ByteServer
    has_read: bool

    def now(self) -> float: ...

    def run_pump(self) -> None: ...

    def pump_after(self, feed: Callable[[], object]) -> None: ...

    def event(self) -> AsyncEvent: ...


class Call(ABC):
    """Receives from the host and sends to it, until its last message has left, the peer has gone, or it is stopped."""

    def __init__(self, host: CallHost, receive: Receive, send: Send) -> None:
        self.buffered = 0
        self._host = host
        self._receive = receive
        self._send = send
        self._scope = anyio.CancelScope()
        self._outbox = deque[tuple[ASGIMessage, int]]()
        self._filled: AsyncEvent | None = None  # the sending task waits for this
        self._resumed: AsyncEvent | None = None  # and the receiving task for this
        self._receiving = True
        self._finished = False  # the outbox is complete
        self._deadline: Timer | None = None

    async def run(self) -> None:
        """Run the call to its end."""
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._run_sender)
                    self._begin(self._host.now())
                    self._host.run_pump()
                    while (
                        not self._scope.cancel_called
                    ):  # a stopped host may return "disconnect" forever, without waiting
                        await self._receive_next()
        finally:
            self._disarm()
            self._lost("the host ended the call", self._host.now())

    def close(self, abort: bool) -> None:
        """Stop the call. A driver calls this when its time to close is over."""
        self.stop()

    def stop(self) -> None:
        """End the call at once. Messages that were not sent are lost."""
        self.buffered = 0
        self._outbox.clear()
        self._scope.cancel()

    @abstractmethod
    def _begin(self, now: float) -> None:
        """Called before anything is received."""

    @abstractmethod
    def _receive_message(self, message: ASGIMessage, now: float) -> None:
        """Handle a message from the host."""

    @abstractmethod
    def _drained(self, now: float) -> None:
        """Called when the host has taken everything."""

    @abstractmethod
    def _lost(self, why: str, now: float) -> None:
        """Called when the peer is gone. May be called twice, and after the end."""

    def _queue(self, message: ASGIMessage, size: int = 0) -> None:
        self._outbox.append((message, size))
        self.buffered += size
        if self._filled is not None:
            self._filled.set()

    def _finish(self) -> None:
        """End the call once the outbox is empty."""
        self._finished = True
        if self._filled is not None:
            self._filled.set()

    def _set_receiving(self, on: bool) -> None:
        """Start or stop receiving. While stopped, data waits in the host, and then the peer has to wait."""
        self._receiving = on
        if on and self._resumed is not None:
            self._resumed.set()

    def _arm(self, due: float, late: Callable[[float], None]) -> None:
        self._disarm()
        self._deadline = self._host.endpoint.timers.new(late)
        self._deadline.set(due)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    async def _receive_next(self) -> None:
        host = self._host
        while not self._receiving:
            self._resumed = host.event()
            await self._resumed.wait()
        try:
            message = await self._receive()
            host.has_read = True
        except Exception as error:
            self._fail(error)
            host.run_pump()
        else:
            host.pump_after(lambda: self._receive_message(message, host.now()))

    async def _run_sender(self) -> None:
        host = self._host
        while True:
            if self._outbox:
                await self._send_outbox()
                self._drained(host.now())
                host.run_pump()
            elif self._finished:
                self.stop()
                return
            else:
                self._filled = host.event()
                await self._filled.wait()

    async def _send_outbox(self) -> None:
        left = SENDS
        while self._outbox:
            if not left:
                left = SENDS
                await anyio.lowlevel.checkpoint()
            left -= 1
            message, size = self._outbox.popleft()
            try:
                await self._send(message)
            except Exception as error:
                self._fail(error)
                self._host.run_pump()
                return
            self.buffered = max(0, self.buffered - size)

    def _fail(self, error: Exception) -> None:
        self._lost(f"the connection was lost: {error}" if str(error) else "the connection was lost", self._host.now())
        self.stop()
