"""The virtual network: its clock, what is on it, and the trouble a test makes.

While time passes, only nodes that may have something to do are polled. So nodes cost each other nothing, however many
there are.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any, Protocol

from .. import events as ev
from ..config import ClientConfig, ServerConfig
from ..endpoint import ByteClient, ByteServer
from ..errors import LocalProtocolError
from .addresses import Addresses
from .clock import TimeStandsStill, VirtualClock
from .conditions import Bandwidth, Conditions, Latency, check_size, is_count, is_number
from .endpoints import VirtualClient, VirtualEndpoint, VirtualServer
from .faults import Faults, Side
from .links import Link, open_link
from .listeners import check_function
from .nodes import Caller, Listener, Node
from .trace import summarize, trace_line

__all__ = ["Runner", "VirtualNetwork"]

SIDES = {None: "", "out": " (nothing passes from them)", "in": " (nothing passes to them)"}


class Runner(Protocol):
    """Makes time pass by `step`, in place of `run`, and has nodes of its own: an event loop."""

    def nodes(self) -> Iterable[Node]:
        """Its nodes, in the order they were made."""

    def node_of(self, who: object) -> Node | None:
        """The node of an object that its users hold; None if it has none."""


class VirtualNetwork:
    """A network in memory, its clock, and everything on it.

    `latency`, `jitter` and `bandwidth` say how deliveries travel, and may be changed at any time. `cut` limits how many
    bytes arrive at once (None: as written; a number: random pieces of at most that size); `window` is how many bytes
    may be on their way to a node before the sender is blocked (None: any number); `wall_offset` is Unix time minus the
    virtual clock. Everything random comes from `seed`.

    Methods that take a node accept the node, its name, or the client or server that users of an event loop hold.
    """

    __slots__ = (
        *("addresses", "clock", "conditions", "faults", "links", "node_numbers", "rng", "runner", "seed", "trace"),
        *("wall_offset", "window", "_cut", "_nodes", "_to_pump"),
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
        self.conditions: Conditions = Conditions(latency, jitter, bandwidth)
        self.window: int | None = check_size("window", window)
        self._cut = check_size("cut", cut)
        self.seed = seed
        self.rng: random.Random = random.Random(seed)
        self.wall_offset: float = wall_offset
        self.trace: list[str] = []
        """What happened, one readable line each."""
        self.runner: Runner | None = None
        """What makes time pass in place of `run`."""
        self.clock: VirtualClock = VirtualClock()
        self.addresses: Addresses = Addresses()
        self.faults: Faults = Faults()
        self.links: dict[Link, None] = {}  # those that are not over
        self.node_numbers: Iterator[int] = itertools.count(1)
        self._nodes: list[VirtualEndpoint] = []
        self._to_pump: deque[VirtualEndpoint] = deque()

    def __repr__(self) -> str:
        """The expression that makes this network again."""
        given = {"latency": self.latency, "jitter": self.jitter, "bandwidth": self.bandwidth}
        given |= {"cut": self._cut, "window": self.window}
        more = "".join(f", {name}={value!r}" for name, value in given.items() if value)
        return f"{type(self).__name__}(seed={self.seed!r}{more})"

    # --- how deliveries travel ---

    @property
    def latency(self) -> Latency:
        """Seconds each delivery takes; a pair: from client to server, from server to client."""
        return self.conditions.latency

    @latency.setter
    def latency(self, value: Latency) -> None:
        self.conditions.latency = value

    @property
    def jitter(self) -> float:
        """Up to this many seconds more, drawn anew for each delivery. Deliveries never overtake each other."""
        return self.conditions.jitter

    @jitter.setter
    def jitter(self, value: float) -> None:
        self.conditions.jitter = value

    @property
    def bandwidth(self) -> Bandwidth:
        """Bytes per second of each connection and direction, or a pair of such; None: no limit."""
        return self.conditions.bandwidth

    @bandwidth.setter
    def bandwidth(self, value: Bandwidth) -> None:
        self.conditions.bandwidth = value

    def line(self, node: object) -> Conditions:
        """`latency`, `jitter` and `bandwidth` of the connections of `node` alone, to be set.

        They start as the network's are now, and no longer follow those. Where a client and a server both have their
        own, the client's apply.
        """
        node = self.node(node)
        if node.conditions is None:
            node.conditions = Conditions(self.latency, self.jitter, self.bandwidth)
        return node.conditions

    # --- what is on it ---

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
        """Start a server that listens at `host`:`port`, in place of any other. Options are those of `ServerConfig`.

        `on_event(server, event)` is the application: it may call any verb. `skew` is how many seconds the server's wall
        clock is ahead of the others.
        """
        _check_application(on_event)
        given: object = config
        if not (given is None or isinstance(given, ServerConfig)):
            raise LocalProtocolError(f"config is a ServerConfig; an address goes into host= and port=; got {given!r}")
        config = config or ServerConfig(**options)
        endpoint = ByteServer(config, rng=self.new_rng(), wall_offset=self.wall_offset + skew)
        server = VirtualServer(self, host if port == 80 else f"{host}:{port}", endpoint)
        server.on_event = on_event
        self.listen(server, host, port)
        self.add(server)
        return server

    def connect(
        self,
        url: str,
        *,
        skew: float = 0.0,
        on_event: Callable[[VirtualClient, ev.Event], object] | None = None,
        **options: Any,
    ) -> VirtualClient:
        """Start a client of the server at `url`. Options are those of `ClientConfig`; the others are as for `serve`."""
        _check_application(on_event)
        config = ClientConfig(url=url, **options)
        endpoint = ByteClient(config, rng=self.new_rng(), wall_offset=self.wall_offset + skew)
        name, ip = self.addresses.name_client()
        client = VirtualClient(self, name, endpoint, ip)
        client.on_event = on_event
        self.add(client)
        return client

    def node(self, who: object) -> Node:
        """The node that `who` is, or is the name of. Raises LocalProtocolError if there is none."""
        if isinstance(who, Node):
            return who
        if self.runner is not None and (node := self.runner.node_of(who)) is not None:
            return node
        names = {node.name: node for node in self.nodes()}  # of several with one name, the last one
        if isinstance(who, str) and who in names:
            return names[who]
        known = ", ".join(names) or "none"
        raise LocalProtocolError(f"no client or server of this network is, or is called, {who!r}; there are: {known}")

    def nodes(self) -> list[Node]:
        """Everything on the network."""
        return [*self._nodes, *(self.runner.nodes() if self.runner is not None else ())]

    # --- time ---

    @property
    def now(self) -> float:
        """The virtual clock, in seconds."""
        return self.clock.now

    def run(self, seconds: float) -> None:
        """Let this much time pass. Whatever is due meanwhile happens at its exact time."""
        self._check_run(seconds)
        end = self.now + seconds
        self._pump_all()
        while self.step(end):
            pass

    def run_until(self, condition: Callable[[], bool], limit: float = 3600.0) -> None:
        """Let time pass until `condition()` is true. Raises AssertionError with the trace if it never is."""
        self._check_run(limit)
        check_function(condition, "the condition")
        end = self.now + limit
        self._pump_all()
        self._settle()
        while not condition():
            if not self.step(end):
                raise AssertionError(f"the condition never held:\n{self.trace_tail()}")

    def step(self, until: float) -> bool:
        """Let time pass to whatever is due next, and have that happen.

        Returns False if nothing is due by `until`. Then `now` is `until`, unless that is infinite.
        """
        self._settle()
        due = self.clock.next_due()
        if due is None or due > until:
            if until < inf:
                self._move_to(until)
            return False
        self._move_to(due)
        for node in self.clock.take_due_alarms():
            node.fire_timers()
        while (call := self.clock.take_due_call()) is not None:
            self._count_step()
            call()
            self._settle()
        return True

    def call_at(self, when: float, call: Callable[[], object]) -> None:
        """Call a function at a time; a time that is over means now. What the function raises comes out of `run`."""
        if not is_number(when):
            raise LocalProtocolError(f"a time is a finite number of seconds on the clock of `now`; got {when!r}")
        check_function(call, "what is called at a time")
        self.clock.call_at(when, call)

    def jump(self, seconds: float, node: object = None) -> None:
        """Set the wall clock of `node`, or of all, forward or back. Timers do not depend on it, only timestamps."""
        if not is_number(seconds):
            raise LocalProtocolError(f"a clock jumps by a finite number of seconds, forward or back; got {seconds!r}")
        one = None if node is None else self.node(node)
        self.note("network" if one is None else one.name, f"the wall clock jumps by {seconds:g} s")
        for each in self.nodes() if one is None else [one]:
            each.jump(seconds)
        if one is None:
            self.wall_offset += seconds

    # --- trouble ---

    def freeze(self, node: object) -> None:
        """Cut `node` off, as if its cable was pulled, until `thaw`. Its own timers go on, so that it finds out."""
        node = self.node(node)
        self.note(node.name, "frozen")
        self.faults.frozen.add(node)

    def thaw(self, node: object) -> None:
        """End `freeze`. What was held up is delivered, in order."""
        node = self.node(node)
        self.note(node.name, "thawed")
        self.faults.frozen.discard(node)
        self._release()

    def suspend(self, node: object) -> None:
        """Stop `node` itself until `resume`, as a process that hangs or a laptop that sleeps.

        Its timers do not fire, and it neither receives nor sends. What it sent before is still on its way. Raises
        LocalProtocolError for a node that cannot be stopped.
        """
        node = self.node(node)
        self.faults.suspend(node)
        self.note(node.name, "suspended")

    def resume(self, node: object) -> None:
        """End `suspend`. First what arrived meanwhile is delivered, if its network is up; then overdue timers fire."""
        node = self.node(node)
        self.note(node.name, "resumed")
        if self.faults.is_suspended(node):
            calls = self.faults.wake(node)
            for link in self._links_of(node):
                link.catch_up(node)
            for call in calls:
                call()
            node.resume()
        self._release()

    def partition(self, *nodes: object, way: Side = None) -> None:
        """Separate these nodes from all others until `heal`. Without any, separate each node from every other.

        `way` limits this to one direction: ``"out"``, nothing passes from these nodes to the others; ``"in"``, nothing
        passes from the others to these nodes. No new connection can be opened then, as that takes both directions.
        """
        group = {node: node.name for node in map(self.node, nodes)}
        if way not in SIDES or (way is not None and not group):
            wanted = 'way is "out" or "in", as seen from the given nodes, or None for both directions'
            raise LocalProtocolError(f"{wanted}; got {way!r}{'' if group else ' and no nodes'}")
        names = ", ".join(group.values()) or "everyone"
        self.note("network", f"partitioned from the rest: {names}{SIDES[way]}")
        self.faults.partition(set(group), way)

    def heal(self) -> None:
        """End all partitions. What was held up is delivered, in order."""
        self.note("network", "healed")
        self.faults.partitions.clear()
        self._release()

    def drop(self, node: object) -> None:
        """Lose all connections of `node` at once. Both ends are told, unless a partition lies between them."""
        node = self.node(node)
        self.note(node.name, "its connections are lost")
        self._lose_links(node)

    def half_open(self, node: object) -> None:
        """Lose all connections of `node` without telling the other ends, as when a router forgets a connection."""
        node = self.node(node)
        self.note(node.name, "its connections are lost, and nobody else is told")
        for link in self._links_of(node):
            link.abandon(node)
        self._settle()

    def break_after(self, node: object, *, sent: int | None = None, received: int | None = None) -> None:
        """Lose a connection of `node` once this many more of its bytes have arrived, counted over all connections.

        Both ends are told, after the last of those bytes. It happens once; calling this again replaces it.
        """
        limits = {"sent": sent, "received": received}
        for kind, count in limits.items():
            if not (count is None or is_count(count)):
                raise LocalProtocolError(f"{kind} is a number of bytes of at least 0, or None; got {count!r}")
        self.node(node).break_limits = {kind: count for kind, count in limits.items() if count is not None}

    def kill(self, server: object) -> None:
        """Lose the server with its connections, as `drop` does. Its address refuses until something serves there."""
        node = self.node(server)
        if not isinstance(node, Listener):
            raise LocalProtocolError(f"{node.name} is no server: drop() loses its connections")
        self.note(node.name, "killed")
        node.listening = False
        self._lose_links(node)

    # --- the trace ---

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(trace_line(self.now, who, what))

    def trace_tail(self, lines: int = 40) -> str:
        """The network with its seed, and the end of the trace: for the message of a failed assertion.

        Blocks of lines that repeat, such as heartbeats, are shown once.
        """
        return "\n".join([repr(self), *summarize(self.trace, lines)])

    # --- for nodes of other kinds ---

    def new_rng(self) -> random.Random:
        """Randomness for one more part of the whole, from the seed."""
        return random.Random(self.rng.getrandbits(64))

    def add(self, node: VirtualEndpoint) -> None:
        """Put an endpoint on the network, and have it begin."""
        self._nodes.append(node)
        node.pump()

    def listen(self, node: Listener, host: str, port: int) -> None:
        """Have connections to this address accepted by `node`, and by no other node."""
        self.addresses.assign(node, host, port)

    def open(self, client: Caller, channel: int, host: str, port: int) -> None:
        """Open a connection for `client`, which is told the outcome."""
        open_link(self, client, channel, host, port)

    def split(self, data: bytes) -> list[bytes]:
        """Divide bytes into random pieces, as the option `cut` asks for."""
        pieces = []
        while self._cut is not None and len(data) > 1:
            size = self.rng.randint(1, min(self._cut, len(data)))
            pieces.append(data[:size])
            data = data[size:]
        return [*pieces, data] if data else pieces

    def request_pump(self, node: VirtualEndpoint) -> None:
        """Have a node pumped before time passes."""
        self._to_pump.append(node)

    # --- inside ---

    def _check_run(self, seconds: float) -> None:
        if not 0 <= seconds < inf:
            raise LocalProtocolError(f"time passes by a finite number of seconds of at least 0; got {seconds!r}")
        if self.runner is not None:
            raise LocalProtocolError("an event loop runs this network: let time pass with its own sleep(seconds)")

    def _move_to(self, when: float) -> None:
        self.clock.move_to(when)
        self._count_step()

    def _count_step(self) -> None:
        try:
            self.clock.count_step()
        except TimeStandsStill as error:
            raise TimeStandsStill(f"{error}:\n{self.trace_tail()}") from None

    def _pump_all(self) -> None:
        """A test may have called methods of an endpoint whose effect goes unnoticed."""
        for node in self._nodes:
            node.request_pump()

    def _settle(self) -> None:
        """Have all nodes do what there is to do now."""
        while self._to_pump:
            if self._to_pump.popleft().pump_if_requested():
                self._count_step()

    def _release(self) -> None:
        for link in self.links:
            link.release()
        self._settle()

    def _links_of(self, node: Node) -> list[Link]:
        return [link for link in self.links if node in link.ends]

    def _lose_links(self, node: Node) -> None:
        for link in self._links_of(node):
            if link.abandoned or any(self.faults.separates(node, end) for end in link.ends if end is not node):
                link.abandon(node)
            else:
                link.reset()
        self._settle()


def _check_application(on_event: object) -> None:
    if on_event is not None:
        check_function(on_event, "on_event")
