"""The suite itself: a scenario is skipped only where a host lacks what it needs."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import HOSTS, NOT_APPLICABLE, pytest_runtest_makereport
from tests.conformance.hosts import NEEDS, needing
from tests.conformance.hosts_asyncio import AsyncioHost


def test_a_misspelt_need_is_an_error_on_either_side() -> None:
    with pytest.raises(TypeError, match=r"socket.* there are .*sockets"):
        needing("socket")
    with pytest.raises(TypeError, match=r"Misspelt lacks what no scenario can need: \['socket'\]"):
        type("Misspelt", (AsyncioHost,), {"lacks": {"socket": "?"}})
    for row in HOSTS:
        assert all(row.lacks.values()), row
        assert row.lacks.keys() <= NEEDS.keys()


def test_a_subset_names_existing_scenarios() -> None:
    files = list(Path(__file__).parent.glob("test_*.py"))
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    there |= {file.name for file in files}
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
