"""The URL of a server: checks, and the names that its host has (protocol 2).

The law kept here: no message shows the user, the password or the query of a URL.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigError

__all__ = ["Host", "host_of", "parse_url", "redacted"]

# Two editions of the IDNA standard disagree about names with these letters, so they might belong to different owners.
AMBIGUOUS = frozenset("\xdf\u03c2\u200c\u200d")
# Delimiters of a URL, spaces and control characters (the forbidden host code points of https://url.spec.whatwg.org).
_UNFIT = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")


class Host(NamedTuple):
    """The host of a URL, in the form that each user of it needs."""

    resolver: str
    """What is looked up and connected to. It may have a trailing dot, or an IPv6 zone as in ``fe80::1%eth0``."""
    tls: str
    """What the certificate must be for, and is sent as SNI: without a trailing dot or a zone."""
    header: str
    """The host in ``Host``: an IPv6 address is in brackets and has no zone (RFC 6874, 1)."""


def redacted(url: str) -> str:
    """Return the URL for a message or a log: without user, password, query and fragment."""
    text = re.sub(r"(^|//)[^/]*@", r"\1", re.split("[?#]", url, maxsplit=1)[0])
    return repr(re.sub(r"(//[^/:\[]*:)(?!\d*(/|$)).*", r"\1...", text))  # perhaps half of a password


def parse_url(url: object, pathname: str) -> SplitResult:
    """Check the URL to connect to, and split it. Raises ConfigError."""
    if not isinstance(url, str):
        raise ConfigError(f"url must be a string like 'http://localhost:8080'; got {url!r}")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"url {redacted(url)} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https", "ws", "wss"):
        raise ConfigError(f"url must start with http://, https://, ws:// or wss://; got {redacted(url)}")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"url must have a number from 1 to 65535 as its port; got {redacted(url)}") from None
    if not parts.hostname or port == 0:
        raise ConfigError(f"url must name a host, and a port from 1 to 65535 if it names one; got {redacted(url)}")
    userinfo = parts.netloc.rpartition("@")[0]
    rest = userinfo + url.replace(parts.netloc, "", 1)
    if re.search(r"[\x00-\x20\x7f]", url) or not rest.isascii():
        raise ConfigError(f"url must be ASCII without spaces; percent-encode the rest; got {redacted(url)}")
    host_of(parts)
    if parts.path.rstrip("/") not in ("", pathname.removesuffix("/")):
        raise ConfigError(
            f"url must not have a path of its own: give pathname={parts.path!r} instead; got {redacted(url)}"
        )
    return parts


def host_of(parts: SplitResult) -> Host:
    """Return the names of a URL's host. Raises ConfigError for one that cannot be looked up."""
    name = parts.hostname or ""
    if ":" in name:
        address, _, zone = name.partition("%")
        zone = zone.removeprefix("25")  # `%25` is the percent sign of a URL (RFC 6874, 2)
        return Host(f"{address}%{zone}" if zone else address, address, f"[{address}]")
    name = _ascii(name)
    if unfit := _UNFIT.search(name):  # such as the spaces into which IDNA turns others
        raise ConfigError(f"url names the host {name!r}, but no host has {unfit[0]!r} in its name")
    if not all(0 < len(label) < 64 for label in name.removesuffix(".").split(".")):
        # Libraries fail in different ways over such a name, some of them with a connection half made.
        raise ConfigError(f"url must name a host whose parts have 1 to 63 characters; got {name!r}")
    as_sent = parts.netloc.rpartition("@")[2].partition(":")[0]
    return Host(name, name.removesuffix("."), as_sent if as_sent.isascii() else name)


def _ascii(name: str) -> str:
    """Return the form of an internationalised host name in which it is looked up: ``xn--...``."""
    if name.isascii():
        return name
    try:
        if not AMBIGUOUS & set(name):
            return name.encode("idna").decode("ascii")
    except UnicodeError:
        pass
    raise ConfigError(f"url names the host {name!r}: write it in its ASCII form, which begins with xn--")
