"""Peers for the command: raw sockets that send what they like, and a WebSocket client made of bytes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator

CONNECT = (
    "GET /primus?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port at which every connection is given to `talk`; all of them stay open until the end."""
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                threads.append(threading.Thread(target=guarded, args=(connection,), daemon=True))
                threads[-1].start()

    def guarded(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in accepted:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for connection in accepted:
                connection.close()


@contextlib.contextmanager
def raw_client(url: str, query: str = "ping=false") -> Iterator[socket.socket]:
    """An open WebSocket that does nothing by itself, not even answer."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(CONNECT.format(query=query).encode())
        assert b" 101 " in receive_head(connection)
        yield connection


def bytes_until(connection: socket.socket, end: bytes) -> int:
    """How many bytes come until these, which end them. Raises ConnectionError where they do not come."""
    count, tail = 0, b""
    while not tail.endswith(end):
        data = connection.recv(1 << 20)
        if not data:
            raise ConnectionError(f"closed before {end!r} was there")
        count += len(data)
        tail = (tail + data)[-len(end) :]
    return count


def receive_head(connection: socket.socket) -> bytes:
    """The head of a request or response. Raises ConnectionError where it does not come to its end."""
    head = b""
    while b"\r\n\r\n" not in head:
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("closed before the head was there")
        head += byte
    return head


def handshake(connection: socket.socket) -> None:
    """Answer the connect request as a Primus server does, and then nothing more.

    Another request, as for the spec, is answered 404, and raises ConnectionError: there is nothing more to say.
    """
    head = receive_head(connection)
    key = re.search(rb"sec-websocket-key: *(\S+)", head, re.IGNORECASE)
    if key is None:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        raise ConnectionError("no handshake")
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    connection.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame; the mask is all zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def free_port() -> int:
    """A port that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
