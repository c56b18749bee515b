"""The hosts in virtual time: asyncio's binding and trio's as they are, on the network of `primus_io.testing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from primus_io.testing import VirtualLoop, VirtualNetwork, run_trio
from tests.conformance.hosts_asyncio import AsyncioHost, Watching
from tests.conformance.hosts_trio import TrioHost

__all__ = ["VirtualHost", "VirtualTrioHost"]

LINES = 100  # of the trace; all of it would count as memory that the scenario keeps
LACKS: Mapping[str, str] = {
    "sockets": "a virtual network has no sockets of the system's",
    "turns": "virtual time passes only when every task waits",
    "unix": "a virtual network has no files",
}


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
        **LACKS,
        "tls": "a loop in virtual time has no TLS",
    }

    def _make_loop(self) -> Any:
        loop_class: Any = type("Loop", (Watching, VirtualLoop), {})
        self.loop = loop_class(Network())
        self.loop.timers = []
        return self.loop

    def time(self) -> float:
        return float(self.loop.time())


class VirtualTrioHost(TrioHost):
    """trio in virtual time. Its TLS is trio's own, on whatever carries bytes."""

    name = "virtual-trio"
    lacks: ClassVar[Mapping[str, str]] = {
        **{what: why for what, why in TrioHost.lacks.items() if what in ("eager tasks", "loose ends")},
        **LACKS,
    }

    def _run(self, main: Callable[[], Awaitable[None]]) -> None:
        run_trio(main, Network(), handlers_may_raise=True)
