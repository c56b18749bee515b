"""The options of clients and servers: checked when they are made, and frozen.

The names are those of Primus in snake_case. An invalid value raises a `ConfigError` that names the option and says what
it takes.
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
from .http.model import check_extra_header
from .limits import Limits, check_count, check_number
from .options import Dialect, Strategy
from .parsers import Parser, get_parser
from .transports.registry import TRANSPORTS

__all__ = ["ClientConfig", "ServerConfig"]

DIALECTS = ("auto", "happn", "primus6", "primus")
STRATEGIES = ("disconnect", "online", "timeout")


def _pathname(value: object) -> str:
    """Check a pathname, and normalise ``primus`` and ``/primus/`` to ``/primus``."""
    if isinstance(value, str):
        path = "/" + value.strip("/")
        segments = path[1:].split("/")
        if re.fullmatch(r"[\w.~!$&'()*+,;=:@%/-]+", path, re.ASCII) and not {"", ".", ".."} & set(segments):
            return path
    raise ConfigError(f"pathname must be a URL path like '/primus', without query or empty segments; got {value!r}")


def _strategy(value: str | Collection[str] | bool | None) -> frozenset[str]:
    """Normalise all that Primus takes. None means all three; False, '' and an empty collection mean never."""
    if value is None or value is True:
        return frozenset(STRATEGIES)
    if value is False:
        return frozenset()
    if not isinstance(value, Collection):
        raise ConfigError(f"strategy must be a collection of {', '.join(STRATEGIES)}, or None, or False; got {value!r}")
    items: Iterable[object] = value.split(",") if isinstance(value, str) else value
    names = frozenset(str(item).strip().lower() for item in items) - {""}
    unknown = names.difference(STRATEGIES)
    if unknown:
        known = ", ".join(STRATEGIES)
        raise ConfigError(f"unknown strategy {', '.join(sorted(unknown))!r}; known: {known}; False: never reconnect")
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
        raise ConfigError(f"url must name a host, and a port from 1 to 65535 if it names one; got {value!r}")
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        # Libraries fail in different ways over such a name, some of them with a connection half made.
        raise ConfigError(f"url must name a host whose parts have 1 to 63 characters; got {value!r}")
    if re.search(r"[\x00-\x20\x7f]", value) or not value.isascii():
        raise ConfigError(f"url must be ASCII without spaces; percent-encode the rest; got {value!r}")
    if parts.path.rstrip("/") not in ("", pathname):
        raise ConfigError(f"url must not have a path of its own: give pathname={parts.path!r} instead; got {value!r}")
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Options of a client. Durations are seconds. The defaults come from protocol 3.1, 4.3, 4.4 and 4.6."""

    url: str
    """The address of the server: ``http(s)://host[:port]/?query``, or with ws or wss. Its path goes to `pathname`."""
    pathname: str = "/primus"
    """The path under which the server's Primus answers. Default: ``/primus``."""
    parser: str | Parser = "json"
    """The name of a parser, or a `Parser`; the same as the server's. Default: ``json``."""
    transformer: str = "websockets"
    """The name of the transport; the same as the server's. Default: ``websockets``."""
    transport: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Options of the transport itself, by name; `websockets` has none. Default: none."""
    dialect: Dialect = "auto"
    """Which end sends the heartbeats: as in ``happn``, ``primus6`` or ``primus`` (7 and later). Default: ``auto``, what
    the server speaks."""
    ping: float | Literal[False] | None = None
    """Seconds from the open, and from each pong, to the client's next ping. False or 0: no heartbeat. Default: None, 25
    seconds or what suits the server. Not in dialect ``primus``."""
    pong: float = 10.0
    """Seconds that the server has to answer a ping. Default: 10. Not in dialect ``primus``."""
    ping_timeout: float | Literal[False] | None = None
    """Dialect ``primus``: seconds without a ping from the server after which the connection is lost. False or 0: no
    limit. Default: None, 45 seconds or what suits the server."""
    timeout: float | Literal[False] = 10.0
    """Seconds that the first attempt to connect may take. False or 0: no limit. Default: 10."""
    strategy: Strategy | Collection[Strategy] | bool | None = None
    """When to reconnect: any of ``disconnect``, ``online`` and ``timeout``. False or empty: never. Default: None, all
    three."""
    min: float = 0.5
    """Seconds before the first attempt to reconnect; the delays grow from there. Default: 0.5."""
    max: float = math.inf
    """The longest delay between attempts to reconnect, in seconds. Default: inf, no limit."""
    factor: float = 2.0
    """The factor by which the delay grows with each attempt. Default: 2."""
    retries: int | None = 10
    """How many attempts to reconnect are made before giving up. None: never give up. Default: 10."""
    reconnect_timeout: float = 30.0
    """Seconds that one attempt to reconnect may take. Default: 30."""
    queue_size: int | None = None
    """How many messages are kept while not connected. 0: none. Default: None, as many as `Limits.queue` bytes hold."""
    manual: bool = False
    """Whether to wait for `open()` before the first attempt to connect. Default: False."""
    headers: Mapping[str, str] | Collection[tuple[str, str]] = ()
    """Header fields to send with the connect request. Default: none."""
    limits: Limits = field(default_factory=Limits)
    """Bounds on what the server can make grow. Default: `Limits()`."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        _url(self.url, self.pathname)
        put(self, "parser", get_parser(self.parser))
        put(self, "transport", _transport(self))
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
        """The URL, split."""
        return urlsplit(self.url)

    @property
    def transport_options(self) -> Any:
        """`transport`, as the object that the transport makes of it."""
        return TRANSPORTS[self.transformer].make_options(self.transformer, self.transport)

    @property
    def secure(self) -> bool:
        """Whether the URL's scheme means TLS."""
        return self.parts().scheme in ("https", "wss")

    @property
    def hostname(self) -> str:
        """The host of the URL, an IPv6 address without its brackets."""
        return self.parts().hostname or ""

    @property
    def port(self) -> int:
        """The port of the URL, or the default port of its scheme."""
        return self.parts().port or (443 if self.secure else 80)

    @property
    def authority(self) -> str:
        """``host[:port]`` as in the URL, without the user."""
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
    """Options of a server. Durations are seconds. The defaults come from protocol 2, 3.2 and 6."""

    pathname: str = "/primus"
    """The path that Primus owns on this server, with everything below it. Default: ``/primus``."""
    parser: str | Parser = "json"
    """The name of a parser, or a `Parser`. Default: ``json``."""
    transformer: str = "websockets"
    """The name of the transport. Default: ``websockets``."""
    transport: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Options of the transport itself, by name; `websockets` has none. Default: none."""
    allow_skipped_heartbeats: int = 2
    """Dialect ``happn``: how many heartbeats in a row a spark may miss before it is ended; at least 2. Default: 2."""
    dialect: Dialect = "auto"
    """Which end sends the heartbeats: as in ``happn``, ``primus6`` or ``primus`` (7 and later). Default: ``auto``, what
    each client speaks."""
    timeout: float | Literal[False] = 35.0
    """Dialect ``primus6``: seconds without a message after which a spark is ended. False or 0: never. Default: 35."""
    ping_interval: float | Literal[False] = 30.0
    """Dialect ``primus``: seconds between the server's pings. False or 0: no pings. Default: 30."""
    detect_after: float = 35.0
    """Dialect ``auto``: seconds without a ping after which a client is taken for ``primus``. Default: 35."""
    pong_skip_time: float = 1.0
    """Dialect ``happn``: pings of one spark that come within this many seconds get one pong together. Default: 1."""
    authorization: Literal[False, True, "all"] = False
    """Which requests are held for authorization (`RequestHeld`). True: those for a new session; ``"all"``: those of
    open sessions too. Default: False, none."""
    trusted_proxies: Collection[str] = ()
    """IP addresses or networks of proxies whose ``X-Forwarded-For`` is believed. Default: none."""
    limits: Limits = field(default_factory=Limits)
    """Bounds on what a client can make grow. Default: `Limits()`."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        put(self, "parser", get_parser(self.parser))
        put(self, "transport", _transport(self))
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

    @property
    def transport_options(self) -> Any:
        """`transport`, as the object that the transport makes of it."""
        return TRANSPORTS[self.transformer].make_options(self.transformer, self.transport)

    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return parse_networks(self.trusted_proxies)


def _pairs(headers: Mapping[str, str] | Collection[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Check header fields for the connect request; returns them as pairs."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    try:
        pairs = [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise ConfigError(f"headers must be a mapping or (name, value) pairs; got {headers!r}") from None
    for name, value in pairs:
        check_extra_header(name, value)
    return tuple(pairs)


def _proxies(value: object) -> tuple[str, ...]:
    if not isinstance(value, Collection) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"trusted_proxies must be a collection of addresses, as strings; got {value!r}")
    return tuple(value)


def _limits(value: object) -> None:
    if not isinstance(value, Limits):
        raise ConfigError(f"limits must be a Limits; got {value!r}")


def _dialect(config: ClientConfig | ServerConfig, **heeded: tuple[str, ...]) -> None:
    """Check the dialect, and that no option is set that only other dialects use.

    `heeded` names the dialects that use an option. An option that is off or has its default is never a mistake.
    """
    dialect = config.dialect
    if dialect not in DIALECTS:
        raise ConfigError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    for option in fields(config):
        value, where = getattr(config, option.name), heeded.get(option.name)
        if where is not None and dialect not in ("auto", *where) and value not in (False, option.default):
            others = " or ".join(map(repr, (*where, "auto")))
            raise ConfigError(f"{option.name} must not be set in dialect {dialect!r}, only in {others}; got {value!r}")


def _off(config: object, name: str, *, unset: bool = False) -> None:
    """Check a duration that False or 0 switches off. `unset`: it may be None too."""
    value = getattr(config, name)
    if isinstance(value, int | float) and value == 0:
        object.__setattr__(config, name, False)
    elif not (unset and value is None):
        check_number(name, value, above=True, other=" (False or 0: off)")


def _transport(config: ClientConfig | ServerConfig) -> dict[str, Any]:
    """Check the transport's name, that it can carry what the parser makes, and its own options; returns those."""
    name: object = config.transformer
    if not isinstance(name, str) or name not in TRANSPORTS:
        raise ConfigError(f"unknown transformer {name!r}; known: {', '.join(sorted(TRANSPORTS))}")
    TRANSPORTS[name].check_parser(name, get_parser(config.parser))
    TRANSPORTS[name].make_options(name, config.transport)
    return dict(config.transport)
