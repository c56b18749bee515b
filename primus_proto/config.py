"""Options: frozen, validated when made, durations in seconds.

Names are the original's in snake_case. A wrong value raises `ConfigError`, saying which option and what it takes.
"""

from __future__ import annotations

import ipaddress
import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigError
from .parsers import Parser, get_parser

__all__ = ["ClientConfig", "Limits", "ServerConfig"]

DIALECTS = ("auto", "happn", "primus6", "primus")
STRATEGIES = ("disconnect", "online", "timeout")
# Header fields by which the connect request is what it is.
HANDSHAKE = frozenset(("host", "connection", "upgrade", "content-length", "transfer-encoding"))
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _number(
    name: str, value: object, *, least: float = 0.0, above: bool = False, infinite: bool = False, other: str = ""
) -> None:
    """`other` says what else is as good, and is not looked for here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        enough = value > least if above else value >= least
        if enough and (value <= sys.float_info.max or (infinite and value == math.inf)):
            return
    want = f"a number {'above' if above else 'of at least'} {least:g}"
    raise ConfigError(f"{name} must be {want}{'' if infinite else ', and finite'}{other}; got {value!r}")


def _count(name: str, value: object, *, least: int = 0, none: str = "") -> None:
    """None is as good as a number where `none` says what it means."""
    if value is None and none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        other = f", or None: {none}" if none else ""
        raise ConfigError(f"{name} must be a whole number of at least {least}{other}; got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything a peer can make grow (protocol 7). Sizes in bytes, durations in seconds."""

    head: int = 16 * 1024
    """The largest HTTP head (request or response) that is read."""
    handshake: float = 10.0
    """How long a request head, a request body, or an idle keep-alive connection may take."""
    body: int = 1024 * 1024
    """The largest HTTP body that is read."""
    pipelined: int = 16 * 1024
    """Unread bytes behind an unanswered request, above which reading stops until it is answered."""
    message: int = 10 * 1024 * 1024
    """The largest message accepted, by its declared length."""
    fragments: int = 1024
    """The largest number of frames that one message may be cut into."""
    backlog: int = 1024 * 1024
    """Unsent bytes of one spark, counted before the message at hand, above which it is cut."""
    queue: int = 16 * 1024 * 1024
    """Bytes a client keeps for later, while it is not connected or the server does not read."""
    close: float = 5.0
    """How long a closing handshake may take before the connection is dropped."""
    heartbeat_min: float = 1.0
    """The shortest heartbeat timeout that a client may ask of a server."""
    heartbeat_max: float = 600.0
    """Times `allow_skipped_heartbeats` + 1: the longest silence that a client may ask of a server."""
    authorizations: int = 1000
    """How many requests may wait for authorization at once; more are answered 503."""
    authorization: float = 10.0
    """How long a request may wait for authorization before it is answered 503."""

    def __post_init__(self) -> None:
        for name in ("head", "pipelined", "message", "fragments"):
            _count(f"limits.{name}", getattr(self, name), least=1)
        for name in ("body", "backlog", "queue", "authorizations"):
            _count(f"limits.{name}", getattr(self, name))
        for name in ("handshake", "close", "heartbeat_min", "heartbeat_max", "authorization"):
            _number(f"limits.{name}", getattr(self, name), above=True)
        if self.heartbeat_min > self.heartbeat_max:
            raise ConfigError("limits.heartbeat_min must not be above limits.heartbeat_max")


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
    dialect: Literal["auto", "happn", "primus6", "primus"] = "auto"
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
    strategy: str | Collection[str] | bool | None = None
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
        _transformer(self.transformer)
        for name in ("ping", "ping_timeout", "timeout"):
            _off(self, name, unset=name != "timeout")
        _number("pong", self.pong, above=True)
        _dialect(self, ping=("happn", "primus6"), pong=("happn", "primus6"), ping_timeout=("primus",))
        _number("min", self.min)
        _number("max", self.max, least=self.min, infinite=True)
        _number("factor", self.factor, above=True)
        _count("retries", self.retries, none="it never gives up")
        _number("reconnect_timeout", self.reconnect_timeout, above=True)
        _count("queue_size", self.queue_size, none="no limit but limits.queue")
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
    allow_skipped_heartbeats: int = 2
    """How many heartbeat timeouts in a row a spark survives; at least 2."""
    dialect: Literal["auto", "happn", "primus6", "primus"] = "auto"
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
    """True: ask (`AuthorizationRequested`) for each new session; ``"all"``: for each request under the pathname."""
    trusted_proxies: Collection[str] = ()
    """Addresses or networks whose ``X-Forwarded-For`` is believed."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        put(self, "parser", get_parser(self.parser))
        _transformer(self.transformer)
        _count("allow_skipped_heartbeats", self.allow_skipped_heartbeats, least=2)
        _number("pong_skip_time", self.pong_skip_time)
        _off(self, "timeout")
        _off(self, "ping_interval")
        _number("detect_after", self.detect_after, above=True)
        for_happn = {"allow_skipped_heartbeats": ("happn",), "pong_skip_time": ("happn",)}
        _dialect(self, timeout=("primus6",), ping_interval=("primus",), detect_after=(), **for_happn)
        if self.authorization not in (False, True, "all"):
            raise ConfigError(f"authorization must be False, True or 'all'; got {self.authorization!r}")
        put(self, "trusted_proxies", _proxies(self.trusted_proxies))
        _limits(self.limits)
        self.networks()

    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        try:
            return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in self.trusted_proxies)
        except ValueError as error:
            raise ConfigError(f"trusted_proxies must be IP addresses or networks: {error}") from None


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


def check_header(name: object, value: object) -> None:
    """ConfigError unless this is a header field that cannot smuggle another one in (RFC 9110, 5.5 and 5.6.2)."""
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ConfigError(f"not a header field name: {name!r}")
    if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
        raise ConfigError(f"header {name} has a value that cannot be sent: {value!r}")


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
        _number(name, value, above=True, other=" (False or 0: off)")


def _transformer(name: object) -> None:
    from .transports.registry import TRANSPORTS  # here: the registry imports the transports, which need Limits

    if not isinstance(name, str) or name not in TRANSPORTS:
        raise ConfigError(f"unknown transformer {name!r}; known: {', '.join(sorted(TRANSPORTS))}")
