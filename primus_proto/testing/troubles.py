"""What can go wrong on a network: who is cut off from whom, who does not run, and which connections are lost.

The law kept here: trouble is told in the trace, and what it holds up is delivered, in order, once it is over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from ..errors import LocalProtocolError
from .conditions import Conditions, is_count
from .lines import Link
from .nodes import Listener, Node

__all__ = ["Troubles"]

WAYS = {"out": ", who are not heard", "in": ", who do not hear"}


class Troubles(Conditions, ABC):
    """The trouble that a network can make. A node may be given as the node, by its name, or as its runner knows it."""

    __slots__ = ("_frozen", "_islands", "_links", "_suspended")

    def _begin(self) -> None:
        """No trouble yet."""
        self._links: dict[Link, None] = {}  # those that are not over
        self._frozen: set[Node] = set()
        self._suspended: dict[Node, list[Callable[[], None]]] = {}  # and what it is told as it wakes
        self._islands: list[tuple[set[Node], str | None]] = []  # and the way that nothing passes; None: neither

    # --- of the network ---

    @abstractmethod
    def node(self, who: object) -> Node:
        """The node that `who` is, or is the name of. Raises LocalProtocolError where there is none."""

    @abstractmethod
    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""

    @abstractmethod
    def _settle(self) -> None:
        """Have all nodes do what there is to do."""

    # --- trouble ---

    def freeze(self, node: object) -> None:
        """Nothing reaches or leaves `node` until `thaw`, new connections included: a pulled cable.

        It is the network of `node` that stops; its timers go on, so that it finds out. `suspend` stops the node itself.
        """
        node = self.node(node)
        self.note(node.name, "frozen")
        self._frozen.add(node)

    def thaw(self, node: object) -> None:
        """What was held up is delivered, in order."""
        node = self.node(node)
        self.note(node.name, "thawed")
        self._frozen.discard(node)
        self._release()

    def suspend(self, node: object) -> None:
        """`node` itself stops until `resume`: a process that hangs or is stopped, a laptop that sleeps.

        No timer of it fires, and it neither hears, does nor says anything. What it said before is still on its way.
        Raises LocalProtocolError for a node that cannot be stopped.
        """
        node = self.node(node)
        if node not in self._suspended:
            node.suspend()
            self._suspended[node] = []
        self.note(node.name, "suspended")

    def resume(self, node: object) -> None:
        """It goes on: what was said to it meanwhile has arrived, in order; after that its overdue timers fire.

        Where its network is not there yet, the timers come first.
        """
        node = self.node(node)
        self.note(node.name, "resumed")
        if node in self._suspended:
            calls = self._suspended.pop(node)
            for link in self._links_of(node):
                link.catch_up(node)
            for call in calls:
                call()
            node.resume()
        self._release()

    def partition(self, *nodes: object, way: Literal["out", "in"] | None = None) -> None:
        """Nothing passes between these nodes and the others until `heal`; without any, between no two at all.

        One way only with `way`: ``"out"``, these are not heard by the others, whom they go on hearing; ``"in"``, these
        do not hear. A connection cannot be opened then, as that takes both ways. Raises LocalProtocolError for another
        `way`, and for one without nodes.
        """
        island = {node: node.name for node in map(self.node, nodes)}
        if way not in (None, *WAYS) or (way is not None and not island):
            want = 'way is "out" or "in" as seen from the nodes that are parted, which must be given; None: both ways'
            raise LocalProtocolError(f"{want}; got {way!r}")
        names = ", ".join(island.values()) or "everyone"
        self.note("network", f"parted from the rest: {names}{WAYS[way] if way else ''}")
        self._islands.append((set(island), way))

    def heal(self) -> None:
        """All partitions end; what was held up is delivered, in order."""
        self.note("network", "healed")
        self._islands.clear()
        self._release()

    def drop(self, node: object) -> None:
        """Every connection of `node` is lost at once, and both ends are told.

        Whoever is parted from it, or whose connection it has forgotten, is not: that has to be found out.
        """
        node = self.node(node)
        self.note(node.name, "its connections are lost")
        self._lose(node)

    def half_open(self, node: object) -> None:
        """`node` loses its connections, and the far ends are not told: what they say goes nowhere.

        As if `node` had been restarted, or something in between had forgotten the connection.
        """
        node = self.node(node)
        self.note(node.name, "its connections are lost, and nobody else is told")
        for link in self._links_of(node):
            link.abandon(node)
        self._settle()

    def break_after(self, node: object, *, sent: int | None = None, received: int | None = None) -> None:
        """Lose a connection of `node` once so many more of its bytes, on whatever connection, have arrived.

        Both ends are told, after the last of those bytes. Happens once; None takes it back. Raises LocalProtocolError
        for what is no number of bytes.
        """
        given = {"sent": sent, "received": received}
        for kind, count in given.items():
            if not (count is None or is_count(count)):
                raise LocalProtocolError(f"{kind} is a number of bytes of at least 0, or None; got {count!r}")
        self.node(node)._quota = {kind: count for kind, count in given.items() if count is not None}

    def kill(self, server: object) -> None:
        """The server is gone, with its connections; its address refuses until something serves there again.

        Whoever is parted from it is not told, as with `drop`.
        """
        node = self.node(server)
        if not isinstance(node, Listener):
            raise LocalProtocolError(f"{node.name} is no server: drop() loses its connections")
        self.note(node.name, "killed")
        node.listening = False
        self._lose(node)

    # --- for the links ---

    def _lose(self, node: Node) -> None:
        for link in self._links_of(node):
            if link.dead or any(self._parted(node, party) for party in link.parties if party is not node):
                link.abandon(node)
            else:
                link.lose()
        self._settle()

    def _links_of(self, node: Node) -> list[Link]:
        return [link for link in self._links if node in link.parties]

    def sleeps(self, node: Node) -> bool:
        """Whether it is suspended."""
        return node in self._suspended

    def tell(self, node: Node, call: Callable[[], None]) -> None:
        """Have its own machine tell a node something: no trouble of the network holds it up, but the node may sleep."""
        if node in self._suspended:
            self._suspended[node].append(call)
        else:
            call()

    def holds_up(self, sender: Node | None, receiver: Node | None) -> bool:
        """Whether what `sender` says does not reach `receiver` for now; None: someone that is no node."""
        return sender in self._frozen or receiver in self._frozen or self._parted(sender, receiver)

    def _parted(self, sender: Node | None, receiver: Node | None) -> bool:
        for island, way in self._islands:
            leaves = sender in island
            if not island or (leaves != (receiver in island) and way in (None, "out" if leaves else "in")):
                return True
        return False

    def _release(self) -> None:
        for link in self._links:
            link.release()
        self._settle()
