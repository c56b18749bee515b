"""How the answer to a request carries frames: the ways of a client without a WebSocket (protocol 9.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ...http.model import Request, Response
from ..base import Exchange
from ..polling import stamp

__all__ = ["RECEIVERS", "FrameWriter", "Receiver", "callback_of", "cors", "failure"]

JAVASCRIPT = "application/javascript; charset=UTF-8"
# Some browsers hand out nothing of an answer before this many bytes of it have come.
PRELUDE = 2048
PAGE = 1024

HTMLFILE = """<!doctype html>
<html><head><meta charset="UTF-8"><meta http-equiv="X-UA-Compatible" content="IE=edge"></head><body><script>
document.domain = document.domain;
var c = parent.%s;
c.start();
function p(frame) { c.message(frame); }
window.onload = function () { c.stop(); };
</script>"""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One way to carry frames. `prelude` begins a streamed answer; an answer that is not streamed has one frame."""

    name: str
    method: str
    content_type: str
    frame: Callable[[bytes, str], bytes]
    """Wraps a frame, for the callback that the request names."""
    prelude: Callable[[str], bytes] | None = None
    sender: str = "xhr_send"
    """The last segment of the path of the requests that bring messages."""
    callback: bool = False
    """Whether the request has to name a callback."""

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """The header fields of the answer."""
        fields = [("Content-Type", self.content_type)]
        if self.prelude is not None:
            fields.append(("X-Accel-Buffering", "no"))  # or nginx would keep what is streamed
        return fields + ([("X-Content-Type-Options", "nosniff")] if self.callback else cors(request))


def _line(frame: bytes, callback: str) -> bytes:
    return frame + b"\n"


def _event(frame: bytes, callback: str) -> bytes:
    # Line ends cannot be in it: it is JSON.
    return b"data: " + frame.replace(b"%", b"%25") + b"\r\n\r\n"


def _call(frame: bytes) -> bytes:
    """A frame as a string in a script. It cannot end the script."""
    return json.dumps(frame.decode("ascii")).replace("<", "\\u003c").encode("ascii")


def _element(frame: bytes, callback: str) -> bytes:
    return b"<script>\np(" + _call(frame) + b");\n</script>\r\n"


def _script(frame: bytes, callback: str) -> bytes:
    return b"/**/" + callback.encode("ascii") + b"(" + _call(frame) + b");\r\n"


def _page(callback: str) -> bytes:
    return (HTMLFILE % callback).encode("ascii").ljust(PAGE) + b"\r\n\r\n"


RECEIVERS = {
    "xhr": Receiver("xhr-polling", "POST", JAVASCRIPT, _line),
    "xhr_streaming": Receiver("xhr-streaming", "POST", JAVASCRIPT, _line, lambda _: b"h" * PRELUDE + b"\n"),
    "eventsource": Receiver("eventsource", "GET", "text/event-stream; charset=UTF-8", _event, lambda _: b"\r\n"),
    "htmlfile": Receiver("htmlfile", "GET", "text/html; charset=UTF-8", _element, _page, callback=True),
    "jsonp": Receiver("jsonp-polling", "GET", JAVASCRIPT, _script, sender="jsonp_send", callback=True),
}
"""By the last segment of their paths."""


class FrameWriter:
    """The answer to one request, as it carries frames. Copies of the request are answered alike."""

    __slots__ = ("_callback", "_receiver", "exchange", "exchanges")

    def __init__(self, exchange: Exchange, receiver: Receiver) -> None:
        self.exchange = exchange
        self.exchanges = [exchange]
        """The request and its copies; none but the first if the answer is streamed."""
        self._receiver = receiver
        callback = callback_of(exchange.request) if receiver.callback else ""
        assert isinstance(callback, str)  # or the request would have been refused
        self._callback = callback

    @property
    def streams(self) -> bool:
        """Whether it takes more than one frame."""
        return self._receiver.prelude is not None

    @property
    def stamp(self) -> str:
        """What tells the request from all others; empty if something may repeat it, but nothing would show that.

        The clients of browsers put the time there in milliseconds, which two requests may have in common.
        """
        found = stamp(self.exchange)
        return "" if self.streams or found.isdecimal() else found

    def start(self, *, now: float) -> None:
        """Begin the answer, if it is streamed."""
        if self._receiver.prelude is not None:
            self.exchange.stream(200, self._receiver.headers(self.exchange.request), now=now)
            self.exchange.write(self._receiver.prelude(self._callback), now=now)

    def send(self, frame: bytes, *, now: float) -> None:
        """Send a frame; if it is not streamed, that is the whole answer."""
        data = self._receiver.frame(frame, self._callback)
        if self.streams:
            self.exchange.write(data, now=now)
        else:
            for exchange in self.exchanges:
                exchange.on_gone = None
                exchange.respond(200, self._receiver.headers(exchange.request), data, now=now)

    def whole(self, frame: bytes, *, now: float) -> None:
        """Send a frame that is the whole answer in any case."""
        self.start(now=now)
        self.send(frame, now=now)
        self.finish(now=now)

    def finish(self, *, now: float) -> None:
        """End the answer."""
        if self.streams:
            self.exchange.on_gone = None
            self.exchange.finish(now=now)


def callback_of(request: Request) -> str | Response:
    """The callback that a request names, or the answer to one that names none that can be."""
    query = request.query
    callback = query.get("c", query.get("callback"))
    if not callback:
        return failure('"callback" parameter required')
    if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,32}", callback):
        return failure('invalid "callback" parameter')
    return callback


def failure(text: str, status: int = 500) -> Response:
    """The answer to a request that cannot be served."""
    return Response(status, (("Content-Type", "text/plain; charset=UTF-8"),), text.encode())


def cors(request: Request) -> list[tuple[str, str]]:
    """The header fields that let a page read the answer. These clients always send credentials.

    The layer ``cors`` has refused the origins that are not allowed.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return [("Access-Control-Allow-Origin", "*")]
    return [
        ("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true"), ("Vary", "Origin"),
    ]  # fmt: skip
