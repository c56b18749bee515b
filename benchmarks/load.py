"""A load client for the servers of this folder: WebSockets over loopback, in one process.

It sends the same masked frame again and again and checks every byte of what comes back. What counts is the CPU time of
the *server's* process (all threads, from /proc, so Linux only), not the speed of this client.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Broken", "Load", "cpu_seconds", "resident_bytes"]

MASK = b"\x37\xfa\x21\x3d"
HANDSHAKE = (
    b"GET /primus?ping=600000&pong=600000 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Broken(Exception):
    """The server did not do what it should."""


def payload(size: int) -> str:
    """A JSON object of about `size` bytes, as servers send it back: compact."""
    value = {"seq": 123456, "from": "alice", "to": "bob", "kind": "chat", "text": ""}
    value["text"] = "x" * (size - len(json.dumps(value, separators=(",", ":"))))
    return json.dumps(value, separators=(",", ":"))


def frame(text: str, *, mask: bool) -> bytes:
    """A text frame."""
    data, bit = text.encode(), 0x80 * mask
    length = len(data)
    head = bytes((0x81, bit | length)) if length < 126 else bytes((0x81, bit | 126)) + length.to_bytes(2, "big")
    if not mask:
        return head + data
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(data))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system, all its threads."""
    ran = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        ran += int((task / "schedstat").read_text().split()[0])
    return ran / 1e9


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Load:
    """Connections to one server at 127.0.0.1."""

    def __init__(self, port: int, pid: int) -> None:
        self.address = ("127.0.0.1", port)
        self.pid = pid
        self.sockets: list[socket.socket] = []
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def connect(self, count: int) -> float:
        """Open so many connections, one after the other. Returns the server's CPU seconds for each."""
        before = cpu_seconds(self.pid)
        for _ in range(count):
            sock = socket.create_connection(self.address, timeout=30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(HANDSHAKE)
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = sock.recv(4096)
                if not part:
                    raise Broken(f"the server refused the handshake: {answer[:200]!r}")
                answer += part
            sock.setblocking(False)
            self.sockets.append(sock)
        return (cpu_seconds(self.pid) - before) / count

    def echo(self, *, window: int, size: int, seconds: float) -> float:
        """Keep `window` messages on their way on each connection. Returns the server's CPU seconds for each."""
        text = payload(size)
        request, reply = frame(text, mask=True), frame(text, mask=False)

        def answer(sock: socket.socket, received: int) -> int:
            sock.sendall(request * received)  # less than a socket buffer holds
            return received

        for sock in self.sockets:
            sock.setblocking(True)
            sock.sendall(request * window)
        return self._run(reply, answer, seconds, window * len(self.sockets))

    def broadcast(self, *, size: int, seconds: float) -> float:
        """Have one connection cause a broadcast whenever all have the last one. CPU seconds for each delivery."""
        text = payload(size)
        request, reply = frame(text, mask=True), frame(text, mask=False)
        first, all_of_them = self.sockets[0], len(self.sockets)
        missing = all_of_them

        def answer(sock: socket.socket, received: int) -> int:
            nonlocal missing
            missing -= received
            if missing:
                return 0
            missing = all_of_them
            first.sendall(request)
            return all_of_them

        for sock in self.sockets:
            sock.setblocking(True)
        first.sendall(request)
        return self._run(reply, answer, seconds, all_of_them)

    def pings(self, *, seconds: float) -> float:
        """Have each connection send a Primus ping every second, spread evenly. The server's CPU seconds for each.

        A server without Primus sends it back, as any other value.
        """
        request, count = frame('"primus::ping::1700000000000"', mask=True), len(self.sockets)
        for sock in self.sockets:
            sock.setblocking(False)
        sent, warm, before, began = 0, count, 0.0, time.monotonic()  # every connection has had its first ping
        while True:
            passed = time.monotonic() - began
            if passed >= 1 + seconds:
                return (cpu_seconds(self.pid) - before) / (sent - warm)
            while sent < passed * count:
                sock = self.sockets[sent % count]
                with suppress(BlockingIOError):
                    if not sock.recv(1 << 12):  # the answer to its last ping
                        raise Broken("the server has closed a connection")
                sock.sendall(request)
                sent += 1
                if sent == warm:
                    before = cpu_seconds(self.pid)
            time.sleep(0.001)

    def close(self) -> None:
        """Close all connections."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()

    def _run(self, reply: bytes, answer: Callable[[socket.socket, int], int], seconds: float, expected: int) -> float:
        """Answer what comes for so long, after a fifth of that to warm up; then wait for what is still `expected`.

        `answer` returns how many more replies will follow. Returns the server's CPU seconds for each reply.
        """
        selector = selectors.DefaultSelector()
        for sock in self.sockets:
            selector.register(sock, selectors.EVENT_READ)
        rest: dict[socket.socket, bytes] = {}
        count, before, cost, began = 0, 0.0, 0.0, time.monotonic()
        warm, end = began + seconds / 5, began + seconds * 6 / 5
        while expected:
            now = time.monotonic()
            if not before and now >= warm:
                count, before = 0, cpu_seconds(self.pid)
            if not cost and now >= end:
                cost = (cpu_seconds(self.pid) - before) / max(count, 1)
            ready = selector.select(5.0)
            if not ready:
                raise Broken("no reply in time")
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = rest.pop(sock, b"") + sock.recv(1 << 18)
                whole, left = divmod(len(data), len(reply))
                if data[: whole * len(reply)] != reply * whole or not data:
                    raise Broken(f"not the expected reply: {data[:80]!r}")
                if left:
                    rest[sock] = data[-left:]
                if whole:
                    count += whole
                    expected -= whole
                    if not cost:
                        expected += answer(sock, whole)
        selector.close()
        return cost
