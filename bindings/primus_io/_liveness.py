"""What the system can find out about the other end of a socket."""

from __future__ import annotations

import select
import socket
import sys
from typing import Any

__all__ = ["INHERITED", "is_hung_up", "keep_alive"]

# Seconds of silence before the system asks whether the other end of a connection exists, and between its questions.
# After 3 without an answer the connection is lost.
KEEPALIVE = (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 3))
_KEEPALIVE_OPTIONS = [
    (int(socket.SOL_SOCKET), int(socket.SO_KEEPALIVE), 1),
    *((int(socket.IPPROTO_TCP), getattr(socket, name), value) for name, value in KEEPALIVE if hasattr(socket, name)),
]


def keep_alive(sock: Any) -> None:
    """Have the system find out that a peer is gone. A client without heartbeats would never be missed otherwise."""
    try:
        for option in _KEEPALIVE_OPTIONS:
            sock.setsockopt(*option)
    except OSError:
        pass  # the peer has left already, or it is no TCP socket


# Whether accepted sockets have the options of the listening one.
INHERITED = sys.platform == "linux"

GONE = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)


def is_hung_up(sock: Any) -> bool:
    """Whether the peer of a socket has closed or lost it, whatever waits there to be read.

    Known on Linux, on other systems in part, and not on Windows.
    """
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), GONE)
    return bool(poll.poll(0))
