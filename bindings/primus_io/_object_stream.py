"""A client or spark as an object stream of anyio."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

import primus_proto as pp

from ._client import Client
from ._server import Spark

__all__ = ["SessionStream"]


class SessionStream(anyio.abc.ObjectStream[Any]):
    """A client or spark as an `anyio.abc.ObjectStream` of the values that are sent and received."""

    def __init__(self, session: Client | Spark) -> None:
        self._session = session
        self._closed = False

    async def receive(self) -> Any:
        """Wait for the next value. Raises `anyio.EndOfStream` when there will be no more."""
        self._check_open()
        try:
            return await self._session.receive()
        except pp.ConnectionLost:
            raise anyio.EndOfStream from None

    async def send(self, item: Any) -> None:
        """Send a value, and wait until there is room for more. Raises `anyio.BrokenResourceError` after the end."""
        self._check_open()
        if not await self._session.send(item):
            raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        """End the session. Primus cannot end one direction only, so nothing more is received either."""
        self._session.end()
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the session, and wait for its end."""
        self._closed = True
        self._session.end()
        await self._session.wait_ended()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
