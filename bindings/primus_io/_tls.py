"""The TLS options of `create_server`, and the plain server that redirects to it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import ssl
import warnings
from collections.abc import Collection, Iterator, Sequence

import primus_proto as pp

__all__ = ["Credentials", "Pem", "Redirect", "server_context", "warn_of_plain_http"]

Pem = str | bytes | os.PathLike[str]
Credentials = Pem | Sequence[Pem]

HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?")


def server_context(
    cert: Pem | None, key: Pem | None, ca: Credentials | None, pfx: Pem | None, passphrase: str | None, root: Pem | None
) -> ssl.SSLContext | None:
    """Make the TLS context of a server; None without a certificate. Raises ConfigError for what does not fit."""
    if cert is None and pfx is None:
        given = [name for name, value in (("key", key), ("ca", ca), ("passphrase", passphrase)) if value is not None]
        if given:
            raise pp.ConfigError(f"{given[0]} is of no use without a certificate: give cert and key, or pfx")
        return None
    if pfx is not None and not (cert is None and key is None):
        raise pp.ConfigError("pfx has a certificate and its key: leave out cert and key, or pfx")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    files = {
        name: _read(name, value, root)
        for name, value in (("cert", cert), ("key", key), ("pfx", pfx))
        if value is not None
    }
    more = [] if ca is None else list(ca) if isinstance(ca, Sequence) and not isinstance(ca, str | bytes) else [ca]
    authorities = [_read("ca", each, root) for each in more]
    name = "cert" if pfx is None else "pfx"
    try:
        if pfx is not None:
            chain, private, passphrase = _unpack(files["pfx"], passphrase)
        else:
            chain, private = files["cert"], files.get("key", b"")
        _load(context, chain, private, passphrase)
        name = "ca"
        for each in authorities:
            context.load_verify_locations(cadata=each.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        what = "no PEM certificate with its key, or the passphrase is wrong" if name == "cert" else "not understood"
        raise pp.ConfigError(f"{name}: {what}: {error}") from error
    return context


def _read(name: str, value: object, root: object) -> bytes:
    """The contents of an option: PEM as it is, or those of a file, below `root` if that is given."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str | os.PathLike):
        raise pp.ConfigError(f"{name} must be the path of a file, or PEM; got a {type(value).__name__}")
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN "):
        return value.encode()
    from pathlib import Path  # here, because it takes a while to import

    path = Path(value) if root is None else Path(os.fspath(root)) / value  # type: ignore[call-overload]
    try:
        return path.read_bytes()
    except OSError as error:
        raise pp.ConfigError(f"{name}: cannot read {path}: {error.strerror or error}") from error


def _load(context: ssl.SSLContext, chain: bytes, key: bytes, passphrase: str | None) -> None:
    """Load certificate and key, which `ssl` takes from files only. Without a passphrase nobody is asked for one."""
    with _private_file(chain + b"\n" + key) as path:
        context.load_cert_chain(path, password=passphrase or "")


@contextlib.contextmanager
def _private_file(contents: bytes) -> Iterator[str]:
    """A file that only this user can read, for as long as the block lasts."""
    import tempfile  # here, because few programs need it

    number, path = tempfile.mkstemp()
    try:
        with os.fdopen(number, "wb") as file:
            file.write(contents)
        yield path
    finally:
        os.unlink(path)


def _unpack(pfx: bytes, passphrase: str | None) -> tuple[bytes, bytes, str | None]:
    """Certificate chain and key of a PKCS #12 file, as PEM without a passphrase."""
    try:
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
    except ModuleNotFoundError:
        raise pp.ConfigError("pfx needs cryptography: python -m pip install 'primus-proto[pfx]'") from None
    key, cert, others = pkcs12.load_key_and_certificates(pfx, None if passphrase is None else passphrase.encode())
    if key is None or cert is None:
        raise ValueError("it has no certificate with a key")
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in (cert, *others))
    return chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), None


def warn_of_plain_http(host: str, port: int) -> None:
    """Warn that a server without TLS can be reached from other machines."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        text = (
            f"plain http on {host or 'all addresses'}, port {port}: what is sent can be read and changed on the way. "
            "Give cert and key, or serve behind a proxy that does the TLS and pass warn=False"
        )
        warnings.warn(text, pp.InsecureWarning, stacklevel=4)


class Redirect:
    """Answers every request with the address of the server under another port."""

    def __init__(self, port: object, hosts: object, secure: bool) -> None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
            raise pp.ConfigError(f"redirect must be the port of a plain server, from 0 to 65535; got {port!r}")
        if isinstance(hosts, str) or not isinstance(hosts, Collection):
            raise pp.ConfigError(f"redirect_hosts must be a collection of host names; got {hosts!r}")
        self.port = port
        self.target = 0  # the port of the server itself
        self._hosts = {str(host).lower() for host in hosts}
        self._scheme = "https" if secure else "http"

    def answer(self, request: pp.Request) -> pp.Response:
        """Redirect a request to the same host, which must be one of those allowed, if any are named."""
        match = HOST.fullmatch(request.headers.get("host", ""))
        if match is None or (self._hosts and match[1].lower() not in self._hosts):
            return pp.Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"Not Found\n")
        port = "" if self.target == {"https": 443, "http": 80}[self._scheme] else f":{self.target}"
        path = request.target if request.target.startswith("/") else "/"
        return pp.Response(301, (("Location", f"{self._scheme}://{match[1]}{port}{path}"),))
