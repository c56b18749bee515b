"""HTTP as data: `Headers`, `Request`, `Response`, and checks of paths and header fields. Nothing is read or written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigError, Refused

__all__ = [
    "CLOSING", "UPGRADE_REQUIRED", "Address", "Answer", "Headers", "PeerCertificate", "Request", "Response",
    "check_extra_header", "check_header", "check_status", "error_response", "is_clean", "json_response",
    "merge_headers", "owns", "pairs_of", "refusal", "text_response", "wants_websocket", "without_headers",
]  # fmt: skip

# The fields that say where a message ends: set by what sends it.
FRAMING = frozenset(("content-length", "transfer-encoding"))
# The fields that make a request or an answer what it is. Those of the WebSocket handshake count too.
CONNECTION = FRAMING | {"host", "connection", "upgrade"}

# The fields whose values do not belong into logs.
SECRET = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))


def check_header(name: object, value: object) -> None:
    """Raise ConfigError unless this is a valid header field, without a line break in it (RFC 9110, 5.5 and 5.6.2)."""
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ConfigError(f"not a header field name: {name!r}")
    if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
        raise ConfigError(f"header {name} has a value that cannot be sent: {value!r}")


def check_extra_header(name: str, value: object) -> None:
    """Raise ConfigError unless this header field is valid and can be added to any request or answer."""
    check_header(name, value)
    if name.lower() in CONNECTION or name.lower().startswith("sec-websocket-"):
        raise ConfigError(f"header {name} belongs to the connection and cannot be set")


def pairs_of(fields: Any) -> tuple[tuple[Any, Any], ...]:
    """Make pairs of header fields that may be a mapping. Raises ConfigError if that is impossible."""
    items = fields.pairs if isinstance(fields, Headers) else fields.items() if isinstance(fields, Mapping) else fields
    try:
        return tuple((name, value) for name, value in items)
    except (TypeError, ValueError):
        raise ConfigError(f"headers must be a mapping or (name, value) pairs; got {fields!r:.80}") from None


class Headers(Mapping[str, str]):
    """Header fields in order, as a mapping whose names ignore case.

    A lookup returns the last value of a repeated name; `get_all` returns them all.
    """

    # Every session keeps the headers of its request. The requests of one kind of client have the same names.
    __slots__ = ("_names", "_places", "_values")

    def __init__(self, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        if type(pairs) is not list and isinstance(pairs, Mapping):
            pairs = pairs.items()
        names, self._values = _unzip(pairs)
        self._names, self._places = _shared_names(names)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All fields as (name, value) pairs, in order, with names as sent."""
        return tuple(zip(self._names, self._values, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all fields, in order, as sent. The same object for all headers that have these names."""
        return self._names

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        places = self._places.get(name.lower(), ())
        if len(places) == 1:
            return [self._values[places[0]]]
        return [self._values[place] for place in places]

    def tokens(self, name: str) -> list[str]:
        """The elements of a comma-separated list field, in lower case (RFC 9110, 5.6.1)."""
        return [*_tokens(",".join(self.get_all(name)))]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._places

    def __getitem__(self, name: str) -> str:
        places = self._places.get(name.lower())
        if places is None:
            raise KeyError(name)
        return self._values[places[-1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Headers({[(name, '...' if name.lower() in SECRET else value) for name, value in self.pairs]!r})"


def _unzip(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names, values = tuple(zip(*pairs, strict=True)) or ((), ())
    return names, values


@lru_cache(maxsize=64)  # nearly all requests have the same few
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(token for element in text.lower().split(",") if (token := element.strip()))


@lru_cache(maxsize=256)
def _shared_names(names: tuple[str, ...]) -> tuple[tuple[str, ...], Mapping[str, tuple[int, ...]]]:
    """The names as sent, and the places of each in lower case: the same objects for all that have these names."""
    places: dict[str, tuple[int, ...]] = {}
    for place, name in enumerate(names):
        key = name.lower()
        places[key] = (*places.get(key, ()), place)
    return names, places


class Address(NamedTuple):
    """The address of a peer. For a Unix socket `ip` is empty and `port` is 0, which is also an unknown port."""

    ip: str
    port: int


class PeerCertificate(NamedTuple):
    """The certificate that a client presented for TLS, and that the server verified."""

    der: bytes
    """The certificate, in DER."""
    fields: Mapping[str, Any]
    """What `ssl.SSLSocket.getpeercert` says of it, such as its ``subject``; empty if the host gives only the
    certificate."""


class Request:
    """The head of one HTTP request."""

    __slots__ = (
        "_cookies",
        "_state",
        "address",
        "headers",
        "host_context",
        "http_version",
        "is_upgrade",
        "method",
        "opens_session",
        "path",
        "peer",
        "peer_certificate",
        "query_string",
        "root",
        "route",
        "scope",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        peer: Address,
        *,
        http_version: str = "1.1",
        root: str = "",
    ) -> None:
        self.method = method
        self.target = target
        """The request target as sent: the path and the query string."""
        self.headers = headers
        self.peer = peer
        """The address of the other end of the socket. Behind a proxy, this is the proxy."""
        self.peer_certificate: PeerCertificate | None = None
        """The client's certificate, if the TLS context asks for one; otherwise None."""
        self.http_version = http_version
        self.root = root
        """The path at which the host mounts the server, such as ASGI's ``root_path``; not a part of `target`."""
        self.address: Address = peer
        """The address of the client; behind a trusted proxy, the one that the proxy tells."""
        self.scope: Any = None
        """What the host gives an application with the request: the scope of an ASGI host, otherwise None."""
        self.host_context: Any = None
        """The context variables of the host for this request, in which a binding runs the user's code; or None."""
        self.opens_session = True
        """Whether it asks for a new session. False for a request of an open session, such as a poll."""
        self.route: Any = None  # the transport's `Route`
        self.path, _, self.query_string = target.partition("?")
        self.is_upgrade: bool = "websocket" in headers.tokens("upgrade")
        """Whether it asks for an upgrade to a WebSocket."""
        self._cookies: dict[str, str] | None = None
        self._state: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """Free for layers and the application, by names of their own: what one puts here is on `spark.request`."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name, as sent. Of a repeated name the first, which has the most specific path (RFC 6265)."""
        if self._cookies is None:
            self._cookies = {}
            for field in self.headers.get_all("cookie"):
                for pair in field.split(";"):
                    name, equals, value = pair.partition("=")
                    value = value.strip()
                    if value[:1] == value[-1:] == '"' and len(value) > 1:
                        value = value[1:-1]
                    if equals and name.strip():
                        self._cookies.setdefault(name.strip(), value)
        return self._cookies

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        """All (key, value) pairs of the query string, decoded, in order."""
        # `Limits.head` bounds the number of pairs. They are not kept: a request lives as long as its session.
        query = self.query_string
        if "%" not in query and "+" not in query:  # nothing to decode, as most often
            return [(key, value) for key, _, value in [pair.partition("=") for pair in query.split("&") if pair]]
        return parse_qsl(self.query_string, keep_blank_values=True)

    @property
    def query(self) -> dict[str, str]:
        """The query as a dict, with the last value of a repeated key."""
        return dict(self.query_pairs)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r} from {self.peer.ip}:{self.peer.port}>"  # the query has secrets


@dataclass(frozen=True, slots=True, init=False)
class Response:
    """A whole HTTP answer. ``Content-Length`` and ``Date`` are added when it is sent.

    Raises ConfigError for a status that is not from 200 to 999, for header fields that cannot be sent, and for a body
    that is not bytes.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def __init__(
        self, status: int, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        given: object = status
        if not isinstance(given, int) or not 200 <= given <= 999:
            raise ConfigError(f"the status of an answer must be from 200 to 999; got {status!r}")
        if not isinstance(body, bytes):
            raise ConfigError(f"the body of an answer must be bytes, as in text.encode(); got a {type(body).__name__}")
        put = object.__setattr__
        put(self, "status", status)
        put(self, "headers", pairs_of(headers))
        put(self, "body", body)
        for name, value in self.headers:
            check_header(name, value)
            if name.lower() in FRAMING:
                raise ConfigError(f"header {name} is set when the answer is sent")


class Answer(NamedTuple):
    """A whole HTTP answer as a client received it. Unlike a `Response`, it is not checked."""

    status: int
    headers: Headers
    body: bytes


def json_response(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Make an answer whose body is `value` as compact JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return Response(status, (("Content-Type", "application/json"), *headers), body)


def text_response(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Make a plain-text answer for people to read."""
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), text.encode() + b"\n")


def error_response(status: int, message: str, authenticate: str | None = None) -> Response:
    """Make a refusal as Primus does: JSON ``{"error": message}`` (protocol 6).

    With status 401, `authenticate` becomes ``WWW-Authenticate``.
    """
    headers = (("WWW-Authenticate", authenticate),) if authenticate and status == 401 else ()
    return json_response(status, {"error": message}, headers)


CLOSING = error_response(503, "the server is closing")
UPGRADE_REQUIRED = text_response(
    426, "Upgrade Required: this address speaks WebSocket", (("Upgrade", "websocket"), ("Connection", "Upgrade"))
)


def wants_websocket(request: Request) -> bool:
    """Whether a request claims to be a WebSocket handshake. The wire checks whether it is a valid one."""
    return request.method == "GET" and request.is_upgrade


def check_status(status: object) -> None:
    """Raise ConfigError for a status that does not refuse a request."""
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ConfigError(f"the status of a refusal must be from 400 to 599; got {status!r}")


def refusal(error: Refused, default: int) -> Response:
    """Make the answer to a request that was refused. Raises ConfigError for a status or header that cannot be sent."""
    status = default if error.status is None else error.status
    check_status(status)
    return error_response(status, error.message, error.authenticate)


# Fields that may be repeated, each time with another value.
REPEATABLE = frozenset(("set-cookie", "vary", "www-authenticate", "link"))


def without_headers(
    headers: tuple[tuple[str, str], ...], overridden: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Leave out of `headers` the fields that `overridden` has too, but for those that may be repeated."""
    names = {name.lower() for name, _ in overridden} - REPEATABLE
    return tuple(pair for pair in headers if pair[0].lower() not in names)


def merge_headers(
    headers: tuple[tuple[str, str], ...], more: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Add the fields of a later layer. They override earlier ones of the same name, unless these may be repeated."""
    return (*without_headers(headers, more), *more) if headers and more else (headers or more)


def owns(pathname: str, path: str) -> bool:
    """Whether `path` is `pathname` or below it. Whole segments are compared (protocol 2)."""
    base = pathname.removesuffix("/")
    return path == base or path.startswith(base + "/")


def is_clean(pathname: str, path: str) -> bool:
    """Whether a path under the pathname has no dot segments and no ``//``, percent-encoded ones included."""
    rest = unquote(path[len(pathname.removesuffix("/")) :])
    return rest in ("", "/") or {"", ".", ".."}.isdisjoint(rest[1:].removesuffix("/").split("/"))
