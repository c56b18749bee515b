"""A poll of a client: the request that waits for packets, its copies, and its answer (protocol 8.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..base import Exchange
from .packets import BINARY3, Framing, jsonp_answer

__all__ = ["Poll", "answer_poll"]

NO_STORE = ("Cache-Control", "no-store")


def answer_poll(exchange: Exchange, framing: Framing, body: bytes, *, now: float) -> None:
    """Answer a request with packets, as a script if it came from one."""
    content_type = framing.content_type
    headers = [NO_STORE]
    number = exchange.request.query.get("j")
    if number is not None and framing is not BINARY3:  # a session that began without it takes bytes
        body = jsonp_answer(re.sub(r"[^0-9]", "", number)[:20], body)
        content_type = "text/javascript; charset=UTF-8"
        headers.append(("X-Content-Type-Options", "nosniff"))
    exchange.respond(200, [("Content-Type", content_type), *headers], body, now=now)


@dataclass(slots=True)
class Poll:
    """A request that waits for packets. A proxy may have repeated it: then its copies are answered alike."""

    stamp: str
    exchanges: list[Exchange] = field(default_factory=list)
