"""Cross-origin requests: which web sites may talk to the server, and the answers that tell browsers so (protocol 2)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import ConfigError
from .model import Headers, Request, Response, text_response

__all__ = ["METHODS", "MONTH", "Cors", "answer_cors", "parse_cors"]

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
MONTH = 30 * 86400
YEAR = 366 * 86400

SCHEME = re.compile(r"[a-z][a-z0-9.+-]*:", re.IGNORECASE)
ORIGIN = re.compile(r"[a-z][a-z0-9.+-]*://((?![/?#%@*])[!-~])*", re.IGNORECASE)
DEFAULT_PORT = re.compile(r"(http://.*:80|https://.*:443)", re.IGNORECASE)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
PREFLIGHT = "access-control-request-method"


@dataclass(frozen=True, slots=True)
class Cors:
    """The options of a server that concern cross-origin requests, checked and normalised."""

    origins: frozenset[str] | None
    """In lower case. None: every origin."""
    methods: tuple[str, ...]
    """In upper case. Empty: every method."""
    credentials: bool
    max_age: int
    allow_headers: str
    exposed: str

    def admits(self, origin: str) -> bool:
        """Whether pages of this origin may talk to the server."""
        if "%" in origin or not (origin == "null" or SCHEME.match(origin)):
            return False
        return self.origins is None or origin.lower() in self.origins

    def fields(self, origin: str) -> list[tuple[str, str]]:
        """The header fields that every answer to a page of this origin has."""
        if self.origins is None and not self.credentials:
            return [("Access-Control-Allow-Origin", "*")]
        fields = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if self.credentials:
            fields.append(("Access-Control-Allow-Credentials", "true"))
        return fields

    def preflight(self, request: Request, fields: list[tuple[str, str]]) -> Response:
        """The answer to the question that a browser asks before a request."""
        if self.max_age:
            fields.append(("Access-Control-Max-Age", str(self.max_age)))
        if self.methods:
            fields.append(("Access-Control-Allow-Methods", ", ".join(self.methods)))
        allowed = self.allow_headers or ", ".join(request.headers.get_all("access-control-request-headers"))
        if allowed:
            fields.append(("Access-Control-Allow-Headers", allowed))
        return Response(200, tuple(fields))


def answer_cors(cors: Cors, request: Request) -> Response | Headers | None:
    """Check a request that a page of some origin caused. Answer a preflight, or add headers to the answer.

    A request for a WebSocket is checked only if `origins` names some, since any page may ask for one: browsers do not
    apply CORS there. A request without an origin does not come from a page.
    """
    origins = request.headers.get_all("origin")
    if not origins:
        return None
    origin = ", ".join(origins)  # several are no origin (RFC 9110, 5.3)
    if request.is_upgrade:
        return None if cors.origins is None or cors.admits(origin) else _refuse(request, origin)
    is_preflight = request.method == "OPTIONS" and PREFLIGHT in request.headers
    if not cors.admits(origin) or (cors.methods and request.method not in cors.methods and not is_preflight):
        return _refuse(request, origin)
    fields = cors.fields(origin)
    if is_preflight:
        return cors.preflight(request, fields)
    if cors.exposed:
        fields.append(("Access-Control-Expose-Headers", cors.exposed))
    return Headers(fields)


def _refuse(request: Request, origin: str) -> Response:
    lines = ("Forbidden: a cross-origin request that is not allowed", f"Origin: {origin}", f"Method: {request.method}")
    return text_response(403, "\n".join(lines))


# --- the options ---


def parse_cors(
    origins: object, methods: object, credentials: object, max_age: object, allow_headers: object, exposed: object
) -> Cors:
    """Check the options of a server. Raises ConfigError for invalid ones."""
    if not isinstance(credentials, bool):
        raise ConfigError(f"credentials must be True or False; got {credentials!r}")
    return Cors(
        _origins(origins),
        tuple(method.upper() for method in _tokens("methods", methods)),
        credentials,
        _seconds(max_age),
        ", ".join(_tokens("allow_headers", allow_headers)),
        ", ".join(_tokens("exposed", exposed)),
    )


def _words(name: str, value: object) -> list[str]:
    """The elements of a collection, or of a string that separates them by commas or spaces."""
    items = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    if not isinstance(items, Collection) or isinstance(items, bytes):
        raise ConfigError(f"{name} must be a collection of strings; got {value!r}")
    words: list[str] = []
    for item in items:
        if not isinstance(item, str):
            raise ConfigError(f"{name} must be a collection of strings; got {value!r}")
        words += [item.strip()] if item.strip() else []
    return words


def _tokens(name: str, value: object) -> list[str]:
    words = _words(name, value)
    for word in words:
        if not TOKEN.fullmatch(word):
            raise ConfigError(f"{name} has an element that is not a valid name: {word!r}")
    return words


def _origins(value: object) -> frozenset[str] | None:
    words = _words("origins", value)
    if "*" in words:
        if len(words) > 1:
            raise ConfigError(f"origins is '*' for every origin, or names them, not both; got {value!r}")
        return None
    for word in words:
        if word.lower() != "null" and not ORIGIN.fullmatch(word):
            raise ConfigError(
                f"origins has {word!r}: give an origin as browsers send it, with a scheme, in ASCII, and without a "
                "path or wildcards, such as 'https://example.org' or 'http://localhost:3000'"
            )
        if DEFAULT_PORT.fullmatch(word):
            raise ConfigError(f"origins has {word!r}: leave out the default port, as browsers do")
    return frozenset(word.lower() for word in words)


def _seconds(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= YEAR:
        return int(value)
    raise ConfigError(f"max_age must be a number of seconds from 0 to {YEAR}, a year; got {value!r}")
