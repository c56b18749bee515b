"""The rows of the matrix, and the certificates."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from tests.conformance.hosts import Host
from tests.conformance.hosts_asyncio import AsyncioHost, UvloopHost

# A binding joins the suite with a row here.
HOSTS: list[type[Host]] = [AsyncioHost, UvloopHost]


@pytest.fixture(params=HOSTS, ids=lambda row: row.name)
def host(request: pytest.FixtureRequest) -> Host:
    row: type[Host] = request.param
    reason = row.missing()
    if reason is not None:
        pytest.skip(reason)
    return row()


@dataclass(frozen=True)
class Certificates:
    """TLS contexts of both ends: a server called localhost, clients that trust it, and clients that do not."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    stranger: ssl.SSLContext


@pytest.fixture(scope="session")
def tls() -> Certificates:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server, client, ssl.create_default_context())


@pytest.fixture(scope="session", autouse=True)
def small_heap() -> Iterator[None]:
    """Every scenario has the garbage collected; what was there before any of them need not be walked each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
