"""What the conformance and interop suites would run, as JSON: `python -m tests.plan`. Nothing is run.

The documentation's site makes its matrices of this.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import sys
from typing import Any

import pytest

from tests.conformance.hosts import lacking

FOLDERS = {"conformance": "tests/conformance", "interop": "tests/interop"}


class Plan:
    """Collects the tests of each folder, file and name; a plugin for pytest."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in FOLDERS}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            assert isinstance(item, pytest.Function)
            folder = item.path.parent.name
            about = (inspect.getdoc(item.module) or "").partition("\n\n")[0].replace("\n", " ")
            file = self.tests[folder].setdefault(item.path.name, {"about": about, "tests": {}})
            test = file["tests"].setdefault(item.originalname, {})
            callspec = getattr(item, "callspec", None)
            host: Any = callspec.params.get("host") if callspec else None
            if folder == "interop":
                test.setdefault("variants", []).append(callspec.id if callspec else "")
            elif hasattr(host, "lacks"):
                test.setdefault(host.name, []).append(lacking(item, host))


def main() -> None:
    plan = Plan()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *FOLDERS.values()], plugins=[plan])
    if status:
        raise SystemExit(f"pytest could not collect the tests:\n{said.getvalue()}")
    json.dump(plan.tests, sys.stdout)


if __name__ == "__main__":
    main()
