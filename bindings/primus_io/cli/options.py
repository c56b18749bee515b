"""Flags for the fields of `ClientConfig`, `ServerConfig` and `Limits`, and the values given with them."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from typing import Any

from primus_proto import NOTHING, ClientConfig, Limits, ServerConfig
from primus_proto.config import STRATEGIES
from primus_proto.parsers import BUILT_IN
from primus_proto.transports.registry import TRANSPORTS

Config = type[ClientConfig] | type[ServerConfig]
LIMIT = "limit_"

# Each option's name for its value, which says how it is converted, and its help text.
BOTH_HELP = {
    "pathname": ("PATH", "URL path of Primus on the server"),
    "parser": ("NAME", f"message encoding, the same on both ends: {', '.join(BUILT_IN)}"),
    "transformer": ("NAME", f"transport, the same on both ends: {', '.join(sorted(TRANSPORTS))}"),
    "transport": ("OPTION=VALUE", "option of the transport, such as transports=polling; repeat to set several"),
}
CLIENT_HELP = {
    **BOTH_HELP,
    "dialect": ("NAME", "kind of heartbeat: 'happn', 'primus6', 'primus', or 'auto' to ask the server"),
    "ping": ("S", "seconds between heartbeats, 'off', or 'auto' to use what suits the server"),
    "pong": ("S", "seconds to wait for the answer to a heartbeat"),
    "ping_timeout": ("S", "dialect primus: longest wait for the server's heartbeat, in seconds, 'off', or 'auto'"),
    "timeout": ("S", "seconds that the first connection attempt may take, or 'off'"),
    "strategy": ("LIST", f"when to reconnect: 'all', 'none', or a list of {', '.join(STRATEGIES)}"),
    "min": ("S", "seconds to wait before the first reconnect attempt"),
    "max": ("S", "longest wait between reconnect attempts, in seconds, or 'inf'"),
    "factor": ("X", "factor by which that wait grows with each attempt"),
    "retries": ("N", "number of reconnect attempts before giving up, or 'unlimited'"),
    "reconnect_timeout": ("S", "seconds that one reconnect attempt may take"),
    "queue_size": ("N", "number of messages to keep while not connected, or 'unlimited'"),
    "manual": ("", "wait for the first line of input before connecting"),
    "query": ("KEY=VALUE", "pair to add to the query of the URL; repeat to send several"),
    "first_message": ("JSON", "value to send first on every connection, as JSON"),
    "compression": ("", "offer to compress WebSocket messages"),
    "headers": ("'NAME: VALUE'", "header to send with the connect request; repeat to send several"),
    "cookies": ("NAME=VALUE", "cookie to send with the connect request; repeat to send several"),
}
SERVER_HELP = {
    **BOTH_HELP,
    "allow_skipped_heartbeats": ("N", "heartbeats in a row that a client may miss before it is disconnected"),
    "dialect": ("NAME", "kind of heartbeat: 'happn', 'primus6', 'primus', or 'auto' to detect each client's"),
    "timeout": ("S", "dialect primus6: disconnect a client after this many seconds without a message, or 'off'"),
    "ping_interval": ("S", "dialect primus: seconds between the server's heartbeats, or 'off'"),
    "detect_after": ("S", "dialect auto: seconds without a heartbeat until a client's dialect is taken for primus"),
    "pong_skip_time": ("S", "answer only one of the heartbeats that a client sends within this many seconds"),
    "authorization": ("WHICH", "requests that --require applies to: 'off', 'on' (new sessions), 'all' (every request)"),
    "compression": ("", "compress WebSocket messages for clients that offer it"),
    "origins": ("LIST", "comma-separated web sites whose pages may connect, such as https://example.org; '*': all"),
    "methods": ("LIST", "comma-separated methods that cross-origin requests may have"),
    "credentials": ("ON|OFF", "let pages of other web sites send cookies and read the answers"),
    "max_age": ("S", "seconds for which browsers may keep the answer to a preflight"),
    "allow_headers": ("LIST", "comma-separated headers that pages of other web sites may send"),
    "exposed": ("LIST", "comma-separated headers of answers that pages of other web sites may read"),
    "trusted_proxies": ("LIST", "comma-separated addresses or networks of trusted proxies, or 'unix'"),
    "forwarded_by": ("NAME", "header that those set: x-forwarded-for, forwarded or x-real-ip"),
}
LIMIT_HELP = {
    "connections": ("N", "maximum number of connections"),
    "connections_per_address": ("N", "maximum number of connections from one address, or /64 network of IPv6"),
    "replies": ("N", "heartbeats and questions of one peer that are answered within a second"),
    "idle": ("S", "disconnect a client that has no heartbeat after this many seconds without a message, or 'off'"),
    "head": ("BYTES", "maximum size of the head of an HTTP request or response"),
    "handshake": ("S", "seconds allowed for an HTTP request, a TLS handshake, or an idle connection"),
    "body": ("BYTES", "maximum size of an HTTP body"),
    "pipelined": ("BYTES", "bytes to read from a connection while its previous request is unanswered"),
    "headers": ("N", "maximum number of header fields in a request"),
    "parameters": ("N", "maximum number of parameters in the query of a request"),
    "message": ("BYTES", "maximum size of a message"),
    "fragments": ("N", "maximum number of frames per message"),
    "backlog": ("BYTES", "unsent bytes that may wait for a client that has read nothing for --limit-stall seconds"),
    "burst": ("BYTES", "unsent bytes that may wait for a client at all"),
    "stall": ("S", "seconds without reading after which a client above --limit-backlog is disconnected"),
    "queue": ("BYTES", "unsent bytes to keep while not connected, or while the server does not read"),
    "close": ("S", "seconds allowed for the closing handshake"),
    "drain": ("BYTES", "bytes to discard from a peer that was refused or broke a rule, before it is disconnected"),
    "heartbeat_min": ("S", "shortest heartbeat timeout that the other end may ask for"),
    "heartbeat_max": ("S", "longest silence that a client may ask for"),
    "authorizations": ("N", "number of requests that may wait for authorization"),
    "authorization": ("S", "seconds that a request may wait for authorization"),
    "values": ("N", "maximum number of values in a message"),
    "nesting": ("N", "maximum depth of lists and objects in a message"),
    "held": ("BYTES", "bytes that may wait for an asynchronous transform or parser"),
    "transform": ("S", "seconds that an asynchronous transform or parser may take for a message"),
    "unclaimed": ("N", "number of sessions that may wait for their client's second request"),
}
# Options without a flag of their own.
SINGULAR = {"headers": "--header", "cookies": "--cookie", "transport": "--transport"}
WITHOUT_FLAG = {"url", "limits", "plugins", "receive"}
CLIENT_ONLY = {"queue"}
SERVER_ONLY = {
    *(
        "connections",
        "connections_per_address",
        "idle",
        "headers",
        "parameters",
        "pipelined",
        "backlog",
        "burst",
        "stall",
        "heartbeat_max",
        "authorizations",
        "authorization",
        "unclaimed",
    )
}

# Words that stand for values of an option.
WORDS: dict[str, dict[str, Any]] = {
    "ping": {"off": False, "auto": None},
    "ping_timeout": {"off": False, "auto": None},
    "ping_interval": {"off": False},
    "timeout": {"off": False},
    "strategy": {"all": None, "none": False},
    "retries": {"unlimited": None},
    "queue_size": {"unlimited": None},
    "limit_idle": {"off": math.inf},
    "authorization": {"off": False, "on": True, "all": "all"},
    "credentials": {"on": True, "off": False},
}
ACTIONS = {
    **dict.fromkeys(("headers", "cookies", "query", "transport"), "append"),
    **dict.fromkeys(("compression", "manual"), "store_true"),
}
IN_FLAGS = (
    ("(False or 0: off)", "(or 'off')"),
    ("or False for none", "or 'none'"),
    ("True or False", "'on' or 'off'"),
    ("False, True or 'all'", "'off', 'on' or 'all'"),
    ("proxy must be True, None or", "--proxy must be 'env' or"),
)


def add_options(parser: argparse.ArgumentParser, config: Config, only: Collection[str] = ()) -> None:
    """Add a flag for each field of a configuration and of its limits, or only for some."""
    helps, without = (CLIENT_HELP, SERVER_ONLY) if config is ClientConfig else (SERVER_HELP, CLIENT_ONLY)
    group = parser.add_argument_group("Primus options (durations in seconds)")
    for field in fields(config):
        if field.name in (only or helps) and field.name in helps:
            _add(group, field, *helps[field.name], field.name)
    group = parser.add_argument_group("limits (sizes in bytes; suffixes such as 64K and 10M are accepted)")
    for field in fields(Limits):
        if field.name in (only or LIMIT_HELP) and field.name not in without:
            _add(group, field, *LIMIT_HELP[field.name], LIMIT + field.name)


def given_options(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Return the options given on the command line, as keyword arguments. Raises ConfigError for invalid limits."""
    given = vars(args)
    options = {field.name: given[field.name] for field in fields(config) if field.name in given}
    if "transport" in options:
        options["transport"] = dict(options["transport"])
    limits = {field.name: given[LIMIT + field.name] for field in fields(Limits) if LIMIT + field.name in given}
    return options | ({"limits": Limits(**limits)} if limits else {})


def in_flags(message: str) -> str:
    """Return the message of a ConfigError with options and values named as on the command line."""
    for value, word in IN_FLAGS:
        message = message.replace(value, word)
    message = re.sub(r"\blimits\.(\w+)", lambda match: _flag(LIMIT + match[1]), message)
    message = re.sub(r"give (\w+)='([^']*)'", lambda match: f"give {_flag(match[1])} {match[2]}", message)
    message = re.sub(r"\btransport\['(\w+)'\]", r"--transport \1", message)
    name = message.partition(" ")[0]
    known = name in CLIENT_HELP or name in SERVER_HELP
    return _flag(name) + message[len(name) :] if known and " must " in message else message


def _flag(name: str) -> str:
    return SINGULAR.get(name) or "--" + name.replace("_", "-")


def _add(group: argparse._ArgumentGroup, field: Field[Any], metavar: str, text: str, dest: str) -> None:
    common: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS}
    words = WORDS.get(dest, {})
    if metavar:
        common |= {"type": converter(metavar, words), "metavar": metavar}
        text += f" (default: {_default(field.default, metavar, words)})" if dest not in SINGULAR else ""
    group.add_argument(_flag(dest), action=ACTIONS.get(dest, "store"), help=text, **common)


def _default(value: Any, metavar: str, words: dict[str, Any]) -> str:
    if metavar == "WHICH":
        return "'on' with --require"
    if metavar == "BYTES":
        return f"{value // 2**20}M" if value % 2**20 == 0 else f"{value // 2**10}K"
    if isinstance(value, tuple) and value:
        return ",".join(value)
    word = next(
        (word for word, meaning in words.items() if meaning is value), "none" if value in ((), NOTHING) else value
    )
    return f"{word:g}" if isinstance(word, float) else str(word)


def converter(metavar: str, words: Mapping[str, Any] = {}) -> Callable[[str], Any]:
    """Return what converts the text of a flag, by the name of its value; some words stand for values."""
    convert, what = CONVERTERS.get(metavar, (str, ""))

    def read(text: str) -> Any:
        if text.lower() in words:
            return words[text.lower()]
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"not {what}: {text!r}") from None

    return read


def size(text: str) -> int:
    """Convert a whole number; the suffixes K, M and G are powers of 1024."""
    match = re.fullmatch(r"([0-9]+)([kmg]?)(i?b)?", text.lower())
    if match is None:
        raise ValueError
    factor: int = 1024 ** " kmg".index(match[2] or " ")
    return int(match[1]) * factor


def pair(text: str, separator: str) -> tuple[str, str]:
    """Convert a name and a value."""
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise ValueError
    return name.strip(), value.strip()


def items(text: str) -> tuple[str, ...]:
    """Convert a comma-separated list."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def transport_option(text: str) -> tuple[str, Any]:
    """Convert an option of a transport: a list, 'on' or 'off', a number, or text."""
    name, value = pair(text, "=")
    words = {"on": True, "off": False, "none": None}
    if name == "transports":
        return name, items(value)
    if value in words:
        return name, words[value]
    return name, json.loads(value) if re.fullmatch(r"\d+(\.\d+)?", value) else value


# How values are converted, by what the help calls them, and what they must be; others are text.
CONVERTERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "S": (float, "a number"),
    "X": (float, "a number"),
    "N": (int, "a whole number"),
    "BYTES": (size, "a size in bytes, such as 64K"),
    "LIST": (items, ""),
    "JSON": (json.loads, "JSON"),
    "'NAME: VALUE'": (lambda text: pair(text, ":"), "of the form 'Name: value'"),
    "KEY=VALUE": (lambda text: pair(text, "="), "of the form KEY=VALUE"),
    "OPTION=VALUE": (transport_option, "of the form OPTION=VALUE"),
    "NAME=VALUE": (lambda text: pair(text, "="), "of the form NAME=VALUE"),
}
