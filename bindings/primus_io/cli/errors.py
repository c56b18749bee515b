"""Errors in words for a person, with a hint on what to do about them."""

from __future__ import annotations

from primus_proto import ConnectError, PrimusError

PATHNAME = "See --pathname."
# The hint, and parts of error texts that it fits. The first match is used.
HINTS = (
    ("Pass its certificate with --cert FILE, and perhaps --key FILE.", ("certificate of this client",)),
    ("Pass the CA certificate with --cacert FILE, or skip the check with --insecure.", ("certificate",)),
    ("Is --proxy right?", ("proxy:",)),
    ("Is this the port of a Primus server?", ("reset", "websocket handshake")),
    ("Is the server running, and is the path of --unix right?", ("cannot connect to /", "no such file")),
    ("Is the server running, and are host and port right?", ("refused",)),
    ("Is the host name right?", ("name or service not known", "nodename nor servname", "getaddrinfo failed")),
    ("Is the host right, and the network up?", ("name resolution", "unreachable", "no route to host")),
    ("Is this the port of a Primus server? For a server with TLS use https://.", ("does not speak http",)),
    ("For a server with TLS use https://.", ("without an answer",)),
    ("Something accepts connections there. Is it a Primus server?", ("no answer in time",)),
    (PATHNAME, ("no primus under this pathname",)),
)


def explain(error: PrimusError) -> str:
    """Return the error in a sentence or two, with a hint if there is one."""
    text, hint = str(error).partition("; if that is the right server, give ssl=")[0], ""
    text = text.partition(": give ssl=")[0]
    if isinstance(error, ConnectError):
        hint = next((hint for hint, parts in HINTS if any(part in text.lower() for part in parts)), "")
        if error.status in (401, 403) and hint != PATHNAME:
            hint = "Give the credentials that the server expects in the URL's query or with --header."
        if "?" in text and hint.endswith("?"):  # one question is enough
            hint = ""
    text = text if text.endswith(("?", ".")) else f"{text}."
    return f"{text} {hint}".rstrip()
