"""The answers that belong to no session: the greeting, ``/info``, the page for iframes, ``/chunking_test``."""

from __future__ import annotations

import hashlib
import html
import json

from ...http.model import Request, Response
from ..base import Exchange, ServerHost
from .options import SockJSOptions
from .receivers import JAVASCRIPT, PRELUDE, cors

__all__ = ["GREETING", "ChunkingTest", "answer_info", "answer_options", "iframe"]

YEAR = 365 * 86400
KEEP = ("Cache-Control", f"public, max-age={YEAR}")

GREETING = Response(200, (("Content-Type", "text/plain; charset=UTF-8"),), b"Welcome to SockJS!\n")

IFRAME = """<!DOCTYPE html>
<html><head>
<meta charset="UTF-8"><meta http-equiv="X-UA-Compatible" content="IE=edge">
<script src="%s"></script>
<script>
document.domain = document.domain;
SockJS.bootstrap_iframe();
</script>
</head><body><p>SockJS uses this page to talk to another origin.</p></body></html>
"""


def iframe(request: Request, options: SockJSOptions) -> Response:
    """The page that a client loads into an iframe where the browser lets it make no requests of its own."""
    page = (IFRAME % html.escape(options.client_url)).encode()
    tag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
    headers = (("ETag", tag), KEEP)
    if tag in request.headers.get("if-none-match", ""):
        return Response(304, headers)
    return Response(200, (("Content-Type", "text/html; charset=UTF-8"), *headers), page)


def answer_options(request: Request, method: str) -> Response:
    """The answer to the question of which requests are allowed."""
    allowed = ("Access-Control-Allow-Methods", f"OPTIONS, {method}")
    return Response(204, (allowed, ("Access-Control-Max-Age", str(YEAR)), KEEP, *cors(request)))


def answer_info(exchange: Exchange, host: ServerHost, *, now: float) -> None:
    """Say what there is. The client has the random number for its own generator."""
    options: SockJSOptions = host.options
    info = {
        "websocket": "websocket" in options.transports,
        "origins": ["*:*"],
        "cookie_needed": False,
        "entropy": host.rng.getrandbits(32),
    }
    body = json.dumps(info, separators=(",", ":")).encode()
    headers = [("Content-Type", "application/json; charset=UTF-8"), *cors(exchange.request)]
    exchange.respond(200, headers, body, now=now)


class ChunkingTest:
    """An answer in pieces, with which clients find out whether something on the way holds them back."""

    PIECES = (
        (0.0, b"h\n"),
        (0.001, b" " * PRELUDE + b"h\n"),
        *((seconds, b"h\n") for seconds in (0.005, 0.025, 0.125, 0.625, 3.125)),
    )

    def __init__(self, exchange: Exchange, host: ServerHost, now: float) -> None:
        self._exchange = exchange
        self._pieces = iter(self.PIECES)
        self._piece = b""
        self._timer = host.timers.new(self._due)
        exchange.on_gone = lambda now: self._timer.cancel()
        exchange.stream(200, [("Content-Type", JAVASCRIPT), *cors(exchange.request)], now=now)
        self._due(now)

    def _due(self, now: float) -> None:
        self._exchange.write(self._piece, now=now)
        piece = next(self._pieces, None)
        if piece is None:
            self._exchange.finish(now=now)
        else:
            seconds, self._piece = piece
            self._timer.set(now + seconds)
