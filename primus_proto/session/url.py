"""The connect URL and its headers, different for each attempt (protocol 2)."""

from __future__ import annotations

import base64
from urllib.parse import quote, unquote, unquote_plus, urlencode

from ..config import ClientConfig
from .heartbeat_client import DEFAULT_PING

__all__ = ["ConnectURL"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
_OURS = ("_primuscb", "ping", "pong")


class ConnectURL:
    """Makes the URLs of one client. No two of them have the same cache buster."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._last = ""
        self._repeats = 0

    def make(self, epoch_ms: int) -> str:
        """The URL of an attempt made at this Unix time, in milliseconds."""
        config = self._config
        parts = config.parts()
        query = [("_primuscb", self._cache_buster(epoch_ms))]
        if config.dialect in ("auto", "happn"):  # servers of other dialects read nothing from the URL
            ping = DEFAULT_PING if config.ping is None else config.ping
            query.append(("ping", _milliseconds(ping) if ping else "false"))
            query.append(("pong", _milliseconds(config.pong)))
        scheme = "wss" if config.secure else "ws"
        return f"{scheme}://{config.authority}{config.pathname}?{_kept(parts.query)}{urlencode(query)}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The user's header fields, and Basic authorization if the URL has a user."""
        headers = self._config.header_pairs
        parts = self._config.parts()
        if parts.username is None or any(name.lower() == "authorization" for name, _ in headers):
            return headers
        userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return (*headers, ("Authorization", "Basic " + base64.b64encode(userinfo.encode()).decode("ascii")))

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


def _kept(query: str) -> str:
    """The user's part of the query, unchanged. It is not decoded, as percent escapes need not stand for text."""
    parts = [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) not in _OURS]
    return "".join(quote(part, safe="%!$'()*+,;=:@/?") + "&" for part in parts)


def _milliseconds(seconds: float) -> str:
    """Whole milliseconds, as Primus writes them, or up to three decimals."""
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")
