"""The host in virtual time: asyncio's binding unchanged, on the network of `primus_io.testing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from primus_io.testing import VirtualLoop, VirtualNetwork
from tests.conformance.hosts_asyncio import AsyncioHost, Watching

__all__ = ["VirtualHost"]

LINES = 100  # of the trace; all of it would count as memory that the scenario keeps


class Network(VirtualNetwork):
    """As fast as loopback, with a socket's buffers."""

    def __init__(self) -> None:
        super().__init__(latency=0.00005, window=1024 * 1024)

    def note(self, who: str, what: str) -> None:
        super().note(who, what)
        if len(self.trace) > 2 * LINES:
            del self.trace[:-LINES]


class VirtualHost(AsyncioHost):
    """asyncio on a loop in virtual time."""

    name = "virtual"
    lacks: ClassVar[Mapping[str, str]] = {
        **{what: why for what, why in AsyncioHost.lacks.items() if what == "eager tasks"},
        "sockets": "a virtual network has no sockets of the system's",
        "tls": "a loop in virtual time has no TLS",
        "turns": "virtual time passes only when every task waits",
        "unix": "a virtual network has no files",
    }

    def _make_loop(self) -> Any:
        loop_class: Any = type("Loop", (Watching, VirtualLoop), {})
        self.loop = loop_class(Network())
        self.loop.timers = []
        return self.loop

    def time(self) -> float:
        return float(self.loop.time())
