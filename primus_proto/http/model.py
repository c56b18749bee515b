"""HTTP as data: `Headers`, `Request`, `Response`; whose a path is, what ``/spec`` says. Nothing is read or written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigError

__all__ = [
    "CLOSING", "UPGRADE_REQUIRED", "Address", "Answer", "Headers", "Request", "Response", "check_header",
    "check_status", "error_response", "is_clean", "json_response", "owns", "text_response", "wants_websocket",
]  # fmt: skip


def check_header(name: object, value: object) -> None:
    """ConfigError unless this is a header field that cannot smuggle another one in (RFC 9110, 5.5 and 5.6.2)."""
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ConfigError(f"not a header field name: {name!r}")
    if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
        raise ConfigError(f"header {name} has a value that cannot be sent: {value!r}")


class Headers(Mapping[str, str]):
    """Header fields: ordered, names compared without regard to case, `get_all` for repeated ones.

    A mapping lookup gives the last value of a repeated name.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        self._pairs = tuple(pairs.items() if isinstance(pairs, Mapping) else pairs)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All fields as (name, value), in order, names as sent."""
        return self._pairs

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        name = name.lower()
        return [value for key, value in self._pairs if key.lower() == name]

    def tokens(self, name: str) -> list[str]:
        """The elements of a comma-separated list field, in lower case (RFC 9110, 5.6.1)."""
        elements = ",".join(self.get_all(name)).split(",")
        return [element.strip().lower() for element in elements if element.strip()]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.lower() for key, _ in self._pairs))

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self._pairs})

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"


class Address(NamedTuple):
    """Where a connection comes from. For a Unix socket `ip` is empty and `port` 0."""

    ip: str
    port: int


class Request:
    """The head of one HTTP request."""

    __slots__ = (
        "_pairs",
        "context",
        "headers",
        "http_version",
        "method",
        "opens_session",
        "path",
        "peer",
        "query_string",
        "root",
        "route",
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
        self.method: str = method
        self.target: str = target
        """The request target as sent: path and query string."""
        self.headers: Headers = headers
        self.peer: Address = peer
        """The other end of the socket; behind a proxy, the proxy."""
        self.http_version: str = http_version
        self.root: str = root
        """The path that the server is mounted at in a host that speaks HTTP itself; not a part of `target`."""
        self.context: Any = None
        """The application's to use: what authorization found out, say."""
        self.opens_session: bool = True
        """Whether it asks for a new session; False for a request of a session that is open, such as a poll."""
        self.route: Any = None  # where the transport wants it to go
        self.path: str
        self.query_string: str
        self.path, _, self.query_string = target.partition("?")
        self._pairs: list[tuple[str, str]] | None = None

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for an upgrade to a WebSocket."""
        return "websocket" in self.headers.tokens("upgrade")

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        """All (key, value) pairs of the query string, decoded, in order."""
        if self._pairs is None:
            # The number of pairs is bounded by the size of the head.
            self._pairs = parse_qsl(self.query_string, keep_blank_values=True)
        return self._pairs

    @property
    def query(self) -> dict[str, str]:
        """The query as a dict; of a repeated key, the last value."""
        return dict(self.query_pairs)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} from {self.peer.ip}:{self.peer.port}>"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP answer. ``Content-Length`` and ``Date`` are added when it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            check_header(name, value)


class Answer(NamedTuple):
    """A whole HTTP answer as a client received it: unlike `Response`, the peer's words, unchecked."""

    status: int
    headers: Headers
    body: bytes


def json_response(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer whose body is `value` as compact JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return Response(status, (("Content-Type", "application/json"), *headers), body)


def text_response(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A short plain-text answer for a person to read."""
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), text.encode() + b"\n")


def error_response(status: int, message: str, authenticate: str | None = None) -> Response:
    """A refusal in the form Primus gives it: JSON ``{"error": message}`` (protocol 6).

    `authenticate` becomes ``WWW-Authenticate`` when the status is 401.
    """
    headers = (("WWW-Authenticate", authenticate),) if authenticate and status == 401 else ()
    return json_response(status, {"error": message}, headers)


CLOSING = error_response(503, "the server is closing")
UPGRADE_REQUIRED = text_response(
    426, "Upgrade Required: this address speaks WebSocket", (("Upgrade", "websocket"), ("Connection", "Upgrade"))
)


def wants_websocket(request: Request) -> bool:
    """Whether a request claims to be a WebSocket handshake; whether it is a good one is for the wire to say."""
    return request.method == "GET" and request.is_upgrade


def check_status(status: object) -> None:
    """ConfigError for what cannot refuse a request."""
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ConfigError(f"the status of a refusal must be from 400 to 599; got {status!r}")


def owns(pathname: str, path: str) -> bool:
    """Whether `path` is `pathname` or lies under it, by whole segments (protocol 2)."""
    return path == pathname or path.startswith(pathname + "/")


def is_clean(pathname: str, path: str) -> bool:
    """Whether an owned path is free of dot segments and ``//``, written plainly or percent-encoded."""
    rest = unquote(path[len(pathname) :])
    return rest in ("", "/") or {"", ".", ".."}.isdisjoint(rest[1:].removesuffix("/").split("/"))
