"""The client's address behind trusted proxies (protocol 5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..errors import ConfigError
from .model import Address, Request

__all__ = ["Network", "client_address", "parse_networks"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(proxies: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks of trusted proxies; raises ConfigError for an invalid one."""
    try:
        return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies)
    except ValueError as error:
        raise ConfigError(f"trusted_proxies must be IP addresses or networks: {error}") from None


def client_address(request: Request, trusted: tuple[Network, ...]) -> Address:
    """Return the address of the client.

    This is the address of the socket or, if that belongs to a trusted proxy, the rightmost address in
    ``X-Forwarded-For`` that does not belong to one.
    """
    peer = request.peer
    if not trusted or not _among(peer.ip, trusted):
        return peer
    for hop in reversed(request.headers.tokens("x-forwarded-for")):
        ip = hop.strip("[]")
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            break  # not an address: what is left of it cannot be trusted
        if not _among(ip, trusted):
            return Address(ip, 0)
    return peer


def _among(ip: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in networks if network.version == address.version)
