"""The layers before authorization: wrong and unclean paths, ``/spec``, ``primus.js`` and fixed headers (protocol 2)."""

from __future__ import annotations

import json
from typing import Any

from ..config import ServerConfig
from ..parsers import get_parser, spec_name
from .model import CLOSING, Answer, Headers, Request, Response, is_clean, json_response, owns, text_response

__all__ = [
    "answer_client_library",
    "answer_spec",
    "answer_wrong_path",
    "forbid_caching",
    "read_spec",
    "spec_response",
    "switch_xss_filter_off",
]

# The version that `/spec` reports is that of the happn-primus or primus whose protocol is spoken (protocol 2).
SPEC_VERSIONS = {"primus6": "6.1.0", "primus": "8.0.9"}
SPEC_VERSION = "6.0.1"
SPEC_TIMEOUT_MS = 35000

NO_CACHE = Headers({"Cache-Control": "no-store, no-cache, must-revalidate, max-age=0", "Pragma": "no-cache"})
NO_XSS_FILTER = Headers({"X-XSS-Protection": "0"})


def spec_response(config: ServerConfig, root: str = "") -> Response:
    """The answer to ``GET <pathname>/spec`` (protocol 2). Its last member tells a client the dialect (protocol 3.5).

    `root` is the path at which a host mounts the server; clients need it before the pathname.
    """
    spec: dict[str, object] = {
        "version": SPEC_VERSIONS.get(config.dialect, SPEC_VERSION),
        "pathname": root + config.pathname,
        "parser": config.parser if isinstance(config.parser, str) else spec_name(get_parser(config.parser)),
        "transformer": config.transformer,
    }
    if config.dialect == "primus":
        spec["pingInterval"] = config.ping_interval and round(config.ping_interval * 1000)
    elif config.dialect == "primus6":
        spec["timeout"] = config.timeout and round(config.timeout * 1000)
    else:
        spec["timeout"] = SPEC_TIMEOUT_MS  # informative: each client sends its own in the URL
    return json_response(200, spec, (("Cache-Control", "no-store"),))


def answer_wrong_path(base: str, request: Request) -> Response | None:
    """Answer 404 to a path that is not under `base`, and 400 to one that has dot segments or empty ones."""
    path = request.path
    if path == base or path == base + "/":
        return None
    if not owns(base, path):
        return text_response(404, "Not Found: Primus answers under another path")
    if not is_clean(base, path):
        return text_response(400, "Bad Request: the path has dot segments or empty segments")
    return None


def answer_client_library(config: ServerConfig, request: Request) -> Response | None:
    """Answer 404 to a request for ``primus.js``, which this server does not have."""
    if request.path != config.base + "/primus.js":
        return None
    return text_response(404, "Not Found: this server does not have the JavaScript client library")


def answer_spec(config: ServerConfig, request: Request, closing: bool) -> Response | None:
    """Answer a request for ``/spec``."""
    if request.path != config.base + "/spec":
        return None
    if request.method not in ("GET", "HEAD"):
        return text_response(405, "Method Not Allowed", (("Allow", "GET, HEAD"),))
    return CLOSING if closing else spec_response(config, request.root)


def switch_xss_filter_off(request: Request) -> Headers | None:
    """Switch off the filter of old Internet Explorers, which damaged answers."""
    agent = request.headers.get("user-agent", "").lower()
    return NO_XSS_FILTER if ";msie" in agent or "trident/" in agent else None


def forbid_caching(request: Request) -> Headers:
    """Forbid caches to keep the answer."""
    return NO_CACHE


def read_spec(answer: Answer) -> dict[str, Any] | None:
    """The spec in an answer to ``GET <pathname>/spec``; None where it is none."""
    try:
        spec = json.loads(answer.body) if answer.status == 200 else None
    except (ValueError, RecursionError):
        return None
    return spec if isinstance(spec, dict) else None
