"""Parsers, which encode values to messages and decode them. Both ends must use the same one (protocol 1).

There are ``json``, the default, ``ejson``, ``binary`` and ``msgpack``. Any object with the members of `Parser` can be
used as a parser.
"""

from .base import AsyncParser, LimitedParser, Parser
from .binary import BinaryParser
from .ejson import EJSONParser, EJSONType
from .json import JSONParser
from .registry import BUILT_IN, get_parser, limited, parser_names, register_parser, spec_name
from .values import RegExp

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
