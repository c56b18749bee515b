"""A session of the client over requests: the one whose answer carries frames, and those with messages (protocol 9.3).

The laws kept here: one request for frames and one with messages at a time. While the session does not read, nothing is
read, and empty requests say that the client is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...errors import ConnectError, ConnectionLost, RemoteProtocolError
from ...http.model import Answer
from ..base import ClientHost, HeaderPairs, refusal_error
from .frames import Frame, body_limit, messages_array, read_frame
from .pipe import SockJSPipe

__all__ = ["ClientPipe", "Session"]

# Seconds between the requests of a client that does not read. Servers miss a client after 5.
PRESENCE = 2.0
NOTHING = b"[]"


class Session:
    """The URLs of one session, and the header fields of its requests. No two requests have the same `t`."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        path, mark, query = target.partition("?")
        self._base = f"{path}/{host.rng.randrange(1000):03d}/{host.rng.getrandbits(64):016x}/"
        self._query = mark + query
        self._stamp = f"{'&' if mark else '?'}t={host.rng.getrandbits(40):x}."
        self._made = 0
        self.headers = tuple(headers)

    def target(self, what: str) -> str:
        """The target of one kind of request."""
        self._made += 1
        return f"{self._base}{what}{self._query}{self._stamp}{self._made}"


class ClientPipe(SockJSPipe):
    """A session of the client over requests. Either `opened` is called, or `failed`."""

    __slots__ = (
        "_asked", "_buffer", "_failed", "_limit", "_opened", "_pool", "_posting", "_presence", "_receiving", "_session",
        "_waits", "_what",
    )  # fmt: skip

    def __init__(
        self,
        host: ClientHost,
        session: Session,
        what: str,
        opened: Callable[[ClientPipe, float], None],
        failed: Callable[[ConnectError, float], None],
    ) -> None:
        super().__init__(host)
        self._pool = host.pool
        self._session = session
        self._what = what
        self._opened: Callable[[ClientPipe, float], None] | None = opened
        self._failed = failed
        # A streamed answer may be almost full before its largest frame.
        self._limit = body_limit(host.limits) + host.limits.body
        self._buffer = bytearray()  # the beginning of a frame
        self._receiving = False
        self._waits = False  # the server is known to have the request for frames
        self._asked = False  # it will be, once the POST is answered
        self._posting = 0  # bytes of the POST that is not answered yet
        self._presence = host.timers.new(self._be_present)

    def start(self, now: float) -> None:
        """Ask for the first frame."""
        self._receive(now)

    def pause(self) -> None:
        super().pause()
        self._pool.pause()
        self._touch()

    def resume(self) -> None:
        self._pool.resume()
        super().resume()

    # --- requests ---

    @property
    def _unread(self) -> int:
        return self._posting

    def _send(self, now: float) -> None:
        paused = self._inbox.paused
        if not (self._receiving or paused or self._inbox):
            self._receive(now)
        if self._outbox and not self._posting:
            self._post(messages_array(self.take_slice()), now)
        if self.ending is not None and not self._posting:
            self._leave(now)
        elif not paused:
            self._presence.cancel()
        elif self._presence.due == math.inf:
            self._presence.set(now + PRESENCE)

    def _leave(self, now: float) -> None:
        """End the session. The server sees that by a request for frames that waits there, and is given up."""
        if self._waits:
            self.over = True
            self._release(now)
        else:
            self._post(NOTHING, now)

    def _be_present(self, now: float) -> None:
        if not self._posting:
            self._post(NOTHING, now)
        self._presence.set(now + PRESENCE)

    def _receive(self, now: float) -> None:
        self._receiving = True
        self._waits = self._asked = False
        session = self._session
        self._pool.request(
            "POST", session.target(self._what), session.headers, b"", self._answered, self._lost,
            limit=self._limit, received=self._received, now=now,
        )  # fmt: skip

    def _post(self, body: bytes, now: float) -> None:
        self._posting = len(body)
        self._asked = body == NOTHING
        headers = (("Content-Type", "text/plain; charset=UTF-8"), *self._session.headers)
        target = self._session.target("xhr_send")
        self._pool.request("POST", target, headers, body, self._posted, self._lost, now=now)

    def _answered(self, answer: Answer, now: float) -> None:
        self._receiving = False
        if answer.status != 200:
            self._lost(refusal_error(answer, opened=self._opened is None), now)
        elif self._opened is not None or self._buffer:
            self._lost(ConnectError("the server's answer is none of SockJS"), now)
        else:
            self._touch()

    def _received(self, data: bytes, now: float) -> None:
        self._waits = self._what == "xhr_streaming"
        buffer = self._buffer
        end = len(buffer)
        buffer += data
        while (end := buffer.find(b"\n", end)) >= 0 and not self.over:
            frame = bytes(buffer[:end])
            del buffer[: end + 1]
            end = 0
            try:
                read = read_frame(frame.decode(), self._host.limits)
            except ValueError:
                self._broken(frame, now)
            else:
                self._frame(read, now)

    def _posted(self, answer: Answer, now: float) -> None:
        self._posting = 0
        self._waits = self._waits or self._asked
        if answer.status in (200, 204):
            self._left(now)
        else:
            self._lost(refusal_error(answer, opened=True), now)

    def _lost(self, error: ConnectError, now: float) -> None:
        if self._opened is None:
            self._end(1006, "", ConnectionLost(str(error)), now)
        else:
            self._give_up(error, now)

    # --- frames ---

    def _frame(self, frame: Frame, now: float) -> None:
        opened = self._opened
        if frame.opens and opened is not None:
            self._opened = None
            opened(self, now)
        elif opened is not None:
            if frame.close is not None or frame.texts is not None:
                self._give_up(ConnectError(f"the server does not open a session: {frame.close}"), now)
        elif frame.close is not None:
            code, reason = frame.close
            self._inbox.put((), lambda now: self._ended_by_peer(code, reason, None), now=now)
        elif frame.texts is not None:
            self._inbox.put(frame.texts, lambda now: self._touch(), now=now)

    def _broken(self, frame: bytes, now: float) -> None:
        error = f"not a frame of SockJS: {frame[:20]!r}"
        if self._opened is None:
            broken = RemoteProtocolError(error)
            self._inbox.put((), lambda now: self._ended_by_peer(3000, "Broken framing.", broken), now=now)
        else:
            self._give_up(ConnectError(error), now)

    # --- the end ---

    def _give_up(self, error: ConnectError, now: float) -> None:
        """The session does not open."""
        self.over = True
        if self._receiving:
            self._pool.abort(now=now)
        self._failed(error, now)

    def _release(self, now: float) -> None:
        super()._release(now)
        self._presence.cancel()
        self._pool.abort(now=now)
