"""Primus on anyio: `connect`, `serve` and `fetch_spec` on the loop that is running, asyncio or trio.

This module only chooses the binding of that loop. Users get the same classes from both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from ._sockets import CreateSocket, SocketFactory, make_create_socket

__all__ = [
    "Client",
    "Server",
    "SocketFactory",
    "Spark",
    "connect",
    "create_server",
    "create_socket",
    "fetch_spec",
    "object_stream",
    "serve",
]
__all__ += _common.__all__


if TYPE_CHECKING:
    from anyio.abc import ObjectStream


def current_library() -> str:
    """The name of the library that runs this task. Without sniffio there is no trio, which depends on it."""
    try:
        import sniffio
    except ImportError:
        return "asyncio"
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return "asyncio"


def running() -> type[Driver]:
    """The driver for the library that runs this task, which an asyncio loop around trio does not change."""
    if current_library() == "trio":
        from .trio import Driver as TrioDriver  # imported here, because users of asyncio may not have trio

        return TrioDriver
    from .asyncio import Driver as AsyncioDriver

    return AsyncioDriver


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, running)
create_socket: CreateSocket[Connect] = make_create_socket(__name__, connect)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, running, connect)
create_server: CreateServerFunction[Handler, Authorize, Serve] = make_create_server(__name__, serve, Serve.TYPES)
fetch_spec: FetchSpec = make_fetch_spec(__name__, running)


def object_stream(session: Client | Spark) -> ObjectStream[Any]:
    """A client or spark as an object stream of anyio, for code that takes one.

    Closing it ends the session. Needs the extra `anyio`: raises ImportError without it.
    """
    try:
        from ._object_stream import SessionStream
    except ModuleNotFoundError as error:
        raise ImportError("object_stream needs anyio: pip install 'primus-proto[anyio]'") from error
    return SessionStream(session)
