"""The ``websockets`` transport: one WebSocket is the whole session.

A pipe's carrier lives from the handshake to the end; closing it politely is bounded by `Limits.close`.
"""

from __future__ import annotations

from ..commands import Write
from ..errors import ConnectError, PrimusError
from ..http.model import Request, Response
from ..limits import SLICE
from ..session.messages import MESSAGE_OVERHEAD, Message, ProtocolMessage
from ..timers import Timer
from ..wire.frames import SHORT_TEXT, framed_text, long_text_frame
from .base import ClientHost, Exchange, HeaderPairs, PipeHost, Route, ServerHost, WebSocketCarrier
from .pipe import Pipe

__all__ = ["PlainPipe", "WebSocketPipe", "WebSocketsClient", "WebSocketsServer"]


class WebSocketPipe(Pipe):
    """A pipe over one WebSocket carrier, of which it is the owner."""

    transport = "websockets"
    __slots__ = ("_carrier_holds", "_host", "_linger", "_over", "carrier", "text_frames")

    carrier: WebSocketCarrier

    def __init__(self, host: PipeHost, request: Request | None = None) -> None:
        super().__init__(host.touch, request)
        self._host = host
        self._linger: Timer | None = None
        self._over = False  # the carrier is closed
        self._carrier_holds = False  # it may hold messages, so that it has to be asked
        self.text_frames = None

    @property
    def buffered(self) -> int:
        return self._outbox_size + self.carrier.buffered

    def send(self, message: Message) -> int:
        if self.text_frames is not None:
            self._settle()
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = []
        outbox.append(message)
        size = self._outbox_size = self._outbox_size + message.size
        if not self.dirty:
            self.dirty = True
            self._on_dirty(self)
        return size + self.carrier.buffered

    def pause(self) -> None:
        self.carrier.pause()

    def resume(self) -> None:
        self.carrier.resume()

    def check_peer(self) -> None:
        self.carrier.check_peer()

    def flush(self, *, now: float) -> None:
        if self._over:
            return
        if self.text_frames is not None:
            self._settle()
        carrier = self.carrier
        if self.aborted:
            carrier.abort(now=now)
            return
        self._carrier_holds = True
        if self._outbox:
            if not carrier.blocked:
                carrier.send(self.take_all() if self._outbox_size <= SLICE else self.take_slice(), now=now)
            if self.high or self._outbox:
                carrier.report_drained()
        if self.ending is not None:
            if self._linger is None:
                self._linger = self._host.timers.new(self._expired)
                self._linger.set(now + self._host.limits.close)
                carrier.resume()  # a session that paused is gone, and the peer's close must get through
            if not self._outbox:
                self.say_goodbye(now)

    def say_goodbye(self, now: float) -> None:
        """The session has closed, and everything was sent."""
        assert self.ending is not None
        self.carrier.close(*self.ending, now=now)

    # --- the carrier's owner ---

    def closing(self) -> bool:
        return self.ending is None and self.session.connection_closing()

    def received(self, data: str | bytes, *, now: float) -> None:
        if self.ending is None:
            self.session.receive_message(data, now=now)
        elif self._discard(len(data), self._host.limits.drain):
            self.carrier.abort(now=now)

    def pinged(self, *, now: float) -> None:
        if self.ending is None:
            self.session.receive_ping(now=now)
        elif self._discard(0, self._host.limits.drain):
            self.carrier.abort(now=now)

    def drained(self, *, now: float) -> None:
        if self._outbox or self.text_frames:
            self._touch()
        if self.high and self.ending is None:
            self.session.drained()

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._over = True
        if self._linger is not None:
            self._linger.cancel()
        if self.ending is None:
            self.ending = (code, reason)
            self.session.connection_lost(error, code=code, reason=reason, now=now)
        self._report_unsent()

    def withdraw(self) -> tuple[str | bytes, ...]:
        self._settle()
        return super().withdraw()

    def _settle(self) -> None:
        """Make messages of the frames."""
        if self.text_frames is not None:
            self._outbox, self.text_frames = [Message(framed_text(frame)) for frame in self.text_frames], None

    def _expired(self, now: float) -> None:
        self.carrier.abort(now=now)


class PlainPipe(WebSocketPipe):
    """A pipe whose WebSocket messages are those of the session.

    While only texts wait, they are in `text_frames`; with anything else, all are in the outbox.
    """

    __slots__ = ()

    def send_text(self, text: bytes) -> int:
        if self._outbox is not None:
            return self.send(Message(text.decode()))
        length = len(text)
        # Framed at once, so that the memory of the text, which parsers allot generously, is free for the next one.
        frame = SHORT_TEXT[length] + text if length < 126 else long_text_frame(text)
        if self.text_frames is None:
            self.text_frames = [frame]
        else:
            self.text_frames.append(frame)
        size = self._outbox_size = self._outbox_size + length + MESSAGE_OVERHEAD
        if not self.dirty:
            self.dirty = True
            self._on_dirty(self)
        return size + self.carrier.buffered if self._carrier_holds else size

    def take_write(self, *, shared: bool) -> Write | None:
        if self._outbox_size > SLICE or self.ending is not None or self.high:
            return None
        write = None
        if self.text_frames is not None:
            write = self.carrier.make_text_write(self.text_frames)
        elif (outbox := self._outbox) and (shared or type(outbox[0]) is ProtocolMessage):
            write = self.carrier.make_write(outbox)
        if write is not None:  # so the carrier holds nothing
            self._outbox = self.text_frames = None
            self._outbox_size = 0
            self.dirty = self._carrier_holds = False
        return write

    def received_all(self, messages: list[str | bytes], *, now: float) -> None:
        """`received` for what one read brought."""
        if self.ending is None:
            self.session.receive_messages(messages, now=now)
        elif self._discard(sum(map(len, messages)), self._host.limits.drain, len(messages)):
            self.carrier.abort(now=now)


SESSION = Route(opens=True)


class WebSocketsServer:
    """The server half: every request asks for a WebSocket."""

    def __init__(self, host: ServerHost) -> None:
        self._host = host

    @property
    def busy(self) -> bool:
        """No session needs plain requests."""
        return False

    def route(self, request: Request) -> Route | Response:
        """Everything under the pathname is a handshake, or will be told in the answer that it should have been.

        So that a refusal by authorization comes before that (protocol 2).
        """
        return SESSION

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        pipe = PlainPipe(self._host, exchange.request)
        carrier = exchange.accept_websocket(pipe, self._host.limits.message, now=now)
        if carrier is not None:
            pipe.carrier = carrier
            self._host.opened(pipe, now=now)

    def close(self, *, now: float) -> None:
        """Nothing waits between requests here."""


class WebSocketsClient:
    """The client half: one attempt at one WebSocket."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        self._host = host
        self._target = target
        self._headers = headers

    def start(self, *, now: float) -> None:
        self._host.pool.websocket(self._target, self._headers, self._opened, self._failed, now=now)

    def abort(self, *, now: float) -> None:
        """All there is of an attempt is its connection."""

    def _opened(self, carrier: WebSocketCarrier, now: float) -> None:
        pipe = PlainPipe(self._host)
        carrier.owner = pipe
        pipe.carrier = carrier
        self._host.opened(pipe, now=now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._host.failed(error, now=now)
