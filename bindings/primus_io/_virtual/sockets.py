"""trio's sockets on a virtual network: what `trio.socket` gives out, so that everything above it is trio's own.

The law kept here: as with trio's sockets, what can wait is a checkpoint also where it need not wait, and what was
cancelled has done nothing.
"""

from __future__ import annotations

import errno
import socket as std
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, Self

import trio

from .._running import OPENING
from .nodes import ListenerNode, LoopNode, system_error
from .world import World

__all__ = ["Names", "Socket", "Sockets"]

ABSENT = (
    *("detach", "dup", "share", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "sendto", "sendmsg"),
    *("get_inheritable", "set_inheritable", "is_readable"),
)
NO_DESCRIPTOR = -2  # of the system's; -1 is a socket that is closed


class Names(trio.abc.HostnameResolver):
    """Every name is its own address; only the network knows who listens there."""

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | None, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[std.AddressFamily, std.SocketKind, int, str, tuple[str, int]]]:
        await trio.lowlevel.checkpoint()
        address = ((host or b"").decode("ascii"), int(port or 0))
        return [(std.AF_INET, std.SOCK_STREAM, std.IPPROTO_TCP, "", address)]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        return str(sockaddr[0]), str(sockaddr[1])


class Sockets(trio.abc.SocketFactory):
    """Makes the sockets of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def socket(self, family: int = std.AF_INET, type: int = std.SOCK_STREAM, proto: int = 0) -> Socket:
        if family not in (std.AF_INET, std.AF_INET6) or type != std.SOCK_STREAM:
            raise OSError("a virtual network has no sockets but those of TCP: use a host and a port")
        return Socket(self._world, std.AddressFamily(family))


class Socket(trio.socket.SocketType):
    """One socket: fresh, then either one end of a connection or what listens for them."""

    def __init__(self, world: World, family: std.AddressFamily) -> None:
        super().__init__()
        self._world = world
        self._family = family
        self._driver = OPENING.get()
        self._address: tuple[str, int] = ("", 0)
        self._peer: tuple[str, int] | None = None
        self._closed = False
        self._changed = trio.Event()
        # of a connection
        self._node: LoopNode | None = None
        self._number = 0
        self._incoming: deque[memoryview | OSError | None] = deque()  # None: EOF; it stays, and so does an error
        # of a listener
        self._listener: ListenerNode | None = None
        self._deaf = False  # it listens where another one does that hears for both
        self._waiting: deque[Socket] = deque()  # connected, and not accepted

    def __repr__(self) -> str:
        if self._node is not None:
            return f"<Socket of {self._node.name} with {self._peer}>"
        return f"<Socket at {self._address}>"

    @property
    def family(self) -> std.AddressFamily:
        return self._family

    @property
    def type(self) -> std.SocketKind:
        return std.SOCK_STREAM

    @property
    def proto(self) -> int:
        return std.IPPROTO_TCP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802  # trio's name
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fileno(self) -> int:
        return -1 if self._closed else NO_DESCRIPTOR

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def getpeername(self) -> tuple[str, int]:
        if self._peer is None:
            raise system_error(errno.ENOTCONN)
        return self._peer

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """None makes a difference here."""

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        listens = (level, optname) == (std.SOL_SOCKET, std.SO_ACCEPTCONN)
        return int(listens and (self._listener is not None or self._deaf))

    def shutdown(self, flag: int) -> NoReturn:
        raise NotImplementedError("a connection of the virtual network closes in both directions at once: aclose()")

    # --- connecting, and being connected to ---

    async def bind(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._address = address[:2]

    def listen(self, backlog: int = 0) -> None:
        self._check_open()
        host, port = self._address
        if host == "::" and port and self._world.network.listener(host, port) is not None:
            self._deaf = True  # as what a host of None means: one socket for IPv4, one for IPv6
            return
        self._listener = self._world.listen(self._driver or self, self._accepted, host, port)
        self._address = self._listener.address

    def _accepted(self, node: ListenerNode, number: int, peer: tuple[str, int]) -> Socket:
        accepted = Socket(self._world, self._family)
        accepted._is_connected(node, number, self._address, peer)
        self._waiting.append(accepted)
        self._change()
        return accepted

    async def accept(self) -> tuple[Socket, tuple[str, int]]:
        await self._until(lambda: self._waiting)
        accepted = self._waiting.popleft()
        return accepted, accepted.getpeername()

    async def connect(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self._node is not None:
            raise system_error(errno.EISCONN)
        node, peer = self._world.caller(self._driver or self), (str(address[0]), int(address[1]))

        def opened(number: int, here: tuple[str, int], answer: Callable[[], None]) -> Socket:
            self._is_connected(node, number, here, peer)
            answer()
            return self

        await node.call(*peer, opened)

    def _is_connected(self, node: LoopNode, number: int, here: tuple[str, int], peer: tuple[str, int]) -> None:
        self._node, self._number, self._address, self._peer = node, number, here, peer

    # --- what the network says ---

    def arrived(self, data: bytes) -> None:
        """Bytes."""
        self._incoming.append(memoryview(data))
        self._change()

    def ended(self, broken: bool) -> None:
        """The other end has closed the connection, or that was lost."""
        self._incoming.append(system_error(errno.ECONNRESET) if broken else None)
        self._change()

    def writable(self) -> None:
        """The line takes more."""
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- reading and writing ---

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        self._connected()
        await self._until(lambda: self._incoming)
        first = self._incoming[0]
        if first is None:
            return b""
        if isinstance(first, OSError):
            raise first
        data = bytes(first[:buflen])
        if len(data) < len(first):
            self._incoming[0] = first[buflen:]
        else:
            self._incoming.popleft()
        self._connected().took(self._number, len(data))
        return data

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = await self.recv(nbytes or len(view))
            view[: len(data)] = data
        return len(data)

    async def send(self, data: Any, flags: int = 0, /) -> int:
        node = self._connected()
        sent = 0

        def offer() -> bool:
            nonlocal sent
            link = node.links.get(self._number)
            if link is not None:
                with memoryview(data).cast("B") as view:
                    sent = link.offer(node, view)
            else:  # the other end has gone, and whoever writes hears of it only if the connection is broken
                last = self._incoming[-1] if self._incoming else None
                if isinstance(last, OSError):
                    raise last
                sent = len(data)
            return sent > 0 or not data

        await self._until(offer)
        return sent

    async def wait_writable(self) -> None:
        """What is too much then, `send` waits for."""
        self._connected()
        await self._until(lambda: True)

    def _connected(self) -> LoopNode:
        self._check_open()
        if self._node is None:
            raise system_error(errno.ENOTCONN)
        return self._node

    async def _until(self, ready: Callable[[], object]) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if ready():
                return
            await self._changed.wait()
        raise trio.ClosedResourceError("another task closed this socket")

    def _check_open(self) -> None:
        if self._closed:
            raise system_error(errno.EBADF)

    # --- the end ---

    def close(self) -> None:
        """Whoever has not read all that arrived resets the connection, as the system does."""
        self._finish(any(isinstance(data, memoryview) for data in self._incoming))

    def abort(self) -> None:
        """Close without a goodbye."""
        self._finish(True)

    def _finish(self, abort: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._incoming.clear()
        if self._listener is not None:
            self._listener.listening = False
        while self._waiting:
            self._waiting.popleft().abort()
        if self._node is not None:
            self._node.ends.pop(self._number, None)
            link = self._node.links.pop(self._number, None)
            if link is not None:
                link.close(self._node, abort)
        self._change()


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Socket, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(f"a socket on a virtual network has no {name}, but recv and send")

    return refuse


for _name in ABSENT:
    setattr(Socket, _name, _refusal(_name))
