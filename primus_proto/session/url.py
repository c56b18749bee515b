"""The connect URL and its headers, different for each attempt (protocol 2)."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlencode

from ..config import ClientConfig
from .heartbeat_client import DEFAULT_PING

__all__ = ["ConnectURL", "connect_headers"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
_OURS = ("_primuscb", "ping", "pong")


class ConnectURL:
    """Makes the URLs of one client. No two of them have the same cache buster."""

    def __init__(self) -> None:
        self._last = ""
        self._repeats = 0

    def make(self, config: ClientConfig, epoch_ms: int) -> str:
        """The URL of an attempt made at this Unix time, in milliseconds."""
        parts = config.parts()
        given: Any = () if callable(config.query) else config.query
        own: list[tuple[str, str]] = [(name, value) for name, value in given if name not in _OURS]
        query = [("_primuscb", self._cache_buster(epoch_ms))]
        if config.dialect in ("auto", "happn"):  # servers of other dialects read nothing from the URL
            ping = DEFAULT_PING if config.ping is None else config.ping
            query.append(("ping", _milliseconds(ping) if ping else "false"))
            query.append(("pong", _milliseconds(config.pong)))
        scheme = "wss" if config.secure else "ws"
        return f"{scheme}://{config.authority}{config.pathname}?{_kept(parts.query)}{urlencode(own + query)}"

    def _cache_buster(self, number: int) -> str:
        """The time in base 64, followed by a counter if two attempts share a millisecond."""
        digits = ""
        number = max(0, number)
        while number or not digits:
            number, digit = divmod(number, 64)
            digits = _DIGITS[digit] + digits
        self._repeats = self._repeats + 1 if digits == self._last else 0
        self._last = digits
        return f"{digits}.{self._repeats}" if self._repeats else digits


def connect_headers(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """The user's header fields, and Basic authorization if the URL has a user."""
    headers = config.header_pairs
    parts = config.parts()
    if parts.username is None or any(name.lower() == "authorization" for name, _ in headers):
        return headers
    userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return (*headers, ("Authorization", "Basic " + base64.b64encode(userinfo.encode()).decode("ascii")))


def _kept(query: str) -> str:
    """The user's part of the query, unchanged. It is not decoded, as percent escapes need not stand for text."""
    parts = [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) not in _OURS]
    return "".join(quote(part, safe="%!$'()*+,;=:@/?") + "&" for part in parts)


def _milliseconds(seconds: float) -> str:
    """Whole milliseconds, as Primus writes them, or up to three decimals."""
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")
