"""Sessions over one WebSocket (protocol 9.4)."""

from __future__ import annotations

from ...errors import PrimusError, RemoteProtocolError
from ...http.model import Request
from ...limits import SLICE
from ...session.messages import Message
from ..base import PipeHost
from ..polling import too_long
from ..websockets import WebSocketPipe
from .frames import OPEN, array_frame, client_array, close_frame, read_frame, strings

__all__ = ["ClientWebSocketPipe", "RawPipe", "ServerWebSocketPipe"]


class RawPipe(WebSocketPipe):
    """A session over a WebSocket whose messages are those of the session. Heartbeats are WebSocket pings."""

    transport = "sockjs"
    __slots__ = ("_heartbeat", "_interval")

    def __init__(self, host: PipeHost, request: Request | None, interval: float) -> None:
        super().__init__(host, request)
        self._interval = interval
        self._heartbeat = host.timers.new(self._beat)

    def start(self, now: float) -> None:
        """The WebSocket is open, and the session begins."""
        self._heartbeat.set(now + self._interval)
        self._host.opened(self, now=now)

    def pinged(self, *, now: float) -> None:
        if self.ending is not None:  # otherwise a WebSocket ping means nothing here
            super().pinged(now=now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._heartbeat.cancel()
        super().closed(code, reason, error, now=now)

    def _beat(self, now: float) -> None:
        self.carrier.ping(now=now)
        self._heartbeat.set(now + self._interval)


class FramedPipe(WebSocketPipe):
    """A pipe whose messages leave in frames, however they are taken."""

    __slots__ = ()

    def wrapped(self, message: Message) -> Message:
        """The message in its frame."""
        raise NotImplementedError

    def take_all(self) -> list[Message]:
        return [self.wrapped(message) for message in super().take_all()]

    def take_slice(self) -> list[Message]:
        if self._outbox_size <= SLICE:
            return self.take_all()
        return [self.wrapped(message) for message in super().take_slice()]


class ServerWebSocketPipe(FramedPipe, RawPipe):
    """A session of the server over a WebSocket that carries frames."""

    __slots__ = ()

    def start(self, now: float) -> None:
        self.carrier.send([Message(OPEN.decode())], now=now)
        super().start(now)

    def wrapped(self, message: Message) -> Message:
        return message.wrapped("sockjs", array_frame)

    def received(self, data: str | bytes, *, now: float) -> None:
        if self.ending is not None:
            super().received(data, now=now)
            return
        limit = self._host.limits.message
        try:
            if isinstance(data, bytes):
                raise ValueError("bytes")
            data = data.strip(" \t\n\r")
            for text in strings(data if data[:1] == "[" else f"[{data}]"):  # one string, or none, is an array as well
                if too_long(text, limit):
                    _fail(self, 1009, f"message larger than {limit} bytes", now)
                elif self.ending is None:
                    super().received(text, now=now)
        except ValueError:
            _fail(self, 3000, "Broken framing.", now)

    def say_goodbye(self, now: float) -> None:
        assert self.ending is not None
        self.carrier.send([Message(close_frame(*self.ending).decode())], now=now)
        super().say_goodbye(now)


class ClientWebSocketPipe(FramedPipe):
    """A session of the client over a WebSocket that carries frames."""

    transport = "sockjs"
    __slots__ = ()

    def wrapped(self, message: Message) -> Message:
        return message.wrapped("sockjs client", client_array)

    def received(self, data: str | bytes, *, now: float) -> None:
        if self.ending is not None:
            super().received(data, now=now)
            return
        limit = self._host.limits.message
        try:
            if isinstance(data, bytes):
                raise ValueError("bytes")
            frame = read_frame(data)
        except ValueError:
            _fail(self, 3000, "Broken framing.", now)
            return
        if frame.close is not None:
            code, reason = self.ending = frame.close
            self.session.connection_lost(None, code=code, reason=reason, now=now)
            self._touch()
        elif frame.texts is not None:
            for text in frame.texts():
                if too_long(text, limit):
                    _fail(self, 1009, f"message larger than {limit} bytes", now)
                elif self.ending is None:
                    super().received(text, now=now)

    def pinged(self, *, now: float) -> None:
        if self.ending is not None:
            super().pinged(now=now)


def _fail(pipe: WebSocketPipe, code: int, why: str, now: float) -> None:
    """The peer broke a rule."""
    if pipe.ending is None:
        pipe.ending = (code, why)
        pipe.session.connection_lost(RemoteProtocolError(f"SockJS: {why}"), code=code, reason=why, now=now)
        pipe._touch()
