"""Primus under anyio: `connect`, `serve`, `fetch_spec` on whichever loop is running, asyncio's or trio's.

Nothing is done here but to choose the binding of the loop that runs. What users hold is the same in both.
"""

from __future__ import annotations

import asyncio

from . import _common
from ._client import Client
from ._common import *  # noqa: F403
from ._driver import Driver
from ._entry import Connect, Serve
from ._functions import ConnectFunction, FetchSpec, ServeFunction, make_connect, make_fetch_spec, make_serve
from ._server import Authorize, Handler, Server, Spark

__all__ = ["Client", "Server", "Spark", "connect", "fetch_spec", "serve"]
__all__ += _common.__all__


def running() -> type[Driver]:
    """The driver for the loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from .trio import Driver as TrioDriver  # only here: asyncio's users need no trio

        return TrioDriver
    from .asyncio import Driver as AsyncioDriver

    return AsyncioDriver


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, running)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, running)
fetch_spec: FetchSpec = make_fetch_spec(__name__, running)
