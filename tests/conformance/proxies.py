"""Proxies: they connect on behalf of a client, and write down what they were asked for."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable

__all__ = ["PROXIES", "Asked", "Talk"]

Asked = list[tuple[str, int, str]]
Talk = Callable[[socket.socket], None]


def _receive(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("the client left")
        data += more
    return data


def _relay(peer: socket.socket, port: int, ready: bytes) -> None:
    """Connect to a port of this machine, whatever the name was, and pass on all bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as server:
        peer.sendall(ready)

        def pass_on(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    target.sendall(data)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=pass_on, args=(server, peer))
        back.start()
        pass_on(peer, server)
        back.join()


def http_proxy(asked: Asked) -> Talk:
    """HTTP CONNECT. The password is checked."""

    def talk(peer: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _receive(peer, 1)
        host, port = head.split()[1].decode().rsplit(":", 1)
        token = head.partition(b"Basic ")[2].partition(b"\r\n")[0]
        user, _, password = base64.b64decode(token).decode().partition(":")
        asked.append((host, int(port), user))
        if password != "secret":
            peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        _relay(peer, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n")

    return talk


def socks5_proxy(asked: Asked) -> Talk:
    """SOCKS 5 (RFC 1928) with a user and a password (RFC 1929)."""

    def talk(peer: socket.socket) -> None:
        _receive(peer, _receive(peer, 2)[1])
        peer.sendall(b"\x05\x02")
        user = _receive(peer, _receive(peer, 2)[1]).decode()
        password = _receive(peer, _receive(peer, 1)[0])
        peer.sendall(b"\x01" + bytes([password != b"secret"]))
        if password != b"secret":
            return
        kind = _receive(peer, 4)[3]
        name = _receive(peer, _receive(peer, 1)[0]).decode() if kind == 3 else socket.inet_ntoa(_receive(peer, 4))
        port = int.from_bytes(_receive(peer, 2))
        asked.append((name, port, user))
        _relay(peer, port, b"\x05\x00\x00\x01" + bytes(6))

    return talk


PROXIES: dict[str, Callable[[Asked], Talk]] = {"http": http_proxy, "socks5": socks5_proxy}
