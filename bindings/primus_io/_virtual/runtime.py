"""Runs a virtual network for an event loop: how long a run may last, and which nodes the loop has on the network."""

from __future__ import annotations

import errno
import itertools
import math
import random
import warnings
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from primus_proto import ConfigError
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.clock import TimeStandsStill
from primus_proto.testing.nodes import Node

from .._client import Client
from .._environment import Environment
from .._read_budget import WorkMeter
from .._server import Server
from .nodes import CallerNode, ListenerNode, LoopNode, MakeAccepted, system_error

__all__ = ["DEFAULT_LIMIT", "VirtualEnvironment", "VirtualRuntime"]

DEFAULT_LIMIT = 2 * 86400.0
FIRST_PORT = 49152  # the first one that port 0 picks


class VirtualEnvironment(Environment):
    """The clock and the randomness of a network. Work takes no time, so that a run repeats."""

    def __init__(self, network: VirtualNetwork) -> None:
        super().__init__(lambda: network.now)
        self._network = network

    @property
    def wall_offset(self) -> float:
        return self._network.wall_offset

    def new_meter(self) -> WorkMeter:
        return WorkMeter(lambda: 0.0, lambda: 0.0)

    def new_rng(self) -> random.Random:
        return self._network.new_rng()


class VirtualRuntime:
    """Lets time pass on a network, in place of its own `run`, and keeps the nodes of a loop."""

    def __init__(self, network: VirtualNetwork | None, limit: float) -> None:
        network = network if network is not None else VirtualNetwork()
        if not isinstance(network, VirtualNetwork):
            raise ConfigError(f"network must be a VirtualNetwork; got {network!r}")
        given: object = limit
        if not isinstance(given, int | float) or not given > 0:
            raise ConfigError(f"limit must be seconds of virtual time above 0, math.inf for none; got {limit!r}")
        if network.runner is not None:
            raise RuntimeError("this network already runs on another loop")
        self.network = network
        network.runner = self
        self.stream_numbers: Iterator[int] = itertools.count(1)
        self._limit = limit
        self._deadline = network.now + limit
        # A node lives as long as its owner, usually a driver. Neither this nor the network keeps an unused node.
        self._nodes: WeakValueDictionary[int, LoopNode] = WeakValueDictionary()
        self._by_owner: WeakKeyDictionary[object, ref[LoopNode]] = WeakKeyDictionary()
        self._node_numbers = itertools.count()
        self._ports = itertools.count(FIRST_PORT)

    # --- time ---

    def advance(self, until: float) -> str:
        """Let time pass to the next due time, at most to `until`. Returns a problem, or '' if there is none."""
        problem = "" if until < math.inf else "nothing is due any more"
        try:
            if self.network.step(until):
                problem = ""
        except TimeStandsStill:
            problem = "time stands still"
        if not problem and self.network.now > self._deadline:
            problem = f"it has not ended after {self._limit:.10g} s, its `limit`"
        return problem

    def failure(self, problem: str, waiting: Iterable[str]) -> AssertionError:
        """The error to raise for a problem. Cleaning up may then take the whole limit again."""
        self._deadline = self.network.now + self._limit
        lines = "\n".join(sorted(waiting))
        return AssertionError(f"{problem}, and these still wait:\n{lines}\n{self.network.trace_tail()}")

    # --- nodes ---

    def nodes(self) -> list[LoopNode]:
        """The nodes in use, in the order in which they were made."""
        return list(self._nodes.values())

    def node_of(self, held: object) -> Node | None:
        """The node of a client or server that a user holds."""
        if isinstance(held, Client):
            return self.caller(held._io)
        return self._node_owned_by(held._io) if isinstance(held, Server) else None

    def caller(self, owner: object) -> CallerNode:
        """The node on which `owner` opens connections."""
        node = self._node_owned_by(owner)
        if not isinstance(node, CallerNode):
            node = CallerNode(self.network, self.stream_numbers, owner)
            self._add(node, owner)
        return node

    def listen(self, owner: object, make: MakeAccepted, host: str, port: int) -> ListenerNode:
        """A node that listens at this address; port 0 picks one. Raises OSError if the address is in use."""
        addresses = self.network.addresses
        while port == 0:
            port = next(port for port in self._ports if addresses.listener(host, port) is None)
        if addresses.listener(host, port) is not None:
            raise system_error(errno.EADDRINUSE)
        node = ListenerNode(self.network, self.stream_numbers, owner, make, (host, port))
        self._add(node, owner)
        self.network.listen(node, host, port)
        return node

    def close(self, *, failed: bool) -> None:
        """Release the network. Warns with ResourceWarning about what is still open, unless the run has failed."""
        left = [what for node in self.nodes() for what in node.close_all()]
        self.network.runner = None
        if left and not failed:
            warnings.warn(f"left open: {', '.join(left)}", ResourceWarning, stacklevel=3)

    def _node_owned_by(self, owner: object) -> LoopNode | None:
        node = self._by_owner.get(owner)
        return None if node is None else node()

    def _add(self, node: LoopNode, owner: object) -> None:
        self._nodes[next(self._node_numbers)] = node
        self._by_owner[owner] = ref(node)
