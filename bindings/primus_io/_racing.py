"""Connecting a socket on asyncio wherever one address of a name answers (RFC 8305, "Happy Eyeballs").

asyncio has this too, but uvloop has not, and asyncio leaks sockets when it is cancelled. The law kept here: a socket is
returned, or closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import Any

__all__ = ["DELAY", "connect_socket"]

DELAY = 0.25  # seconds after which the next address is tried while the last one is silent (RFC 8305, 8)


async def connect_socket(host: str, port: int, local_addr: tuple[str, int] | None = None) -> socket.socket:
    """Connect to the address of `host` that answers first. Raises OSError if none does."""
    race = _Race(local_addr)
    return await race.run(_interleave(await _resolve(host, port)))


async def _resolve(host: str, port: int) -> list[Any]:
    with contextlib.suppress(socket.gaierror):  # an address needs no look-up, which would take a thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _interleave(infos: list[Any]) -> list[Any]:
    """Order addresses so that families take turns, the first one first (RFC 8305, 4)."""
    families: dict[int, list[Any]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    turns = itertools.zip_longest(*families.values())
    return [info for turn in turns for info in turn if info is not None]


class _Race:
    """Attempts that run at the same time, each begun a little after the one before."""

    def __init__(self, local_addr: tuple[str, int] | None) -> None:
        self._local = local_addr
        self._loop = asyncio.get_running_loop()
        self._winner: socket.socket | None = None
        self._over = False
        self._errors: list[Exception] = []

    async def run(self, infos: list[Any]) -> socket.socket:
        running: set[asyncio.Task[socket.socket]] = set()
        try:
            while self._winner is None and (infos or running):
                if infos:
                    task = self._loop.create_task(self._connect(*infos.pop(0)))
                    task.add_done_callback(self._finished)
                    running.add(task)
                delay = DELAY if infos else None
                _, running = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            winner, self._winner = self._winner, None
        finally:
            self._over = True
            if self._winner is not None:  # cancelled
                self._winner.close()
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)
        if winner is not None:
            return winner
        if len(self._errors) > 1:
            raise OSError("no address answers") from ExceptionGroup("attempts to connect", self._errors)
        raise self._errors[0] if self._errors else OSError("the name has no address")

    def _finished(self, task: asyncio.Task[socket.socket]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._errors.append(error)
        elif self._over or self._winner is not None:
            task.result().close()
        else:
            self._winner = task.result()

    async def _connect(self, family: int, kind: int, protocol: int, _: str, address: Any) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            if self._local is not None:
                self._bind(sock, *self._local)
            await self._loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket, host: str, port: int) -> None:
        infos = socket.getaddrinfo(host, port, sock.family, sock.type, flags=socket.AI_NUMERICHOST)
        sock.bind(infos[0][4])
