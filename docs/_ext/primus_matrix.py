"""The matrices of the suites, made from what they would run (`python -m tests.plan`); no test is run for them."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
INTEROP = ROOT / "tests/interop"
# The hosts that are tried with everything; the others run the code of one of these.
MAIN = {
    "asyncio": "asyncio",
    "trio": "trio",
    "threads": "threads",
    "uvicorn": "asgi",
    "virtual": "virtual time",
}


@functools.cache
def plan() -> dict[str, Any]:
    """What the suites would run, without this end's own tests of the suite."""
    command = [sys.executable, "-m", "tests.plan"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def escaped(text: str) -> str:
    """Text with code in backticks, for RST."""
    return re.sub(r"`([^`]+)`", r"``\1``", text.replace("*", r"\*"))


def table(rows: Sequence[tuple[str, ...]], widths: str) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in rows:
        lines += [f"   {'*' if not index else ' '} - {cell}" for index, cell in enumerate(row)]
    return [*lines, ""]


class Conformance(SphinxDirective):
    """The scenarios of the conformance suite on each binding, and why one is not applicable."""

    def run(self) -> list[nodes.Node]:
        reasons: list[str] = []
        lines: list[str] = []
        for file in plan()["conformance"].values():
            rows: list[tuple[str, ...]] = [("scenario", *MAIN.values())]
            for name, hosts in file["tests"].items():
                if len(hosts.keys() & MAIN.keys()) > 1:
                    rows.append((words(name), *(self._cell(hosts.get(host), reasons) for host in MAIN)))
            if len(rows) > 1:
                lines += [f".. rubric:: {escaped(file['about'])}", "", *table(rows, "50 10 10 10 10 10")]
        lines += [".. rubric:: Not applicable", ""]
        lines += [f"#. {reason}" for reason in reasons] + [""]
        return self.parse_text_to_nodes("\n".join(lines))

    def _cell(self, outcomes: list[str | None] | None, reasons: list[str]) -> str:
        if outcomes is None:
            return " "
        if None in outcomes:
            return "yes"
        reason = str(outcomes[0])
        if reason not in reasons:
            reasons.append(reason)
        return f"n/a ({reasons.index(reason) + 1})"


class OtherHosts(SphinxDirective):
    """The hosts that are tried with some scenarios, and with how many."""

    def run(self) -> list[nodes.Node]:
        counts: dict[str, int] = {}
        for file in plan()["conformance"].values():
            for hosts in file["tests"].values():
                for host in hosts.keys() - MAIN.keys():
                    counts[host] = counts.get(host, 0) + (None in hosts[host])
        rows = [("host", "scenarios"), *((f"``{host}``", str(counts[host])) for host in sorted(counts))]
        return self.parse_text_to_nodes("\n".join(table(rows, "60 40")))


class Interop(SphinxDirective):
    """The interop tests with their variants, and the packages that they talk to."""

    def run(self) -> list[nodes.Node]:
        lines = table([("folder", "packages"), *self._packages()], "20 80")
        for file in plan()["interop"].values():
            rows = [("test", "variants")]
            for name, test in file["tests"].items():
                variants = [variant for variant in test["variants"] if variant]
                rows.append((words(name), ", ".join(f"``{one.replace('None', 'happn')}``" for one in variants) or " "))
            lines += [f".. rubric:: {escaped(file['about'])}", "", *table(rows, "50 50")]
        return self.parse_text_to_nodes("\n".join(lines))

    def _packages(self) -> list[tuple[str, str]]:
        found = []
        for file in sorted(INTEROP.glob("**/package.json")):
            if "node_modules" not in file.parts:
                packages = json.loads(file.read_text(encoding="utf-8"))["dependencies"]
                folder = file.parent.relative_to(ROOT).as_posix()
                found.append((f"``{folder}``", ", ".join(f"{name} {packages[name]}" for name in packages)))
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("conformance-matrix", Conformance)
    app.add_directive("conformance-hosts", OtherHosts)
    app.add_directive("interop-matrix", Interop)
    return {"parallel_read_safe": True}
