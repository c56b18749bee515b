"""Sessions over one WebSocket (protocol 9.4)."""

from __future__ import annotations

from ...errors import PrimusError, RemoteProtocolError
from ...http.model import Request
from ...session.messages import Message
from ..base import PipeHost
from ..polling import Inbox, PeerEnd, too_long
from ..websockets import WebSocketPipe
from .frames import OPEN, array_frame, client_array, close_frame, read_frame, strings

__all__ = ["ClientWebSocketPipe", "RawPipe", "ServerWebSocketPipe"]


class Pings:
    """The heartbeat of a session over a WebSocket: pings of WebSocket, which nobody waits for."""

    __slots__ = ("_interval", "_pipe", "_timer")

    def __init__(self, pipe: WebSocketPipe, host: PipeHost, interval: float) -> None:
        self._pipe = pipe
        self._interval = interval
        self._timer = host.timers.new(self._beat)

    def start(self, now: float) -> None:
        """The WebSocket is open."""
        self._timer.set(now + self._interval)

    def stop(self) -> None:
        """The WebSocket is closed."""
        self._timer.cancel()

    def _beat(self, now: float) -> None:
        self._pipe.carrier.ping(now=now)
        self.start(now)


class RawPipe(WebSocketPipe):
    """A session over a WebSocket whose messages are those of the session. Heartbeats are WebSocket pings."""

    transport = "sockjs"
    __slots__ = ("_pings",)

    def __init__(self, host: PipeHost, request: Request | None, interval: float) -> None:
        super().__init__(host, request)
        self._pings = Pings(self, host, interval)

    def start(self, now: float) -> None:
        """The WebSocket is open, and the session begins."""
        self._pings.start(now)
        self._host.opened(self, now=now)

    def pinged(self, *, now: float) -> None:
        if self.ending is not None:  # otherwise a WebSocket ping means nothing here
            super().pinged(now=now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._pings.stop()
        super().closed(code, reason, error, now=now)


class FramedPipe(WebSocketPipe):
    """A pipe whose messages come and leave in frames.

    The messages of a frame are handled in turns, as those of a body are, and meanwhile nothing is read.
    """

    transport = "sockjs"
    __slots__ = ("_inbox", "_paused", "_peer_end")

    def __init__(self, host: PipeHost, request: Request | None = None) -> None:
        super().__init__(host, request)
        self._inbox: Inbox[str] | None = None  # made with the first frame that has several messages
        self._peer_end: PeerEnd | None = None
        self._paused = False  # by the session

    @property
    def paused(self) -> bool:
        """Whether something that came waits to be handled."""
        return self._paused or bool(self._inbox)

    def pause(self) -> None:
        self._paused = True
        if self._inbox is not None:
            self._inbox.paused = True
        super().pause()

    def resume(self) -> None:
        self._paused = False
        if self._inbox:
            self._inbox.paused = False
            self._touch()  # `flush` goes on with what has come
        else:
            super().resume()
        if self._peer_end is not None:
            self._peer_end.look()

    def flush(self, *, now: float) -> None:
        if self._inbox:
            if self.ending is None and not self.aborted:
                self._inbox.run(now=now)
            else:
                self._inbox.clear(now=now)
        super().flush(now=now)

    def pinged(self, *, now: float) -> None:
        if self.ending is not None:  # otherwise a WebSocket ping means nothing here
            super().pinged(now=now)

    def closing(self) -> bool:
        return self.ending is None and (bool(self._inbox) or super().closing())

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        if self._peer_end is not None:
            self._peer_end.come(now)
        super().closed(code, reason, error, now=now)
        if self._inbox:
            self._inbox.clear(now=now)

    def take_in(self, texts: list[str], now: float) -> None:
        """Handle the messages of a frame."""
        if len(texts) == 1 and not self._inbox:
            self._handle(texts[0], now)
        elif texts:
            if self._inbox is None:
                self._inbox = Inbox[str](self._host.timers, self._handle)
                self._inbox.paused = self._paused
            self._inbox.put(texts, self._taken_in, now=now)
            if self._inbox:
                self.carrier.pause()

    def _taken_in(self, now: float) -> None:
        if self._peer_end is not None:
            self._peer_end.look()
        elif not (self.paused or self._over):
            self.carrier.resume()

    def _handle(self, text: str, now: float) -> None:
        limit = self._host.limits.message
        if self.ending is not None:
            return
        if too_long(text, limit):
            self.fail(1009, f"message larger than {limit} bytes")
            if self._inbox:
                self._inbox.clear(now=now)
        else:
            self.session.receive_message(text, now=now)

    def fail(self, code: int, why: str) -> None:
        """The peer broke a rule."""
        self.ended_by_peer(code, why, RemoteProtocolError(f"SockJS: {why}"))

    def ended_by_peer(self, code: int, reason: str, error: PrimusError | None) -> None:
        """A message of the peer ends it, in its turn."""

        def end(now: float) -> None:
            if self.ending is None:
                self.ending = (code, reason)
                self.session.connection_lost(error, code=code, reason=reason, now=now)
                self._touch()

        if self._peer_end is not None:  # of what came behind this, which had to wait
            self._peer_end.cancel()
        self._peer_end = PeerEnd(self._host, self, end)

    def wrapped(self, message: Message) -> Message:
        """The message in its frame."""
        raise NotImplementedError

    def take_all(self) -> list[Message]:
        return [self.wrapped(message) for message in super().take_all()]

    def take_slice(self) -> list[Message]:  # there is more than a slice, otherwise `take_all` is called
        return [self.wrapped(message) for message in super().take_slice()]


class ServerWebSocketPipe(FramedPipe):
    """A session of the server over a WebSocket that carries frames. Heartbeats are WebSocket pings."""

    __slots__ = ("_pings",)

    def __init__(self, host: PipeHost, request: Request | None, interval: float) -> None:
        super().__init__(host, request)
        self._pings = Pings(self, host, interval)

    def start(self, now: float) -> None:
        """The WebSocket is open, and the session begins."""
        self.carrier.send([Message(OPEN.decode())], now=now)
        self._pings.start(now)
        self._host.opened(self, now=now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._pings.stop()
        super().closed(code, reason, error, now=now)

    def wrapped(self, message: Message) -> Message:
        return message.wrapped("sockjs", array_frame)

    def received(self, data: str | bytes, *, now: float) -> None:
        if self.ending is not None:
            super().received(data, now=now)
            return
        if self._peer_end is not None:
            return
        try:
            if isinstance(data, bytes):
                raise ValueError("bytes")
            data = data.strip(" \t\n\r")
            # One string, or none, is an array as well.
            texts = strings(data if data[:1] == "[" else f"[{data}]", self._host.limits)
        except ValueError:
            self.fail(3000, "Broken framing.")
        else:
            self.take_in(texts, now)

    def say_goodbye(self, now: float) -> None:
        assert self.ending is not None
        self.carrier.send([Message(close_frame(*self.ending).decode())], now=now)
        super().say_goodbye(now)


class ClientWebSocketPipe(FramedPipe):
    """A session of the client over a WebSocket that carries frames."""

    __slots__ = ()

    def wrapped(self, message: Message) -> Message:
        return message.wrapped("sockjs client", client_array)

    def received(self, data: str | bytes, *, now: float) -> None:
        if self.ending is not None:
            super().received(data, now=now)
            return
        if self._peer_end is not None:
            return
        try:
            if isinstance(data, bytes):
                raise ValueError("bytes")
            frame = read_frame(data, self._host.limits)
        except ValueError:
            self.fail(3000, "Broken framing.")
            return
        if frame.close is not None:
            self.ended_by_peer(*frame.close, None)
        elif frame.texts is not None:
            self.take_in(frame.texts, now)
