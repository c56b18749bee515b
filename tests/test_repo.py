"""What holds for the repository as a whole, whichever tool looks at it or none does."""

from __future__ import annotations

import ast
import importlib
import random
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import primus_proto

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CORE = sorted((ROOT / "primus_proto").rglob("*.py"))

# The clock, the outside world and everything that waits: the core is given these, it never takes them.
BANNED = {
    *("time", "secrets", "uuid"),
    *("os", "socket", "ssl", "select", "selectors", "subprocess", "logging"),
    *("asyncio", "trio", "anyio", "threading"),
}
LONGEST_FILE = 450

# Put together here so that this file does not find itself.
FORBIDDEN_TEXT = re.compile("|".join(["/" + "work/", "/" + "root/", "/" + "home/", r"\.\./" + "shared"]))


def tracked_files() -> list[Path]:
    """What git has or would add: a file that is not committed yet counts too."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listing.returncode == 0, f"git cannot list the repository's files: {listing.stderr}"
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]  # one deleted but not yet committed is still listed


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None, int]]:
    """(module, member or None, line) of each absolute import, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for alias in node.names:
                yield node.module, alias.name, node.lineno


def impurities(source: str) -> list[str]:
    """Each way in which `source` reaches for IO, a clock or global randomness: `line N: what`."""
    tree = ast.parse(source)
    found = []
    for module, member, line in imports(tree):
        package = module.partition(".")[0]
        if package in BANNED:
            found.append(f"line {line}: imports {module}")
        elif package == "random" and member not in (None, "Random"):
            found.append(f"line {line}: imports random.{member}")
    imported = (alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    random_names = {alias.asname or alias.name for alias in imported if alias.name == "random"}
    dates = any(module == "datetime" for module, _, _ in imports(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="now" | "today" | "utcnow" as member) if dates:
                found.append(f"line {node.lineno}: asks for the time by {member}")
            case ast.Attribute(value=ast.Name(id=name), attr=member) if name in random_names:
                if member != "Random":
                    found.append(f"line {node.lineno}: uses random.{member}")
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
                found.append(f"line {node.lineno}: imports by name")
    return found


@pytest.mark.parametrize("file", CORE, ids=relative)
def test_the_core_takes_no_io_no_clock_and_no_global_randomness(file: Path) -> None:
    assert impurities(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("import random\nrng = random.Random(1)\nrng.random()", True),
        ("from random import Random", True),
        ("from . import time", True),
        ("import json, math", True),
        ("from datetime import datetime, timezone\ndatetime(1970, 1, 1, tzinfo=timezone.utc)", True),
        ("from datetime import datetime\ndatetime.now()", False),
        ("import datetime as d\nd.date.today()", False),
        ("import json, time", False),
        ("import os.path", False),
        ("from asyncio.transports import Transport", False),
        ("def f():\n    from socket import socket", False),
        ("from random import choice", False),
        ("import random\nx = random.random()", False),
        ("import random as r\nx = [r.getrandbits]", False),
        ("from random import SystemRandom", False),
        ("__import__('time')", False),
        ("import importlib\nimportlib.import_module('time')", False),
    ],
)
def test_the_check_itself_sees_what_it_should(source: str, clean: bool) -> None:
    assert (impurities(source) == []) is clean


def test_ruff_bans_the_same() -> None:
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert {name for name in banned if "." not in name} == BANNED
    assert {f"random.{name}" for name in random.__all__ if name != "Random"} <= banned.keys()


def import_graph(package: str) -> dict[str, set[str]]:
    """What each module of a package imports of that package, imports for type checkers included."""
    folder = next(root / package for root in (ROOT, ROOT / "bindings") if (root / package).is_dir())
    files = {}
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph = {}
    for name, file in files.items():
        home = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        found: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = home[: len(home) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                found |= {full if (full := f"{module}.{alias.name}") in files else module for alias in node.names}
        graph[name] = (found & files.keys()) - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which imports all others, directly or not."""
    reached: dict[str, set[str]] = {}
    for name in graph:
        seen: set[str] = set()
        todo = [name]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        reached[name] = seen
    groups = {frozenset({other for other in reached[name] if name in reached[other]}) for name in graph}
    return [set(group) for group in groups if group]


@pytest.mark.parametrize("package", ["primus_proto", "primus_io"])
def test_no_circle_of_imports_has_more_than_two_files(package: str) -> None:
    graph = import_graph(package)
    assert len(graph) > 10
    assert [circle for circle in circles(graph) if len(circle) > 2] == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(map(sorted, circles(graph))) == [["a", "b", "c"], ["d", "e"]]


@pytest.mark.parametrize("library", ["h11", "wsproto"])
def test_only_the_wire_knows_the_wire_libraries(library: str) -> None:
    users = [
        relative(file)
        for file in CORE
        for module, _, _ in imports(ast.parse(file.read_text(encoding="utf-8")))
        if module.partition(".")[0] == library
    ]
    assert users, f"nothing imports {library}: it need not be a dependency"
    assert [user for user in users if not user.startswith("primus_proto/wire/")] == []


def test_the_core_does_not_know_its_bindings() -> None:
    for file in CORE:
        for module, _, line in imports(ast.parse(file.read_text(encoding="utf-8"))):
            assert module.partition(".")[0] != "primus_io", f"{relative(file)}:{line}"


def test_no_path_of_a_developers_machine() -> None:
    found = []
    for file in tracked_files():
        text = file.read_bytes().decode("utf-8", errors="replace")
        found += [
            f"{relative(file)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if FORBIDDEN_TEXT.search(line)
        ]
    assert found == []


def test_no_python_file_is_too_long_to_read() -> None:
    files = [file for file in tracked_files() if file.suffix == ".py"]
    lengths = {relative(file): len(file.read_bytes().splitlines()) for file in files}
    assert lengths
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize(
    "name",
    [
        ".ci/run",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "bindings/primus_io/py.typed",
        "docs/explanation/architecture.md",
        "docs/reference/protocol.md",
        "primus_proto/py.typed",
        "pyproject.toml",
    ],
)
def test_what_everyone_expects_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_ci_can_be_run() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_all_is_sorted_and_true() -> None:
    """In ruff's order: constants, then classes, then the rest, each by name."""
    names = primus_proto.__all__
    assert list(names) == sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in names:
        assert hasattr(primus_proto, name), f"primus_proto.__all__ promises {name}"


def core_modules() -> list[str]:
    names = []
    for file in CORE:
        parts = file.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("name", core_modules())
def test_each_module_has_what_it_promises(name: str) -> None:
    module = importlib.import_module(name)
    for promised in getattr(module, "__all__", ()):
        assert hasattr(module, promised), f"{name}.__all__ promises {promised}"


def test_the_change_log_knows_this_version() -> None:
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
