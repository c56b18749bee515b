"""The byte endpoints: channel -> wire -> exchange -> pipeline -> transport -> pipe -> session, composed.

This is what a driver with raw sockets runs. After every call into it, go through `poll(now=)`: give events to the
application, run commands. Then re-arm the one timer if `next_timeout()` has changed.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sized

from . import events as ev
from .commands import Command, Connect, OpenChannel
from .compression import Compression, compression_of
from .config import ClientConfig, ServerConfig, check_config
from .errors import ConfigError, ConnectError, LocalProtocolError
from .http.connections import Connections
from .http.model import Address, Answer, Headers, PeerCertificate, Request, Response
from .http.requests import Requests
from .http.spec import read_spec
from .limits import Limits
from .session.client import Client
from .session.core import Core, poll
from .session.server import Server
from .session.states import ReadyState
from .session.url import connect_headers
from .timers import Deadlines, Timers
from .transports.base import ClientTransport, Exchange
from .transports.pipe import Pipe, flush_pipes
from .transports.registry import TRANSPORTS
from .wire.channel import Channel, collect
from .wire.client import HttpClient, Pool
from .wire.http1 import HttpServer

__all__ = ["ByteClient", "ByteServer", "SpecQuery"]

Data = bytes | bytearray | memoryview


class _Endpoint(ABC):
    """What both ends share: the channels, the dirty pipes, the driver's verbs."""

    def __init__(self, session: Core) -> None:
        self._session = session
        self.timers: Timers = session.timers
        self.limits: Limits = session.limits
        self.rng: random.Random = session.rng
        self._channels: dict[int, Channel] = {}
        self._last_channel = 0
        self._dirty_channels: list[Channel] = []
        self._dirty_pipes: list[Pipe] = []
        self._dirty = (self._dirty_pipes, self._dirty_channels)
        self._commands: deque[Command] = deque()
        # What must be empty if a pipe's output may leave in a single step. See `poll`.
        self._agenda: tuple[Sized, ...] = (
            *(session.queued_events, session.queued_commands, session.timers.delays),
            *(self._commands, self._dirty_channels),
        )
        self.channel_dirty: Callable[[Channel], object] = self._dirty_channels.append
        """See `ChannelHost`."""
        self.touch: Callable[[Pipe], object] = self._dirty_pipes.append
        """See `PipeHost`."""

    # --- the driver's side ---

    def receive_data(self, channel: int, data: Data, *, now: float) -> None:
        """Bytes arrived on a channel. No reference to `data` is kept; an empty one means nothing."""
        known = self._channels.get(channel) or self._find(channel)
        if known is None:
            return
        (known if known.unread or known.closed else known.user).receive_data(data, now=now)

    def channel_closed(self, channel: int, error: ConnectError | str | None = None, *, now: float) -> None:
        """The channel is at EOF, lost, or could not be opened (`error` says why).

        A ConnectError is reported as it is, with its cause.
        """
        known = self._find(channel)
        if known is not None:
            known.channel_closed(error, now=now)

    def channel_blocked(self, channel: int) -> None:
        """The driver's buffer is full: no `Write` for this channel until `channel_writable`."""
        known = self._find(channel)
        if known is not None:
            known.blocked = True

    def channel_writable(self, channel: int, *, now: float) -> None:
        """The driver can take output again."""
        known = self._find(channel)
        if known is not None:
            known.writable(now=now)

    def channel_hung_up(self, channel: int) -> None:
        """The peer has closed or lost a channel whose reading is paused (`ProbeChannel`)."""
        known = self._find(channel)
        if known is not None:
            known.hung_up()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, absolute, on the clock of `now`; None: nothing is due. Pure."""
        return self.timers.next()

    def handle_timeout(self, *, now: float) -> None:
        """Do what is due; early and extra calls are harmless."""
        self.timers.fire(now)

    def poll(self, *, now: float) -> Iterator[ev.Event | Command]:
        """Hand out what to know and to do, one item at a time: events, then the commands they caused.

        The next item depends on what was done about the one before: after `end()` in an event, no data of that session
        follows. Costs next to nothing when there is nothing.
        """
        session, pipes = self._session, self._dirty_pipes
        if not now >= session.polled:  # otherwise without the call
            session.check_clock(now)
        session.polled = now
        if len(pipes) == 1 and not any(self._agenda) and not session.closing:
            # Most often there is nothing but an answer to what came: a Write, found in fewer steps.
            write = pipes[0].take_write()
            if write is not None:
                pipes.clear()
                return iter((write,))
        return poll(session.queued_events, self._commands, self._work, now, self._dirty)

    @property
    def is_idle(self) -> bool:
        """Whether `poll` would hand out nothing. May be False even so."""
        return False

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    # --- for channels and transports ---

    def defer(self, call: Callable[[float], None]) -> None:
        """See `ChannelHost`."""

        def run(now: float) -> None:
            flush_pipes(self._dirty_pipes, now=now)
            call(now)

        self._session.defer(run)

    # --- inside ---

    def _work(self, now: float) -> None:
        """Turn everything that was asked for into commands."""
        self._prepare(now)
        if self._dirty_channels:
            for channel in self._dirty_channels.copy():
                if channel.unread:
                    channel.feed_unread(now=now)
        pipes = self._dirty_pipes
        if len(pipes) == 1 and not self._dirty_channels and (write := pipes[0].take_write()) is not None:
            pipes.clear()
            self._commands.append(write)
        elif pipes:
            flush_pipes(pipes, now=now)
        if self._dirty_channels:
            dirty = self._dirty_channels.copy()
            self._dirty_channels.clear()
            for channel in collect(dirty, self._commands, now=now):
                self._forget(channel.number)

    @abstractmethod
    def _prepare(self, now: float) -> None:
        """Do what has to happen before output is collected."""

    def _new_channel(self) -> Channel:
        self._last_channel += 1
        channel = Channel(self._last_channel, self)
        self._channels[channel.number] = channel
        return channel

    def _forget(self, number: int) -> None:
        self._channels.pop(number, None)

    def _find(self, number: int) -> Channel | None:
        """A channel by number; None for one that is over, LocalProtocolError for one that never was."""
        if not 0 < number <= self._last_channel:
            raise LocalProtocolError(f"there never was a channel {number}")
        return self._channels.get(number)


class ByteServer(_Endpoint):
    """A Primus server over byte streams. `server` is the session side: sparks, broadcast, closing.

    `rng` and `wall_offset` are as for `Core`.
    """

    def __init__(self, config: ServerConfig | None = None, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.server: Server = Server(config, rng=rng, wall_offset=wall_offset)
        super().__init__(self.server)
        self.options = self.server.config.transport_options
        self.compression: Compression | None = compression_of(self.server.config.compression)
        """See `HttpServerHost`."""
        self.deadlines: Deadlines = Deadlines(self.timers, self.limits.handshake)
        """See `HttpServerHost`."""
        self._transport = TRANSPORTS[self.server.config.transformer].server(self)
        self._connections = Connections(self.limits, self.server.networks, self.bad_peer)
        self._requests = Requests(self.server, self.server.pipeline, self._transport)
        self._agenda += (self._requests.resumed,)
        self._closing = self._closed_idle = False
        self._host_busy: Callable[[], bool] = lambda: False
        self.server.watch_busy(lambda: bool(self._channels) or self._host_busy() or self._transport.busy)

    def channel_accepted(
        self, peer: tuple[str, int] = ("", 0), *, certificate: PeerCertificate | None = None, now: float
    ) -> int:
        """A byte stream was accepted from `peer` (ip, port); returns its number, never used again.

        `certificate` is the verified TLS certificate of the peer, for `Request.peer_certificate`.
        """
        channel = self._new_channel()
        channel.user = http = HttpServer(channel, self, Address(*peer[:2]), certificate, now=now)
        if not self._connections.admit(channel.number, http.peer.ip, len(self._channels)) or self.closing:
            http.abort()
        return channel.number

    def watch_host(self, busy: Callable[[], bool]) -> None:
        """A host with exchanges of its own says by `busy()` whether any is open; a closing server waits for them."""
        self._host_busy = busy

    def resume(self, id: int, answer: Response | Headers | None = None) -> bool:
        """Walk on with a request of `RequestHeld`; False if it has gone or timed out.

        None lets it pass the layer that held it, `Headers` too, and they are added to its answer; a `Response`, such as
        `Server.refusal` makes, answers it. Raises LocalProtocolError for an id that was never issued.
        """
        return self._requests.resume(id, answer)

    def fail(self, id: int, error: BaseException) -> bool:
        """Answer a request of `RequestHeld` whose layer raised; False if it has gone or timed out.

        A `Refused` becomes the refusal that it describes. Anything else is logged and answered with 500.
        """
        return self._requests.fail(id, error)

    # --- for channels and transports ---

    def request(self, exchange: Exchange, *, now: float) -> None:
        """A request's head is complete. A host that speaks HTTP itself gives exchanges of its own here."""
        self._requests.request(exchange, now=now)

    def admit(self, channel: int, request: Request) -> bool:
        """See `HttpServerHost`."""
        # Without trusted proxies the address is that of the channel, which was admitted.
        return not self.server.networks or self._connections.admit(channel, self.server.address_of(request).ip)

    def bad_peer(self, text: str) -> None:
        """See `HttpServerHost`."""
        self.server.emit(ev.Logged("warning", text))

    def epoch(self, now: float) -> float:
        """See `HttpServerHost`."""
        return self.server.epoch(now)

    @property
    def closing(self) -> bool:
        """See `HttpServerHost`."""
        return self.server.closes_channels and not self._transport.busy

    @property
    def pathname(self) -> str:
        """See `ServerHost`."""
        return self.server.config.base

    def new_id(self) -> str:
        """See `ServerHost`."""
        return self.server.new_id()

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """See `PipeHost`."""
        assert pipe.request is not None
        self.server.open_spark(pipe.request, now=now, pipe=pipe)

    def _forget(self, number: int) -> None:
        super()._forget(number)
        self._connections.forget(number)

    def _prepare(self, now: float) -> None:
        if self._requests.resumed:
            self._requests.run(now=now)
        if self.server.timers.delays:
            self.server.set_delays(now)
        if self.server.closing:
            self._close(now)
            self.server.work(now)

    @property
    def is_idle(self) -> bool:
        work = self._requests.resumed or self.server.timers.delays or self.server.closing or self._commands
        return not (work or self.server.queued_events or self._dirty_channels or self._dirty_pipes)

    def _close(self, now: float) -> None:
        """Close what carries no session; the rest closes with its answer, or its session."""
        if not self._closing:
            self._closing = True
            self._transport.close(now=now)
            self._requests.close(now=now)
        if self.closing and not self._closed_idle:
            self._closed_idle = True
            for channel in self._channels.values():
                if isinstance(channel.user, HttpServer):
                    channel.user.close_when_idle()


class _ClientEndpoint(_Endpoint):
    """What connects: channels are opened towards the one origin of `config`."""

    def __init__(self, session: Core, config: ClientConfig) -> None:
        super().__init__(session)
        self._config = config
        self.options = config.transport_options
        self.pool = Pool(self, "", False) if callable(config.url) else self._new_pool()

    def channel_opened(self, channel: int, *, now: float) -> None:
        """The byte stream that `OpenChannel` asked for is up."""
        known = self._find(channel)
        if known is not None and isinstance(known.user, HttpClient):
            known.user.channel_opened(now=now)

    @property
    def compression(self) -> Compression | None:
        """See `PoolHost`."""
        return compression_of(self._config.compression)

    def _new_pool(self) -> Pool:
        return Pool(self, self._config.authority, self._config.secure)

    def open_channel(self) -> Channel:
        """See `PoolHost`."""
        channel = self._new_channel()
        config, (resolver, server_name, _) = self._config, self._config.host
        name = server_name if config.secure and server_name != resolver else None
        self._commands.append(OpenChannel(channel.number, resolver, config.port, config.secure, name))
        return channel


class ByteClient(_ClientEndpoint):
    """A Primus client over byte streams. `client` is the session side: write, end, state.

    `rng` and `wall_offset` are as for `Core`.
    """

    def __init__(self, config: ClientConfig, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.client: Client = Client(config, rng=rng, wall_offset=wall_offset)
        super().__init__(self.client, config)
        self._attempt: ClientTransport | None = None
        self._question = self.pool  # for /spec, beside the connection
        self._asking = False
        self._question_timer = self.timers.new(self._stop_asking)

    # --- for channels and transports ---

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """See `PipeHost`."""
        pipe.session = self.client
        self._attempt = None
        self.client.opened(now=now, pipe=pipe)
        if self._config.dialect == "auto":
            self._ask(now)

    def failed(self, error: ConnectError, *, now: float) -> None:
        """See `ClientHost`."""
        self._attempt = None
        self.pool.abort(now=now)
        self.client.connection_lost(error, now=now)

    def _prepare(self, now: float) -> None:
        # A session that has let go of its pipe closed or aborted it, and such a pipe keeps silent; it sees to its
        # connections itself. An attempt that is dropped loses its connections and its requests here. So nothing that is
        # over can speak to the session.
        self.client.work(now)
        commands = self.client.queued_commands
        while commands:
            command = commands.popleft()
            if self._attempt is not None:
                self._attempt.abort(now=now)
                self._attempt = None
                self.pool.abort(now=now)
            if isinstance(command, Connect):
                self._config = self.client.attempts.target
                self.pool: Pool = self._new_pool()
                target = command.url[command.url.index("/", command.url.index("//") + 2) :]
                self._attempt = TRANSPORTS[self._config.transformer].client(self, target, command.headers)
                self._attempt.start(now=now)
        if self._asking and self.client.ready_state is not ReadyState.OPEN:
            self._stop_asking(now)

    def _ask(self, now: float) -> None:
        """Ask what dialect the server speaks (protocol 3.5). Nothing waits for the answer."""
        self._asking = True
        self._question = self._new_pool()
        self._question_timer.set(now + self.limits.handshake)
        _ask_spec(self._question, self._config, self._told, lambda error, now: self._stop_asking(now), now)

    def _told(self, answer: Answer, now: float) -> None:
        self._stop_asking(now)
        spec = read_spec(answer)
        if spec is not None:
            self.client.learn(spec, now=now)

    def _stop_asking(self, now: float) -> None:
        self._asking = False
        self._question_timer.cancel()
        self._question.abort(now=now)


class SpecQuery(_ClientEndpoint):
    """Asks a server, once, what it is (protocol 2): ends in one `SpecReceived` or one `ErrorOccurred`.

    Driven like a `ByteClient`. `ClientConfig.timeout` bounds it.
    """

    def __init__(self, config: ClientConfig, *, rng: random.Random) -> None:
        check_config(config, ClientConfig)
        if config.functions:
            raise ConfigError(f"{', '.join(config.functions)}: a spec query takes values, not functions")
        self._core = Core(config.limits, rng)
        self._timer = self._core.timers.new(lambda now: self._failed(ConnectError("no answer in time"), now))
        self._asked = False
        super().__init__(self._core, config)

    def _prepare(self, now: float) -> None:
        if self._asked:
            return
        self._asked = True
        if self._config.timeout is not False:
            self._timer.set(now + self._config.timeout)
        _ask_spec(self.pool, self._config, self._answered, self._failed, now)

    def _answered(self, answer: Answer, now: float) -> None:
        spec = read_spec(answer)
        if spec is not None:
            self._finish(ev.SpecReceived(spec), now)
        else:
            text = f"the server answered {answer.status}, not with a spec: no Primus under this pathname?"
            pairs = answer.headers.pairs
            self._failed(ConnectError(text, status=answer.status, headers=pairs, body=answer.body), now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._finish(ev.ErrorOccurred(error), now)

    def _finish(self, event: ev.Event, now: float) -> None:
        self._timer.cancel()
        self._core.emit(event)
        self.pool.abort(now=now)


def _ask_spec(
    pool: Pool,
    config: ClientConfig,
    answered: Callable[[Answer, float], None],
    failed: Callable[[ConnectError, float], None],
    now: float,
) -> None:
    headers = (("Accept", "application/json"), *connect_headers(config))
    pool.request("GET", config.base + "/spec", headers, b"", answered, failed, now=now)
