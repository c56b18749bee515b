"""The addresses of a virtual network: who listens where, and what new clients are called."""

from __future__ import annotations

from .links import canonical
from .nodes import Listener

__all__ = ["Addresses"]


class Addresses:
    """Maps addresses to the nodes that listen there."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._clients = 0

    def assign(self, node: Listener, host: str, port: int) -> None:
        """Give an address to a node, in place of any other."""
        self._listeners[canonical(host), port] = node

    def at(self, address: tuple[str, int]) -> Listener | None:
        """The node that has a canonical address, whether it listens now or did once."""
        return self._listeners.get(address)

    def listener(self, host: str, port: int) -> Listener | None:
        """The node that accepts connections at an address; None: they are refused."""
        node = self.at((canonical(host), port))
        return node if node is not None and node.accepts else None

    def describe(self) -> str:
        """Where connections are accepted, for a trace."""
        places = [f"{host}:{port}" for (host, port), node in self._listeners.items() if node.accepts]
        return f"only at {', '.join(places)}" if places else "nor anywhere else"

    def name_client(self) -> tuple[str, str]:
        """Name and IP address of one more client."""
        self._clients += 1
        return f"client{self._clients}", f"10.0.{self._clients >> 8}.{self._clients & 255}"
