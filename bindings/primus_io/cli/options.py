"""Flags made from the options of `primus_proto`.

The law kept here: each field of `ClientConfig`, `ServerConfig` and `Limits` has a flag, named after it and read by its
type, so none can be forgotten; only the words about it are written here.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import Field, fields
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from primus_proto import ClientConfig, Limits, ServerConfig
from primus_proto.config import STRATEGIES
from primus_proto.parsers import PARSERS
from primus_proto.transports.registry import TRANSPORTS

__all__ = [
    *("SPEC_OPTIONS", "add_client_options", "add_server_options", "add_unix"),
    *("given_options", "in_flags", "number"),
]

Config = type[ClientConfig] | type[ServerConfig]
LIMIT = "limit_"


class Words(NamedTuple):
    """What the help says of an option: what stands for its value, and what it is for; and what None is called."""

    metavar: str
    text: str
    none: str = "auto"


BOTH_HELP = {
    "pathname": Words("PATH", "the path that Primus has on the server"),
    "parser": Words("NAME", f"how messages are encoded, the same at both ends: {', '.join(sorted(PARSERS))}"),
    "transformer": Words("NAME", f"what carries messages, the same at both ends: {', '.join(sorted(TRANSPORTS))}"),
}

CLIENT_HELP = {
    **BOTH_HELP,
    "dialect": Words("NAME", "who sends heartbeats: happn, primus6, primus, or 'auto': what the server is"),
    "ping": Words("S", "seconds between heartbeats, 'off', or 'auto': what suits the server, or 25"),
    "pong": Words("S", "seconds the server has to answer a heartbeat"),
    "ping_timeout": Words("S", "in dialect primus: seconds without a heartbeat of the server's, 'off', or 'auto'"),
    "timeout": Words("S", "seconds the first connect may take, or 'off'"),
    "strategy": Words("WHEN", f"when to reconnect: 'all', 'none', or a list of {', '.join(STRATEGIES)}", "all"),
    "min": Words("S", "seconds before the first reconnect attempt"),
    "max": Words("S", "the longest delay between reconnect attempts, seconds or 'inf'"),
    "factor": Words("X", "how fast that delay grows"),
    "retries": Words("N", "how many reconnect attempts are made before giving up, or 'unlimited'", "unlimited"),
    "reconnect_timeout": Words("S", "seconds one reconnect attempt may take"),
    "queue_size": Words("N", "how many messages are kept while not connected, or 'unlimited'", "unlimited"),
    "manual": Words("", "connect only once the first line of input is there"),
    "headers": Words("'NAME: VALUE'", "a header field to send with the connect request; may be repeated"),
}

SERVER_HELP = {
    **BOTH_HELP,
    "allow_skipped_heartbeats": Words(
        "N", "heartbeats in a row that may be missed before a spark is ended; at least 2"
    ),
    "dialect": Words("NAME", "who sends heartbeats: happn, primus6, primus, or 'auto': what each client is"),
    "timeout": Words("S", "in dialect primus6: seconds without a message after which a spark is ended, or 'off'"),
    "ping_interval": Words("S", "in dialect primus: seconds between the server's heartbeats, or 'off'"),
    "detect_after": Words("S", "in dialect auto: seconds without a heartbeat after which a client is taken for primus"),
    "pong_skip_time": Words("S", "seconds within which the heartbeats of one spark get one answer together"),
    "authorization": Words("WHICH", "what --require is asked of: 'off', 'on' (new sessions) or 'all' (every request)"),
    "trusted_proxies": Words("LIST", "addresses or networks, with commas, whose X-Forwarded-For is believed"),
}

LIMIT_HELP = {
    "head": Words("BYTES", "the largest head of an HTTP request or response"),
    "handshake": Words("S", "seconds for an HTTP head or body, and for an idle connection"),
    "body": Words("BYTES", "the largest HTTP body"),
    "pipelined": Words("BYTES", "what is read behind a request that is not answered yet"),
    "message": Words("BYTES", "the largest message"),
    "fragments": Words("N", "the frames that one message may be cut into"),
    "backlog": Words("BYTES", "what may wait for a spark that does not read, before it is cut"),
    "queue": Words("BYTES", "what a client keeps while not connected, or for a server that does not read"),
    "close": Words("S", "seconds for a closing handshake"),
    "heartbeat_min": Words("S", "the shortest heartbeat timeout a client may ask for"),
    "heartbeat_max": Words("S", "the longest heartbeat timeout a client may ask for"),
    "authorizations": Words("N", "requests that may wait for authorization"),
    "authorization": Words("S", "seconds a request may wait for authorization"),
}

# What `primus spec` needs of a client's options: it makes one request and no session.
SPEC_OPTIONS = frozenset({"pathname", "timeout", "headers"})


def add_client_options(parser: argparse.ArgumentParser, only: frozenset[str] | None = None) -> None:
    """A flag for each field of `ClientConfig` but the URL, which is an argument, or for those named."""
    _add_options(parser, ClientConfig, CLIENT_HELP, only)


def add_unix(parser: argparse.ArgumentParser) -> None:
    """The flag for a client's way to its server that no configuration has."""
    parser.add_argument("--unix", metavar="PATH", help="the Unix socket to connect to, whatever host the URL names")


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of `ServerConfig`."""
    _add_options(parser, ServerConfig, SERVER_HELP, None)


def given_options(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """The options that were given on the command line, as keyword arguments; the others keep their defaults.

    Raises ConfigError for limits that cannot be.
    """
    options = {field.name: getattr(args, field.name) for field in fields(config) if hasattr(args, field.name)}
    limits = {
        field.name: getattr(args, LIMIT + field.name) for field in fields(Limits) if hasattr(args, LIMIT + field.name)
    }
    if limits:
        options["limits"] = Limits(**limits)
    return options


def in_flags(message: str) -> str:
    """The message of a ConfigError, with options named as on the command line."""
    message = re.sub(r"\blimits\.(\w+)", lambda match: _flag(LIMIT + match[1]), message)
    message = message.replace("(False or 0: off)", "(or 'off')")
    message = re.sub(r"give (\w+)='([^']*)'", lambda match: f"give {_flag(match[1])} {match[2]}", message)
    name = message.partition(" ")[0]
    known = name in CLIENT_HELP or name in SERVER_HELP
    return _flag(name) + message[len(name) :] if known and " must " in message else message


def _flag(name: str) -> str:
    return "--header" if name == "headers" else "--" + name.replace("_", "-")


def _add_options(
    parser: argparse.ArgumentParser, config: Config, help: dict[str, Words], only: frozenset[str] | None
) -> None:
    hints = get_type_hints(config)
    session = parser.add_argument_group("options of Primus (durations in seconds)")
    for field in fields(config):
        if field.name not in ("url", "limits") and (only is None or field.name in only):
            _add(session, field, hints[field.name], help, field.name)
    hints = get_type_hints(Limits)
    limits = parser.add_argument_group("limits on the other end (sizes in bytes; 64K and 10M are understood)")
    for field in fields(Limits):
        _add(limits, field, hints[field.name], LIMIT_HELP, LIMIT + field.name)


def _add(group: argparse._ArgumentGroup, field: Field[Any], hint: object, help: dict[str, Words], dest: str) -> None:
    words = help.get(field.name, Words("VALUE", ""))  # no words yet: a test says so
    common: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS}
    text = words.text.replace("%", "%%")
    if hint is bool:
        group.add_argument(_flag(dest), action="store_true", help=text, **common)
    elif dest == "headers":
        group.add_argument(_flag(dest), action="append", type=header, metavar=words.metavar, help=text, **common)
    else:
        text += f" (default: {_shown(field, words, limit=dest.startswith(LIMIT))})"
        group.add_argument(
            _flag(dest), type=_reader(dest, hint, words.none), metavar=words.metavar, help=text, **common
        )


def _shown(field: Field[Any], words: Words, *, limit: bool) -> str:
    value: Any = field.default
    if value is None:
        return words.none
    if value is False:
        return "off"
    if value == ():
        return "none"
    if limit and words.metavar == "BYTES":
        return f"{value // 2**20}M" if value % 2**20 == 0 else f"{value // 2**10}K"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reader(dest: str, hint: object, none: str) -> Callable[[str], Any]:
    """What turns a flag's text into its value: words that stand for None, off and so on, and what is left."""
    if dest == "strategy":
        return strategy
    if dest == "trusted_proxies":
        return proxies
    words: dict[str, Any] = {}
    kinds: list[object] = []
    for member in get_args(hint) or (hint,):
        if member is NoneType:
            words[none] = None
        elif get_origin(member) is Literal or get_origin(hint) is Literal:
            for value in get_args(member) or (member,):
                words[{False: "off", True: "on"}.get(value, value)] = value
        else:
            kinds.append(member)
    rest: Callable[[str], Any] | None = None
    if float in kinds:
        rest = number
    elif int in kinds:
        rest = size if dest.startswith(LIMIT) else whole
    elif str in kinds:
        rest = str
    elif kinds:
        raise TypeError(f"no way to read {_flag(dest)} from a command line: {hint}")

    def read(text: str) -> Any:
        if text.lower() in words:
            return words[text.lower()]
        if rest is None:
            raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(words)}")
        return rest(text)

    return read


# --- readers of values; argparse names the flag in front of what they raise ---


def number(text: str) -> float:
    """A number; whether it may be that large or small is said by the configuration."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    return value


def whole(text: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"not a whole number: {text!r}")
    return int(text)


def size(text: str) -> int:
    """A whole number; K, M and G behind it are powers of 1024."""
    match = re.fullmatch(r"(.+?)([kmg])(i?b)?", text, re.IGNORECASE)
    if match is None:
        return whole(text)
    return whole(match[1]) * int(1024 ** ("kmg".index(match[2].lower()) + 1))


def strategy(text: str) -> str | Literal[False] | None:
    """``all``, ``none``, or names with commas between them."""
    if text.lower() in ("all", "none"):
        return None if text.lower() == "all" else False
    names = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown:
        known = ", ".join(STRATEGIES)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of: {known}; 'all' and 'none' stand alone")
    return ",".join(names)


def proxies(text: str) -> tuple[str, ...]:
    """Addresses or networks with commas between them."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def header(text: str) -> tuple[str, str]:
    """``Name: value``."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"not of the form 'Name: value': {text!r}")
    return name.strip(), value.strip()
