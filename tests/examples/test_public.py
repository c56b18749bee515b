"""What the examples promise: they use what the packages export, and nothing private of anything."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import primus_proto
import primus_proto.plugins
from tests.examples.programs import EXAMPLES
from tests.test_repo import imports

FILES = sorted(EXAMPLES.glob("*.py"))
PUBLIC = {module.__name__: module.__all__ for module in (primus_proto, primus_proto.plugins)}


def liberties(source: str) -> list[str]:
    """Each use of something that is not public: `line N: what`."""
    tree = ast.parse(source)
    found = []
    for module, member, line in imports(tree):
        package = module.partition(".")[0]
        if package == "primus_io":
            binding = importlib.import_module(module)
            if member not in binding.__all__ or "._" in module:
                found.append(f"line {line}: imports {member} of {module}")
        elif package == "primus_proto" and member not in PUBLIC.get(module, ()):
            found.append(f"line {line}: imports {member} of {module}")
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self")):
                pass
            case ast.Attribute(attr=name) if name.startswith("_") and not name.startswith("__"):
                found.append(f"line {node.lineno}: uses {name}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_examples_use_public_names_only(file: Path) -> None:
    assert liberties(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("from primus_proto import ByteServer, commands as cmd", True),
        ("self._mine", True),
        ("from primus_proto.plugins import Ack", True),
        ("from primus_proto.plugins import OWN", False),
        ("from primus_proto.server import Server", False),
        ("import primus_proto.server", False),
        ("from primus_proto import Machine", False),
        ("from primus_io.asyncio import serve", True),
        ("from primus_io.asyncio import AsyncioDriver", False),
        ("from primus_io._session import Session", False),
        ("spark._state", False),
    ],
)
def test_the_check_itself_sees_what_it_should(source: str, clean: bool) -> None:
    assert (liberties(source) == []) is clean
