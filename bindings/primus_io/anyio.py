"""Primus on anyio: `connect`, `serve` and `fetch_spec` on the loop that is running, asyncio or trio.

This module only chooses the binding of that loop. Users get the same classes from both.
"""

from __future__ import annotations

import asyncio

from . import _common
from ._client import Client
from ._common import *  # noqa: F403
from ._driver import Driver
from ._entry import Connect, Serve
from ._functions import (
    ConnectFunction,
    CreateServerFunction,
    FetchSpec,
    ServeFunction,
    make_connect,
    make_create_server,
    make_fetch_spec,
    make_serve,
)
from ._server import Authorize, Handler, Server, Spark

__all__ = ["Client", "Server", "Spark", "connect", "create_server", "fetch_spec", "serve"]
__all__ += _common.__all__


def running() -> type[Driver]:
    """The driver for the running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from .trio import Driver as TrioDriver  # imported here, because users of asyncio may not have trio

        return TrioDriver
    from .asyncio import Driver as AsyncioDriver

    return AsyncioDriver


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, running)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, running)
create_server: CreateServerFunction[Handler, Authorize, Serve] = make_create_server(__name__, serve, Serve.TYPES)
fetch_spec: FetchSpec = make_fetch_spec(__name__, running)
