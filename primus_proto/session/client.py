"""The client's half of a session: open, queue, heartbeat, end (protocol 3.1, 4). `attempts` has the connecting.

The laws kept here: what needs the time happens in `poll(now=)`; a connection that is over changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from .. import events as ev
from ..commands import Abort, Connect, MessageCommand
from ..config import ClientConfig, check_config
from ..errors import ConnectError, ConnectionLost, LocalProtocolError, PrimusError
from ..limits import Limits
from ..parsers import get_parser, limited
from ..plugins.registry import load_plugins
from ..transports.pipe import MessagePipe, Pipe, flush_pipes
from .attempts import Attempts
from .core import Core, poll
from .encoding import encode, encode_protocol, is_asynchronous
from .extensions import HasPlugins, Plugins
from .heartbeat_client import ClientHeartbeat, client_heartbeat
from .link import CLOSING, Link
from .messages import MAX_VALUE, NOTHING, Message, protocol_message
from .names import CLIENT_EVENTS
from .queue import WriteQueue
from .states import CLIENT, ClientState, ClientTrigger, CloseReason, ReadyState, step
from .transforms import Direction, Step

__all__ = ["Client"]

_S, _T = ClientState, ClientTrigger


class Client(HasPlugins, Core, Link):
    """A Primus client, from its first `open` to its end, over as many connections as that takes.

    This is the message seam of a client: a host that has one WebSocket calls `opened` and the verbs in `receive_` and
    `connection_`, and does what `poll` says; after a `Close` or `Abort` it says nothing more of that connection.
    `ByteClient` drives the same object from bytes. `rng` and `wall_offset` are as for `Core`.
    """

    EVENTS = CLIENT_EVENTS

    def __init__(self, config: ClientConfig, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        check_config(config, ClientConfig)
        Core.__init__(self, config.limits, rng, wall_offset)
        parser = limited(get_parser(config.parser), config.limits)
        Link.__init__(self, parser, config.limits.queue, is_asynchronous(parser), config.receive)
        self.config = config
        self.state: ClientState = ClientState.IDLE
        self.ready_state: ReadyState = ReadyState.CLOSED
        self.online: bool = True
        """False from a missed pong, or from what the host says of the network, until the next connection."""
        self.close_reason: CloseReason | None = None
        """Why the last connection closed; None where none did since `open`."""
        self.latency: float | None = None
        """Seconds the last ping took to be answered; before any was, seconds the open took."""
        self.context: Any = None  # its binding's to use
        self._pipe: Pipe | None = None
        self._queue = WriteQueue(config.queue_size, config.limits.queue)
        self.attempts: Attempts = Attempts(self)
        self._told_end = False  # `end` is the last event, until the client is opened again
        self._paused = 0  # by whom: 1 the application, 2 messages that wait for a transform, 4 an end that waits
        self._ids_asked, self._opened_at = 0, 0.0  # the first: answers to `request_id` still to come
        self.heartbeat: ClientHeartbeat = client_heartbeat(self)
        """Who pings whom, and what silence means."""
        self._plugins = Plugins(self, "client")
        self._plugins.use_all(load_plugins(config.plugins))
        if not config.manual:
            self.open()

    # --- the application's side ---

    @property
    def buffered(self) -> int:
        """Bytes written that have not left the core: queued, or waiting for a server that does not read."""
        sent = self._pipe.buffered if self._pipe is not None else 0
        return self._queue.size + sent + (self._outgoing.queue.size if self._outgoing is not None else 0)

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Raises LocalProtocolError in any other state."""
        self.move(_T.OPEN)
        self._told_end = False
        self.close_reason = None
        self.set_ready_state(ReadyState.OPENING)

    def write(self, data: Any) -> bool:
        """Send one value, or keep it in order for when the connection is open (protocol 4.3).

        Returns False, and sends nothing, after the end or while `Limits.queue` bytes wait. Raises EncodeError.
        """
        if self._outgoing is not None:
            return not self.state.over and self._outgoing.write(data)
        return not self.state.over and self.write_message(encode(self.parser, data))

    def write_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already."""
        if self.state.over:
            return False
        if self._outgoing is not None and not self._outgoing.delivering:
            return self._outgoing.write_message(message)
        if self._pipe is None:
            dropped = self._queue.put(message)
            self.needs_drain = self.needs_drain or self._queue.size > self._high_water
            self._report_dropped([each.payload for each in dropped], "the queue is full")
            return message not in dropped
        if self._pipe.buffered > self._limit:
            return False
        self._send(self._pipe, message)
        return True

    def request_id(self) -> None:
        """Ask for the spark's id; `IdReceived` answers. Raises LocalProtocolError unless open."""
        if self._pipe is None:
            raise LocalProtocolError("the id can only be asked for while the connection is open")
        text = protocol_message("id", "")
        if self._asynchronous and self._outgoing is not None:
            self._outgoing.say(text)
        else:
            self._send(self._pipe, encode_protocol(self.parser, text))
        self._ids_asked += 1

    def end(self, data: Any = NOTHING) -> None:
        """Close for good, after sending `data` if given and connected; harmless when over (protocol 4.5).

        Data that was not handed out yet is withheld. Raises EncodeError, and does not end, if `data` cannot be sent.
        """
        if data is not NOTHING and self._outgoing is not None and not self.state.over:
            self._outgoing.write(data, last=True)
        elif data is not NOTHING:
            self.write(data)
        if self.state is _S.OFFLINE:
            self.move(_T.END)
        elif not self.state.over:
            self._end_by(_T.END)
        self._withhold_data()

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        if self.state is not _S.DESTROYED:
            self.end()
            self.move(_T.DESTROY)
            self.emit(ev.Destroyed())

    def network_offline(self) -> None:
        """The host's word that the network is gone: the client ends until `network_online` (protocol 4.4)."""
        if self.state is _S.DESTROYED:
            return
        if self.online:
            self.online = False
            self.emit(ev.WentOffline())
        if self.state is not _S.IDLE and not self.state.over:
            self._end_by(_T.OFFLINE if "online" in self.config.strategies else _T.END)
            self._withhold_data()

    def network_online(self) -> None:
        """The host's word that the network is back: reconnects if the strategy has ``online``."""
        if self.online or self.state is _S.DESTROYED:
            return
        self.online = True
        self.emit(ev.WentOnline())
        if self.state is _S.OFFLINE:
            self.move(_T.ONLINE)
            self._told_end = False

    # --- the driver's side (message seam) ---

    def poll(self, *, now: float) -> Iterator[ev.Event | MessageCommand[None]]:
        """Hand out what to know and to do, one item at a time: events, then the commands they caused."""
        self.check_clock(now)
        return poll(self.queued_events, self.queued_commands, self.work, now)

    def work(self, now: float) -> None:
        """Do what an application's verb asked for and the time was needed for."""
        if self.timers.delays:
            self.set_delays(now)
        if self.state is _S.STARTING:
            self.attempts.first(now)
        elif self.state is _S.RESUMING:
            self.attempts.reconnect(None, now)
        else:
            self.attempts.work(now)
        if self.dirty_pipes:
            flush_pipes(self.dirty_pipes, now=now)

    def opened(self, *, now: float, pipe: Pipe | None = None) -> None:
        """The connection that `Connect` asked for is open. Ignored, and a `pipe` dropped, where none is wanted now."""
        if self.state not in (_S.CONNECTING, _S.RECONNECTING):
            if pipe is not None:
                pipe.abort()  # the attempt succeeded after it was given up
            return
        reconnected = self.attempts.succeeded(now)
        self.move(_T.CONNECTED)
        self._pipe = pipe or MessagePipe(self.queued_commands, self.dirty_pipes.append)
        self._pipe.session = self
        self._opened_at = now
        self._ids_asked = 0
        if self._paused:
            (self.pause if self._paused & 1 else self._pipe.pause)()
        if reconnected is not None:
            self.emit(reconnected)
        if not self.online:
            self.online = True
            self.emit(ev.WentOnline())
        self.set_ready_state(ReadyState.OPEN)
        self.latency = now - self.attempts.started
        self.heartbeat.start(now)
        for message in (*self.attempts.first_messages, *self._queue.take_all()):
            self._send(self._pipe, message)
        self.emit(ev.Opened())
        self.drained()

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        if self._pipe is not None:
            self._receive(data, now)

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

    def flushed(self, *, now: float) -> None:
        """What could leave has left the pipe. A client waits for its server as long as the heartbeat allows."""
        self._slow = self._pipe is not None and self._pipe.buffered > self._limit

    def connection_lost(
        self, error: PrimusError | str | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The connection is closed or gone, or the attempt to open it failed. Ignored where there is none."""
        if self._pipe is None:
            if error is None or isinstance(error, str):
                error = ConnectError(error or "the connection could not be opened")
            self.attempts.failed(error, now)
            return
        if isinstance(error, str):
            error = ConnectionLost(error, code=code)
        if self._after_incoming(lambda now: self._gone(error, code, reason, now), now):
            self._withdraw()
            self._let_go(error)
        else:
            self._gone(error, code, reason, now)

    def resume_attempt(self, id: int, answer: Mapping[str, Any] | ConnectError) -> bool:
        """Answer `AttemptHeld`: what the functions returned, by name, or a ConnectError. False: the attempt is over.

        Raises LocalProtocolError for invalid values.
        """
        return self.attempts.resume(id, answer)

    def learn(self, spec: object, *, now: float) -> None:
        """What ``/spec`` says, decoded, of the server's heartbeat (protocol 3.5); for the dialect ``auto`` only."""
        if self.config.dialect == "auto" and isinstance(spec, Mapping):
            self.heartbeat.learn(spec, now)

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        self._drained(self._pipe)

    # --- for its attempts and its heartbeat ---

    def move(self, trigger: ClientTrigger) -> None:
        """Take a step in the state table; LocalProtocolError where there is none."""
        self.state = step(CLIENT, self.state, trigger)
        self.is_unsettled = self.state is not _S.OPEN

    def set_ready_state(self, state: ReadyState) -> None:
        """Set `ready_state`, and report a change."""
        if state is not self.ready_state:
            self.ready_state = state
            self.emit(ev.ReadyStateChanged(state.announced))

    def command(self, command: Connect | Abort[None]) -> None:
        """Give a command."""
        self.queued_commands.append(command)

    def give_up(self, reason: CloseReason) -> None:
        """The client ends, and nobody here wanted it."""
        self.move(_T.GIVE_UP)
        self._finish(reason, lost=True)

    def say(self, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``; to a server that does not read later, and the last of each kind only."""
        pipe: Any = self._pipe
        if self.queued_events:
            return self.defer(lambda now: self._say(pipe, name, value))
        self._say(pipe, name, value)

    def heartbeat_lost(self, missed: str, now: float) -> None:
        """The server is taken for dead; `missed` says what did not come."""
        self.online = False
        self.emit(ev.WentOffline())
        assert self._pipe is not None
        self._pipe.abort()
        self.connection_lost(ConnectionLost(missed), now=now)

    # --- what a Link leaves to it ---

    @property
    def _limits(self) -> Limits:
        return self.limits

    @property
    def face(self) -> Any:
        """It, as its user holds it."""
        return self.context if self.context is not None else self

    def _steps(self, direction: Direction) -> tuple[Step, ...]:
        return () if self.transforms is None else getattr(self.transforms, direction)

    def _emit(self, event: ev.Event) -> None:
        self.emit(event)

    def _data(self, value: Any, size: int) -> None:
        if self.receives:
            self.emit(ev.DataReceived(value, size))
        else:
            self.discarded += 1

    def warn(self, text: str) -> None:
        self.emit(ev.Logged("warning", text))

    def check_peer(self) -> None:
        assert self._pipe is not None  # it is open
        self._pipe.check_peer()

    def _protocol(self, name: str, value: str, now: float) -> bool:
        match name:
            case "pong":
                return self.heartbeat.pong(value, now)
            case "ping":
                return len(value) <= MAX_VALUE and self.heartbeat.ping(value, now)
            case "id" if value and self._ids_asked:
                self._ids_asked -= 1
                self.emit(ev.IdReceived(value))
                return True
            case "server" if value == "close":
                if self.state is _S.OPEN:
                    self.move(_T.SERVER_CLOSE)
                return True
        return False

    def _ignored(self, text: str) -> None:
        self.emit(ev.MessageIgnored(text))

    def _error(self, error: PrimusError) -> None:
        self.emit(ev.Logged("warning", f"after its end: {error}") if self._told_end else ev.ErrorOccurred(error))

    def _drain(self) -> None:
        self.emit(ev.Drained())

    def _dropped(self, payloads: tuple[str | bytes, ...], why: str) -> None:
        text = f"after its end: {len(payloads)} written values were not sent: {why}"
        self.emit(ev.Logged("warning", text) if self._told_end else ev.MessagesDropped(payloads, why))

    def _pause(self, by: int) -> None:
        self._paused |= by
        self.heartbeat.pause()
        if self._pipe is not None:
            self._pipe.pause()

    def _resume(self, by: int) -> None:
        self._paused &= ~by
        if not self._paused:
            self.heartbeat.resume()
            if self._pipe is not None:
                self._pipe.resume()

    # --- ending ---

    def _gone(self, error: PrimusError | None, code: int, reason: str, now: float) -> None:
        """The connection is gone, and what it brought has been handled."""
        if self.state is _S.CLOSING:
            self.give_up(CloseReason("server", code, reason))
        elif self.state is _S.OPEN:
            error = error or ConnectionLost(f"the connection was lost (code {code})", code=code)
            self._lost(error, CloseReason("lost", code, reason, error), now)

    def _lost(self, error: PrimusError, reason: CloseReason, now: float) -> None:
        """An open connection is gone, and nobody wanted it."""
        if not isinstance(error, ConnectionLost):
            self.emit(ev.ErrorOccurred(error))
        if "disconnect" not in self.config.strategies:
            self.give_up(reason)
            return
        self.close_reason = reason
        self.set_ready_state(ReadyState.CLOSED)
        self.emit(ev.Closed(reason))
        self._withdraw()
        self._let_go(error)
        self.attempts.reconnect(error, now, lasted=now - self._opened_at)
        self.drained()

    def _end_by(self, trigger: ClientTrigger) -> None:
        """This end ends it: what was written still leaves."""
        if self.state in (_S.CONNECTING, _S.RECONNECTING):
            self.attempts.abort()
        self.move(trigger)
        if self._pipe is not None:
            self._after_outgoing(self._pipe, self._pipe.close)
        self._finish(CloseReason("local"))

    def _finish(self, reason: CloseReason, *, lost: bool = False) -> None:
        """Report the end in the order of protocol 4.2. What was written still leaves, unless its way is `lost`."""
        was_up = self.ready_state is not ReadyState.CLOSED
        self.set_ready_state(ReadyState.CLOSED)
        if was_up:
            self.emit(ev.Closed(reason))
        if lost:
            self._withdraw()
        self._let_go(reason.error)
        self.attempts.reset()
        self.close_reason = reason
        self._report_dropped([each.payload for each in self._queue.take_all()], "the client ended")
        if self._outgoing is not None:
            self._outgoing.give_up()
        if self._neglect is not None:
            self._neglect.stop()
        self.needs_drain = False
        self.emit(ev.Ended(reason))
        self._told_end = True

    def _let_go(self, error: PrimusError | None) -> None:
        if self._pipe is not None and self.extensions is not None:
            self._told_extensions(error or ConnectionLost("the session has ended"))
        self._pipe, self._pending, self._late, self._slow = None, None, None, False
        self.heartbeat = self.heartbeat.stop()
        self.attempts.stop()
        self._paused &= ~CLOSING

    def _withdraw(self) -> None:
        """The connection is gone, and what waited for it with it."""
        if self._pipe is not None:
            self._report_dropped(self._pipe.withdraw(), "the connection is gone")

    def _withhold_data(self) -> None:
        """What arrived before this end ended the session is not handed out after it (protocol 4.5)."""
        self.withhold(ev.DataReceived, ev.Delivery)
        if self._incoming is not None:
            self._incoming.queue.discard()
