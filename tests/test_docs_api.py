"""The reference of names and the diagrams, compared with the code: nothing missing, nothing invented."""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from markdown_it.token import Token

import primus_proto as pp
import primus_proto.testing
from primus_io import _common, asgi, threads
from primus_io import anyio as pio_anyio
from primus_io import asyncio as pio
from primus_io import testing as pio_testing
from primus_io import trio as pio_trio
from primus_proto import commands as cmd
from primus_proto import errors
from primus_proto import events as ev
from primus_proto.session import states
from tests.test_docs import tokens

ROOT = Path(__file__).resolve().parent.parent
API = ROOT / "docs/reference/api.md"
ARCHITECTURE = ROOT / "docs/explanation/architecture.md"
PROSE = [ROOT / "README.md", *sorted((ROOT / "docs/how-to").glob("*.md")), API, ARCHITECTURE]

"""The names of a binding that are not names of the core."""

EVENT_TABLES = {
    "Events of a client": pio.Client.NAMES,
    "Events of a spark": pio.Spark.NAMES,
    "Events of a server": pio.Server.NAMES,
    "Events of a spec query": frozenset({"spec"}),
}
BASES = {"Event", "ReconnectEvent", "SparkEvent"}


@dataclass
class Section:
    """What stands below one heading, and above the next of its own rank or a higher one."""

    rank: int
    code: set[str] = field(default_factory=set)
    rows: list[list[list[str]]] = field(default_factory=list)
    """Of each row of a table, but those of headings, each cell's inline code."""
    texts: list[list[str]] = field(default_factory=list)
    """The same cells as text."""


def inline_code(token: Token) -> list[str]:
    return [child.content for child in token.children or () if child.type == "code_inline"]


@cache
def sections() -> dict[str, Section]:
    """The reference by heading. A section has what its subsections have, too, but for their tables."""
    found: dict[str, Section] = {}
    stack: list[Section] = []
    page = tokens(API)
    for index, token in enumerate(page):
        if token.type == "heading_open":
            rank = int(token.tag[1])
            stack = [section for section in stack if section.rank < rank]
            stack.append(found.setdefault(page[index + 1].content, Section(rank)))
        elif token.type == "inline":
            for section in stack:
                section.code.update(inline_code(token))
        if token.type == "tr_open":
            stack[-1].rows.append([])
            stack[-1].texts.append([])
        elif token.type == "td_open":
            stack[-1].rows[-1].append(inline_code(page[index + 1]))
            stack[-1].texts[-1].append(page[index + 1].content)
    for section in found.values():
        section.rows = [row for row in section.rows if row]
        section.texts = [row for row in section.texts if row]
    return found


def first_column(heading: str) -> list[str]:
    """The names that the rows of a section's table are about."""
    return [name for row in sections()[heading].rows for name in row[0]]


def words(codes: set[str]) -> set[str]:
    """The names at which inline code begins: of ``end(value)``, `end`."""
    return {match[0] for code in codes if (match := re.match(r"\w+", code))}


# --- names ---


@pytest.mark.parametrize("name", pp.__all__)
def test_each_name_of_the_core_is_there(name: str) -> None:
    assert name in words(sections()["primus_proto"].code | sections()["Errors"].code)


@pytest.mark.parametrize("binding", [pio_trio, pio_anyio])
def test_the_other_bindings_have_the_very_same_names(binding: Any) -> None:
    assert binding.__all__ == pio.__all__
    assert all(hasattr(binding, name) for name in binding.__all__)
    for name in ("Client", "Server", "Spark"):
        assert getattr(binding, name) is getattr(pio, name)
    for name in ("connect", "serve", "fetch_spec"):
        assert inspect.signature(getattr(binding, name)) == inspect.signature(getattr(pio, name))
        assert inspect.getdoc(getattr(binding, name)) == inspect.getdoc(getattr(pio, name))


@pytest.mark.parametrize(
    "module", [pio, threads, asgi, pio_testing, primus_proto.testing], ids=lambda one: one.__name__
)
def test_the_names_of_a_module_are_listed(module: Any) -> None:
    assert set(module.__all__) - set(_common.__all__) <= set(first_column(module.__name__))


@pytest.mark.parametrize("name", [name for name in pio.__all__ if name not in _common.__all__])
def test_each_name_of_the_asyncio_binding_has_a_section(name: str) -> None:
    assert name in sections()


def test_every_binding_has_the_errors_and_the_classes_that_users_meet() -> None:
    assert set(_common.__all__) <= sections()["primus_io.asyncio"].code
    assert set(errors.__all__) <= set(_common.__all__)
    for binding in (pio, pio_trio, pio_anyio, threads, asgi):
        for name in _common.__all__:
            assert name in binding.__all__
            assert getattr(binding, name) is getattr(pp, name)


def test_an_application_is_a_server_and_what_is_listed() -> None:
    listed = set(first_column("Primus"))
    options = {name for name in inspect.signature(asgi.Primus).parameters if name != "options"}
    assert listed == options | {"async with"} | attributes(asgi.Primus) - attributes(pio.Server)


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


@pytest.mark.parametrize("cls", [pio.Client, pio.Server, pio.Spark])
def test_what_users_hold_is_listed_member_by_member(cls: type) -> None:
    title = {pio.Client: "Client", pio.Server: "Server", pio.Spark: "Spark"}[cls]
    listed = first_column(title)
    assert len(listed) == len(set(listed))
    assert ("async for" in listed) == hasattr(cls, "__aiter__")
    assert set(listed) - {"async for"} == attributes(cls)


def test_threads_have_the_same_members_and_those_that_block_are_listed() -> None:
    blocking = {"receive", "for"}
    for name in ("Client", "Server", "Spark"):
        waiting, plain = getattr(pio, name), getattr(threads, name)
        more = set() if name == "Server" else {"receive"}
        assert attributes(plain) == attributes(waiting) | more
        blocking |= {
            member for member in attributes(waiting) if inspect.iscoroutinefunction(getattr(waiting, member, 0))
        }
    assert set(first_column("Calls that block")) == blocking
    for entrance in ("connect", "serve", "fetch_spec"):
        assert parameters_of(getattr(threads, entrance)) == parameters_of(getattr(pio, entrance))


def parameters_of(function: Any) -> list[tuple[object, ...]]:
    """Parameters but for their types: a handler is an async function for one binding, a plain one for the other."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("cls", [pp.Client, pp.Server, pp.Spark])
def test_members_of_the_cores_sessions_exist(cls: type) -> None:
    listed = {name for name in first_column(f"primus_proto.{cls.__name__}") if re.fullmatch(r"\w+", name)}
    assert listed
    assert listed <= attributes(cls)


def test_members_of_the_byte_endpoints_exist() -> None:
    shared = set(first_column("The byte endpoints"))
    for cls in (pp.ByteServer, pp.ByteClient, pp.SpecQuery):
        assert shared <= attributes(cls)
    assert {"server", "channel_accepted", "resume"} <= attributes(pp.ByteServer)
    assert {"client", "channel_opened"} <= attributes(pp.ByteClient)
    assert "channel_opened" in attributes(pp.SpecQuery)


def test_members_of_the_virtual_network_exist() -> None:
    section = sections()["primus_proto.testing"]
    public = {name for name in primus_proto.testing.__all__ for name in attributes(getattr(primus_proto.testing, name))}
    assert words(section.code) <= public | set(primus_proto.testing.__all__)


def test_a_requests_members_exist() -> None:
    public = attributes(pp.Request) | attributes(pp.Headers) | set(pp.Address._fields)
    assert words(sections()["Requests"].code) <= public | {"Request", "Headers", "Address"}


# --- events, reasons, errors, commands ---


def event_classes() -> list[type[ev.Event]]:
    found = [value for name in ev.__all__ if inspect.isclass(value := getattr(ev, name))]
    return [value for value in found if issubclass(value, ev.Event)]


def sample(cls: type[Any]) -> Any:
    """An instance whose fields hold their own names."""
    return cls(**{one.name: one.name for one in fields(cls)})


@pytest.mark.parametrize("cls", event_classes())
def test_each_event_is_listed_with_its_name_and_arguments(cls: type[ev.Event]) -> None:
    if cls.__name__ in BASES:
        assert cls.__name__ in sections()["Events"].code
        return
    rows = [row for heading in EVENT_TABLES for row in sections()[heading].rows if row[0] == [cls.__name__]]
    assert len(rows) == 1, f"{cls.__name__} stands in {len(rows)} rows"
    event = sample(cls)
    arguments = ["event" if argument is event else argument for argument in event.args]
    assert rows[0][1] == [cls.name]
    assert rows[0][2] == arguments


def test_events_are_listed_where_they_can_be_listened_to() -> None:
    for heading, names in EVENT_TABLES.items():
        section = sections()[heading]
        for row, text in zip(section.rows, section.texts, strict=True):
            assert hasattr(ev, row[0][0])
            exempt = "by class only" in text[3] or "no listener hears it" in text[3]
            assert (row[1][0] in names) is not exempt, row
        assert names <= {row[1][0] for row in section.rows}


def test_reconnect_events_are_listed_with_their_fields() -> None:
    assert first_column("Fields of reconnect events") == [one.name for one in fields(ev.ReconnectEvent)]


def test_the_kinds_of_close_reasons() -> None:
    """Its docstring is where the code lists them."""
    listed = first_column("CloseReason")
    assert listed == re.findall(r"``(\w+)``", inspect.getdoc(ev.CloseReason) or "")


def test_errors_are_listed_with_their_bases() -> None:
    listed = {row[0][0]: row[1] for row in sections()["Errors"].rows}
    classes = [getattr(errors, name) for name in errors.__all__]
    assert listed == {cls.__name__: [base.__name__ for base in cls.__bases__] for cls in classes}


def test_commands_are_listed_with_their_fields() -> None:
    listed = {row[0][0]: row[1] for row in sections()["Commands"].rows}
    classes = [getattr(cmd, name) for name in cmd.__all__ if inspect.isclass(getattr(cmd, name))]
    assert listed == {cls.__name__: [one.name for one in fields(cls)] for cls in classes}
    assert set(cmd.__all__) <= sections()["Commands"].code


# --- options ---

NO_DEFAULT = object()


def value_of(cell: list[str]) -> object:
    """A default as the table has it: a Python expression."""
    if not cell:
        return NO_DEFAULT
    return eval(cell[0], {"inf": math.inf, "Limits": pp.Limits, "__builtins__": {}})


def default_of(one: Field[Any]) -> object:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return NO_DEFAULT if one.default is MISSING else one.default


@pytest.mark.parametrize("cls", [pp.ClientConfig, pp.ServerConfig, pp.Limits])
def test_options_are_listed_with_their_defaults(cls: type[Any]) -> None:
    listed = {row[0][0]: value_of(row[1]) for row in sections()[cls.__name__].rows}
    assert listed == {one.name: default_of(one) for one in fields(cls)}


@pytest.mark.parametrize(("name", "more"), [("connect", pp.ClientConfig), ("serve", pp.ServerConfig)])
def test_options_of_the_entrances_are_listed(name: str, more: type[Any]) -> None:
    listed = {row[0][0]: value_of(row[1]) for row in sections()[name].rows}
    parameters = inspect.signature(getattr(pio, name)).parameters.values()
    own = {one.name: one.default for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD}
    assert listed == {key: NO_DEFAULT if given is inspect.Parameter.empty else given for key, given in own.items()}
    assert f"#{more.__name__.lower()}" in API.read_text(encoding="utf-8")


def keywords() -> set[str]:
    """Everything that can be given by keyword: options, and parameters of what is public."""
    known = {one.name for cls in (pp.ClientConfig, pp.ServerConfig, pp.Limits) for one in fields(cls)}
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
    code = [text for token in tokens(page) if token.type == "inline" for text in inline_code(token)]
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
