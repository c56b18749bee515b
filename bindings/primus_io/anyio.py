"""Primus under anyio: `connect`, `serve`, `fetch_spec` on whichever loop is running, asyncio's or trio's.

Nothing is done here but to choose the binding of the loop that runs. What users hold is the same in both.
"""

from __future__ import annotations

import asyncio

from ._client import Client
from ._driver import Driver
from ._entry import Connect, Serve, make_fetch_spec
from ._server import Server, Spark

__all__ = ["Client", "Server", "Spark", "connect", "fetch_spec", "serve"]


def running() -> type[Driver]:
    """The driver for the loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from .trio import Driver as TrioDriver  # only here: asyncio's users need no trio

        return TrioDriver
    from .asyncio import Driver as AsyncioDriver

    return AsyncioDriver


class connect(Connect):  # noqa: N801  # used like a function, as open() is
    def _driver(self) -> type[Driver]:
        return running()


class serve(Serve):  # noqa: N801  # used like a function, as open() is
    def _driver(self) -> type[Driver]:
        return running()


fetch_spec = make_fetch_spec(running)
