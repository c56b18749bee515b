"""What asyncio and trio in virtual time have in common: whose network it is, who is on it, and how long a run may last.

The law kept here: a library's kit says how that waits, and nothing else. Names, ports, randomness, limits and what a
failure says are the same for all of them.
"""

from __future__ import annotations

import errno
import inspect
import itertools
import logging
import math
import random
import threading
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from typing import Protocol, Self
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from primus_proto import ConfigError
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.network import TimeStandsStill
from primus_proto.testing.nodes import Node

from .._client import Client
from .._server import Server
from .._session import log
from .nodes import CallerNode, ListenerNode, LoopNode, MakeAccepted, system_error

__all__ = ["LIMIT", "Happening", "Witness", "World", "whereabouts"]

LIMIT = 2 * 86400.0
FIRST_PORT = 49152  # of those that `port=0` picks from


class Happening(Protocol):
    """An event of the library's, to wait for."""

    def set(self) -> object: ...

    async def wait(self) -> object: ...


class World:
    """Runs a network in place of its own `run`, for a library that waits."""

    def __init__(self, network: VirtualNetwork | None, limit: float) -> None:
        network = network if network is not None else VirtualNetwork()
        if not isinstance(network, VirtualNetwork):
            raise ConfigError(f"network must be a VirtualNetwork; got {network!r}")
        given: object = limit
        if not isinstance(given, int | float) or not given > 0:
            raise ConfigError(f"limit is {limit!r}: it takes seconds of virtual time, more than 0, math.inf for none")
        if network.runner is not None:
            raise RuntimeError("another loop runs this network")
        self.network = network
        network.runner = self
        self.numbers = itertools.count(1)
        """Of streams."""
        self.failed = False
        """What was run has raised: what is left open is no fault of its own then."""
        self._limit = limit
        self._deadline = network.now + limit
        self._nodes: WeakValueDictionary[int, LoopNode] = WeakValueDictionary()
        self._owners: WeakKeyDictionary[object, ref[LoopNode]] = WeakKeyDictionary()
        self._added = itertools.count()
        self._ports = itertools.count(FIRST_PORT)

    @abstractmethod
    def happening(self) -> Happening:
        """An event of the library's."""

    @property
    def wall_offset(self) -> float:
        """Unix time minus the clock."""
        return self.network.wall_offset

    def new_rng(self) -> random.Random:
        """Randomness for one endpoint."""
        return self.network.fork()

    # --- time ---

    def advance(self, until: float) -> str:
        """Let time pass to what is due next, at `until` at the latest; why it cannot go on like this, or nothing."""
        stuck = "" if until < math.inf else "nothing is due any more"
        try:
            if self.network.step(until):
                stuck = ""
        except TimeStandsStill:
            stuck = "time stands still"
        if not stuck and self.network.now > self._deadline:
            stuck = f"it is not over after {self._limit:.10g} s, its `limit`"
        return stuck

    def failure(self, stuck: str, waiting: Iterable[str]) -> AssertionError:
        """What to raise for it. Those that clean up have the whole limit again."""
        self._deadline = self.network.now + self._limit
        lines = "\n".join(sorted(waiting))
        return AssertionError(f"{stuck}, and these still wait:\n{lines}\n{self.network.story()}")

    # --- nodes, for the network ---

    def nodes(self) -> list[LoopNode]:
        """Those that are there."""
        return list(self._nodes.values())

    def node_of(self, who: object) -> Node | None:
        """The node of a client or server that a user holds."""
        if isinstance(who, Client):
            return self.caller(who._io)
        return self._owned(who._io) if isinstance(who, Server) else None

    def caller(self, owner: object) -> CallerNode:
        """The node on which `owner` opens connections."""
        node = self._owned(owner)
        if not isinstance(node, CallerNode):
            node = CallerNode(self.network, self, owner)
            self._add(node, owner)
        return node

    def listen(self, owner: object, make: MakeAccepted, host: str, port: int) -> ListenerNode:
        """A node that listens at this address; port 0 picks one. Raises OSError where something listens already."""
        while port == 0:
            port = next(port for port in self._ports if self.network.listener(host, port) is None)
        if self.network.listener(host, port) is not None:
            raise system_error(errno.EADDRINUSE)
        node = ListenerNode(self.network, self, owner, make, (host, port))
        self._add(node, owner)
        self.network.listen(node, host, port)
        return node

    def leave(self) -> None:
        """Let go of the network. What is left open there is a ResourceWarning, unless the run has failed."""
        left = [what for node in self.nodes() for what in node.shut()]
        self.network.runner = None
        if left and not self.failed:
            warnings.warn(f"left open: {', '.join(left)}", ResourceWarning, stacklevel=3)

    def _owned(self, owner: object) -> LoopNode | None:
        known = self._owners.get(owner)
        return None if known is None else known()

    def _add(self, node: LoopNode, owner: object) -> None:
        self._nodes[next(self._added)] = node
        self._owners[owner] = ref(node)


class Witness(logging.Handler):
    """Sees what the binding catches and logs, in this thread: what the application's own functions raise."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread and record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    def tell(self) -> None:
        """Raise the first of them, if there are any."""
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        log.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self)


def whereabouts(name: str, coroutine: object) -> str:
    """A task, and the calls in which it waits."""
    calls: list[str] = []
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame is not None:
        calls.append(f"{coroutine.__qualname__}:{coroutine.cr_frame.f_lineno}")
        coroutine = coroutine.cr_await
    return f"  {name}: {' > '.join(calls)}"
