"""The client's address behind trusted proxies (protocol 5)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Literal

from ..errors import ConfigError
from .model import Address, Headers, Request

__all__ = [
    "FORWARDED_BY",
    "UNIX",
    "ForwardedBy",
    "Network",
    "client_address",
    "is_trusted",
    "parse_ip",
    "parse_networks",
]

LONGEST = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]
ForwardedBy = Literal["x-forwarded-for", "forwarded", "x-real-ip"]
UNIX: Literal["unix"] = "unix"
"""The name of peers on a Unix socket, among the trusted proxies."""


def parse_networks(proxies: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks of trusted proxies; raises ConfigError for an invalid one."""
    try:
        return tuple(UNIX if proxy == UNIX else ipaddress.ip_network(proxy, strict=False) for proxy in proxies)
    except ValueError as error:
        raise ConfigError(f"trusted_proxies must be IP addresses, networks or 'unix': {error}") from None


def client_address(
    request: Request, trusted: tuple[Network, ...], forwarded_by: ForwardedBy = "x-forwarded-for"
) -> Address:
    """Return the address of the client.

    This is the address of the socket or, if that belongs to a trusted proxy, the rightmost address in the header field
    `forwarded_by` that does not belong to one.
    """
    peer = request.peer
    if not trusted or not is_trusted(peer.ip, trusted):
        return peer
    for hop in FORWARDED_BY[forwarded_by](request.headers):
        address = _parse_hop(hop)
        if address is None:
            break  # not an address: what is left of it cannot be trusted
        if not is_trusted(address.ip, trusted):
            return address
    return peer


def _x_forwarded_for(headers: Headers) -> Iterator[str]:
    return reversed(headers.tokens("x-forwarded-for"))


def _x_real_ip(headers: Headers) -> Iterator[str]:
    return reversed(headers.get_all("x-real-ip")[-1:])  # one address, never a list


def _forwarded(headers: Headers) -> Iterator[str]:
    """The ``for`` parameters of ``Forwarded`` (RFC 7239, 4), the rightmost first."""
    text = ",".join(headers.get_all("forwarded"))
    elements = re.findall(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', text)
    for element in reversed(elements):
        # A name begins behind another character than its own, so that the search takes linear time.
        pairs = re.findall(r'(?<![^\s;="])([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]*)', element)
        values = [value for name, value in pairs if name.lower() == "for"]
        yield re.sub(r"\\(.)", r"\1", values[0].strip('"')) if len(values) == 1 else ""


FORWARDED_BY: dict[ForwardedBy, Callable[[Headers], Iterator[str]]] = {
    "x-forwarded-for": _x_forwarded_for,
    "forwarded": _forwarded,
    "x-real-ip": _x_real_ip,
}
"""How the addresses are read from each header field that proxies use, the nearest one first."""


def _parse_hop(text: str) -> Address | None:
    """Parse ``ip``, ``ip:port`` or ``[ip]:port``; None if it is something else, such as a name."""
    match = re.fullmatch(r"\[([^\[\]]*)\](?::(\d{1,5}))?|([\d.]+)(?::(\d{1,5}))?", text.strip())
    ip = text.strip() if match is None else match[1] or match[3] or ""
    port = int(match[2] or match[4] or 0) if match is not None else 0
    # A zone of IPv6 may be any text, and means something on the machine that names it only.
    address = None if "%" in ip or len(ip) > LONGEST else parse_ip(ip)
    return None if address is None or port > 65535 else Address(str(address), port)


@lru_cache(maxsize=1024)
def parse_ip(text: str) -> IP | None:
    """Parse an address. One of IPv4 that is mapped into IPv6 becomes the IPv4 address that it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(ip: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address, or a Unix socket (an empty one), belongs to a trusted proxy."""
    if not ip:
        return UNIX in networks
    address = parse_ip(ip)
    if address is None:
        return False
    return any(
        address in network
        for network in networks
        if not isinstance(network, str) and network.version == address.version
    )
