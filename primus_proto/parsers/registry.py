"""Parsers by name: ours, those that were registered, and those that installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..limits import Limits
from .base import AsyncParser, LimitedParser, Parser
from .binary import BinaryParser
from .json import make_json

__all__ = ["BUILT_IN", "ENTRY_POINTS", "get_parser", "limited", "parser_names", "register_parser", "spec_name"]

ENTRY_POINTS = "primus_proto.parsers"
"""The group of entry points in which packages offer parsers."""


def _ejson() -> Parser:
    from .ejson import EJSONParser

    return EJSONParser()


def _msgpack() -> Parser:
    try:
        from .msgpack import MsgpackParser
    except ModuleNotFoundError as error:
        if error.name != "msgpack":
            raise
        raise ConfigError("parser 'msgpack' needs the package msgpack: pip install 'primus-proto[msgpack]'") from None
    return MsgpackParser()


_makers: dict[str, Callable[[], Parser | AsyncParser]] = {
    "json": make_json,
    "ejson": _ejson,
    "binary": BinaryParser,
    "msgpack": _msgpack,
}
BUILT_IN = tuple(sorted(_makers))
_made: dict[str, Parser] = {}


def register_parser(name: str, make: Callable[[], Parser | AsyncParser]) -> None:
    """Make a parser known by a name, in any letter case. `make` is called when the name is first used.

    Raises ConfigError if the name is taken.
    """
    checked: tuple[object, object] = name, make
    if not isinstance(checked[0], str) or not name or not callable(checked[1]):
        raise ConfigError(f"register_parser takes a name and a function that makes the parser; got {name!r}, {make!r}")
    if name.lower() in _makers:
        raise ConfigError(f"there is a parser {name.lower()!r} already")
    _makers[name.lower()] = make


def _offered() -> dict[str, Any]:
    """The entry points of installed packages, by name in lower case."""
    from importlib.metadata import entry_points  # here, because it takes a while to import

    return {point.name.lower(): point for point in entry_points(group=ENTRY_POINTS)}


def parser_names() -> list[str]:
    """The names of all parsers that can be had, those without their package included."""
    return sorted({*_makers, *_offered()})


def get_parser(parser: str | Parser | AsyncParser) -> Parser:
    """Find a parser by name, in any letter case, or check the one given. Raises ConfigError if there is none.

    An asynchronous one is returned as it is: what its functions return has to be awaited.
    """
    if isinstance(parser, str):
        name = parser.lower()
        made = _made.get(name)
        if made is None:
            made = _made[name] = _make(name, parser)
        return made
    return _check(parser, "parser must be a name or have name, binary, encode and decode")


def _check(parser: Any, must: str) -> Parser:
    if isinstance(parser, type) or not isinstance(parser, Parser):
        raise ConfigError(f"{must}; got {parser!r}")
    name, binary, functions = parser.name, parser.binary, (parser.encode, parser.decode)
    kinds: tuple[object, ...] = (isinstance(name, str), isinstance(binary, bool), *map(callable, functions))
    if not all(kinds):
        raise ConfigError(f"{must}, of which name is a string, binary a bool, the others functions; got {parser!r}")
    return parser


def _make(name: str, given: str) -> Parser:
    make: Any = _makers.get(name)
    if make is None:
        point = _offered().get(name)
        if point is None:
            raise ConfigError(f"unknown parser {given!r}; known: {', '.join(parser_names())}")
        try:
            make = point.load()
        except Exception as error:
            raise ConfigError(f"parser {given!r}, which is {point.value}, cannot be loaded: {error!r}") from error
    try:
        made = make() if callable(make) else make
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"parser {given!r} cannot be made: {error!r}") from error
    return _check(made, f"parser {name!r} must have name, binary, encode and decode")


def limited(parser: Parser, limits: Limits) -> Parser:
    """The parser that keeps to these limits, if it has any; otherwise the one given."""
    return parser.limited(limits) if isinstance(parser, LimitedParser) else parser


def spec_name(parser: Parser) -> str:
    """What ``/spec`` calls a parser: its name, if that is one that others may know; otherwise ``custom``."""
    name = parser.name.lower()
    return name if name in _makers or name in _made else "custom"
