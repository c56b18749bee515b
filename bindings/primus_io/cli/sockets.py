"""Flags for Unix sockets and TLS. A file that cannot be used is reported like a wrong flag."""

from __future__ import annotations

import argparse
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

from primus_proto import ConfigError


def add_client_sockets(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a client."""
    parser.add_argument("--unix", metavar="PATH", help="Unix socket to connect to; the URL's host is ignored")
    proxy = "proxy to connect through: http://host:port or socks5://host:port; 'env': that of the environment"
    parser.add_argument("--proxy", metavar="URL", help=proxy)
    group = parser.add_argument_group("TLS, for https:// and wss://")
    group.add_argument("--cacert", metavar="FILE", help="PEM file of CA certificates to trust instead of the system's")
    _add_certificate(group, "PEM file of this client's certificate chain, for a server that wants one")
    group.add_argument("--insecure", action="store_true", help="accept any certificate; this is not safe")


def add_server_tls(parser: argparse.ArgumentParser) -> None:
    """Add the TLS flags of a server."""
    group = parser.add_argument_group("TLS")
    _add_certificate(group, "PEM file of the certificate chain; makes the server https://")


def _add_certificate(group: argparse._ArgumentGroup, what: str) -> None:
    group.add_argument("--cert", metavar="FILE", help=what)
    group.add_argument("--key", metavar="FILE", help="PEM file of the private key, if it is not in the --cert file")


def client_sockets(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `connect` and `fetch_spec` that the flags stand for. Raises ConfigError."""
    proxy = True if args.proxy == "env" else args.proxy
    return {"ssl": client_tls(args), "unix": args.unix, "proxy": proxy}


def client_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context that the flags ask for; None for the system's default. Raises ConfigError."""
    _check_key(args)
    if args.cacert is None and args.cert is None and not args.insecure:
        return None
    with _naming(f"--cacert {args.cacert}"):
        context = ssl.create_default_context(cafile=args.cacert)
    if args.cert is not None:
        _load_certificate(context, args)
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context that the flags ask for; None for no TLS. Raises ConfigError."""
    _check_key(args)
    if args.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_certificate(context, args)
    return context


def _check_key(args: argparse.Namespace) -> None:
    if args.key is not None and args.cert is None:
        raise ConfigError("--key needs --cert: the certificate that belongs to the key")


def _load_certificate(context: ssl.SSLContext, args: argparse.Namespace) -> None:
    with _naming(f"--cert {args.cert}" + (f" --key {args.key}" if args.key else "")):
        context.load_cert_chain(args.cert, args.key, password="")  # else OpenSSL asks on the terminal


@contextlib.contextmanager
def _naming(flags: str) -> Iterator[None]:
    """Report a file that cannot be used, with the flags that named it."""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigError(f"{flags}: not usable as PEM, without passphrase ({error.reason or error})") from error
    except OSError as error:
        raise ConfigError(f"{flags}: {error.strerror or error}") from error
