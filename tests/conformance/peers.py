"""Peers that break the rules: plain blocking sockets, driven from threads, so that any host can be tried with them.

They know as much of HTTP and WebSocket as it takes to get in and then misbehave.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Self

__all__ = ["CLOSE", "TEXT", "RawPeer", "accept_websocket", "frame", "handshake", "raw_server", "silent", "unused_port"]

TEXT, CLOSE = 1, 8
DEADLINE = 10.0  # seconds; for everything that blocks
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(payload: bytes, opcode: int = TEXT, *, masked: bool = True) -> bytes:
    """A WebSocket frame, final, masked with zeros unless it is a server's."""
    size, mask = len(payload), 0x80 * masked
    if size < 126:
        head = bytes([0x80 | opcode, mask | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, mask | 126]) + struct.pack("!H", size)
    else:
        head = bytes([0x80 | opcode, mask | 127]) + struct.pack("!Q", size)
    return head + bytes(4 * masked) + payload


def handshake(target: str = "/primus?ping=false", headers: str = "") -> bytes:
    """The request of a client that wants a WebSocket."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
    )


class RawPeer:
    """A client that is nothing but a socket. What may block is to be called in a thread."""

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0
    ) -> None:
        plain = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        plain.settimeout(DEADLINE)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock = plain
        self._target = (host, port)
        self._tls = tls
        self._read = b""

    def connect(self) -> Self:
        """The connection, and TLS where that is wanted."""
        self.sock.connect(self._target)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._target[0])
        return self

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        while len(self._read) < size:
            data = self._some()
            if not data:
                break
            self._read += data
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def rest(self) -> bytes:
        """All that still comes."""
        with contextlib.suppress(ConnectionError):
            while data := self._some():
                self._read += data
        taken, self._read = self._read, b""
        return taken

    def head(self) -> bytes:
        """An HTTP head."""
        while b"\r\n\r\n" not in self._read:
            data = self._some()
            if not data:
                break
            self._read += data
        taken, _, self._read = self._read.partition(b"\r\n\r\n")
        return taken

    def request(self, target: str = "/primus?ping=false", headers: str = "") -> None:
        """Send a handshake."""
        self.send(handshake(target, headers))

    def open(self, target: str = "/primus?ping=false") -> Self:
        """Connect, and become a client with a session."""
        self.connect()
        self.request(target)
        answer = self.head()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return self

    def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame; (0, b"") at the end."""
        head = self.receive(2)
        if len(head) < 2:
            return 0, b""
        size = head[1]
        if size == 126:
            size = struct.unpack("!H", self.receive(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.receive(8))[0]
        return head[0] & 0x0F, self.receive(size)

    def goodbye(self) -> None:
        """TLS's, without waiting for the other end's."""
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.settimeout(0)
        with contextlib.suppress(OSError):  # it may have left meanwhile
            self.sock.unwrap()

    def reset(self) -> None:
        """Close so that the other end gets a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def _some(self) -> bytes:
        return self.sock.recv(1 << 16)


def silent(peer: socket.socket) -> None:
    """Read everything and say nothing until the other end leaves."""
    while peer.recv(1 << 16):
        pass


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], object], *, receive_buffer: int = 0) -> Iterator[int]:
    """A server on a free port that runs `talk(socket)` in a thread for each connection; gives the port."""
    listener = socket.socket()
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    threads: list[threading.Thread] = []
    peers: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            talk(peer)

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return  # closed
            peer.settimeout(DEADLINE)
            peers.append(peer)
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        listener.close()
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def accept_websocket(peer: socket.socket) -> None:
    """Read a handshake and accept it."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = peer.recv(4096)
        if not data:
            raise ConnectionError("no whole handshake came")
        head += data
    key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
    if key is None:
        raise ConnectionError("that is no handshake")
    token = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall(answer + b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n")


def unused_port() -> int:
    """A port on which nobody listens, most likely for a while yet."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
