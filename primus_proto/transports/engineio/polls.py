"""A poll of a client: the request that waits for packets, its copies, and its answer (protocol 8.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...http.model import Address
from ..base import Exchange
from .packets import Framing, jsonp_answer

__all__ = ["Answered", "Poll", "answer_poll", "stamp"]

NO_STORE = ("Cache-Control", "no-store")


def stamp(exchange: Exchange) -> str:
    """What a client puts into the URL of each of its requests to tell it from all others; empty if it does not."""
    return exchange.request.query.get("t", "")


def answer_poll(exchange: Exchange, framing: Framing, body: bytes, *, now: float) -> None:
    """Answer a request with packets, as a script if it came from one."""
    content_type = framing.content_type
    headers = [NO_STORE]
    number = exchange.request.query.get("j")
    if number is not None:
        body = jsonp_answer(re.sub(r"[^0-9]", "", number)[:20], body)
        content_type = "text/javascript; charset=UTF-8"
        headers.append(("X-Content-Type-Options", "nosniff"))
    exchange.respond(200, [("Content-Type", content_type), *headers], body, now=now)


@dataclass(slots=True)
class Poll:
    """A request that waits for packets. A proxy may have repeated it: then its copies are answered alike."""

    stamp: str
    exchanges: list[Exchange] = field(default_factory=list)


@dataclass(slots=True)
class Answered:
    """The last poll that was answered. A repetition of it is given the same answer again."""

    stamp: str
    peers: set[Address]
    framing: Framing
    body: bytes

    def repeated_by(self, exchange: Exchange) -> bool:
        """Whether this is the same request once more, on another connection.

        On the same connection nobody repeats what was answered, and clients with coarse stamps use one twice.
        """
        return bool(self.stamp) and self.stamp == stamp(exchange) and exchange.request.peer not in self.peers
