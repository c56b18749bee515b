"""The suite itself: what a host lacks skips what needs it, and nothing else is skipped unseen."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conformance.conftest import HOSTS, NOT_APPLICABLE, pytest_runtest_makereport
from tests.conformance.hosts import NEEDS, Host, lacking, needing, scenario
from tests.conformance.hosts_asyncio import AsyncioHost


class PlainHost(AsyncioHost):
    """A host without this and that."""

    lacks: ClassVar[Mapping[str, str]] = {"tls": "no certificates", "sockets": "no cables"}


class AbsentHost(PlainHost):
    """One that is not installed."""

    @classmethod
    def missing(cls) -> str:
        return "not installed"


@pytest.mark.parametrize(
    ("marks", "host", "reason"),
    [
        ([], PlainHost, None),
        ([["cancellation"]], PlainHost, None),
        ([["cancellation", "tls"]], PlainHost, "no certificates"),
        ([["cancellation"], ["sockets"]], PlainHost, "no cables"),
        ([], AbsentHost, "not installed"),
        ([["tls"]], AbsentHost, "not installed"),
    ],
)
def test_what_a_test_needs_and_a_host_lacks(
    request: pytest.FixtureRequest, marks: list[list[str]], host: type[Host], reason: str | None
) -> None:
    for what in marks:
        request.node.add_marker(needing(*what))
    assert lacking(request.node, host) == reason


def test_a_scenario_carries_what_it_needs() -> None:
    @scenario(needs=["sockets", "tls"])
    async def test(host: Host) -> None: ...

    [mark] = test.pytestmark  # type: ignore[attr-defined]
    assert (mark.name, mark.args) == ("needs", ("sockets", "tls"))


def test_a_misspelt_need_is_an_error_on_either_side() -> None:
    with pytest.raises(TypeError, match=r"socket.* there are .*sockets"):
        needing("socket")
    with pytest.raises(TypeError, match="socket"):
        scenario(needs=["socket"])
    with pytest.raises(TypeError, match=r"Misspelt lacks what no scenario can need: \['socket'\]"):
        type("Misspelt", (AsyncioHost,), {"lacks": {"socket": "?"}})
    for row in HOSTS:
        assert all(row.lacks.values()), row
        assert row.lacks.keys() <= NEEDS.keys()


def test_hosts_that_are_tried_with_some_scenarios_name_those_that_there_are() -> None:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in Path(__file__).parent.glob("test_*.py")]
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    named = {name for row in HOSTS for name in row.only or ()}
    assert named
    assert named <= there


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(NOT_APPLICABLE + "no cables", "skipped"), ("I do not feel like it", "failed"), ("", "failed")],
)
def test_nothing_else_is_skipped(request: pytest.FixtureRequest, reason: str, outcome: str) -> None:
    def skip() -> None:
        pytest.skip(reason)

    call = pytest.CallInfo.from_call(skip, "call")
    judge: Any = pytest_runtest_makereport(request.node, call)
    next(judge)
    with pytest.raises(StopIteration) as judged:
        judge.send(pytest.TestReport.from_item_and_call(request.node, call))
    report = judged.value.value
    assert report.outcome == outcome
    assert reason in str(report.longrepr)
