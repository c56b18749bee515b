"""The options of clients and servers: checked when they are made, and frozen.

The names are those of Primus in snake_case. An invalid value raises a `ConfigError` that names the option and says what
it takes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import SplitResult

from .compression import Compression, compression_of
from .errors import ConfigError
from .http.cors import METHODS, MONTH, Cors, parse_cors
from .http.forwarded import FORWARDED_BY, ForwardedBy, Network, parse_networks
from .http.model import check_extra_header, pairs_of
from .http.url import Host, host_of, parse_url, redacted
from .limits import HOUR, Limits, check_count, check_flag, check_number, check_seconds
from .options import Dialect, PairsSource, Plugins, Strategy, URLSource
from .parsers import AsyncParser, Parser, get_parser
from .plugins.registry import load_plugins
from .session.messages import NOTHING
from .suggestions import suggestion
from .transports.registry import TRANSPORTS

__all__ = ["ASKED", "ClientConfig", "ServerConfig", "check_config"]

DIALECTS = ("auto", "happn", "primus6", "primus")
STRATEGIES = ("disconnect", "online", "timeout")
ASKED = ("url", "query", "headers", "cookies", "first_message")


def _pathname(value: object) -> str:
    """Check a pathname, and put a slash in front of one that has none."""
    if isinstance(value, str) and value:
        path = "/" + value.removeprefix("/")
        segments = path[1:].removesuffix("/").split("/")
        is_clean = path == "/" or not {"", ".", ".."} & set(segments)
        if is_clean and re.fullmatch(r"[\w.~!$&'()*+,;=:@%/-]+", path, re.ASCII):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Options of a client. Durations are seconds. The defaults come from protocol 3.1, 4.3, 4.4 and 4.6."""

    url: URLSource
    """The address of the server: ``http(s)://host[:port]/?query``, or with ws or wss. Its path goes to `pathname`.
    A function is asked before every attempt to connect, as are those for `query`, `headers`, `cookies` and
    `first_message`."""
    query: PairsSource = ()
    """Pairs to add to the query of the URL, or a function that returns them. Default: none."""
    pathname: str = "/primus"
    """The path under which the server's Primus answers. It may end with a slash, which is kept. Default:
    ``/primus``."""
    parser: str | Parser | AsyncParser = "json"
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
    retries: float | None = 10
    """How many attempts to reconnect are made before giving up. None or inf: never. Default: 10."""
    reconnect_timeout: float = 30.0
    """Seconds that one attempt to reconnect may take. Default: 30."""
    queue_size: float | None = None
    """How many messages are kept while not connected. 0: none. Default: None (or inf), as many as `Limits.queue` bytes
    hold."""
    receive: bool = True
    """Whether to hand out values that arrive. False: for a client that only writes; values are dropped and counted by
    `discarded`. Default: True."""
    manual: bool = False
    """Whether to wait for `open()` before the first attempt to connect. Default: False."""
    compression: bool | Compression = False
    """Whether to offer compression of WebSocket messages, and how it is done. Default: False."""
    headers: PairsSource = ()
    """Header fields to send with the connect request, or a function that returns them. Default: none."""
    cookies: PairsSource = ()
    """Cookies to send with the connect request, or a function that returns them. Default: none."""
    first_message: Any = NOTHING
    """The value to send first on every connection, before values that were kept, or a function that returns it. It
    passes no transforms. Default: none."""
    plugins: Plugins = field(default_factory=dict, hash=False)
    """Plugins: names, or a mapping of names to plugins. Default: none."""
    limits: Limits = field(default_factory=Limits)
    """Bounds on what the server can make grow. Default: `Limits()`."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        if not callable(self.url):
            parse_url(self.url, self.pathname)
        put(self, "query", _text_pairs("query", self.query))
        _parser(self)
        put(self, "plugins", load_plugins(self.plugins))
        _transport(self)
        for name in ("ping", "ping_timeout", "timeout"):
            _off(self, name, unset=name != "timeout")
        check_seconds("pong", self.pong, above=True)
        _dialect(self, ping=("happn", "primus6"), pong=("happn", "primus6"), ping_timeout=("primus",))
        check_seconds("min", self.min, most=300)
        check_seconds("max", self.max, least=self.min, infinite=True, most=2 * HOUR)
        check_number("factor", self.factor, above=True)
        _count(self, "retries", "it never gives up")
        check_seconds("reconnect_timeout", self.reconnect_timeout, above=True)
        _count(self, "queue_size", "no limit but limits.queue")
        check_flag("manual", self.manual)
        check_flag("receive", self.receive)
        put(self, "strategy", _strategy(self.strategy))
        put(self, "headers", _pairs(self.headers))
        put(self, "cookies", _cookies(self.cookies, self.headers))
        compression_of(self.compression)
        _limits(self.limits)

    def __repr__(self) -> str:
        given = [f"url={self.url if callable(self.url) else redacted(self.url)}"]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("headers", "cookies", "query") and not callable(value):
                value = [f"{name}: ..." for name, _ in value]
            if option.name == "first_message" and value is not NOTHING and not callable(value):
                value = ...  # perhaps a token
            if option.name != "url" and value not in (option.default, [], {}, Limits()):
                given.append(f"{option.name}={value!r}")
        return f"ClientConfig({', '.join(given)})"

    def parts(self) -> SplitResult:
        """The URL, split. Raises ConfigError if it is a function."""
        return parse_url(self.url, self.pathname)

    @property
    def functions(self) -> dict[str, Callable[[], Any]]:
        """The options that are functions, to be asked before every attempt."""
        given = {name: getattr(self, name) for name in ASKED}
        return {name: value for name, value in given.items() if callable(value)}

    @property
    def base(self) -> str:
        """`pathname` without a slash at its end; what is below it begins with a slash."""
        return self.pathname.removesuffix("/")

    @property
    def host(self) -> Host:
        """The names of the URL's host."""
        return host_of(self.parts())

    @property
    def transport_options(self) -> Any:
        """`transport`, as the object that the transport makes of it."""
        return TRANSPORTS[self.transformer].make_options(self.transformer, self.transport)

    @property
    def secure(self) -> bool:
        """Whether the URL's scheme means TLS."""
        return self.parts().scheme in ("https", "wss")

    @property
    def port(self) -> int:
        """The port of the URL, or the default port of its scheme."""
        return self.parts().port or (443 if self.secure else 80)

    @property
    def authority(self) -> str:
        """``host[:port]`` for ``Host``."""
        port = self.parts().port
        return self.host.header if port is None else f"{self.host.header}:{port}"

    @property
    def strategies(self) -> frozenset[str]:
        """`strategy`, normalised."""
        return _strategy(self.strategy)

    @property
    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """`headers`, as pairs, with a field for the cookies."""
        pairs: tuple[tuple[str, str], ...] = _pairs(self.headers)
        cookies = "; ".join(f"{name}={value}" for name, value in _cookies(self.cookies, ()))
        return (*pairs, ("Cookie", cookies)) if cookies else pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Options of a server. Durations are seconds. The defaults come from protocol 2, 3.2 and 6."""

    pathname: str = "/primus"
    """The path that Primus owns on this server, with everything below it. ``/`` is every path. Default: ``/primus``."""
    parser: str | Parser | AsyncParser = "json"
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
    compression: bool | Compression = False
    """Whether WebSocket messages are compressed for clients that offer it, and how. Default: False."""
    origins: str | Collection[str] = "*"
    """The web sites whose pages may use the server, such as ``["https://example.org"]``, for WebSockets too. Default:
    ``*``, every site."""
    methods: str | Collection[str] = METHODS
    """Methods of cross-origin requests that are allowed. Empty: all. Default: GET, HEAD, PUT, POST, DELETE, OPTIONS."""
    credentials: bool = True
    """Whether pages of other sites may send cookies and read the answers. Default: True."""
    max_age: float = MONTH
    """Seconds for which browsers may keep the answer to a preflight. 0: not told. Default: 30 days."""
    allow_headers: str | Collection[str] = ()
    """Header fields that pages of other sites may send. Default: none named, which allows those they ask for."""
    exposed: str | Collection[str] = ()
    """Header fields of answers that pages of other sites may read. Default: none but the usual ones."""
    trusted_proxies: Collection[str] = ()
    """IP addresses or networks of proxies that say for whom they connect; ``"unix"`` is every peer on a Unix socket.
    Default: none."""
    forwarded_by: ForwardedBy = "x-forwarded-for"
    """The one header field that is believed of a trusted proxy: ``x-forwarded-for``, ``forwarded`` (RFC 7239) or
    ``x-real-ip``. The proxy must set it itself. Default: ``x-forwarded-for``."""
    receive: bool = True
    """Whether to hand out values that arrive. False: for a server that only writes; values are dropped and counted by
    `discarded` of their spark. Default: True."""
    plugins: Plugins = field(default_factory=dict, hash=False)
    """Plugins: names, or a mapping of names to plugins. Default: none."""
    limits: Limits = field(default_factory=Limits)
    """Bounds on what a client can make grow. Default: `Limits()`."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "pathname", _pathname(self.pathname))
        _parser(self)
        put(self, "plugins", load_plugins(self.plugins))
        _transport(self)
        check_count("allow_skipped_heartbeats", self.allow_skipped_heartbeats, least=2)
        check_seconds("pong_skip_time", self.pong_skip_time, most=60)
        _off(self, "timeout")
        _off(self, "ping_interval")
        check_seconds("detect_after", self.detect_after, above=True)
        for_happn = {"allow_skipped_heartbeats": ("happn",), "pong_skip_time": ("happn",)}
        _dialect(self, timeout=("primus6",), ping_interval=("primus",), detect_after=(), **for_happn)
        which: object = self.authorization
        if which is not True and which is not False and which != "all":
            hint = "; a function is given as authorize=" if callable(which) else ""
            raise ConfigError(f"authorization must be False, True or 'all'; got {which!r}{hint}")
        check_flag("receive", self.receive)
        put(self, "trusted_proxies", _proxies(self.trusted_proxies))
        _forwarded_by(self)
        _limits(self.limits)
        self.networks()
        self.cors()
        compression_of(self.compression)

    @property
    def transport_options(self) -> Any:
        """`transport`, as the object that the transport makes of it."""
        return TRANSPORTS[self.transformer].make_options(self.transformer, self.transport)

    def cors(self) -> Cors:
        """The options that concern cross-origin requests."""
        return parse_cors(self.origins, self.methods, self.credentials, self.max_age, self.allow_headers, self.exposed)

    @property
    def base(self) -> str:
        """`pathname` without a slash at its end; what is below it begins with a slash."""
        return self.pathname.removesuffix("/")

    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return parse_networks(self.trusted_proxies)


def check_config(given: object, config: type) -> None:
    """Raise ConfigError unless a configuration was given, rather than a URL or a dict."""
    if not isinstance(given, config):
        raise ConfigError(f"give a {config.__name__}, not a {type(given).__name__}")


def _text_pairs(option: str, given: Any) -> Any:
    """Check pairs of strings, without showing them; returns them, or the function."""
    if callable(given):
        return given
    try:
        pairs = tuple((name, value) for name, value in (given.items() if isinstance(given, Mapping) else given))
    except (TypeError, ValueError):
        pairs = ((None, None),)
    if not all(isinstance(each, str) for pair in pairs for each in pair):
        raise ConfigError(f"{option} must be a mapping of strings, or (name, value) pairs of strings")
    return pairs


def _cookies(given: Any, headers: Any) -> Any:
    """Check cookies (RFC 6265, 4.1.1, but for its ban of quotes, commas and backslashes, which are in use)."""
    pairs = _text_pairs("cookies", given)
    if callable(pairs):
        return pairs
    for name, value in pairs:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ConfigError(f"not the name of a cookie: {name!r}")
        if not re.fullmatch(r"[!-:<-~]*", value):
            raise ConfigError(f"cookie {name} has a value that cannot be sent: encode spaces, semicolons and non-ASCII")
    if pairs and not callable(headers) and any(name.lower() == "cookie" for name, _ in headers):
        raise ConfigError("give cookies, or a header Cookie, not both")
    return pairs


def _pairs(headers: Any) -> Any:
    """Check header fields for the connect request; returns them as pairs, or the function."""
    if callable(headers):
        return headers
    pairs = pairs_of(headers)
    for name, value in pairs:
        check_extra_header(name, value)
    return pairs


def _proxies(value: object) -> tuple[str, ...]:
    if not isinstance(value, Collection) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"trusted_proxies must be a collection of addresses, as strings; got {value!r}")
    return tuple(value)


def _forwarded_by(config: ServerConfig) -> None:
    """Check the name of a header field, in any letter case."""
    given: object = config.forwarded_by
    name = given.lower() if isinstance(given, str) else ""
    if name not in FORWARDED_BY:
        raise ConfigError(f"forwarded_by must be one of {', '.join(FORWARDED_BY)}; got {given!r}")
    object.__setattr__(config, "forwarded_by", name)


def _parser(config: ClientConfig | ServerConfig) -> None:
    """Check the parser. A name is kept as one, in lower case."""
    get_parser(config.parser)
    if isinstance(config.parser, str):
        object.__setattr__(config, "parser", config.parser.lower())


def _count(config: ClientConfig, name: str, none: str) -> None:
    """Check a number that may be None or infinite, which is the same."""
    if getattr(config, name) == math.inf:
        object.__setattr__(config, name, None)
    check_count(name, getattr(config, name), none=none)


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
        check_seconds(name, value, above=True, other=" (False or 0: off)")


def _transport(config: ClientConfig | ServerConfig) -> None:
    """Check the transport's name, that it can carry what the parser makes, and its own options."""
    given: object = config.transformer
    name = given.lower() if isinstance(given, str) else ""
    if name not in TRANSPORTS:
        meant = suggestion(name, TRANSPORTS)
        raise ConfigError(f"unknown transformer {given!r}; known: {', '.join(sorted(TRANSPORTS))}{meant}")
    TRANSPORTS[name].check_parser(name, get_parser(config.parser))
    TRANSPORTS[name].make_options(name, config.transport)
    object.__setattr__(config, "transformer", name)
    object.__setattr__(config, "transport", dict(config.transport))
