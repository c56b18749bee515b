"""A session of the server over requests: one whose answer carries frames, and those that bring messages (protocol 9.3).

The law kept here: one answer at a time carries frames, in order. What was sent last has left the core before more is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ...errors import ConnectionLost
from ...http.model import Request
from ...timers import Timer
from ..base import Exchange, PipeHost, ServerHost
from ..polling import Answered, Recent, Sessions
from .frames import HEARTBEAT, OPEN, close_frame, messages_frame
from .options import SockJSOptions
from .pipe import SockJSPipe
from .receivers import FrameWriter, Receiver

__all__ = ["ServerPipe", "SessionsByKey"]

INTERRUPTED = close_frame(1002, "Connection interrupted")
STILL_OPEN = close_frame(2010, "Another connection still open")


class SessionsByKey(Sessions["ServerPipe"]):
    """The sessions over requests by the keys that their clients chose, and for a while those that have ended.

    A client that asks once more must be told the end of its session, and not be given another one.
    """

    def __init__(self, host: PipeHost, absence: float) -> None:
        super().__init__(host)
        self._absence = absence
        self._ended: dict[str, tuple[float, bytes]] = {}  # in the order in which they lapse
        self._timer: Timer = host.timers.new(self._forget)
        self._closed = False

    def close(self) -> None:
        """The server is closing. Forget the sessions that have ended, and those that end from now on."""
        self._closed = True
        self._ended.clear()
        self._timer.cancel()

    def end(self, pipe: ServerPipe, last_words: bytes, now: float) -> None:
        """A session is over."""
        self.remove(pipe.key)
        if self._closed:
            return
        while len(self._ended) >= self._host.limits.unclaimed:
            del self._ended[next(iter(self._ended))]
        self._ended[pipe.key] = (now + self._absence, last_words)
        if len(self._ended) == 1:
            self._timer.set(now + self._absence)

    def last_words(self, key: str) -> bytes | None:
        """The frame that ended a session with this key a short time ago."""
        found = self._ended.get(key)
        return None if found is None else found[1]

    def _forget(self, now: float) -> None:
        while self._ended:
            key, (due, _) = next(iter(self._ended.items()))
            if due > now:
                self._timer.set(due)
                return
            del self._ended[key]


class ServerPipe(SockJSPipe):
    """A session of the server over requests."""

    __slots__ = (
        "_absent", "_answered", "_heartbeat", "_last_words", "_leaving", "_options", "_polls", "_posts", "_sessions",
        "_writer", "key", "receiver",
    )  # fmt: skip

    def __init__(
        self, host: ServerHost, sessions: SessionsByKey, key: str, receiver: Receiver, request: Request
    ) -> None:
        super().__init__(host, request)
        self.key = key
        """What the client calls the session. The id of the session is another, which nobody can choose."""
        self.receiver = receiver
        """How its answers carry frames."""
        self._options: SockJSOptions = host.options
        self._sessions = sessions
        self._writer: FrameWriter | None = None
        self._answered: Answered[bytes] | None = None
        self._leaving: Exchange | None = None  # the last answer, while the peer has not taken it
        self._last_words: bytes | None = None
        self._polls, self._posts = Recent(), Recent()
        self._absent = host.timers.new(self._missed)
        self._heartbeat = host.timers.new(self._beat)

    def open(self, exchange: Exchange, now: float) -> None:
        """The session begins, with this request."""
        self._sessions.add(self.key, self, self._missed, now=now)
        self._polls.has(exchange)
        self._attach(FrameWriter(exchange, self.receiver), now)
        self._send_frame(OPEN, now)
        self._host.opened(self, now=now)
        self._touch()

    # --- requests ---

    def receive(self, exchange: Exchange, now: float) -> None:
        """A request came whose answer is to carry frames."""
        writer, waiting = FrameWriter(exchange, self.receiver), self._writer
        if waiting is not None and writer.stamp and writer.stamp == waiting.stamp:
            waiting.exchanges.append(exchange)
            exchange.on_gone = lambda now: self._cut_off(waiting, exchange, now)
        elif waiting is not None:
            writer.whole(STILL_OPEN, now=now)
        elif self._answered is not None and self._answered.repeated_by(exchange):
            writer.whole(self._answered.answer, now=now)
        elif not writer.streams and self._polls.has(exchange):
            writer.whole(HEARTBEAT, now=now)  # nobody waits for the answer any more
        else:
            if self._leaving is not None and not self._leaving.buffered:
                self._left(now)
            self._attach(writer, now)
            self._touch()

    def posted(
        self, exchange: Exchange, body: bytes, texts: Iterable[str], answer: Callable[[float], None], now: float
    ) -> None:
        """Messages came. The request is answered once they have been handled."""
        if self._absent.due < math.inf:  # a client that does not read shows so that it is there
            self._absent.set(now + self._options.absence)
        self._inbox.put(() if self._posts.has(exchange, body) else texts, answer, now=now)

    def _attach(self, writer: FrameWriter, now: float) -> None:
        self._absent.cancel()
        self._writer = writer
        self._answered = None
        exchange = writer.exchange
        exchange.on_gone = lambda now: self._cut_off(writer, exchange, now)
        exchange.on_drained = self._left
        self._heartbeat.set(now + self._options.heartbeat)
        writer.start(now=now)
        if writer.streams:
            self._sessions.claim(self.key)

    def _cut_off(self, writer: FrameWriter, exchange: Exchange, now: float) -> None:
        """The client has given up its request. That is how it ends a session, too."""
        writer.exchanges.remove(exchange)
        if not writer.exchanges:
            self._writer = None
            self._last_words = INTERRUPTED
            self._end(1000, "", None, now)

    def _missed(self, now: float) -> None:
        """The client does not come back."""
        if self._unread or self._inbox:
            self._absent.set(now + self._options.absence)  # it still reads an answer, or waits for one
        else:
            self._end(1006, "", ConnectionLost("the client did not come back"), now)

    # --- frames ---

    @property
    def _unread(self) -> int:
        unread = 0 if self._leaving is None else self._leaving.buffered
        if self._writer is not None and self._writer.streams:
            unread += self._writer.exchange.buffered
        return unread

    def _send(self, now: float) -> None:
        if self._unread:
            return
        if self._outbox and self._writer is not None:
            self._send_frame(messages_frame(self.take_slice()), now)
        if self.ending is not None and not self._outbox:  # a client that asks for more is told the end
            self.over = True
            self._release(now)

    def _send_frame(self, frame: bytes, now: float) -> None:
        writer = self._writer
        assert writer is not None
        writer.exchanges[-1].on_drained = self._left
        if writer.stamp:
            peers = {exchange.request.peer for exchange in writer.exchanges}
            self._answered = Answered(writer.stamp, peers, frame)
        writer.send(frame, now=now)
        if not writer.streams or writer.exchange.sent >= self._options.response_limit:
            self._detach(writer, now)

    def _detach(self, writer: FrameWriter, now: float) -> None:
        self._writer = None
        self._leaving = writer.exchanges[-1]
        writer.finish(now=now)
        self._heartbeat.cancel()
        self._absent.set(now + self._options.absence)

    def _left(self, now: float) -> None:
        if self._leaving is not None and not self._leaving.buffered:
            self._leaving = None
        super()._left(now)

    def _beat(self, now: float) -> None:
        self._heartbeat.set(now + self._options.heartbeat)
        if not self._unread:
            self._send_frame(HEARTBEAT, now)

    # --- the end ---

    def _drop(self, now: float) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            for exchange in writer.exchanges:
                exchange.on_gone = None
                exchange.abort(now=now)
        super()._drop(now)

    def _release(self, now: float) -> None:
        super()._release(now)
        if self._writer is not None:
            assert self.ending is not None
            self._send_frame(close_frame(*self.ending), now)
        if self._writer is not None:
            self._detach(self._writer, now)
        self._absent.cancel()
        self._heartbeat.cancel()
        assert self.ending is not None
        self._sessions.end(self, self._last_words or close_frame(*self.ending), now)
