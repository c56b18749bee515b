"""What a person can do about a connection that could not be made, or did not last."""

from __future__ import annotations

import contextlib
import json

from primus_proto import ConnectError, PrimusError

__all__ = ["advice"]

# What the error says -> what to do. The first that fits.
HINTS = (
    ("certificate", "name the authority to trust with --ca FILE, or use --insecure if you know what you do."),
    ("reset", "is this the port of a Primus server?"),
    ("cannot connect to /", "is the server running, and is the path of --unix right?"),
    ("no such file", "is the server running, and is the path of --unix right?"),
    ("refused", "is the server running, and are host and port right?"),
    ("name or service not known", "is the host name right?"),
    ("nodename nor servname", "is the host name right?"),
    ("getaddrinfo failed", "is the host name right?"),
    ("name resolution", "is the host name right, and the network up?"),
    ("unreachable", "is the host right, and the network up?"),
    ("no route to host", "is the host right, and the network up?"),
    ("does not speak http", "is this the port of a Primus server? For a server with TLS use https://."),
    ("without an answer", "for a server with TLS use https://."),
    ("no answer in time", "something takes connections there but does not answer: is it a Primus server?"),
    ("websocket handshake", "is this a Primus server?"),
    ("no primus under this pathname", "see --pathname."),
)
# What an error says to programmers.
NOT_FOR_HERE = "; if that is the right server, give ssl="
LONGEST_BODY = 200


def advice(error: PrimusError) -> str:
    """The error in a sentence or two, with what to do about it where that is known."""
    text = str(error).partition(NOT_FOR_HERE)[0]
    if not isinstance(error, ConnectError):
        return _sentence(text)
    hint = next((hint for sign, hint in HINTS if sign in text.lower()), "")
    if error.status in (401, 403):
        hint = "give what the server asks for in the URL's query, or with --header."
    asks = "?" in text
    text += _said(error.body)
    if asks and not hint.endswith("."):  # it has a question of its own, and one is enough
        return _sentence(text)
    if asks:
        return f"{text} {hint[0].upper()}{hint[1:]}"
    return f"{text}; {hint}" if hint else _sentence(text)


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else f"{text}."


def _said(body: bytes) -> str:
    """What a server said with a refusal, unless that is a page for a browser."""
    text = " ".join(body.decode("utf-8", "replace").split())
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(text)
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            text = answer["error"]
    if not text or text.startswith("<"):
        return ""
    return f" (it said: {text[:LONGEST_BODY]}{'…' if len(text) > LONGEST_BODY else ''})"
