"""The rows of the matrix, the certificates, and the law that nothing is skipped but what a host cannot do."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trustme

from tests.conformance.hosts import Host, lacking, selected
from tests.conformance.hosts_asgi import HypercornHost, HypercornTrioHost, UvicornHost, UvicornWsprotoHost
from tests.conformance.hosts_asyncio import AnyioAsyncioHost, AsyncioHost, UvloopHost
from tests.conformance.hosts_threads import ThreadsHost
from tests.conformance.hosts_transports import TRANSPORT_HOSTS
from tests.conformance.hosts_trio import AnyioTrioHost, TrioHost
from tests.conformance.hosts_virtual import VirtualHost
from tests.conformance.matrix import Matrix

# A binding joins the suite with a row here.
HOSTS: list[type[Host]] = [
    VirtualHost,
    AsyncioHost,
    UvloopHost,
    TrioHost,
    ThreadsHost,
    AnyioAsyncioHost,
    AnyioTrioHost,
    UvicornHost,
    UvicornWsprotoHost,
    HypercornHost,
    HypercornTrioHost,
    *TRANSPORT_HOSTS,
]


NOT_APPLICABLE = "not applicable: "


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): runs on the hosts that have all of this (hosts.NEEDS)")
    if config.getoption("--matrix"):
        config.pluginmanager.register(Matrix(HOSTS))


@pytest.fixture(params=HOSTS, ids=lambda row: row.name)
def host(request: pytest.FixtureRequest) -> Host:
    return host_of(request)


def host_of(request: pytest.FixtureRequest) -> Host:
    """The host that is the fixture's parameter; the test is skipped if that lacks what it needs."""
    row: type[Host] = request.param
    if (reason := lacking(request.node, row)) is not None:
        pytest.skip(NOT_APPLICABLE + reason)
    return row()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A scenario that a host is not tried with is no test, rather than one that is skipped."""
    unwanted = [item for item in items if not _wanted(item)]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def _wanted(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return True
    row: Any = item.callspec.params.get("host")  # the tests of other folders have hosts that are addresses
    return row not in HOSTS or selected(row, item.path.name, item.originalname)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip that is none of the host's is a failure."""
    report = yield
    if report.skipped and call.excinfo is not None:
        reason = getattr(call.excinfo.value, "msg", "")
        if not str(reason).startswith(NOT_APPLICABLE):
            report.outcome = "failed"
            report.longrepr = f"skipped, though no host lacks anything: {reason!r}. Say what it needs (hosts.NEEDS)."
    return report


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
