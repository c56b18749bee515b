"""The functions `connect`, `serve` and `fetch_spec`: their types, and how a binding makes its own.

Their docstrings say what each option means. The bindings share them.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Protocol, TypeVar, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.options import ClientOptions, ServerOptions, URLSource

from ._advice import running_environment
from ._client import option_error
from ._driver import Driver, ListenAddress
from ._entry import client_config
from ._layers import Middleware
from ._target import ConnectTarget, socket_path
from ._tls import Credentials, Pem, Redirect, server_context, warn_of_plain_http

__all__ = [
    "ConnectFunction",
    "CreateServerFunction",
    "FetchSpec",
    "ServeFunction",
    "make_connect",
    "make_create_server",
    "make_fetch_spec",
    "make_serve",
]

A = TypeVar("A", contravariant=True)
H = TypeVar("H", contravariant=True)
R = TypeVar("R", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])

URL = "str | Callable[[], str | Awaitable[str]]"  # for help()
OPTIONS = re.compile(r"\nOptions, .*", re.DOTALL)
ENTRY = re.compile(r"^ {4}(\w+): .*\n(?: {8}.*\n)*", re.MULTILINE)
WAIT = re.compile(r" {4}wait:.*\n( {8}.*\n)*")


class ConnectFunction(Protocol[R]):
    """The type of `connect`, which returns an async context manager, or in `primus_io.threads` a plain one."""

    def __call__(
        self,
        url: URLSource,
        *,
        wait: bool | float = True,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        server_hostname: str | None = None,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        proxy: str | Literal[True] | None = None,
        **options: Unpack[ClientOptions],
    ) -> R:
        """Connect to a Primus server: ``async with connect("http://localhost:8080") as primus: ...``

        In `primus_io.threads` it is ``with`` instead of ``async with``. `url` is ``http(s)://host[:port]/?query``, or
        the same with ``ws`` and ``wss``, or a function that returns one. Entering waits for the first `open`, and
        raises ConnectError once the client gives up, which by default takes minutes if nothing listens there (see
        `retries`). Leaving calls `end`, and raises again what a listener raised. Invalid options raise ConfigError.

        Options, all by keyword. Durations are seconds, not milliseconds as in JavaScript:
            wait: What entering waits for. True: the first `open`, without a limit of its own. A number: the same for
                at most so many seconds, then TimeoutError. False: nothing; values written meanwhile are kept. Default
                True.
            ssl: TLS context for ``https`` and ``wss``. Default None: `ssl.create_default_context()`.
            unix: Path of a Unix socket to connect to, instead of the host and port of the URL. Default None.
            server_hostname: Name that the server's certificate must be for. Default None: the host of the URL.
            local_addr: Address and port (0: any) of this machine to connect from. Default None: the system chooses.
            sock: Connected socket to use instead of connecting. It is good for one connection, so the client does not
                reconnect. Default None.
            proxy: URL of a proxy to connect through: ``http://[user:password@]host:port`` (CONNECT), or the same with
                socks5 or socks4. Needs the extra "proxy". True: what ``https_proxy`` and the like say. Default None:
                connect directly.
            query: Pairs to add to the query of the URL: a mapping or (name, value) pairs. Or a function, plain or async
                (in `primus_io.threads` plain), that returns them and is asked before each attempt to connect. So may
                be `url`, `headers`, `cookies` and `first_message`. Default ().
            pathname: Path that the server's Primus owns. Default "/primus".
            parser: Name of a parser, or a `Parser`. The server must use the same. Default "json".
            transformer: Name of the transport. The server must use the same. Default "websockets".
            transport: Options of that transport, such as {"transports": ["polling"]} for "engine.io". Default {}.
            dialect: "happn", "primus6" or "primus" (7 and later) says who sends the heartbeats. Default "auto":
                whatever the server does.
            ping: Seconds from the open, and from each pong, to the next ping. False or 0: no heartbeat. Not in
                dialect "primus". Default None: 25, or what suits the server.
            pong: Seconds in which the server must answer a ping. Not in dialect "primus". Default 10.
            ping_timeout: Seconds without a ping from the server after which the connection counts as lost. False or
                0: no limit. For dialect "primus". Default None: 45, or what suits the server.
            timeout: Seconds that the first connect may take. False or 0: no limit. Default 10.
            strategy: When to reconnect: any of "disconnect", "online" and "timeout". False or empty: never. Default
                None: all three.
            min: Seconds before the first reconnect attempt, from which the delays grow. Default 0.5.
            max: Longest delay in seconds between reconnect attempts. Default inf.
            factor: Factor by which the delay grows from attempt to attempt. Default 2.
            retries: Number of reconnect attempts before the client gives up. None or inf: it never does. Default
                10.
            reconnect_timeout: Seconds that one reconnect attempt may take. Default 30.
            queue_size: Number of messages that are kept while not connected. 0: none. Default None, or inf: as many
                as fit into `Limits.queue` bytes.
            receive: False: for a client that only writes. Values that arrive are dropped and counted by `discarded`.
                Listening for them, or receiving them, is an error. Default True.
            manual: True: do not connect before `open()` is called. Default False.
            compression: Whether to offer compression of WebSocket messages. A `Compression` says how. Default False.
            headers: Header fields to send with the connect request: a mapping or (name, value) pairs, or a function
                that returns them. Default ().
            cookies: Cookies to send with the connect request, such as {"session": "4711"}, or a function that returns
                them. Default ().
            first_message: Value to send first on each connection, before values that were kept, or a function that
                returns it. It passes no transforms. Default NOTHING.
            plugins: Plugins: names and objects, or a mapping of names to plugins. Default {}.
            limits: Bounds on sizes (bytes), durations (seconds) and counts. Default Limits().
        """


def make_connect(
    module: str,
    context: Callable[[Callable[[], type[Driver]], URLSource, Any, ConnectTarget, ClientOptions], R],
    find_driver: Callable[[], type[Driver]],
) -> ConnectFunction[R]:
    """Make the `connect` of a binding. Entering looks for the driver."""

    def connect(
        url: URLSource,
        *,
        wait: bool | float = True,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        server_hostname: str | None = None,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        proxy: str | Literal[True] | None = None,
        **options: Unpack[ClientOptions],
    ) -> R:
        target = ConnectTarget(ssl, socket_path(unix), server_hostname, local_addr, sock, proxy)
        return context(find_driver, url, wait, target, options)

    return _export(connect, module, ConnectFunction.__call__.__doc__, {"R": "Connect", "URLSource": URL})


class ServeFunction(Protocol[H, A, R]):
    """The type of `serve`, which returns an async context manager, or in `primus_io.threads` a plain one."""

    def __call__(
        self,
        handler: H | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl.SSLContext | None = None,
        authorize: A | None = None,
        middleware: Middleware = (),
        **options: Unpack[ServerOptions],
    ) -> R:
        """Serve Primus: ``async with serve(handler, "127.0.0.1", 8080) as server: await server.serve_forever()``

        In `primus_io.threads` it is ``with``, and no ``await``. `handler` gets each new spark. It is an async function,
        or in `primus_io.threads` a plain one, which runs in a thread of its own. The spark ends when the handler
        returns. If it raises, the exception is logged and the client may reconnect. None: use ``server.on("connection",
        ...)``. Entering raises OSError if it cannot listen. Invalid options raise ConfigError.

        Options, by keyword unless noted. Durations are seconds, not milliseconds as in JavaScript:
            host: Address to listen on, "" for all addresses. May be positional. Default "127.0.0.1".
            port: Port to listen on, 0 for a free one. May be positional. Default 0.
            unix: Path of a Unix socket to listen on, instead of host and port. Default None.
            ssl: TLS context, to serve ``https`` and ``wss``. Default None: no TLS.
            authorize: Function that gets each `Request` for a session. It refuses by raising
                `Refused` or returning False, and admits by None or True. Default None: every request is let in.
            middleware: Layers for each request under the pathname, in addition to the built-in ones: functions, or
                `Layer` objects with a name and a place. See `Server.before`. Default ().
            pathname: Path that Primus owns on this server. Default "/primus".
            parser: Name of a parser, or a `Parser`. The clients must use the same. Default "json".
            transformer: Name of the transport. The clients must use the same. Default "websockets".
            transport: Options of that transport, such as {"transports": ["polling"]} for "engine.io". Default {}.
            allow_skipped_heartbeats: Number of heartbeats in a row that a spark may miss; at least 2. For dialect
                "happn". Default 2.
            dialect: "happn", "primus6" or "primus" (7 and later) says who sends the heartbeats. Default "auto":
                whatever each client does.
            timeout: Seconds without a message after which a spark is ended. False or 0: never. For dialect
                "primus6". Default 35.
            ping_interval: Seconds between the server's pings. False or 0: no pings. For dialect "primus". Default
                30.
            detect_after: Seconds without a ping after which a client counts as dialect "primus". Only in dialect
                "auto". Default 35.
            pong_skip_time: Seconds in which several pings of one spark get one pong together. For dialect
                "happn". Default 1.
            authorization: Which requests `authorize` gets. True: those for a new session. "all": every request under
                the pathname. Default: True with `authorize`, otherwise False.
            compression: Whether WebSocket messages are compressed for clients that offer it. A `Compression` says how.
                Default False.
            origins: Web sites whose pages may use the server, such as ["https://example.org"]. They are checked for
                WebSockets too. Default "*": every site.
            methods: Methods that cross-origin requests may have. Empty: all. Default ('GET', 'HEAD', 'PUT', 'POST',
                'DELETE', 'OPTIONS').
            credentials: Whether pages of other sites may send cookies and read the answers. Default True.
            max_age: Seconds for which browsers may keep the answer to a preflight. 0: not told. Default 2592000.
            allow_headers: Header fields that pages of other sites may send. Default (): those that they ask for.
            exposed: Header fields of answers that pages of other sites may read. Default (): the usual ones.
            trusted_proxies: Addresses or networks of proxies that say for whom they connect. "unix" is every peer on a
                Unix socket. Default ().
            forwarded_by: The one header field that is believed of those proxies: "x-forwarded-for", "forwarded" or
                "x-real-ip". Default "x-forwarded-for".
            receive: False: for a server that only writes. Values that arrive are dropped and counted by `discarded` of
                their spark. Default True.
            plugins: Plugins: names and objects, or a mapping of names to plugins. Default {}.
            limits: Bounds on sizes (bytes), durations (seconds) and counts. Default Limits().
        """


def make_serve(
    module: str,
    context: Callable[
        [Callable[[], type[Driver]], H | None, ListenAddress, A | None, Middleware, ServerOptions, Callable[..., Any]],
        R,
    ],
    find_driver: Callable[[], type[Driver]],
    connect: Callable[..., Any],
) -> ServeFunction[H, A, R]:
    """Make the `serve` of a binding, whose `connect` its servers give away. Entering looks for the driver."""

    def serve(
        handler: H | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl.SSLContext | None = None,
        authorize: A | None = None,
        middleware: Middleware = (),
        **options: Unpack[ServerOptions],
    ) -> R:
        address = ListenAddress(host, port, socket_path(unix), ssl)
        return context(find_driver, handler, address, authorize, middleware, options, connect)

    types = getattr(context, "TYPES", {})
    return _export(serve, module, ServeFunction.__call__.__doc__, {"R": "Serve", **types})


class CreateServerFunction(Protocol[H, A, R]):
    """The type of `create_server`."""

    def __call__(
        self,
        handler: H | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        cert: Pem | None = None,
        key: Pem | None = None,
        ca: Credentials | None = None,
        pfx: Pem | None = None,
        passphrase: str | None = None,
        root: str | os.PathLike[str] | None = None,
        redirect: int | None = None,
        redirect_hosts: Collection[str] = (),
        warn: bool = True,
        authorize: A | None = None,
        middleware: Middleware = (),
        **options: Unpack[ServerOptions],
    ) -> R:
        """Serve Primus with certificates from files: ``async with create_server(handler, cert=..., key=...)``

        It is `serve` with the TLS options of the original's ``createServer`` in place of `ssl` and `unix`. With a
        certificate the server speaks ``https``. Raises ConfigError if a file cannot be read or does not fit.

        TLS options, all by keyword. Each file is a path, or its contents as PEM:
            cert: The certificate, and those between it and its authority. Default None.
            key: Its private key; may be left out if it is in the file of `cert`. Default None.
            ca: Certificates of authorities, one or a list, that complete the server's chain. Default None.
            pfx: Certificate and key in one PKCS #12 file, a path or bytes. Needs the extra "pfx". Default None.
            passphrase: Decrypts `key` or `pfx`. Default None.
            root: Folder of the files; paths are relative to it. Default None: to the current folder.
            redirect: Port of a second server, without TLS, that redirects every request to this one. Default None.
            redirect_hosts: Host names that it redirects; others are answered 404. Default (): all.
            warn: Whether to warn (`InsecureWarning`) if other machines can reach the server without TLS. Default True.
        """


def make_create_server(
    module: str, serve: ServeFunction[Any, Any, Any], types: Mapping[str, str] | None = None
) -> CreateServerFunction[Any, Any, Any]:
    """Make the `create_server` of a binding."""

    def create_server(
        handler: Any = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        cert: Pem | None = None,
        key: Pem | None = None,
        ca: Credentials | None = None,
        pfx: Pem | None = None,
        passphrase: str | None = None,
        root: str | os.PathLike[str] | None = None,
        redirect: int | None = None,
        redirect_hosts: Collection[str] = (),
        warn: bool = True,
        authorize: Any = None,
        middleware: Middleware = (),
        **options: Unpack[ServerOptions],
    ) -> Any:
        given: Any = options
        for name in ("ssl", "unix"):
            if name in given:
                raise pp.ConfigError(f"create_server has no option {name!r}, but serve has")
        tls = server_context(cert, key, ca, pfx, passphrase, root)
        if tls is None and port == 443:
            raise pp.ConfigError("port 443 is for https: give cert and key, or pfx")
        if redirect is None and redirect_hosts:
            raise pp.ConfigError("redirect_hosts is of no use without redirect, the port of the server that redirects")
        second = None if redirect is None else Redirect(redirect, redirect_hosts, tls is not None)
        served = serve(handler, host, port, ssl=tls, authorize=authorize, middleware=middleware, **options)
        if tls is None and warn:
            warn_of_plain_http(host, port)
        served._redirect = second
        return served

    return _export(create_server, module, CreateServerFunction.__call__.__doc__, {"R": "Serve", **(types or {})})


class FetchSpec(Protocol):
    """The type of `fetch_spec`."""

    async def __call__(
        self,
        url: URLSource,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        server_hostname: str | None = None,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        proxy: str | Literal[True] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]:
        """Ask the server at `url` for its spec, the JSON object at ``<pathname>/spec``.

        Raises ConnectError if there is no answer or it is not a spec, and ConfigError for invalid options. The options
        are those of `connect`, but for `wait`. Those that only matter to an open connection have no effect.
        """
        ...


def spec_doc() -> str:
    """The docstring of `fetch_spec`, with the options of `connect`."""
    # Cleaned, because Python 3.13 and later take the indentation away and earlier ones do not.
    own, shared = (inspect.cleandoc(each.__call__.__doc__ or "") for each in (FetchSpec, ConnectFunction))
    options = OPTIONS.search(shared)
    return f"{own}\n{WAIT.sub('', options[0]) if options else ''}"


def primus_doc(doc: str | None) -> str:
    """The docstring of `primus_io.asgi.Primus`: its own, and the options of `serve` that it does not describe."""
    own, shared = (inspect.cleandoc(text or "") + "\n" for text in (doc, ServeFunction.__call__.__doc__))
    described = {"host", "port", "unix", "ssl", *(entry[1] for entry in ENTRY.finditer(own))}
    return own + "".join(entry[0] for entry in ENTRY.finditer(shared) if entry[1] not in described)


async def ask_functions(config: pp.ClientConfig) -> pp.ClientConfig:
    """Return the configuration with the values of its functions. Raises ConnectError if one of them fails."""
    answers: dict[str, Any] = {}
    for name, function in config.functions.items():
        if name == "first_message":  # nothing is sent to a server that is only asked
            answers[name] = pp.NOTHING
            continue
        try:
            answer = function()
            answers[name] = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise option_error(name, error) from error
    return dataclasses.replace(config, **answers)


def make_fetch_spec(module: str, find_driver: Callable[[], type[Driver]]) -> FetchSpec:
    """Make the `fetch_spec` of a binding. Each call looks for the driver anew."""

    async def fetch_spec(
        url: URLSource,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        server_hostname: str | None = None,
        local_addr: tuple[str, int] | None = None,
        sock: socket.socket | None = None,
        proxy: str | Literal[True] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]:
        target = ConnectTarget(ssl, socket_path(unix), server_hostname, local_addr, sock, proxy)
        driver = find_driver()
        environment = running_environment(driver.__module__, driver.environment)
        config = await ask_functions(client_config(url, options))
        query = pp.SpecQuery(config, rng=environment.new_rng())
        answers: list[ev.Event] = []

        def deliver(event: ev.Event) -> None:
            answers.append(event)
            answered.set()

        io = await driver.begin(query, deliver, target)
        answered = io.event()
        try:
            io.pump()
            await answered.wait()
        finally:
            try:
                await io.close(0)  # the answer is there, or this was cancelled
            finally:
                await io.release()
        answer = answers[0]
        if isinstance(answer, ev.SpecReceived):
            return answer.spec
        assert isinstance(answer, ev.ErrorOccurred)
        raise answer.error

    return _export(fetch_spec, module, spec_doc(), {"URLSource": URL})


def _export(function: F, module: str, doc: str | None, types: Mapping[str, str] = {}) -> F:
    """Let a function look as if it had been defined in the module of its binding. `types` replaces type variables."""
    for name, annotation in function.__annotations__.items():
        words = [types.get(word, word) for word in str(annotation).split(" ")]
        function.__annotations__[name] = " ".join(words)
    function.__module__, function.__qualname__, function.__doc__ = module, function.__name__, doc
    return function
