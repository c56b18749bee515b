"""How a parser is chosen: by name, by entry point, as an object; and what `/spec` calls it."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import json
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from primus_proto import ConfigError, Limits, Parser, ServerConfig
from primus_proto import events as ev
from primus_proto.http.spec import spec_response
from primus_proto.parsers import JSONParser, get_parser, parser_names, register_parser, registry
from primus_proto.testing import VirtualNetwork, check_parser


class Upper:
    """A parser of one's own."""

    name = "Upper"
    binary = False

    def encode(self, value: Any) -> str:
        return str(value).upper()

    def decode(self, data: str | bytes) -> Any:
        return data


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_makers", dict(registry._makers))
    monkeypatch.setattr(registry, "_made", {})


def offer(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """As if a package with these entry points were installed."""
    found = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in points.items()]
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: found if group == registry.ENTRY_POINTS else []
    )


def spec_of(parser: Any) -> Any:
    return json.loads(spec_response(ServerConfig(parser=parser)).body)["parser"]


def test_by_name_in_any_letter_case() -> None:
    assert get_parser("json") is get_parser("JSON")
    assert [spec_of(name) for name in ("EJSON", "Binary", "msgpack")] == ["ejson", "binary", "msgpack"]


def test_an_object_of_ones_own_is_called_custom_as_in_the_original() -> None:
    mine = Upper()
    assert get_parser(mine) is mine
    assert isinstance(mine, Parser)
    assert spec_of(mine) == "custom"
    assert spec_of(JSONParser()) == "json"


def test_a_registered_one_is_made_when_it_is_first_used() -> None:
    made: list[Upper] = []

    def make() -> Upper:
        made.append(Upper())
        return made[-1]

    register_parser("Upper", make)
    assert "upper" in parser_names()
    assert made == []
    assert get_parser("UPPER") is get_parser("upper")
    assert made == [get_parser("upper")]
    assert spec_of("upper") == "upper"
    register_parser("Shout", Upper)
    assert spec_of("SHOUT") == "shout"
    register_parser("broken_maker", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="parser 'broken_maker' cannot be made: ZeroDivisionError"):
        get_parser("broken_maker")
    with pytest.raises(ConfigError, match="there is a parser 'json' already"):
        register_parser("JSON", Upper)
    with pytest.raises(ConfigError, match="takes a name and a function"):
        register_parser("", Upper)


def test_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Loud=f"{__name__}:Upper", broken="no_such_module:x", wrong="math:pi")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    assert get_parser("loud").name == "Upper"
    with pytest.raises(ConfigError, match=r"unknown parser 'yaml'; known: binary, broken, ejson, json, loud, msgpack"):
        get_parser("yaml")
    with pytest.raises(ConfigError, match="parser 'broken', which is no_such_module:x, cannot be loaded"):
        get_parser("broken")
    with pytest.raises(ConfigError, match=r"parser 'wrong' must have name, binary, encode and decode; got 3.14"):
        get_parser("wrong")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.delitem(sys.modules, "primus_proto.parsers.msgpack", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'primus-proto\[msgpack\]'"):
        get_parser("msgpack")
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: importlib.import_module("no_such_module"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry._msgpack()  # something else is wrong, and not to be hidden


class Nameless(Upper):
    name = 5  # type: ignore[assignment]


class Unsure(Upper):
    binary = "no"  # type: ignore[assignment]


@pytest.mark.parametrize("wrong", [None, 5, object(), JSONParser, Nameless(), Unsure()])
def test_an_object_that_is_not_a_parser(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="parser must be a name or have name, binary, encode and decode"):
        get_parser(wrong)


@pytest.mark.parametrize("name", ["json", "ejson", "binary", "msgpack"])
def test_ours_pass_the_check(name: str) -> None:
    check_parser(name)


@pytest.mark.parametrize(
    ("encode", "decode", "complaint"),
    [
        (lambda self, value: str(value).upper(), lambda self, data: data, "came back as"),
        (lambda self, value: value, lambda self, data: data, "must return str"),
        (lambda self, value: json.dumps(value), lambda self, data: json.loads(data, parse_int=float), "came back as"),
        (lambda self, value: repr(value), lambda self, data: eval(data), "must refuse"),
    ],
)
def test_the_check_finds(encode: Any, decode: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_parser(type("Bad", (), {"name": "bad", "binary": False, "encode": encode, "decode": decode})())


class Later(JSONParser):
    async def encode(self, value: Any) -> str:  # type: ignore[override]
        return super().encode(value)

    async def decode(self, data: str | bytes) -> Any:
        return super().decode(data)


def test_the_check_awaits_an_asynchronous_parser() -> None:
    with asyncio.Runner() as runner:
        check_parser(Later(), run=runner.run)


def test_the_check_finds_a_decoder_that_exhausts_the_memory() -> None:
    class Hungry(JSONParser):
        def decode(self, data: str | bytes) -> Any:
            if isinstance(data, bytes) and data[:1] == b"\xdd":
                raise MemoryError
            return super().decode(data)

    with pytest.raises(AssertionError, match="raised MemoryError"):
        check_parser(Hungry())


@pytest.mark.parametrize("limits", [Limits(values=5), Limits(nesting=2)])
@pytest.mark.parametrize("name", ["json", "ejson", "binary", "msgpack"])
def test_the_limits_of_a_session_are_those_of_its_parser(name: str, limits: Limits) -> None:
    network = VirtualNetwork()
    server = network.serve(parser=name, limits=limits)
    client = network.connect("http://server", parser=name)
    for value in ([1, [2]], [1, 2, 3, [[1, 2]]], "after"):
        client.client.write(value)
    network.run(1)
    assert [event.data for event in server.all(ev.SparkData)] == [[1, [2]], "after"]
    assert "Limits." in str(server.all(ev.SparkError)[0].error)
