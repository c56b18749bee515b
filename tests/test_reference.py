"""The public names: the same on every binding, all in the reference, and those that the text mentions exist."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import primus_proto as pp
import primus_proto.plugins
import primus_proto.testing
from primus_io import _common, asgi, threads
from primus_io import anyio as pio_anyio
from primus_io import asyncio as pio
from primus_io import testing as pio_testing
from primus_io import trio as pio_trio
from primus_proto import commands, errors, events, parsers
from primus_proto.session import states
from primus_proto.transports.registry import TRANSPORTS
from tests.test_docs import blocks, tokens

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
ARCHITECTURE = ROOT / "docs/explanation/architecture.md"
PROSE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
MODULES = [
    *(pp, pio, threads, asgi, pio_testing, primus_proto.testing, primus_proto.plugins),
    *(parsers, commands, errors, events),
]


@pytest.mark.parametrize("binding", [pio_trio, pio_anyio])
def test_the_other_bindings_have_the_very_same_names(binding: Any) -> None:
    assert [name for name in binding.__all__ if name != "object_stream"] == pio.__all__
    assert all(hasattr(binding, name) for name in binding.__all__)
    for name in ("Client", "Server", "Spark"):
        assert getattr(binding, name) is getattr(pio, name)
    for name in ("connect", "serve", "fetch_spec"):
        assert inspect.signature(getattr(binding, name)) == inspect.signature(getattr(pio, name))
        assert inspect.getdoc(getattr(binding, name)) == inspect.getdoc(getattr(pio, name))


def test_every_binding_has_the_errors_and_the_classes_that_users_meet() -> None:
    assert set(errors.__all__) <= set(_common.__all__)
    for binding in (pio, pio_trio, pio_anyio, threads, asgi):
        for name in _common.__all__:
            assert name in binding.__all__
            assert getattr(binding, name) is getattr(pp, name)


def attributes(cls: type) -> set[str]:
    """The public attributes of an object: those of its class, and those that `__init__` gives it."""
    names = set(dir(cls))
    for base in cls.__mro__:
        initializer = vars(base).get("__init__")
        if inspect.isfunction(initializer):
            tree = ast.parse(textwrap.dedent(inspect.getsource(initializer)))
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
    return {name for name in names if not name.startswith("_")}


def test_threads_have_the_same_members() -> None:
    for name in ("Client", "Server", "Spark"):
        more = set() if name == "Server" else {"receive"}
        assert attributes(getattr(threads, name)) == attributes(getattr(pio, name)) | more
    for entrance in ("connect", "serve", "fetch_spec"):
        assert parameters_of(getattr(threads, entrance)) == parameters_of(getattr(pio, entrance))


def parameters_of(function: Any) -> list[tuple[object, ...]]:
    """Parameters but for their types: a handler is an async function for one binding, a plain one for the other."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def documented() -> set[int]:
    """The ids of all that the directives of the reference generate."""
    found = set()
    for block in blocks("{eval-rst}"):
        for kind, path in re.findall(r"^\.\. auto(class|function|data|module):: ([\w.]+)", block.text, re.MULTILINE):
            module, _, name = path.rpartition(".")
            if kind == "module":
                found.add(id(importlib.import_module(path)))
                found.update(
                    id(getattr(importlib.import_module(path), one)) for one in importlib.import_module(path).__all__
                )
            else:
                found.add(id(getattr(importlib.import_module(module), name)))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_each_public_name_is_in_the_reference(module: Any) -> None:
    missing = [name for name in module.__all__ if id(getattr(module, name)) not in documented()]
    assert missing == []


def keywords() -> set[str]:
    """Everything that can be given by keyword: options, and parameters of what is public."""
    known = {one.name for cls in (pp.ClientConfig, pp.ServerConfig, pp.Limits) for one in fields(cls)}
    known.update(one.name for transport in TRANSPORTS.values() for one in fields(transport.options))
    for module in (pp, pio, pio_testing, threads, asgi, primus_proto.testing):
        for name in module.__all__:
            public = getattr(module, name)
            if not callable(public):
                continue
            methods = [getattr(public, member) for member in dir(public) if not member.startswith("_")]
            for function in [public, *filter(inspect.isfunction, methods)]:
                try:
                    known.update(inspect.signature(function).parameters)
                except ValueError:  # a builtin that does not tell
                    continue
    return known


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_options_that_the_text_mentions_exist(page: Path) -> None:
    spans = [child for token in tokens(page) for child in token.children or () if child.type == "code_inline"]
    code = [span.content for span in spans]
    code = [re.sub(r"'[^']*'|\"[^\"]*\"", "", text) for text in code]
    mentioned = {name for text in code for name in re.findall(r"(?<![\w.&?/-])([a-z]\w*)=(?!=)", text)}
    assert mentioned <= keywords()


# --- the diagrams ---


def diagrams() -> list[str]:
    return [token.content for token in tokens(ARCHITECTURE) if token.type == "fence" and token.info == "mermaid"]


@pytest.mark.parametrize(("number", "table"), [(0, states.CLIENT), (1, states.SPARK)])
def test_the_diagrams_are_the_tables(number: int, table: Mapping[tuple[Enum, Enum], Enum]) -> None:
    drawn = re.findall(r"^ +(\S+) --> (\S+): (.+)$", diagrams()[number], re.MULTILINE)
    expected = [(state.value, after.value, trigger.value) for (state, trigger), after in table.items()]
    assert sorted(drawn) == sorted(expected)


# Members of these are documented elsewhere.
KNOWN = {key for base in (int, str, tuple, Exception, asyncio.AbstractEventLoop) for key in dir(base)}


def undocumented(module: Any) -> list[str]:
    found = []
    for name in module.__all__:
        public = getattr(module, name)
        if not inspect.isclass(public) and not inspect.isfunction(public):
            continue
        members = [(name, public)]
        if inspect.isclass(public):
            members += [
                (f"{name}.{key}", inspect.getattr_static(public, key))
                for key in dir(public)
                if not key.startswith("_") and key not in KNOWN
            ]
        for path, member in members:
            told: Any = member
            if (inspect.isroutine(told) or isinstance(told, property | type)) and not inspect.getdoc(member):
                found.append(path)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_each_public_name_and_member_has_a_docstring(module: Any) -> None:
    assert undocumented(module) == []
