"""How many connections there may be, in total and from one address (protocol 7).

The law kept here: a connection counts for one address at a time, the one that its last request came from. Trusted
proxies, this machine and Unix sockets have connections without limit, since many clients may be behind them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from ..limits import Limits
from .forwarded import Network, is_trusted, parse_ip

__all__ = ["Connections"]


class Connections:
    """The addresses of a server's connections, by channel. `warn` is called for each that is refused."""

    def __init__(self, limits: Limits, networks: tuple[Network, ...], warn: Callable[[str], None]) -> None:
        self._limits = limits
        self._warn = warn
        self._client = lru_cache(maxsize=1024)(lambda ip: _counted(ip, networks))
        self._clients: dict[int, str] = {}
        self._counts: dict[str, int] = {}

    def admit(self, channel: int, ip: str, total: int = 0) -> bool:
        """The client on a channel has this address. False if too many connections have it, or `total` is too many."""
        limits = self._limits
        if total > limits.connections:
            self._warn(f"{ip or 'a Unix socket'}: more than {limits.connections} connections (Limits.connections)")
            return False
        client = self._client(ip)
        if self._clients.get(channel, "") != client:
            self.forget(channel)
            if client:
                self._clients[channel] = client
                self._counts[client] = self._counts.get(client, 0) + 1
        if not client or self._counts[client] <= limits.connections_per_address:
            return True
        self._warn(
            f"{ip}: more than {limits.connections_per_address} connections from one address "
            "(Limits.connections_per_address; if it is a proxy, name it in trusted_proxies)"
        )
        return False

    def forget(self, channel: int) -> None:
        """The channel is closed."""
        client = self._clients.pop(channel, "")
        if client:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


def _counted(ip: str, networks: tuple[Network, ...]) -> str:
    """What is counted for an address: one of IPv4, a /64 of IPv6; empty where nothing is."""
    address = parse_ip(ip)
    if address is None or address.is_loopback or is_trusted(ip, networks):
        return ""
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
