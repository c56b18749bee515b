"""A load client for the servers of this folder: WebSockets over loopback, in one process.

It sends the same masked frame again and again and checks every byte of what comes back. What counts is the CPU time of
the *server's* process (all threads, from /proc, so Linux only), not the speed of this client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Broken", "ClientLoad", "Load", "cpu_seconds", "resident_bytes"]

MASK = b"\x37\xfa\x21\x3d"
PERIOD = 1.05
HANDSHAKE = (
    b"GET /primus?ping=600000&pong=600000 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Broken(Exception):
    """The server did not do what it should."""


def dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def payload(size: int) -> str:
    """A JSON object of `size` bytes, as servers send it back: compact. A large one has many values."""
    items: list[object] = []
    value = {"seq": 123456, "from": "alice", "to": "bob", "kind": "chat", **({"items": items} if size > 200 else {})}
    room = size - len(dump({**value, "text": ""}))
    while room > 150:
        number = len(items)
        fields = {"v": 1000.5 + 7 * number, "n": 131 * number, "ok": number % 2 > 0, "tags": ["a", "bc", None]}
        items.append({"k": f"item{number:04}", **fields})
        room -= len(dump(items[-1])) + (number > 0)
    return dump({**value, "text": "x" * room})


def frame(text: str, *, mask: bool) -> bytes:
    """A text frame."""
    data, bit = text.encode(), 0x80 * mask
    length = len(data)
    if length < 126:
        head = bytes((0x81, bit | length))
    elif length < 1 << 16:
        head = bytes((0x81, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x81, bit | 127)) + length.to_bytes(8, "big")
    return head + MASK + xor(data, MASK) if mask else head + data


def xor(data: bytes, key: bytes) -> bytes:
    """Mask or unmask."""
    mask = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


def unmasked(frames: bytes, size: int) -> bytes:
    """Whole frames of a client, of `size` bytes each, as a server would send them."""
    head = 6 if size < 132 else 8
    parts = []
    for start in range(0, len(frames), size):
        payload = xor(frames[start + head : start + size], frames[start + head - 4 : start + head])
        parts.append(frame(payload.decode(), mask=False))
    return b"".join(parts)


def handshake_answer(request: bytes) -> bytes:
    """The answer to a client's handshake."""
    key = next(line[18:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return head + accept + b"\r\n\r\n"


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

    masks = True
    """Whether frames are masked that leave here, or those that come."""

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

    def echo(self, window: int, size: int, seconds: float) -> float:
        """Keep `window` messages on their way on each connection. Returns the server's CPU seconds for each."""
        text = payload(size)
        request, reply = frame(text, mask=self.masks), frame(text, mask=False)

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

        A server without Primus sends it back, as any other value. The dialect happn answers one in a second. So there
        is a little more than a second between two, or chance would decide which of them are answered.
        """
        request, count = frame('"primus::ping::1700000000000"', mask=True), len(self.sockets)
        for sock in self.sockets:
            sock.setblocking(False)
        sent, warm, before, began = 0, count, 0.0, time.monotonic()  # every connection has had its first ping
        while True:
            passed = time.monotonic() - began
            if passed >= PERIOD + seconds:
                return (cpu_seconds(self.pid) - before) / (sent - warm)
            while sent < passed * count / PERIOD:
                sock = self.sockets[sent % count]
                with suppress(BlockingIOError):
                    if not sock.recv(1 << 12):  # the answer to its last ping
                        raise Broken("the server has closed a connection")
                sock.sendall(request)
                sent += 1
                if sent == warm:
                    before = cpu_seconds(self.pid)
            time.sleep(0.001)

    def close(self, *, keep: int = 0) -> None:
        """Close all connections but the first few."""
        for sock in self.sockets[keep:]:
            sock.close()
        del self.sockets[keep:]

    def _run(self, reply: bytes, answer: Callable[[socket.socket, int], int], seconds: float, expected: int) -> float:
        """Answer what comes for so long, after a fifth of that to warm up; then wait for what is still `expected`.

        `answer` returns how many more replies will follow. Returns the server's CPU seconds for each reply.
        """
        selector = selectors.DefaultSelector()
        for sock in self.sockets:
            selector.register(sock, selectors.EVENT_READ)
        rest: dict[socket.socket, bytes] = {}
        size = len(reply) + 4 * (not self.masks)
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
                whole, left = divmod(len(data), size)
                frames = data[: whole * size]
                if (frames if self.masks else unmasked(frames, size)) != reply * whole or not data:
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


class ClientLoad(Load):
    """The other end of `count` clients in one process, which send back what they get."""

    masks = False

    def __init__(self, listener: socket.socket, pid: int, count: int) -> None:
        super().__init__(listener.getsockname()[1], pid)
        listener.settimeout(30)
        for _ in range(count):
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = b""
            while b"\r\n\r\n" not in request:
                part = sock.recv(4096)
                if not part:
                    raise Broken(f"no handshake: {request[:200]!r}")
                request += part
            sock.sendall(handshake_answer(request))
            self.sockets.append(sock)
