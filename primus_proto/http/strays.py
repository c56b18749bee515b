"""Requests that lead to no session although their sender wants one: said in the log, with the likely cause.

A server answers them, but often only the client sees how. The law kept here: a cause is told at most once in `EVERY`
seconds, so that nobody can fill the log.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import ServerConfig
from .model import Request, Response, owns

__all__ = ["EVERY", "Strays", "stray"]

EVERY = 60.0
QUOTE = 100  # characters of a path
SPOKEN = {"engine.io": "Engine.IO", "sockjs": "SockJS", "websockets": "plain WebSockets"}
SOCKJS = ("/info", "/xhr", "/xhr_streaming", "/eventsource", "/htmlfile", "/jsonp")
"""Ends of the paths that a client of SockJS asks for first."""


class Strays:
    """Reports stray requests."""

    def __init__(self, config: ServerConfig, warn: Callable[[str], None]) -> None:
        self._config = config
        self._warn = warn
        self._told: dict[str, float] = {}  # by cause: when
        self._more: dict[str, int] = {}  # by cause: how many since then

    def look(self, request: Request, answer: Response | None, now: float) -> None:
        """Look at a request that a layer answered, or that goes to the transport."""
        if answer is not None and answer.status not in (400, 404, 426):
            return
        found = stray(self._config, request)
        if found is None:
            return
        cause, text = found
        if now < self._told.get(cause, -EVERY) + EVERY:
            self._more[cause] = self._more.get(cause, 0) + 1
            return
        more = self._more.pop(cause, 0)
        self._told[cause] = now
        again = f" ({more} more since the last time)" if more else ""
        self._warn(
            f"{request.method} {request.path[:QUOTE]!r} from {request.peer.ip or 'a Unix socket'}: {text}{again}"
        )


def stray(config: ServerConfig, request: Request) -> tuple[str, str] | None:
    """Return why a request leads to no session, as a word and a sentence; None if it does, or wants none."""
    query, path, base = request.query_string, request.path, config.base
    wants = request.is_upgrade or "_primuscb=" in query
    if not owns(base, path):
        if wants or "EIO=" in query:
            return "path", f"the client has another pathname; this server's is {config.pathname!r}"
        return None
    own = "websockets" if config.transformer in ("faye", "lws") else config.transformer
    spoken = own  # as far as it shows
    if "EIO=" in query:
        spoken = "engine.io"
    elif path.endswith(SOCKJS) and path.startswith(base + "/"):
        spoken = "sockjs"
    elif own != "websockets" and wants and path in (base, base + "/"):
        spoken = "websockets"
    if spoken != own and own in SPOKEN:
        return spoken, f"the client speaks {SPOKEN[spoken]}; this server's transformer is {config.transformer!r}"
    if own == "websockets":
        if not request.is_upgrade:
            if wants:
                return "upgrade", "a WebSocket was asked for without 'Upgrade': a proxy on the way may have removed it"
        elif "upgrade" not in request.headers.tokens("connection"):
            return "upgrade", "'Connection' does not say 'Upgrade': a proxy on the way may have replaced it"
    if config.dialect == "happn" and request.is_upgrade and "_primuscb=" in query and "ping=" not in query:
        return "dialect", "the client does not say its heartbeat, as those of dialect 'happn' do; 'auto' serves all"
    return None
