"""Flags for Unix sockets and TLS. A file that cannot be used is reported like a wrong flag."""

from __future__ import annotations

import argparse
import contextlib
import ssl
from collections.abc import Iterator

from primus_proto import ConfigError


def add_client_sockets(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a client."""
    parser.add_argument("--unix", metavar="PATH", help="Unix socket to connect to; the URL's host is ignored")
    group = parser.add_argument_group("TLS, for https:// and wss://")
    group.add_argument("--ca", metavar="FILE", help="PEM file of CA certificates to trust instead of the system's")
    group.add_argument("--insecure", action="store_true", help="accept any certificate; this is not safe")


def add_server_tls(parser: argparse.ArgumentParser) -> None:
    """Add the TLS flags of a server."""
    group = parser.add_argument_group("TLS")
    group.add_argument("--cert", metavar="FILE", help="PEM file of the certificate chain; makes the server https://")
    group.add_argument("--key", metavar="FILE", help="PEM file of the private key, if it is not in the --cert file")


def client_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context that the flags ask for; None for the system's default. Raises ConfigError."""
    if args.ca is None and not args.insecure:
        return None
    with _naming(f"--ca {args.ca}"):
        context = ssl.create_default_context(cafile=args.ca)
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context that the flags ask for; None for no TLS. Raises ConfigError."""
    if args.cert is None:
        if args.key is not None:
            raise ConfigError("--key needs --cert: the certificate that belongs to the key")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _naming(f"--cert {args.cert}" + (f" --key {args.key}" if args.key else "")):
        context.load_cert_chain(args.cert, args.key, password="")  # else OpenSSL asks on the terminal
    return context


@contextlib.contextmanager
def _naming(flags: str) -> Iterator[None]:
    """Report a file that cannot be used, with the flags that named it."""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigError(f"{flags}: not usable as PEM, without passphrase ({error.reason or error})") from error
    except OSError as error:
        raise ConfigError(f"{flags}: {error.strerror or error}") from error
