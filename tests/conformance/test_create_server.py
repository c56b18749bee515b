"""`create_server`: certificates from files, the plain server that redirects, and the warning."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

import primus_io.anyio
import primus_io.threads
from primus_proto import ConfigError, InsecureWarning

AUTHORITY = trustme.CA()
INTERMEDIATE = AUTHORITY.create_child_ca()
ISSUED = INTERMEDIATE.issue_cert("localhost", "127.0.0.1")
KEY = ISSUED.private_key_pem.bytes()
LEAF, CHAIN = ISSUED.cert_chain_pems[0].bytes(), b"".join(pem.bytes() for pem in ISSUED.cert_chain_pems)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    private = load_pem_private_key(KEY, None)
    encrypted = BestAvailableEncryption(b"secret")
    contents = {
        "cert.pem": CHAIN,
        "leaf.pem": LEAF,
        "key.pem": KEY,
        "both.pem": CHAIN + KEY,
        "ca.pem": INTERMEDIATE.cert_pem.bytes(),
        "server.pfx": pkcs12.serialize_key_and_certificates(
            b"x",
            private,  # type: ignore[arg-type]
            x509.load_pem_x509_certificate(LEAF),
            [x509.load_pem_x509_certificate(INTERMEDIATE.cert_pem.bytes())],
            encrypted,
        ),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


async def hello(spark: Any) -> None:
    await spark.send("hello")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "options",
    [
        {"cert": "cert.pem", "key": "key.pem"},
        {"cert": "both.pem"},
        {"cert": "leaf.pem", "key": "key.pem", "ca": ["ca.pem"]},
        {"pfx": "server.pfx", "passphrase": "secret"},
        {"cert": CHAIN.decode(), "key": KEY},
    ],
    ids=["cert and key", "both in one file", "ca", "pfx", "PEM texts"],
)
def test_certificates_from_files(files: Path, options: dict[str, Any], backend: str) -> None:
    async def main() -> None:
        async with primus_io.anyio.create_server(hello, root=files, **options) as server:
            assert server.url.startswith("https://")
            async with primus_io.anyio.connect(server.url, ssl=client_context()) as primus:
                assert await primus.receive() == "hello"

    anyio.run(main, backend=backend)


def redirected(port: int, host: str, path: str = "/primus/spec?a=b") -> tuple[int, str | None]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_plain_server_redirects(files: Path, backend: str) -> None:
    async def main() -> None:
        served = primus_io.anyio.create_server(
            hello, root=files, cert="both.pem", redirect=0, redirect_hosts=["Chat.example", "[::1]"]
        )
        async with served as server:
            assert served._redirect is not None
            port = served._redirect.port
            for host, status, location in (
                ("chat.example", 301, f"https://chat.example:{server.port}/primus/spec?a=b"),
                ("[::1]:80", 301, f"https://[::1]:{server.port}/primus/spec?a=b"),
                ("evil.example", 404, None),
                ("chat.example/evil", 404, None),
            ):
                assert await anyio.to_thread.run_sync(redirected, port, host) == (status, location)
            await anyio.to_thread.run_sync(redirected, port, "chat.example", "/other")
        with pytest.raises(ConnectionError):
            await anyio.to_thread.run_sync(redirected, port, "chat.example")

    anyio.run(main, backend=backend)


def test_threads(files: Path) -> None:
    with (
        primus_io.threads.create_server(lambda spark: spark.write("hello"), root=files, cert="both.pem") as server,
        primus_io.threads.connect(server.url, ssl=client_context()) as primus,
    ):
        assert primus.receive(10) == "hello"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cert": "absent.pem"}, r"^cert: cannot read .*absent\.pem: No such file"),
        ({"cert": "leaf.pem"}, "cert: no PEM certificate with its key"),
        ({"cert": "key.pem", "key": "key.pem"}, "cert: no PEM certificate with its key"),
        ({"cert": 5}, "^cert must be the path of a file, or PEM; got a int"),
        ({"key": "key.pem"}, "key is of no use without a certificate: give cert and key, or pfx"),
        ({"passphrase": "x"}, "passphrase is of no use without a certificate"),
        ({"pfx": "server.pfx", "passphrase": "wrong"}, "pfx: not understood: "),
        ({"pfx": "key.pem"}, "pfx: not understood: "),
        ({"pfx": "server.pfx", "cert": "cert.pem"}, "leave out cert and key, or pfx"),
        ({"cert": "both.pem", "ca": "key.pem"}, "ca: not understood: "),
        ({"cert": "both.pem", "redirect": "80"}, "redirect must be the port"),
        ({"cert": "both.pem", "redirect": 80, "redirect_hosts": "a"}, "redirect_hosts must be a collection"),
        ({"redirect_hosts": ["a"]}, "redirect_hosts is of no use without redirect"),
        ({"port": 443}, "port 443 is for https"),
        ({"unix": "socket"}, "no option 'unix', but serve has"),
    ],
)
def test_mistakes_are_named(files: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        primus_io.anyio.create_server(hello, root=files, **options)


@pytest.mark.parametrize(
    ("host", "options", "warns"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("0.0.0.0", {}, True),
        ("", {}, True),
        ("chat.example", {}, True),
        ("0.0.0.0", {"warn": False}, False),
        ("0.0.0.0", {"cert": CHAIN + KEY}, False),
    ],
)
def test_plain_http_for_everyone_is_warned_of(
    host: str, options: dict[str, Any], warns: bool, recwarn: pytest.WarningsRecorder
) -> None:
    create: Callable[..., object] = primus_io.anyio.create_server
    create(hello, host, **options)
    found = [str(each.message) for each in recwarn if issubclass(each.category, InsecureWarning)]
    assert bool(found) is warns
    assert all("Give cert and key" in text for text in found)
