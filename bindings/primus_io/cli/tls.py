"""TLS from files named on the command line. What is wrong with them is said as a wrong option is."""

from __future__ import annotations

import argparse
import ssl

from primus_proto import ConfigError

__all__ = ["add_client_tls", "add_server_tls", "client_tls", "server_tls"]


def add_client_tls(parser: argparse.ArgumentParser) -> None:
    """The flags of a client."""
    group = parser.add_argument_group("TLS, for https:// and wss://")
    group.add_argument("--ca", metavar="FILE", help="PEM file of the authorities to trust, in place of the system's")
    group.add_argument(
        "--insecure", action="store_true", help="take any certificate; whoever is in between can read all"
    )


def add_server_tls(parser: argparse.ArgumentParser) -> None:
    """The flags of a server."""
    group = parser.add_argument_group("TLS")
    group.add_argument("--cert", metavar="FILE", help="PEM file of the certificate chain; serves https://")
    group.add_argument("--key", metavar="FILE", help="PEM file of its private key, unless that is in the same file")


def client_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """The context that the flags ask for; None for the system's default."""
    if args.ca is None and not args.insecure:
        return None
    try:
        context = ssl.create_default_context(cafile=args.ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"--ca {args.ca}: {_why(error)}") from error
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    """The context that the flags ask for; None for no TLS."""
    if args.cert is None:
        if args.key is not None:
            raise ConfigError("--key needs --cert: the certificate that the key belongs to")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(args.cert, args.key, password=_no_password)
    except OSError as error:
        files = f"--cert {args.cert}" + (f" --key {args.key}" if args.key else "")
        raise ConfigError(f"{files}: {_why(error)}") from error
    return context


def _no_password() -> str:
    """OpenSSL would ask for it on the terminal, where nobody may be."""
    raise ConfigError("the private key is encrypted: give one without a passphrase")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "not PEM").lower().replace("_", " ")
        return f"not usable ({reason}): are these PEM files that belong together?"
    return error.strerror or str(error)
