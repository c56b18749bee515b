"""Types of the options, for functions that take them as keywords: ``**options: Unpack[ClientOptions]``.

`config` documents and checks the options. A test keeps names and types the same in both places.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal, TypedDict

from .compression import Compression
from .http.forwarded import ForwardedBy
from .limits import Limits
from .parsers import AsyncParser, Parser

__all__ = ["ClientOptions", "ServerOptions"]

Dialect = Literal["auto", "happn", "primus6", "primus"]
Strategy = Literal["disconnect", "online", "timeout"]
Plugins = Mapping[str, Any] | Collection[Any]
"""Names of plugins, or a mapping of names to plugins."""


# Values, or functions that are asked for them before every attempt to connect.
Pairs = Mapping[str, str] | Collection[tuple[str, str]]
PairsSource = Pairs | Callable[[], Pairs | Awaitable[Pairs]]
URLSource = str | Callable[[], str | Awaitable[str]]


class ClientOptions(TypedDict, total=False):
    """The options of `primus_proto.ClientConfig`, without the URL."""

    query: PairsSource
    pathname: str
    parser: str | Parser | AsyncParser
    transformer: str
    transport: Mapping[str, Any]
    dialect: Dialect
    ping: float | Literal[False] | None
    pong: float
    ping_timeout: float | Literal[False] | None
    timeout: float | Literal[False]
    strategy: Strategy | Collection[Strategy] | bool | None
    min: float
    max: float
    factor: float
    retries: float | None
    reconnect_timeout: float
    queue_size: float | None
    receive: bool
    manual: bool
    compression: bool | Compression
    headers: PairsSource
    cookies: PairsSource
    first_message: Any
    plugins: Plugins
    limits: Limits


class ServerOptions(TypedDict, total=False):
    """The options of `primus_proto.ServerConfig`."""

    pathname: str
    parser: str | Parser | AsyncParser
    transformer: str
    transport: Mapping[str, Any]
    allow_skipped_heartbeats: int
    dialect: Dialect
    timeout: float | Literal[False]
    ping_interval: float | Literal[False]
    detect_after: float
    pong_skip_time: float
    authorization: Literal[False, True, "all"]
    compression: bool | Compression
    origins: str | Collection[str]
    methods: str | Collection[str]
    credentials: bool
    max_age: float
    allow_headers: str | Collection[str]
    exposed: str | Collection[str]
    trusted_proxies: Collection[str]
    forwarded_by: ForwardedBy
    receive: bool
    plugins: Plugins
    limits: Limits
