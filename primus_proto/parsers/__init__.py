"""Parsers, which encode values to messages and decode them. Both ends must use the same one (protocol 1).

There are ``json``, the default, ``ejson``, ``binary`` and ``msgpack``. Any object with the members of `Parser` can be
used as a parser.
"""

from typing import TYPE_CHECKING

from .base import AsyncParser, LimitedParser, Parser
from .binary import BinaryParser
from .json import JSONParser
from .registry import BUILT_IN, get_parser, limited, parser_names, register_parser, spec_name

if TYPE_CHECKING:
    from .ejson import EJSONParser, EJSONType
    from .values import RegExp
else:

    def __getattr__(name: str) -> type:
        """Import the EJSON parser when it is used first (PEP 562)."""
        if name not in ("EJSONParser", "EJSONType", "RegExp"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import ejson

        found = globals()[name] = getattr(ejson, name)
        return found


del TYPE_CHECKING

__all__ = [
    "BUILT_IN",
    "AsyncParser",
    "BinaryParser",
    "EJSONParser",
    "EJSONType",
    "JSONParser",
    "LimitedParser",
    "Parser",
    "RegExp",
    "get_parser",
    "limited",
    "parser_names",
    "register_parser",
    "spec_name",
]
