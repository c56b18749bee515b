"""A session of the server: the poll that waits, the POSTs, heartbeats, and the move to a WebSocket (protocol 8.3).

The law kept here: packets leave by one way at a time, in order. A request that is repeated is answered like the first,
and does nothing twice.
"""

from __future__ import annotations

from ...errors import PrimusError
from ...http.model import Request
from ...session.messages import Message
from ..base import Exchange, ServerHost, WebSocketCarrier
from ..polling import Answered, Recent, Sessions, WithoutSession, discard, stamp
from .options import EngineIOOptions
from .packets import NOOP, PING, PONG, TEXT3_ONCE, UPGRADE, Framing
from .pipe import EngineIOPipe
from .polls import Poll, answer_poll

__all__ = ["ServerPipe"]

# Seconds after which a poll is answered that came while the session moves to a WebSocket.
RELEASE = 0.1


class ServerPipe(EngineIOPipe):
    """A session of the server."""

    __slots__ = (
        "_answered", "_leaving", "_options", "_pinged_at", "_poll", "_polls", "_posts", "_probe", "_released",
        "_sessions",
    )  # fmt: skip

    def __init__(
        self,
        host: ServerHost,
        options: EngineIOOptions,
        sessions: Sessions[ServerPipe],
        sid: str,
        protocol: int,
        request: Request,
        *,
        base64_only: bool,
    ) -> None:
        super().__init__(host, sid, protocol, request, base64_only=base64_only)
        self._options = options
        self._sessions = sessions
        self._poll: Poll | None = None
        self._answered: Answered[tuple[Framing, bytes]] | None = None
        self._leaving: Exchange | None = None  # the last answer, while the peer has not taken it
        self._polls, self._posts = Recent(), Recent()
        self._probe: Probe | None = None
        self._released = host.timers.new(self._release_poll)
        self._pinged_at: float | None = None  # when a ping was sent that nothing came after yet

    def start(self, now: float) -> None:
        """The session begins."""
        self.heard = now
        self._heartbeat.set(now + self._options.ping_interval)
        self._host.opened(self, now=now)

    def unclaimed(self, now: float) -> None:
        """Its client has not come back."""
        self._lost("the client made no second request", now)

    # --- requests ---

    @property
    def polling(self) -> bool:
        """Whether requests belong to it."""
        return self.carrier is None

    @property
    def may_upgrade(self) -> bool:
        """Whether it can move to a WebSocket."""
        return self.carrier is None and self._probe is None

    @property
    def frame_limit(self) -> int:
        """The longest WebSocket message that may carry a message of `Limits.message`."""
        limit = self._host.limits.message
        return limit * 4 // 3 + 8 if self._base64_only else limit + 1

    def poll(self, exchange: Exchange, now: float) -> None:
        """A GET came: it waits for packets."""
        self.heard = now
        if self._leaving is not None and not self._unread:
            self._left(now)
        waiting, t = self._poll, stamp(exchange)
        if waiting is not None and t and t == waiting.stamp:
            waiting.exchanges.append(exchange)
        elif self._answered is not None and self._answered.repeated_by(exchange):
            answer_poll(exchange, *self._answered.answer, now=now)
            return
        elif self._polls.has(exchange):
            answer_poll(exchange, self.framing, self.framing.packet(NOOP), now=now)  # nobody waits for it any more
            return
        else:
            self._poll = Poll(t, [exchange])
            self._answered = None
            if waiting is not None:  # its client has given it up, or it would not ask again
                self._answer(waiting, self.framing.packet(NOOP), now)
        exchange.on_gone = lambda now: self._gone(exchange, now)
        if self._probe is not None and self._probe.answered:
            self._released.set(now + RELEASE)
        self._touch()

    def posted(self, exchange: Exchange, body: bytes, binary: bool, now: float) -> None:
        """A POST came. It is answered once its packets have been handled."""
        self.heard = now
        repeated = self._posts.has(exchange, body)
        packets = () if repeated else self._decoder.body(body, binary=binary)
        self._inbox.put(packets, lambda now: _ok(exchange, now), now=now)
        if self._decoder.once and self.framing.name == "engine.io 3":
            self.framing = TEXT3_ONCE

    def _gone(self, exchange: Exchange, now: float) -> None:
        poll = self._poll
        assert poll is not None  # that of the exchange: one that is answered or replaced does not report this
        poll.exchanges.remove(exchange)
        if not poll.exchanges:
            self._poll = None
            self._lost("the client's poll was cut off", now)

    def _flush_polling(self, now: float) -> None:
        poll = self._poll
        if poll is None or self._unread:
            return
        if not (self._control or self._outbox or self.ending is not None):
            return
        self._poll = None
        body = self._take_body()
        closing = self.ending is not None and not self._outbox
        peers = {exchange.request.peer for exchange in poll.exchanges}
        self._answered = Answered(poll.stamp, peers, (self.framing, body))
        self._leaving = poll.exchanges[-1]
        self._leaving.on_drained = self._left
        self._answer(poll, body, now)
        if closing:
            self.over = True
            self._release(now)

    @property
    def _unread(self) -> int:
        return 0 if self._leaving is None else self._leaving.buffered

    def _left(self, now: float) -> None:
        """The last answer has left the core."""
        self._leaving = None
        super()._left(now)

    def _answer(self, poll: Poll, body: bytes, now: float) -> None:
        self._released.cancel()
        for exchange in poll.exchanges:
            exchange.on_gone = None
            answer_poll(exchange, self.framing, body, now=now)

    # --- the move to a WebSocket ---

    def probe(self, exchange: Exchange, now: float) -> None:
        """A client asks for a WebSocket to move to."""
        probe = Probe(self)
        carrier = exchange.accept_websocket(probe, self.frame_limit, now=now)
        if carrier is not None:
            probe.start(carrier, now + self._options.upgrade_timeout)
            self._probe = probe

    def probed(self, now: float) -> None:
        """The WebSocket works. The client waits for its poll to be answered before it moves."""
        self.heard = now
        self._release_poll(now)

    def upgraded(self, carrier: WebSocketCarrier, now: float) -> None:
        """The client has moved."""
        self.heard = now
        self._probe = None
        self._release_poll(now)
        self._answered = None
        self.carrier = carrier
        carrier.owner = self
        if self._inbox.paused:
            carrier.pause()
        self._left(now)

    def probe_failed(self) -> None:
        """Nothing was sent by it, so nothing is lost."""
        self._probe = None
        self._released.cancel()

    def _release_poll(self, now: float) -> None:
        poll, self._poll = self._poll, None
        if poll is not None:
            self._answer(poll, self.framing.packet(NOOP), now)

    # --- heartbeats ---

    def _beat(self, now: float) -> None:
        interval, patience = self._options.ping_interval, self._options.patience(self.protocol)
        if self.protocol == 3:  # the client pings
            if self._inbox.paused:
                self.say(PONG)  # it cannot ask for one
                self.heard = now
            if now >= self.heard + interval + patience:
                self._lost("no heartbeat came", now)
            else:
                self._heartbeat.set(min(now + interval, self.heard + interval + patience))
        elif self._pinged_at is None:
            self._pinged_at = now
            self.say(PING)
            self._heartbeat.set(now + patience)
        elif self.heard >= self._pinged_at or self._inbox.paused:
            due = self._pinged_at + interval
            self._pinged_at = None
            self._heartbeat.set(max(due, now))
        else:
            self._lost("no answer to a heartbeat came", now)

    def _pinged(self, data: str) -> None:
        if self.protocol == 4:
            self._fail("the server sends the pings")
        else:
            super()._pinged(data)

    # --- the end ---

    def _drop(self, now: float) -> None:
        poll, self._poll = self._poll, None
        if poll is not None:
            for exchange in poll.exchanges:
                exchange.on_gone = None
                exchange.abort(now=now)
        super()._drop(now)

    def _release(self, now: float) -> None:
        super()._release(now)
        self._sessions.remove(self.sid)
        self._answered = None
        self._release_poll(now)
        self._released.cancel()
        if self._probe is not None:
            self._probe.stop(now)


class Probe(WithoutSession):
    """A WebSocket that a session may move to, until it does."""

    __slots__ = ("_pipe", "_timer", "answered", "carrier")

    carrier: WebSocketCarrier

    def __init__(self, pipe: ServerPipe) -> None:
        self._pipe = pipe
        self.answered = False
        """Whether the WebSocket is known to work."""
        self._timer = pipe._host.timers.new(self.stop)

    def start(self, carrier: WebSocketCarrier, due: float) -> None:
        """The WebSocket is there. It has to prove itself in time."""
        self.carrier = carrier
        self._timer.set(due)

    def stop(self, now: float) -> None:
        """The session stays with polling, or is over."""
        discard(self.carrier, self._pipe._host, now=now)
        self.closed(1000, "", None, now=now)

    def received(self, data: str | bytes, *, now: float) -> None:
        if data == PING + "probe" and not self.answered:
            self.answered = True
            self.carrier.send([Message(PONG + "probe")], now=now)
            self._pipe.probed(now)
        elif data == UPGRADE and self.answered:
            self._timer.cancel()
            self._pipe.upgraded(self.carrier, now)
        else:
            self.stop(now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._timer.cancel()
        self._pipe.probe_failed()


def _ok(exchange: Exchange, now: float) -> None:
    exchange.respond(200, (("Content-Type", "text/html"),), b"ok", now=now)
