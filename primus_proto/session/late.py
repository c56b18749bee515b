"""Texts that are decoded only when the application takes them: so no values wait, each in memory that is cold by then.

The law kept here: a message of the protocol is never late, and the order of messages stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import DecodeError
from ..parsers.json import FastJSONParser, JSONParser
from ..plugin_events import Delivery
from .link import Link
from .messages import NOTHING

__all__ = ["LateLink"]

PARSERS = (JSONParser, FastJSONParser)
LEAST, MOST = 512, 16 * 1024
"""The lengths between which a text is late: it is worth it, and the work of many at once is still bounded."""


class Heartbeat(Protocol):
    """A heartbeat, as far as a message matters to it."""

    hears_all: bool

    def heard(self, now: float) -> None:
        """A message came."""


class LateLink(Link):
    """A session whose binding may take texts undecoded."""

    __slots__ = ("takes_text",)

    heartbeat: Heartbeat
    takes_text: Callable[[str], None] | None
    """Set by a binding while values are only taken: gets long texts, which `decode_late` decodes."""

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        if (takes := self.takes_text) is None or not self._receive_late(data, takes, now):
            self.receive_messages((data,), now=now)

    def _receive_late(self, text: str | bytes, takes: Callable[[str], None], now: float) -> bool:
        """Deliver a text undecoded. Returns False if it has to be decoded at once."""
        if (
            not (type(text) is str and LEAST <= len(text) <= MOST)
            or text[0] not in "{["  # a string may be a message of the protocol
            or self.state.over
            or not self.receives
            or self._incoming is not None
            or type(self.parser) not in PARSERS
        ):
            return False
        if self.heartbeat.hears_all:
            self.heartbeat.heard(now)
        self._emit(Delivery(self, takes, (text,), "data", len(text)))
        return True

    def decode_late(self, text: str) -> Any:
        """Decode a text that was delivered undecoded. Returns `NOTHING` after an error, of which an event tells."""
        try:
            return self.parser.decode(text)
        except DecodeError as error:
            self._error(error)
            return NOTHING
