"""The conformance matrix: every scenario on every host, as `pytest tests/conformance --matrix` prints it at its end.

The law kept here: there is no hole. A scenario that did not run on a host, and was not declared inapplicable there with
a reason, makes the run fail; but for the hosts that are tried with a named subset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.conformance.hosts import Host, selected
from tests.matrix import Table

__all__ = ["APART", "Matrix"]

HOLE = "HOLE"
# What is of some hosts only, by its nature: not part of what all bindings share.

APART = frozenset(("test_asyncio.py", "test_hosts.py"))


class Matrix(Table):
    """Collects what became of each test."""

    title = "conformance matrix"

    def __init__(self, rows: Iterable[type[Host]]) -> None:
        self.rows = {row.name: row for row in rows}
        self.hosts = list(self.rows)
        self.cells: dict[tuple[str, str], dict[str, list[str]]] = {}
        """By file and scenario: for each host, what became of each of its tests."""
        self.reasons: dict[str, set[str]] = {}
        """Why a host cannot: the hosts, and in how many scenarios."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            host, file, name = self._place(item)
            if host and file not in APART:
                self.cells.setdefault((file, name), {}).setdefault(host, [])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report: pytest.TestReport = yield
        host, file, name = self._place(item)
        if (file, name) in self.cells and (report.when == "call" or report.outcome != "passed"):
            outcome: str = report.outcome
            if outcome == "skipped" and isinstance(report.longrepr, tuple):
                outcome = str(report.longrepr[2]).removeprefix("Skipped: ").removeprefix("not applicable: ")
                self.reasons.setdefault(outcome, set()).add(host)
            self.cells[file, name][host].append(outcome)
        return report

    def _place(self, item: pytest.Item) -> tuple[str, str, str]:
        callspec = getattr(item, "callspec", None)
        host = getattr(callspec and callspec.params.get("host"), "name", "")
        return host, item.path.name, getattr(item, "originalname", item.name)

    def holes(self) -> list[str]:
        """The scenarios that said nothing on some host."""
        return [
            f"{file} {name} on {host}"
            for (file, name), row in self.cells.items()
            for host in self.hosts
            if self.cell(file, name, host, row.get(host, [])) == HOLE
        ]

    def cell(self, file: str, name: str, host: str, outcomes: list[str]) -> str:
        """What the table says of a scenario on a host: how many tests passed, which reason there is for none."""
        if not selected(self.rows[host], file, name):
            return "·"
        ran = [outcome for outcome in outcomes if outcome in ("passed", "failed")]
        if not outcomes:
            return HOLE
        if "failed" in ran:
            return "FAILED"
        return str(len(ran)) if ran else "n/a " + self._letter(outcomes[0])

    def _letter(self, reason: str) -> str:
        return "abcdefghijklmnopqrstuvwxyz"[list(self.reasons).index(reason)]

    def table(self) -> list[str]:
        """The lines of the table, and of what its letters stand for."""
        names = [f"{file.removeprefix('test_').removesuffix('.py')}: {name[5:]}" for file, name in self.cells]
        first = max(map(len, names), default=0)
        widths = [max(len(host), 6) for host in self.hosts]
        lines = [" " * first + "".join(f"  {host:>{width}}" for host, width in zip(self.hosts, widths, strict=True))]
        for title, ((file, name), row) in zip(names, self.cells.items(), strict=True):
            cells = [self.cell(file, name, host, row.get(host, [])) for host in self.hosts]
            lines.append(f"{title:<{first}}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths, strict=True)))
        lines += ["", "A number: so many tests of the scenario passed there. ·: the host is tried with a named subset."]
        lines += ["n/a, not applicable:"]
        lines += [f"  {self._letter(why)}  {why} ({', '.join(sorted(hosts))})" for why, hosts in self.reasons.items()]
        return lines
