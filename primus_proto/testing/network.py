"""The network itself: its clock, and what is on it.

The law kept here: while time passes, no node is asked what there is to do unless there may be something, by what the
lines or the application have told it. So nodes cost each other nothing, however many there are.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from math import inf
from typing import Any, Protocol

from .. import events as ev
from ..config import ClientConfig, ServerConfig
from ..endpoint import ByteClient, ByteServer
from ..errors import LocalProtocolError
from .conditions import Bandwidth, Latency, Line, is_number
from .lines import REFUSED, Link, Way
from .listeners import plain
from .nodes import Caller, Listener, Node, VirtualClient, VirtualEndpoint, VirtualServer
from .story import story
from .troubles import Troubles

__all__ = ["Runner", "TimeStandsStill", "VirtualNetwork"]

LONGEST_LINE = 200  # of the trace
PATIENCE = 100_000  # steps without any time passing, after which something must be going round in circles
HOME = dict.fromkeys(("", "0.0.0.0", "127.0.0.1", "::", "::1"), "localhost")  # one and the same place


class TimeStandsStill(AssertionError):
    """So much happens at one instant that it must be going round in circles."""


class Runner(Protocol):
    """Whoever makes time pass in place of `run`, by `step`, and has nodes of its own: an event loop."""

    def nodes(self) -> Iterable[Node]:
        """Its nodes, in the order they came."""

    def node_of(self, who: object) -> Node | None:
        """The node of something that its users hold; None: there is none."""


class VirtualNetwork(Troubles):
    """The network, its clock, and everything on it.

    Of what a delivery takes, three may be changed at any time: `latency`, seconds; `jitter`, up to so many more
    seconds, drawn anew for each delivery, though nothing overtakes; `bandwidth`, bytes per second of each connection
    (None: no limit), so that a large message delays what is behind it. Latency and bandwidth may also be pairs: from
    client to server, from server to client.

    `cut` limits how many bytes arrive at once (None: as written; a number: random pieces of at most that size);
    `window` is how many bytes may be on their way to a node before the sender is blocked (None: any number);
    `wall_offset` is Unix time minus the virtual clock.
    """

    __slots__ = (
        *("now", "numbers", "runner", "trace", "wall_offset"),
        *("_alarms", "_at", "_callers", "_due", "_nodes", "_round", "_serial", "_servers", "_steps", "_told"),
    )

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: Latency = 0.0,
        jitter: float = 0.0,
        bandwidth: Bandwidth = None,
        cut: int | None = None,
        window: int | None = None,
        wall_offset: float = 1_700_000_000.0,
    ) -> None:
        super().__init__(seed, latency, jitter, bandwidth, cut, window)
        self._begin()
        self.now = 0.0
        self.trace: list[str] = []
        """What happened, readable, one line each."""
        self.wall_offset = wall_offset
        self.runner: Runner | None = None
        """Who makes time pass in place of `run`; None: nobody."""
        self._nodes: list[VirtualEndpoint] = []
        self.numbers = itertools.count(1)
        """Of nodes, in the order they came."""
        self._callers = 0
        self._servers: dict[tuple[str, int], Listener] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._alarms: list[tuple[float, int, VirtualEndpoint]] = []  # a heap; one that its node no longer has is stale
        self._told: list[tuple[int, int, VirtualEndpoint]] = []  # a heap: in which round each is asked, and who
        self._round = 0
        self._at = 0  # who is asked now, of this round
        self._serial = 0
        self._steps = 0  # since time last passed

    # --- building ---

    def serve(
        self,
        config: ServerConfig | None = None,
        *,
        host: str = "server",
        port: int = 80,
        skew: float = 0.0,
        on_event: Callable[[VirtualServer, ev.Event], object] | None = None,
        **options: Any,
    ) -> VirtualServer:
        """A server listening at `host`:`port`. Options are those of `ServerConfig`.

        `on_event(server, event)` is the application: it may call any verb. `skew` is how many seconds its wall clock
        is ahead of the others. A server at the same address is replaced.
        """
        _check_application(on_event)
        given: object = config
        if not (given is None or isinstance(given, ServerConfig)):
            raise LocalProtocolError(f"config is a ServerConfig; an address goes into host= and port=; got {given!r}")
        config = config or ServerConfig(**options)
        endpoint = ByteServer(config, rng=self.fork(), wall_offset=self.wall_offset + skew)
        server = VirtualServer(self, host if port == 80 else f"{host}:{port}", endpoint)
        server._on_event = on_event
        self.listen(server, host, port)
        self._add(server)
        return server

    def connect(
        self,
        url: str,
        *,
        skew: float = 0.0,
        on_event: Callable[[VirtualClient, ev.Event], object] | None = None,
        **options: Any,
    ) -> VirtualClient:
        """A client of the server at `url`. Options are those of `ClientConfig`; the others are as for `serve`."""
        _check_application(on_event)
        config = ClientConfig(url=url, **options)
        endpoint = ByteClient(config, rng=self.fork(), wall_offset=self.wall_offset + skew)
        name, ip = self.introduce()
        client = VirtualClient(self, name, endpoint)
        client.ip = ip
        client._on_event = on_event
        self._add(client)
        return client

    # --- for nodes of another kind ---

    def introduce(self) -> tuple[str, str]:
        """Name and address of one more client."""
        self._callers += 1
        return f"client{self._callers}", f"10.0.{self._callers >> 8}.{self._callers & 255}"

    def listen(self, node: Listener, host: str, port: int) -> None:
        """Have connections to this address accepted by `node`, and no longer by whatever was there."""
        self._servers[HOME.get(host, host), port] = node

    def listener(self, host: str, port: int) -> Listener | None:
        """What connections to this address reach; None: they are refused."""
        node = self._servers.get((HOME.get(host, host), port))
        return node if node is not None and node.accepts else None

    def at(self, address: tuple[str, int]) -> Listener | None:
        """What listens, or did, at this address of the network's own: `localhost` for all its names."""
        return self._servers.get(address)

    def fork(self) -> random.Random:
        """Randomness for one more part of the whole, from the one seed."""
        return random.Random(self.rng.getrandbits(64))

    # --- time ---

    def run(self, seconds: float) -> None:
        """Let this much time pass; whatever is due in it happens at its exact time."""
        self._check_mine(seconds)
        end = self.now + seconds
        self._tell_all()
        while self.step(end):
            pass

    def run_until(self, condition: Callable[[], bool], limit: float = 3600.0) -> None:
        """Let time pass until `condition()` holds; AssertionError, with the end of the trace, if it never does."""
        self._check_mine(limit)
        plain(condition, "the condition")
        end = self.now + limit
        self._tell_all()
        self._settle()
        while not condition():
            if not self.step(end):
                raise AssertionError(f"the condition never held:\n{self.story()}")

    def step(self, until: float) -> bool:
        """Let time pass to what is due next, and have it happen.

        False: nothing is due at `until` or before; it is `until` now, unless that is infinite.
        """
        self._settle()
        due = self._next()
        if due is not None and due <= until:
            self._pass(due)
            self._fire()
            return True
        if until < inf:
            self._pass(until)
        return False

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Have something done at a time; one that is over is now. What it raises comes out of `run`.

        Raises LocalProtocolError for what is no time, or no plain function.
        """
        if not is_number(when):
            raise LocalProtocolError(f"a time is a number of seconds, finite, on the clock of `now`; got {when!r}")
        plain(call, "what is called at a time")
        self.schedule(when, call)

    def schedule(self, when: float, call: Callable[[], None]) -> None:
        """`call_at`, for the lines."""
        self._serial += 1
        heappush(self._due, (when, self._serial, call))

    # --- nodes; each may be given as the node, by its name, or as what the runner knows it by ---

    def node(self, who: object) -> Node:
        """The node that `who` is, or is the name of. Raises LocalProtocolError where there is none."""
        if isinstance(who, Node):
            return who
        if self.runner is not None and (node := self.runner.node_of(who)) is not None:
            return node
        names = {node.name: node for node in self._all()}  # of several by one name, the last one
        if isinstance(who, str) and who in names:
            return names[who]
        known = ", ".join(names) or "none"
        raise LocalProtocolError(f"no client or server of this network is, or is called, {who!r}; there are: {known}")

    def line(self, node: object) -> Line:
        """`latency`, `jitter` and `bandwidth` of the connections of `node` alone, to be set.

        They begin as those of the network are now, and no longer follow them. Of a client and a server that both have
        their own, the client's are in force.
        """
        node = self.node(node)
        if node.line is None:
            node.line = Line(self.latency, self.jitter, self.bandwidth)
        return node.line

    def jump(self, seconds: float, node: object = None) -> None:
        """The wall clock of `node`, or of all, is set forward, or back: only timestamps may show it.

        Raises LocalProtocolError for what is no number of seconds.
        """
        if not is_number(seconds):
            raise LocalProtocolError(f"a clock jumps by a number of seconds, forward or back, finite; got {seconds!r}")
        some = None if node is None else self.node(node)
        self.note("network" if some is None else some.name, f"the wall clock jumps by {seconds:g} s")
        for one in self._all() if some is None else [some]:
            one.jump(seconds)
        if some is None:
            self.wall_offset += seconds

    # --- what happened ---

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        if len(what) > LONGEST_LINE:
            what = f"{what[:LONGEST_LINE]}… ({len(what)} characters)"
        self.trace.append(f"{self.now:12.3f}  {who}: {what}")

    def story(self, lines: int = 40) -> str:
        """The network with its seed, and the end of the trace: for the message of a failed assertion.

        Lines that come again and again, as those of heartbeats do, are told once.
        """
        return "\n".join([repr(self), *story(self.trace, lines)])

    # --- inside ---

    def _all(self) -> list[Node]:
        return [*self._nodes, *(self.runner.nodes() if self.runner is not None else ())]

    def _check_mine(self, seconds: float) -> None:
        if not 0 <= seconds < inf:
            raise LocalProtocolError(f"time passes by a number of seconds of at least 0, and finite; got {seconds!r}")
        if self.runner is not None:
            raise LocalProtocolError("an event loop runs this network: wait in there, by its sleep(seconds)")

    def _add(self, node: VirtualEndpoint) -> None:
        self._nodes.append(node)
        node.pump()

    def _next(self) -> float | None:
        alarms, due = self._alarms, self._due
        while alarms and alarms[0][0] != alarms[0][2].alarm:
            heappop(alarms)
        return min((queue[0][0] for queue in (alarms, due) if queue), default=None)

    def alarm(self, node: VirtualEndpoint, when: float | None) -> None:
        """When a timer of this node is due; None: none is."""
        if when != node.alarm:
            node.alarm = when
            if when is not None:
                heappush(self._alarms, (when, node.number, node))

    def _pass(self, when: float) -> None:
        if when > self.now:
            self.now = when
            self._steps = 0
        self._count()

    def _fire(self) -> None:
        """Whatever is due by now happens."""
        ringing = []
        while self._alarms and self._alarms[0][0] <= self.now:
            node = heappop(self._alarms)[2]
            if node.alarm is not None and node.alarm <= self.now:
                node.alarm = None  # it is set anew as the node is pumped
                ringing.append(node)
        for node in sorted(ringing, key=lambda node: node.number):
            node.ring()
        while self._due and self._due[0][0] <= self.now:
            self._count()
            heappop(self._due)[2]()
            self._settle()

    def _count(self) -> None:
        self._steps += 1
        if self._steps > PATIENCE:
            self._steps = 0  # whoever cleans up has as many again
            raise TimeStandsStill(f"time stands still:\n{self.story()}")

    def told(self, node: VirtualEndpoint) -> None:
        """There may be something to do for this node. Whoever comes before the one that is asked now has to wait."""
        heappush(self._told, (self._round + (node.number <= self._at), node.number, node))

    def _tell_all(self) -> None:
        """Whoever lets time pass may have called the insides of a node, in ways that are not watched."""
        for node in self._nodes:
            node.told()

    def _settle(self) -> None:
        """Have those nodes that were told something do what there is to do: in the order they came, and round again."""
        at = self._at
        try:
            while self._told:
                turn, self._at, node = heappop(self._told)
                if turn > self._round:
                    self._round = turn
                    self._count()
                node.pump_if_told()
        finally:
            self._at = at

    def open(self, client: Caller, channel: int, host: str, port: int) -> None:
        """Connect `client`; it is told what becomes of it."""
        home = HOME.get(host, host)
        link = Link(self, client, channel, (home, port))
        self._links[link] = None
        client.links[channel] = link
        link.server = self.at(link.address)
        ip, local = client.address(channel)
        if home == "localhost":
            ip = "::1" if host == "::1" else "127.0.0.1"

        def reach() -> None:
            server = self.at(link.address)
            if server is None or not server.accepts:
                self.note(client.name, f"refused: nobody listens at {host}:{port}, {self._listening()}")
                link.carry(client, lambda: self._refuse(client, channel))
            elif not link.ways[client].over:
                number = server.accepted((ip, local))
                link.server = server
                link.ways[server] = Way(link, server, number)
                server.links[number] = link
                server.pump()
                link.carry(client, lambda: client.opened(channel))

        link.carry(client, reach, up=True)

    def _listening(self) -> str:
        at = [f"{host}:{port}" for (host, port), server in self._servers.items() if server.accepts]
        return f"only at {', '.join(at)}" if at else "nor anywhere else"

    def _refuse(self, client: Caller, channel: int) -> None:
        link = client.links.pop(channel, None)
        if link is not None:
            link.ways[client].end()
            client.endpoint.channel_closed(channel, REFUSED, now=self.now)


def _check_application(on_event: object) -> None:
    if on_event is not None:
        plain(on_event, "on_event")
