"""What the server answers to every client, before authorization: the paths it owns, ``/spec`` and ``primus.js``."""

from __future__ import annotations

from ..config import ServerConfig
from ..parsers import get_parser
from .model import CLOSING, Request, Response, is_clean, json_response, owns, text_response

__all__ = ["public_response", "spec_response"]

# What `/spec` reports: the release of happn-primus, or of primus, whose protocol this is (protocol 2).
SPEC_VERSIONS = {"primus6": "6.1.0", "primus": "8.0.9"}
SPEC_VERSION = "6.0.1"
SPEC_TIMEOUT_MS = 35000


def spec_response(config: ServerConfig, root: str = "") -> Response:
    """What ``GET <pathname>/spec`` answers (protocol 2); its last member tells a client the dialect (protocol 3.5).

    `root` is what the client must put in front of the pathname.
    """
    spec: dict[str, object] = {
        "version": SPEC_VERSIONS.get(config.dialect, SPEC_VERSION),
        "pathname": root + config.pathname,
        "parser": get_parser(config.parser).name.lower(),
        "transformer": config.transformer,
    }
    if config.dialect == "primus":
        spec["pingInterval"] = config.ping_interval and round(config.ping_interval * 1000)
    elif config.dialect == "primus6":
        spec["timeout"] = config.timeout and round(config.timeout * 1000)
    else:
        spec["timeout"] = SPEC_TIMEOUT_MS  # where each client brings its own, this is for show
    return json_response(200, spec)


def public_response(config: ServerConfig, request: Request, closing: bool) -> Response | None:
    """What everybody gets who asks for this (protocol 2); None: that is for a transport to say, and may be refused."""
    path = request.path
    if not owns(config.pathname, path):
        return text_response(404, "Not Found: nothing here but Primus, under another path")
    if not is_clean(config.pathname, path):
        return text_response(400, "Bad Request: dot segments and empty segments are not followed")
    if "websocket" in request.headers.tokens("upgrade"):
        return None
    if path == config.pathname + "/spec":
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "Method Not Allowed", (("Allow", "GET, HEAD"),))
        return CLOSING if closing else spec_response(config, request.root)
    if path == config.pathname + "/primus.js":
        return text_response(404, "Not Found: this server does not carry the JavaScript client library")
    return None
