"""A session of the client: its polls and POSTs, heartbeats, and the move to a WebSocket (protocol 8.3).

The law kept here: packets leave by one way at a time, in order; one poll and one POST at a time. While the session does
not read, nothing is read, and heartbeats are sent without being asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...errors import ConnectError, PrimusError
from ...http.model import Answer
from ...limits import Limits
from ...session.messages import Message
from ..base import ClientHost, HeaderPairs, HttpPool, WebSocketCarrier, refusal_error
from ..polling import WithoutSession, discard
from .options import EngineIOOptions
from .packets import BINARY3, PING, PONG, UPGRADE, Packet
from .pipe import BODY, EngineIOPipe

__all__ = ["ClientPipe", "Hello", "Requests", "body_limit"]


@dataclass(slots=True)
class Hello:
    """What a server says of a new session. Durations are seconds."""

    sid: str
    protocol: int
    upgrades: bool
    ping_interval: float
    ping_timeout: float
    max_payload: int | None


class Requests:
    """Makes the requests of one attempt and its session. No two have the same `t`."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        options: EngineIOOptions = host.options
        self.pool: HttpPool = host.pool
        self._limit = body_limit(host.limits)
        self._headers = tuple(headers)
        path, _, query = target.partition("?")
        self._target = f"{path}/?{query}{'&' if query else ''}EIO={options.protocol or 4}"
        self._nonce = f"{host.rng.getrandbits(40):x}"
        self._made = 0

    def get(
        self,
        sid: str,
        answered: Callable[[Answer, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        now: float,
    ) -> None:
        """Poll; without a `sid` open a session."""
        target = self._next("polling", sid)
        self.pool.request("GET", target, self._headers, b"", answered, failed, limit=self._limit, now=now)

    def post(
        self,
        sid: str,
        body: bytes,
        content_type: str,
        answered: Callable[[Answer, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        now: float,
    ) -> None:
        """Send packets."""
        headers = (("Content-Type", content_type), *self._headers)
        self.pool.request("POST", self._next("polling", sid), headers, body, answered, failed, now=now)

    def websocket(
        self,
        sid: str,
        opened: Callable[[WebSocketCarrier, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        now: float,
    ) -> None:
        """Open a WebSocket for a session, or for a new one."""
        self.pool.websocket(self._next("websocket", sid), self._headers, opened, failed, now=now)

    def _next(self, transport: str, sid: str) -> str:
        self._made += 1
        target = f"{self._target}&transport={transport}&t={self._nonce}.{self._made}"
        return f"{target}&sid={sid}" if sid else target


def body_limit(limits: Limits) -> int:
    """The largest body that is read: encoding text twice, or bytes as text, makes a message so much longer."""
    return max(limits.body, 2 * limits.message)


class ClientPipe(EngineIOPipe):
    """A session of the client."""

    __slots__ = (
        "_hello", "_pinged_at", "_polling", "_posting", "_probe", "_probe_timer", "_probed", "_requests", "_sent_close",
    )  # fmt: skip

    def __init__(self, host: ClientHost, requests: Requests, hello: Hello) -> None:
        super().__init__(host, hello.sid, hello.protocol, base64_only=False)
        if hello.protocol == 3:
            self.framing = BINARY3
        self._requests = requests
        self._hello = hello
        self._polling = False
        self._posting = 0  # bytes of the POST that is not answered yet
        self._sent_close = False
        self._pinged_at: float | None = None
        self._probe: WebSocketCarrier | None = None
        self._probed = False  # the WebSocket works, and the requests under way are the last
        self._probe_timer = host.timers.new(lambda now: self._stop_probe(now))

    def start(self, packets: Iterable[Packet], options: EngineIOOptions, now: float) -> None:
        """The session has begun. `packets` came with the packet that opened it."""
        self.heard = now
        if self.protocol == 3:
            self._heartbeat.set(now + self._hello.ping_interval)
        else:
            self._heartbeat.set(now + self._hello.ping_interval + self._hello.ping_timeout)
        self._inbox.put(packets, lambda now: None, now=now)
        if self.carrier is None:
            self._touch()
            if options.upgrades and self._hello.upgrades and not self.over:
                self._probe_timer.set(now + options.upgrade_timeout)
                self._requests.websocket(self.sid, self._probe_opened, lambda error, now: None, now=now)

    # --- requests ---

    @property
    def _unread(self) -> int:
        return self._posting

    def pause(self) -> None:
        super().pause()
        self._touch()  # for heartbeats that nobody asks for

    def flush(self, *, now: float) -> None:
        super().flush(now=now)
        if self._inbox.paused and not self.over:
            self._heartbeat.set(min(self._heartbeat.due, now + self._unasked))

    def _flush_polling(self, now: float) -> None:
        if self._probed and self._probe is not None and not self._polling and not self._posting:
            self._move(self._probe, now)
            return
        if not (self._polling or self._probed or self.ending is not None or self._inbox.paused or self._inbox):
            self._polling = True
            self._requests.get(self.sid, self._polled, self._poll_failed, now=now)
        wanted = self._control or self._outbox or self.ending is not None
        if wanted and not (self._posting or self._probed or self._sent_close):
            body = self._take_body(min(BODY, self._hello.max_payload or BODY))
            self._sent_close = self.ending is not None and not self._outbox
            self._posting = len(body)
            self._requests.post(self.sid, body, self.framing.content_type, self._posted, self._failed, now=now)

    def _polled(self, answer: Answer, now: float) -> None:
        self._polling = False
        if answer.status != 200:
            self._refused(answer, now)
            return
        binary = answer.headers.get("content-type", "").startswith("application/octet-stream")
        self.heard = now
        self._inbox.put(self._decoder.body(answer.body, binary=binary), lambda now: self._touch(), now=now)

    def _posted(self, answer: Answer, now: float) -> None:
        self._posting = 0
        if answer.status != 200:
            self._refused(answer, now)
        elif self._sent_close:
            self.over = True
            self._release(now)
        else:
            self._left(now)

    def _poll_failed(self, error: ConnectError, now: float) -> None:
        if self.ending is None:  # otherwise nothing is expected from it, and the last POST is still under way
            self._failed(error, now)

    def _refused(self, answer: Answer, now: float) -> None:
        self._lost(str(refusal_error(answer, opened=True)), now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._lost(str(error), now)

    # --- the move to a WebSocket ---

    def _probe_opened(self, carrier: WebSocketCarrier, now: float) -> None:
        if self.over or self.ending is not None:
            discard(carrier, self._host, now=now)
            return
        self._probe = carrier
        carrier.owner = _Probe(self)
        carrier.send([Message(PING + "probe")], now=now)

    def probe_received(self, data: str | bytes, now: float) -> None:
        """Something came on the WebSocket."""
        if data == PONG + "probe" and not self._probed:
            self._probe_timer.cancel()
            self._probed = True
            self._touch()
        else:
            self._stop_probe(now)

    def probe_closed(self) -> None:
        """The WebSocket is of no use. Nothing was sent by it, so nothing is lost."""
        self._probe = None
        self._probed = False
        self._probe_timer.cancel()
        self._touch()

    def _stop_probe(self, now: float) -> None:
        probe = self._probe
        if probe is not None:
            discard(probe, self._host, now=now)
        self.probe_closed()

    def _move(self, carrier: WebSocketCarrier, now: float) -> None:
        self._probe = None
        self.carrier = carrier
        carrier.owner = self
        if self._inbox.paused:
            carrier.pause()
        carrier.send([Message(UPGRADE)], now=now)
        self._requests.pool.abort(now=now)
        self._flush_websocket(carrier, now)

    # --- heartbeats ---

    @property
    def _unasked(self) -> float:
        """How often a heartbeat is sent while none is read."""
        return min(self._hello.ping_interval, self._hello.ping_timeout) / 2

    def _beat(self, now: float) -> None:
        interval, patience = self._hello.ping_interval, self._hello.ping_timeout
        if self._inbox.paused:
            self.heard = now  # what there is to hear is not read
            self._pinged_at = None
            self.say(PONG if self.protocol == 4 else PING)
            self._heartbeat.set(now + self._unasked)
        elif self.protocol == 4:
            if now >= self.heard + interval + patience:
                self._lost("no heartbeat came", now)
            else:
                self._heartbeat.set(self.heard + interval + patience)
        elif self._pinged_at is not None and self.heard < self._pinged_at:
            if now >= self._pinged_at + patience:
                self._lost("no answer to a heartbeat came", now)
            else:
                self._heartbeat.set(self._pinged_at + patience)
        elif self._pinged_at is not None and now < self._pinged_at + interval:
            self._heartbeat.set(self._pinged_at + interval)
        else:
            self._pinged_at = now
            self.say(PING)
            self._heartbeat.set(now + min(interval, patience))

    # --- the end ---

    def _release(self, now: float) -> None:
        super()._release(now)
        self._stop_probe(now)
        self._requests.pool.abort(now=now)


class _Probe(WithoutSession):
    """The owner of a WebSocket that a session may move to."""

    __slots__ = ("_pipe",)

    def __init__(self, pipe: ClientPipe) -> None:
        self._pipe = pipe

    def received(self, data: str | bytes, *, now: float) -> None:
        self._pipe.probe_received(data, now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._pipe.probe_closed()
