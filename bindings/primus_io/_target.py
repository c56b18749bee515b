"""How a client reaches its server: directly, through a Unix socket or a proxy, or over a socket that is connected.

Also says why a byte stream could not be opened. No message here shows a password.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import primus_proto as pp
from primus_proto import commands as cmd

__all__ = [
    "ConnectTarget",
    "Proxy",
    "check_context",
    "connect_failure",
    "default_context",
    "lost_because",
    "socket_path",
]

# The schemes of proxies, with the scheme that python-socks has for each, and their default ports.
PROXIES = {
    "http": ("HTTP", 80),
    "socks4": ("SOCKS4", 1080),
    "socks4a": ("SOCKS4", 1080),
    "socks5": ("SOCKS5", 1080),
    "socks5h": ("SOCKS5", 1080),
}
# What `ssl` says when the server wants a certificate of its client, or refuses the one it got.
CERTIFICATE_WANTED = ("CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE")
CERTIFICATE_REFUSED = ("ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_CERTIFICATE_EXPIRED")


@functools.cache
def default_context() -> ssl.SSLContext:
    """The TLS context of all clients that were given none. Reads the trust store, once."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that connects on behalf of clients: HTTP CONNECT or SOCKS."""

    kind: str
    host: str
    port: int
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def make(self, factory: Any, **options: Any) -> Any:
        """Make a `Proxy` of python-socks. The proxy looks up the host, unless it is one for SOCKS 4."""
        from python_socks import ProxyType

        rdns = None if self.kind == "SOCKS4" else True
        return factory(ProxyType[self.kind], self.host, self.port, self.user, self.password, rdns, **options)


def parse_proxy(given: object) -> Proxy:
    """Parse the URL of a proxy. Raises ConfigError."""
    want = "proxy must be True, None or a URL like 'http://host:3128' or 'socks5://user:password@host:1080'"
    if not isinstance(given, str):
        raise pp.ConfigError(f"{want}; got {given!r}")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise pp.ConfigError(f"{want}; this one has no valid host and port") from None
    if parts.scheme not in PROXIES or not parts.hostname or port == 0:
        raise pp.ConfigError(f"{want}; its scheme is one of {', '.join(PROXIES)}, and it names a host")
    try:
        import python_socks  # noqa: F401
    except ImportError as missing:
        raise pp.ConfigError("proxy= needs python-socks: pip install 'primus-proto[proxy]'") from missing
    kind, usual = PROXIES[parts.scheme]
    user, password = (None if each is None else unquote(each) for each in (parts.username, parts.password))
    return Proxy(kind, parts.hostname, port or usual, user, password if user is None or password else "")


def proxy_from_environment(host: str, port: int, secure: bool) -> str | None:
    """Return the URL of the proxy that the environment has for a server, or None."""
    import urllib.request  # with all that it brings, only where it is used

    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    found = urllib.request.getproxies()
    for scheme in ("wss", "socks", "https") if secure else ("ws", "socks", "https", "http"):
        if scheme in found:
            url = found[scheme]
            # Some systems give the address of a SOCKS proxy as an http:// URL.
            return "socks5h" + url[4:] if scheme == "socks" and url.startswith("http:") else url
    return None


@dataclass(frozen=True, slots=True)
class ConnectTarget:
    """How a client reaches its server."""

    tls: ssl.SSLContext | None = None
    unix: str | None = None
    server_hostname: str | None = None
    local_addr: tuple[str, int] | None = None
    sock: socket.socket | None = None
    proxy: str | bool | None = field(default=None, repr=False)  # it may have a password

    def __post_init__(self) -> None:
        check_context(self.tls, ssl.PROTOCOL_TLS_SERVER, "ssl.create_default_context()")
        name: object = self.server_hostname
        if name is not None and (not isinstance(name, str) or not name):
            raise pp.ConfigError(f"server_hostname must be the name that the certificate is for; got {name!r}")
        _check_local(self.local_addr)
        sock: object = self.sock
        if sock is not None and not isinstance(sock, socket.socket):
            raise pp.ConfigError(f"sock must be a connected socket of Python's socket module; got {sock!r}")
        if self.proxy is not None and self.proxy is not True:
            parse_proxy(self.proxy)
        ways = [name for name in ("unix", "sock", "proxy") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise pp.ConfigError(f"{' and '.join(ways)} exclude each other: a client has one way to its server")
        if self.local_addr is not None and ways[:1] in (["unix"], ["sock"]):
            raise pp.ConfigError(f"local_addr has no meaning with {ways[0]}")

    def tls_context(self, command: cmd.OpenChannel) -> ssl.SSLContext | None:
        """The TLS context for a channel, None without TLS."""
        return (self.tls or default_context()) if command.tls else None

    def lacks_context(self, command: cmd.OpenChannel) -> bool:
        """Whether `default_context` has to be called first, in a thread, because it reads files."""
        return command.tls and self.tls is None and default_context.cache_info().currsize == 0

    def tls_name(self, command: cmd.OpenChannel) -> str | None:
        """The name that the certificate must be for, None without TLS."""
        return (self.server_hostname or command.server_name or command.host) if command.tls else None

    def find_proxy(self, command: cmd.OpenChannel) -> Proxy | None:
        """The proxy for a channel. Raises ConfigError if the environment has a wrong one."""
        given = self.proxy
        if given is True:
            given = proxy_from_environment(command.host, command.port, command.tls)
        return None if given is None else parse_proxy(given)

    def check_virtual(self) -> None:
        """Raise ConfigError for a way that a network in memory does not have."""
        for name in ("sock", "proxy", "local_addr"):
            if getattr(self, name) is not None:
                raise pp.ConfigError(f"{name} has no meaning on a virtual network, which has no sockets")

    def take_socket(self, number: int) -> socket.socket:
        """The connected socket, for the one connection that it is good for."""
        assert self.sock is not None
        if number > 1 or self.sock.fileno() < 0:
            raise OSError("sock= is good for one connection, and was used for it")
        return self.sock

    def place(self, command: cmd.OpenChannel) -> str:
        """The server in words, for messages."""
        return self.unix or f"{command.host}:{command.port}"


def socket_path(unix: str | os.PathLike[str] | None) -> str | None:
    """Return the path of a Unix socket as a string. Raises ConfigError if it is empty."""
    if unix is None:
        return None
    path = os.fspath(unix)
    if not path:
        raise pp.ConfigError("unix is empty: give the path of a Unix socket, or leave it out to use host and port")
    return path


def check_context(tls: object, wrong: int, right: str) -> None:
    """Raise ConfigError for a TLS context that is meant for the other end of a connection."""
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise pp.ConfigError(f"ssl must be an ssl.SSLContext, as {right}, or None; got {tls!r}")
    if tls is not None and tls.protocol == wrong:
        raise pp.ConfigError(f"ssl has a context for the other end of a connection: make it by {right}")


def _check_local(given: object) -> None:
    """Check an address to connect from."""
    if given is None:
        return
    match given:
        case (str(), int(port)) if 0 <= port <= 65535 and not isinstance(port, bool):
            return
    raise pp.ConfigError(f"local_addr must be a pair of address and port (0: any) of this machine; got {given!r}")


# --- failures, in words ---


def connect_failure(target: ConnectTarget, command: cmd.OpenChannel, failure: Exception) -> pp.ConnectError:
    """Describe why a byte stream could not be opened. The failure is the cause of the error."""
    place = target.place(command)
    reason: BaseException = failure
    if isinstance(failure.__cause__, ssl.SSLError):
        reason = failure.__cause__  # trio itself says only that the stream is broken
    if isinstance(reason, ssl.SSLCertVerificationError):
        text = f"no TLS with {place}: {reason}; if that is the right server, give ssl= a context that trusts it"
    elif isinstance(reason, ssl.SSLError):
        hint = _certificate_hint(reason) or "does the server speak plain http:// there?"
        text = f"no TLS with {place}: {reason}; {hint}"
    elif _is_proxy_failure(failure) and isinstance(failure.__cause__, OSError):
        text = f"cannot connect to {place}: no connection to the proxy: {_system_message(failure.__cause__)}"
    elif _is_proxy_failure(failure):
        text = f"cannot connect to {place} through the proxy: {failure}"
    else:
        text = f"cannot connect to {place}: {_system_message(failure) or type(failure).__name__}"
    error = pp.ConnectError(text)
    error.__cause__ = failure
    return error


def lost_because(failure: BaseException) -> str:
    """Describe why a byte stream was lost."""
    text = str(failure) or type(failure).__name__
    hint = _certificate_hint(failure) if isinstance(failure, ssl.SSLError) else ""
    return f"{text}; {hint}" if hint else text


def _certificate_hint(failure: ssl.SSLError) -> str:
    reason = failure.reason or ""
    if reason.endswith(CERTIFICATE_WANTED):
        return "the server wants a certificate of this client: give ssl= a context on which you called load_cert_chain"
    if reason.endswith(CERTIFICATE_REFUSED):
        return "the server does not accept the certificate of this client"
    return ""


def _is_proxy_failure(failure: BaseException) -> bool:
    return type(failure).__module__.partition(".")[0] == "python_socks"


def _system_message(failure: BaseException) -> str:
    """The system's message for a failure.

    asyncio and trio add addresses to it. Several failures are the members of a group that is the cause.
    """
    text = str(failure)
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\] (?:Connect call failed|Error connecting)", text)]
    words = " / ".join(dict.fromkeys(os.strerror(number) for number in numbers))
    if words and "unknown" not in words.lower():  # Windows has other numbers for socket errors
        return words
    cause = failure.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,) if cause is not None else ()
    words = " / ".join(dict.fromkeys(map(_system_message, causes)))
    return words or getattr(failure, "strerror", None) or text
