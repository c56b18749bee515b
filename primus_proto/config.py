"""Options: frozen, validated when made, durations in seconds.

Names are the original's in snake_case. A wrong value raises `ConfigError`, saying which option and what it takes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigError
from .http.forwarded import Network, parse_networks
from .http.model import check_header
from .limits import Limits, check_count, check_number
from .options import Dialect, Strategy
from .parsers import Parser, get_parser
from .transports.registry import TRANSPORTS

__all__ = ["ClientConfig", "ServerConfig"]

DIALECTS = ("auto", "happn", "primus6", "primus")
STRATEGIES = ("disconnect", "online", "timeout")
# Header fields by which the connect request is what it is.
HANDSHAKE = frozenset(("host", "connection", "upgrade", "content-length", "transfer-encoding"))


def _pathname(value: object) -> str:
    """Normalise ``primus``, ``/primus/`` and ``/primus`` to the last; the characters a URL path may have."""
    if isinstance(value, str):
        path = "/" + value.strip("/")
        segments = path[1:].split("/")
        if re.fullmatch(r"[\w.~!$&'()*+,;=:@%/-]+", path, re.ASCII) and not {"", ".", ".."} & set(segments):
            return path
    raise ConfigError(f"pathname must be a URL path like '/primus', without query or empty segments; got {value!r}")


def _strategy(value: str | Collection[str] | bool | None) -> frozenset[str]:
    """Normalise what the original takes: None is all three; False, '' and an empty collection never reconnect."""
    if value is None or value is True:
        return frozenset(STRATEGIES)
    if value is False:
        return frozenset()
    if not isinstance(value, Collection):
        raise ConfigError(f"strategy must be a collection of {', '.join(STRATEGIES)}; or None or False; got {value!r}")
    items: Iterable[object] = value.split(",") if isinstance(value, str) else value
    names = frozenset(str(item).strip().lower() for item in items) - {""}
    unknown = names.difference(STRATEGIES)
    if unknown:
        known = ", ".join(STRATEGIES)
        raise ConfigError(f"unknown strategy {', '.join(sorted(unknown))!r}; known: {known}; or False for none")
    return names


def _url(value: object, pathname: str) -> SplitResult:
    """Check a connect URL (protocol 2) and split it."""
    if not isinstance(value, str):
        raise ConfigError(f"url must be a string like 'http://localhost:8080'; got {value!r}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"url {value!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https", "ws", "wss"):
        raise ConfigError(f"url must start with http://, https://, ws:// or wss://; got {value!r}")
    if not parts.hostname or port == 0:
        raise ConfigError(f"url must name a host and, if any, a port from 1 to 65535; got {value!r}")
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        # Libraries differ in how they fail over such a name, and some do it with a connection half made.
        raise ConfigError(f"url must name a host whose parts have 1 to 63 characters; got {value!r}")
    if re.search(r"[\x00-\x20\x7f]", value) or not value.isascii():
        raise ConfigError(f"url must be ASCII without spaces; percent-encode the rest; got {value!r}")
    if parts.path.rstrip("/") not in ("", pathname):
        raise ConfigError(f"url must not have a path of its own: give pathname={parts.path!r} instead; got {value!r}")
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Options of a client. Source of the defaults: protocol 3.1, 4.3, 4.4 and 4.6."""

    url: str
    """``http(s)://host[:port]/?query`` (or ws, wss): where the server is. The path is `pathname`'s business."""
    pathname: str = "/primus"
    """The path that the server's Primus owns."""
    parser: str | Parser = "json"
    """A parser's name or a `Parser`; the same as the server's."""
    transformer: str = "websockets"
    """The transport's name; the same as the server's."""
    transport: Mapping[str, Any] = field(default_factory=dict)
    """Options of the transport's own; `websockets` has none."""
    dialect: Dialect = "auto"
    """Who sends the heartbeats: ``happn``, ``primus6`` or ``primus`` (7 and later); ``auto``: what the server is."""
    ping: float | Literal[False] | None = None
    """Seconds from the open, and from each pong, to the next ping; False or 0: no heartbeat; None: 25, or what suits
    the server. Not in dialect ``primus``."""
    pong: float = 10.0
    """Seconds the server has to answer a ping. Not in dialect ``primus``."""
    ping_timeout: float | Literal[False] | None = None
    """Dialect ``primus``: seconds without a ping of the server's; False or 0: no limit; None: 45, or what suits it."""
    timeout: float | Literal[False] = 10.0
    """Seconds the first connect may take; False or 0: no limit."""
    strategy: Strategy | Collection[Strategy] | bool | None = None
    """When to reconnect: any of ``disconnect``, ``online``, ``timeout``; None: all; False or empty: never."""
    min: float = 0.5
    """Seconds before the first reconnect attempt, and the base of the back-off."""
    max: float = math.inf
    """The longest delay between reconnect attempts, seconds."""
    factor: float = 2.0
    """The factor by which the delay grows."""
    retries: int | None = 10
    """How many reconnect attempts are made before giving up; None: it never does."""
    reconnect_timeout: float = 30.0
    """Seconds one reconnect attempt may take."""
    queue_size: int | None = None
    """How many messages are kept while not connected: None: no limit but `Limits.queue`; 0: none."""
    manual: bool = False
    """True: do not connect before `open()` is called."""
    headers: Mapping[str, str] | Collection[tuple[str, str]] = ()
    """Header fields to send with the connect request."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        _url(self.url, self.pathname)
        put(self, "parser", get_parser(self.parser))
        put(self, "transport", _transport(self.transformer, get_parser(self.parser), self.transport))
        for name in ("ping", "ping_timeout", "timeout"):
            _off(self, name, unset=name != "timeout")
        check_number("pong", self.pong, above=True)
        _dialect(self, ping=("happn", "primus6"), pong=("happn", "primus6"), ping_timeout=("primus",))
        check_number("min", self.min)
        check_number("max", self.max, least=self.min, infinite=True)
        check_number("factor", self.factor, above=True)
        check_count("retries", self.retries, none="it never gives up")
        check_number("reconnect_timeout", self.reconnect_timeout, above=True)
        check_count("queue_size", self.queue_size, none="no limit but limits.queue")
        put(self, "strategy", _strategy(self.strategy))
        put(self, "headers", _pairs(self.headers))
        _limits(self.limits)

    def parts(self) -> SplitResult:
        """The URL, taken apart."""
        return urlsplit(self.url)

    @property
    def secure(self) -> bool:
        """Whether the URL asks for TLS."""
        return self.parts().scheme in ("https", "wss")

    @property
    def hostname(self) -> str:
        """The host of the URL, an IPv6 address without its brackets."""
        return self.parts().hostname or ""

    @property
    def port(self) -> int:
        """The port of the URL, or its scheme's."""
        return self.parts().port or (443 if self.secure else 80)

    @property
    def authority(self) -> str:
        """``host[:port]`` as the URL has it, without a user."""
        return self.parts().netloc.rpartition("@")[2]

    @property
    def strategies(self) -> frozenset[str]:
        """`strategy`, normalised."""
        return _strategy(self.strategy)

    @property
    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """`headers`, as pairs."""
        return _pairs(self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Options of a server. Source of the defaults: protocol 2, 3.2 and 6."""

    pathname: str = "/primus"
    """The path that Primus owns on this server, matched by whole segments."""
    parser: str | Parser = "json"
    """A parser's name or a `Parser`."""
    transformer: str = "websockets"
    """The transport's name."""
    transport: Mapping[str, Any] = field(default_factory=dict)
    """Options of the transport's own; `websockets` has none."""
    allow_skipped_heartbeats: int = 2
    """How many heartbeat timeouts in a row a spark survives; at least 2."""
    dialect: Dialect = "auto"
    """Who sends the heartbeats: ``happn``, ``primus6`` or ``primus`` (7 and later); ``auto``: what each client is."""
    timeout: float | Literal[False] = 35.0
    """Dialect ``primus6``: seconds without a message after which a spark is ended; False or 0: never."""
    ping_interval: float | Literal[False] = 30.0
    """Dialect ``primus``: seconds between the server's pings; False or 0: none."""
    detect_after: float = 35.0
    """Dialect ``auto``: seconds without a ping after which a client is taken for ``primus``."""
    pong_skip_time: float = 1.0
    """Seconds within which pings of one spark get one pong together."""
    authorization: Literal[False, True, "all"] = False
    """True: ask (`RequestHeld`) for each new session; ``"all"``: for each request under the pathname."""
    trusted_proxies: Collection[str] = ()
    """Addresses or networks whose ``X-Forwarded-For`` is believed."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        put(self, "parser", get_parser(self.parser))
        put(self, "transport", _transport(self.transformer, get_parser(self.parser), self.transport))
        check_count("allow_skipped_heartbeats", self.allow_skipped_heartbeats, least=2)
        check_number("pong_skip_time", self.pong_skip_time)
        _off(self, "timeout")
        _off(self, "ping_interval")
        check_number("detect_after", self.detect_after, above=True)
        for_happn = {"allow_skipped_heartbeats": ("happn",), "pong_skip_time": ("happn",)}
        _dialect(self, timeout=("primus6",), ping_interval=("primus",), detect_after=(), **for_happn)
        if self.authorization not in (False, True, "all"):
            raise ConfigError(f"authorization must be False, True or 'all'; got {self.authorization!r}")
        put(self, "trusted_proxies", _proxies(self.trusted_proxies))
        _limits(self.limits)
        self.networks()

    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return parse_networks(self.trusted_proxies)


def _pairs(headers: Mapping[str, str] | Collection[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Check the header fields that a user wants sent with the connect request."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    try:
        pairs = [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise ConfigError(f"headers must be a mapping or (name, value) pairs; got {headers!r}") from None
    for name, value in pairs:
        check_header(name, value)
        if name.lower() in HANDSHAKE or name.lower().startswith("sec-websocket-"):
            raise ConfigError(f"header {name} belongs to the connection and cannot be set")
    return tuple(pairs)


def _proxies(value: object) -> tuple[str, ...]:
    if not isinstance(value, Collection) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"trusted_proxies must be a collection of addresses, as strings; got {value!r}")
    return tuple(value)


def _limits(value: object) -> None:
    if not isinstance(value, Limits):
        raise ConfigError(f"limits must be a Limits; got {value!r}")


def _dialect(config: ClientConfig | ServerConfig, **heeded: tuple[str, ...]) -> None:
    """Check the dialect, and that no option is set that is `heeded` only in others; what is off there is no mistake."""
    dialect = config.dialect
    if dialect not in DIALECTS:
        raise ConfigError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    for option in fields(config):
        value, where = getattr(config, option.name), heeded.get(option.name)
        if where is not None and dialect not in ("auto", *where) and value not in (False, option.default):
            others = " or ".join(map(repr, (*where, "auto")))
            raise ConfigError(f"{option.name} must not be set in dialect {dialect!r}, only in {others}; got {value!r}")


def _off(config: object, name: str, *, unset: bool = False) -> None:
    """Check a duration that False or 0 switches off, and, where it may be `unset`, None leaves to be found out."""
    value = getattr(config, name)
    if isinstance(value, int | float) and value == 0:
        object.__setattr__(config, name, False)
    elif not (unset and value is None):
        check_number(name, value, above=True, other=" (False or 0: off)")


def _transport(name: object, parser: Parser, options: object) -> Any:
    """Check the transformer's name, that it carries what the parser makes, and its own options; returns those."""
    if not isinstance(name, str) or name not in TRANSPORTS:
        raise ConfigError(f"unknown transformer {name!r}; known: {', '.join(sorted(TRANSPORTS))}")
    transport = TRANSPORTS[name]
    transport.check_parser(name, parser)
    return transport.make_options(name, options)
