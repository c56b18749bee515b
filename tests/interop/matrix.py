"""The interop matrix: every way of every real client and server, as `pytest tests/interop --matrix` prints it.

The law kept here: there is no hole. A cell of the table is one test; it was run, or the table says why there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.interop.peers import HERE
from tests.matrix import Table

__all__ = ["InteropMatrix"]

ENGINE_IO = ("happn", "primus6", "primus8")
SOCKJS = ("happn", "primus8")
NO_PRIMUS6 = "primus 6 is tested with Engine.IO only: it has the SockJS of happn-primus"
PACKAGES = ("happn", "primus6", "primus8")
PROXIES = ("nginx", "haproxy")


class Group(NamedTuple):
    """Rows that one test stands for."""

    title: str
    test: str
    columns: Sequence[str]
    rows: Sequence[str]
    none: Mapping[str, str] = MappingProxyType({})
    """Columns that some rows do not have, by `row column`, and why."""


def without_primus6(*rows: str) -> dict[str, str]:
    return {f"{row} primus6": NO_PRIMUS6 for row in rows}


CARRIERS = ("engine.io upgrade", "engine.io polling")
OURS = ("sockjs websocket", "sockjs xhr-streaming", "sockjs xhr-polling")
BROWSERS = (*OURS, "sockjs eventsource", "sockjs htmlfile", "sockjs jsonp-polling", "sockjs iframe-eventsource")
ALONE = (
    *CARRIERS, "engine.io polling base64", "engine.io websocket", "engine.io websocket base64", "sockjs raw websocket"
)  # fmt: skip
PARSERS = ("engine.io ejson", "engine.io binary", "engine.io msgpack", "sockjs ejson")

GROUPS = [
    Group(
        "client in Node, our server", "test_transports.py::test_a_real_client_has_a_long_conversation", PACKAGES,
        (*CARRIERS, *OURS), without_primus6(*OURS),
    ),
    Group(
        "client in Chromium, our server", "test_browser_transports.py::test_a_browser", PACKAGES,
        (*CARRIERS, "engine.io jsonp", *BROWSERS),
        {**without_primus6(*BROWSERS), "engine.io jsonp primus8": "engine.io-client 6 has no JSONP"},
    ),
    Group(
        "client without Primus, our server", "test_transports.py::test_a_client_without_primus", PACKAGES, ALONE,
        without_primus6("sockjs raw websocket"),
    ),
    Group(
        "our client, real server", "test_transports.py::test_our_client_has_a_long_conversation", PACKAGES,
        (*CARRIERS, "engine.io websocket", *OURS), without_primus6(*OURS),
    ),
    Group(
        "parsers, both ways round", "test_transports.py::test_parsers", PACKAGES, PARSERS,
        {
            "engine.io msgpack happn": "happn-primus has no msgpack",
            **{f"{row} primus6": "the parsers of primus 6 are those of happn-primus" for row in PARSERS},
        },
    ),
    Group(
        "a refusal of a client in Node", "test_transports.py::test_a_refusal_of_a_real_client", PACKAGES,
        ("engine.io", "sockjs"), without_primus6("sockjs"),
    ),
    Group(
        "both clients, two of our servers behind a proxy", "test_proxies.py::test_two_processes_behind_a_proxy",
        PROXIES, (*CARRIERS, *OURS),
    ),
]  # fmt: skip


def versions(package: str) -> str:
    """What a column stands for."""
    if package in PROXIES:
        return package
    folder = HERE if package == "happn" else HERE / package
    found = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    names = ("happn-primus", "primus", "engine.io-client", "sockjs-client")
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)


class InteropMatrix(Table):
    """Collects what became of each test."""

    title = "interop matrix of the transports"

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str, str], str] = {}
        """By test, row and column."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report: pytest.TestReport = yield
        params = getattr(getattr(item, "callspec", None), "params", {})
        if {"way", "package"} <= params.keys() and (report.when == "call" or report.outcome != "passed"):
            test = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
            self.outcomes[test, params["way"], params["package"]] = report.outcome
        return report

    def cell(self, group: Group, row: str, column: str) -> str:
        """What the table says of a cell."""
        if f"{row} {column}" in group.none:
            return "–"
        return self.outcomes.get((group.test, row, column), "HOLE")

    def holes(self) -> list[str]:
        """The cells that nothing was run for."""
        return [
            f"{group.title}: {row}, {column}"
            for group in GROUPS
            for row in group.rows
            for column in group.columns
            if self.cell(group, row, column) == "HOLE"
        ]

    def table(self) -> list[str]:
        """The lines of the table, and why some cells are empty."""
        lines: list[str] = []
        reasons: dict[str, None] = {}
        for group in GROUPS:
            lines += ["", f"{group.title}   (tests/interop/{group.test})"]
            lines.append(f"  {'':28}" + "".join(f"{column:>10}" for column in group.columns))
            for row in group.rows:
                cells = [self.cell(group, row, column) for column in group.columns]
                lines.append(f"  {row:28}" + "".join(f"{cell:>10}" for cell in cells))
            reasons |= dict.fromkeys(group.none.values())
        lines += ["", *(f"{package}: {versions(package)}" for package in PACKAGES), "–: there is none"]
        return lines + [f"   {reason}" for reason in reasons]
