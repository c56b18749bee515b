"""The client's half of a session: open, queue, heartbeat, reconnect (protocol 3.1, 4).

The laws kept here: reconnecting is decided here and nowhere else, and at most one attempt is under way; verbs of
the application are synchronous; what needs the time happens in `commands(now=)`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from . import events as ev
from .backoff import Recovery
from .client_heartbeat import client_heartbeat
from .codec import decode, encode, encode_protocol
from .commands import Abort, Command, Connect
from .config import ClientConfig
from .errors import ConnectError, ConnectionLost, DecodeError, EncodeError, LocalProtocolError, PrimusError
from .machine import Machine
from .messages import MAX_VALUE, NOTHING, PREFIX, SERVER_CLOSE, Message, parse_protocol_message, protocol_message
from .parsers import get_parser
from .queue import WriteQueue
from .states import CLIENT, ClientState, ClientTrigger, ReadyState, step
from .transports.pipes import MessagePipe, Pipe
from .url import ConnectURL

__all__ = ["Client"]

_S, _T = ClientState, ClientTrigger
_OVER = frozenset((_S.ENDED, _S.DESTROYED))


class Client(Machine):
    """A Primus client, from its first `open` to its end, over as many connections as that takes.

    This is the message seam of a client: a host that has one WebSocket calls `opened` and the verbs in `receive_` and
    `connection_`, and does what `commands` says; after a `Close` or `Abort` it says nothing more of that connection.
    `ByteClient` drives the same object from bytes. `rng` and `wall_offset` are as for `Machine`.
    """

    def __init__(self, config: ClientConfig, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        super().__init__(config.limits, rng, wall_offset)
        self.config = config
        self.parser = get_parser(config.parser)
        self.state = ClientState.IDLE
        self.ready_state = ReadyState.CLOSED
        self.online = True
        """False from a missed pong, or from what the host says of the network, until the next connection."""
        self.close_reason: ev.CloseReason | None = None
        """Why the last connection closed; None where none did since `open`."""
        self.latency: float | None = None
        """Seconds the last ping took to be answered; before any was, seconds the open took."""
        self.crowded = False
        """Whether the unsent bytes went above half of `Limits.queue`: wait for `Drained` before writing more."""
        self.context: Any = None  # its binding's to use
        self._pipe: Pipe | None = None
        self._queue = WriteQueue(config.queue_size, config.limits.queue)
        self._urls = ConnectURL(config)
        self._wants_attempt = self._wants_reconnect = False  # `open` or `network_online` was called: in `commands`
        self._server_closing = self._ended_offline = self._paused = False
        self._ids_asked = 0  # answers to `request_id` still to come
        self._owed: dict[str, Message] = {}  # waits for the backlog to fall, by name
        self._started = self._opened_at = 0.0  # when this attempt began, and when it succeeded
        self._recovery = Recovery(config, rng)
        self.heartbeat = client_heartbeat(self)
        """Who pings whom, and what silence means."""
        self._attempt_timer = self.timers.new(self._attempt_expired)
        self._delay_timer = self.timers.new(self._delay_over)
        if not config.manual:
            self.open()

    # --- the application's side ---

    @property
    def buffered(self) -> int:
        """Bytes written that have not left the core: queued, or waiting for a server that does not read."""
        return self._queue.size + (self._pipe.buffered if self._pipe is not None else 0)

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Raises LocalProtocolError in any other state."""
        self.state = step(CLIENT, self.state, _T.OPEN)
        self.close_reason = None
        self._ended_offline = False
        self._wants_attempt = True
        self._ready(ReadyState.OPENING)

    def write(self, data: Any) -> bool:
        """Send one value, or keep it in order until the connection is open (protocol 4.3). Raises EncodeError.

        False, and nothing is sent, after the end, or when `Limits.queue` bytes wait for a server that does not read.
        """
        return self.state not in _OVER and self.send_message(encode(self.parser, data))

    def send_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already."""
        if self.state in _OVER:
            return False
        if self._pipe is None:
            dropped = self._queue.put(message)
            self._note_crowding()
            self._report_dropped([each.payload for each in dropped], "the queue is full")
            return message not in dropped
        if self._pipe.buffered > self.limits.queue:
            return False
        self._pipe.send(message)
        self._note_crowding()
        return True

    def request_id(self) -> None:
        """Ask for the spark's id; `IdReceived` answers. Raises LocalProtocolError unless open."""
        if self._pipe is None:
            raise LocalProtocolError("the id can only be asked for while the connection is open")
        message = encode_protocol(self.parser, protocol_message("id", ""))
        self._ids_asked += 1
        self._pipe.send(message)
        self._note_crowding()

    def end(self, data: Any = NOTHING) -> None:
        """Close for good, after sending `data` if given and connected; harmless when over (protocol 4.5).

        Raises EncodeError, and does not end, where `data` cannot be sent.
        """
        self._ended_offline = False
        if data is not NOTHING:
            self.write(data)
        self.deaf = True
        if self.state in _OVER:
            return
        was = self.state
        self.state = step(CLIENT, was, _T.END)
        if self._pipe is not None:
            self._pipe.close()
        elif was in (_S.CONNECTING, _S.RECONNECTING) and not self._wants_attempt:
            self._commands.append(Abort())
        self._finish(ev.CloseReason("local"))

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        if self.state is not _S.DESTROYED:
            self.end()
            self.state = step(CLIENT, self.state, _T.DESTROY)
            self.emit(ev.Destroyed())

    def network_offline(self) -> None:
        """The host's word that the network is gone: the client ends until `network_online` (protocol 4.4)."""
        if self.state is _S.DESTROYED:
            return
        if self.online:
            self.online = False
            self.emit(ev.WentOffline())
        if self.state not in (_S.IDLE, _S.ENDED):
            self.end()
            self._ended_offline = True

    def network_online(self) -> None:
        """The host's word that the network is back: reconnects if the strategy has ``online``."""
        if self.online or self.state is _S.DESTROYED:
            return
        self.online = True
        self.emit(ev.WentOnline())
        if self._ended_offline and "online" in self.config.strategies:
            self._ended_offline = False
            self.state = step(CLIENT, self.state, _T.ONLINE)
            self._wants_reconnect = True

    def pause(self) -> None:
        """Stop reading from the server: back-pressure. While paused, a missing pong is not held against it."""
        self._paused = True
        self.heartbeat.pause()
        if self._pipe is not None:
            self._pipe.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self.heartbeat.resume()
        if self._pipe is not None:
            self._pipe.resume()

    # --- the driver's side (message seam) ---

    def opened(self, *, now: float, pipe: Pipe | None = None) -> None:
        """The connection that `Connect` asked for is open. Ignored, and a `pipe` dropped, where none is wanted now."""
        if self.state not in (_S.CONNECTING, _S.RECONNECTING) or self._wants_attempt:
            if pipe is not None:
                pipe.abort()  # the attempt succeeded after it was given up
            return
        reconnecting = self.state is _S.RECONNECTING
        self.state = step(CLIENT, self.state, _T.CONNECTED)
        self._attempt_timer.cancel()
        self._pipe = pipe or MessagePipe(self._commands)
        self._opened_at = now
        self._server_closing = False
        self._ids_asked = 0
        if self._paused:
            self._pipe.pause()
        if reconnecting:
            self.emit(ev.Reconnected(*self._recovery.progress(now)))
        if not self.online:
            self.online = True
            self.emit(ev.WentOnline())
        self._ready(ReadyState.OPEN)
        self.latency = now - self._started
        self.heartbeat.start(now)
        for message in self._queue.take_all():
            self._pipe.send(message)
        self._note_crowding()
        self.emit(ev.Opened())
        self.drained()

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        """A WebSocket message came: str for a text message, bytes for a binary one."""
        if self.state is not _S.OPEN:
            return
        try:
            value = decode(self.parser, data)
        except DecodeError as error:
            self.emit(ev.ErrorOccurred(error))
            return
        if type(value) is str and value.startswith(PREFIX):
            self._protocol(value, now)
        else:
            self.emit(ev.DataReceived(value, len(data)))

    def receive_ping(self, *, now: float) -> None:
        """A WebSocket ping came: nothing to a client in any dialect, the heartbeat is Primus's own."""

    def connection_blocked(self) -> None:
        """The host's WebSocket takes no more: no `SendMessage` until `connection_writable`; what waits counts."""
        if self._pipe is not None:
            self._pipe.block()

    def connection_writable(self, *, now: float) -> None:
        """The host's WebSocket takes messages again."""
        if self._pipe is not None:
            self._pipe.unblock()
            self.drained()

    def connection_lost(
        self, error: PrimusError | str | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The connection is closed or gone, or the attempt to open it failed. Ignored where there is none."""
        if self.state is _S.OPEN:
            if isinstance(error, str):
                error = ConnectionLost(error, code=code)
            if self._server_closing:
                self._give_up(ev.CloseReason("server", code, reason))
            else:
                error = error or ConnectionLost(f"the connection was lost (code {code})", code=code)
                self._lost(error, ev.CloseReason("lost", code, reason, error), now)
            return
        if error is None or isinstance(error, str):
            error = ConnectError(error or "the connection could not be opened")
        if self.state is _S.CONNECTING and not self._wants_attempt:
            self._first_connect_failed(error, now)
        elif self.state is _S.RECONNECTING:
            self._recovery.error = error
            self._ready(ReadyState.CLOSED)
            self._schedule(now)

    def learn(self, spec: object, *, now: float) -> None:
        """What ``/spec`` says, decoded, of the server's heartbeat (protocol 3.5); for the dialect ``auto`` only."""
        if self.config.dialect == "auto" and isinstance(spec, Mapping):
            self.heartbeat.learn(spec, now)

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        if self.crowded and self.buffered <= self.limits.queue // 2:
            self.crowded = False
            self.emit(ev.Drained())
            if self._pipe is not None:
                self._pipe.high = False
                while self._owed:
                    self._pipe.send(self._owed.popitem()[1])

    def commands(self, *, now: float) -> list[Command]:
        """See `Machine.commands`."""
        if self._wants_attempt:
            self._wants_attempt = False
            self._connect(now, self.config.timeout)
        if self._wants_reconnect:
            self._wants_reconnect = False
            self._reconnect(None, now)
        return super().commands(now=now)

    # --- connecting ---

    def _connect(self, now: float, limit: float | bool) -> None:
        self._started = now
        if limit is not False:
            self._attempt_timer.set(now + limit)
        self._commands.append(Connect(self._urls.make(self.epoch_ms(now)), self._urls.headers()))

    def _first_connect_failed(self, error: PrimusError, now: float) -> None:
        self.emit(ev.ErrorOccurred(error))
        final = isinstance(error, ConnectError) and error.final
        if "timeout" in self.config.strategies and not final:
            self._ready(ReadyState.CLOSED)
            self._reconnect(error, now)
        else:
            refused = isinstance(error, ConnectError) and error.status is not None
            self._give_up(ev.CloseReason("refused" if refused else "lost", 1006, "", error))

    def _lost(self, error: PrimusError, reason: ev.CloseReason, now: float) -> None:
        """An open connection is gone, and not because anybody wanted it."""
        if not isinstance(error, ConnectionLost):
            self.emit(ev.ErrorOccurred(error))
        if "disconnect" not in self.config.strategies:
            self._give_up(reason)
            return
        self.close_reason = reason
        self._ready(ReadyState.CLOSED)
        self.emit(ev.Closed(reason))
        self._withdraw()
        self._let_go()
        self._reconnect(error, now, lasted=now - self._opened_at)
        self.drained()

    # --- reconnecting ---

    def _reconnect(self, error: PrimusError | None, now: float, lasted: float = 0.0) -> None:
        """Begin a reconnect procedure."""
        self._recovery.begin(error, now=now, lasted=lasted)
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        """Wait for the next attempt, or give up."""
        self._attempt_timer.cancel()
        delay = self._recovery.next()
        error = self._recovery.error
        if delay is None:
            self._ready(ReadyState.CLOSED)
            self.emit(ev.ReconnectFailed(*self._recovery.progress(now), error))
            self._give_up(ev.CloseReason("retries", 1006, "", error))
            return
        if self.state is not _S.WAITING:
            self.state = step(CLIENT, self.state, _T.RETRY)
        self._delay_timer.set(now + delay)
        self.emit(ev.ReconnectScheduled(*self._recovery.progress(now), error))

    def _delay_over(self, now: float) -> None:
        self.state = step(CLIENT, self.state, _T.DUE)
        self.emit(ev.ReconnectStarted(*self._recovery.progress(now)))
        self._ready(ReadyState.OPENING)
        self._connect(now, self.config.reconnect_timeout)

    def _attempt_expired(self, now: float) -> None:
        """A connect or reconnect attempt took too long."""
        self._commands.append(Abort())
        error = ConnectError("no answer in time")
        if self.state is _S.RECONNECTING:
            self._recovery.error = error
            self.emit(ev.ReconnectTimedOut(*self._recovery.progress(now), error))
            self._schedule(now)
            return
        self.emit(ev.ConnectTimedOut())
        if "timeout" in self.config.strategies:
            self._reconnect(error, now)
        else:
            self._give_up(ev.CloseReason("timeout", 1006, "", error))

    # --- the open connection ---

    def _note_crowding(self) -> None:
        if self.buffered > self.limits.queue // 2:
            self.crowded = True
            if self._pipe is not None:
                self._pipe.high = True

    def _withdraw(self) -> None:
        """The connection is gone, and what waited for it with it."""
        if self._pipe is not None:
            self._report_dropped(self._pipe.withdraw(), "the connection is gone")

    def _report_dropped(self, payloads: Iterable[str | bytes], why: str) -> None:
        if dropped := tuple(payloads):
            self.emit(ev.MessagesDropped(dropped, why))

    def _protocol(self, text: str, now: float) -> None:
        match parse_protocol_message(text):
            case ("pong", value) if self.heartbeat.pong(value, now):
                pass
            case ("ping", value) if len(value) <= MAX_VALUE and self.heartbeat.ping(value, now):
                pass
            case ("id", value) if value and self._ids_asked:
                self._ids_asked -= 1
                self.emit(ev.IdReceived(value))
            case _ if text == SERVER_CLOSE:
                self._server_closing = True
            case _:
                self.emit(ev.MessageIgnored(text))

    # --- for its heartbeat ---

    def say(self, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``; to a server that does not read later, and the last of each kind only."""
        assert self._pipe is not None
        try:
            message = encode_protocol(self.parser, protocol_message(name, value))
        except EncodeError as error:
            self.emit(ev.ErrorOccurred(error))
            return
        if self._pipe.buffered > self.limits.queue:
            self._owed[name] = message
        else:
            self._pipe.send(message)
            self._note_crowding()

    def silence(self, missed: str, now: float) -> None:
        """The server is taken for dead; what it was that did not come is the error."""
        self.online = False
        self.emit(ev.WentOffline())
        assert self._pipe is not None
        self._pipe.abort()
        self.connection_lost(ConnectionLost(missed), now=now)

    # --- ending ---

    def _let_go(self) -> None:
        self._pipe = None
        self._owed = {}
        self.heartbeat = self.heartbeat.stop()
        self._attempt_timer.cancel()
        self._delay_timer.cancel()

    def _give_up(self, reason: ev.CloseReason) -> None:
        self.state = step(CLIENT, self.state, _T.GIVE_UP)
        self._finish(reason, lost=True)

    def _finish(self, reason: ev.CloseReason, *, lost: bool = False) -> None:
        """The end: say so in the order of protocol 4.2. What was written still leaves, unless its way is `lost`."""
        was_up = self.ready_state is not ReadyState.CLOSED
        self._ready(ReadyState.CLOSED)
        if was_up:
            self.emit(ev.Closed(reason))
        if lost:
            self._withdraw()
        self._let_go()
        self._wants_attempt = self._wants_reconnect = False
        self._recovery.reset()
        self.close_reason = reason
        self._report_dropped([each.payload for each in self._queue.take_all()], "the client ended")
        self.crowded = False
        self.emit(ev.Ended(reason))

    def _ready(self, state: ReadyState) -> None:
        if state is not self.ready_state:
            self.ready_state = state
            self.emit(ev.ReadyStateChanged(state.announced))
