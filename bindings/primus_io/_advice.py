"""What to do instead: advice for options and members that do not exist here, and for wrong ways to use what does.

Many users know the JavaScript package, so its names are answered with those of this one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import primus_proto as pp
from primus_proto.suggestions import suggestion

from ._environment import Environment

__all__ = [
    "CLIENT_ADVICE",
    "SERVER_ADVICE",
    "SPARK_ADVICE",
    "Advising",
    "running_environment",
    "unknown_option",
]

OPTION_ADVICE = {
    "reconnect": "give what is in it by itself: min=, max=, factor=, retries=, reconnect_timeout=",
    "network": "tell the client of the network by network_offline() and network_online()",
    "maxLength": "give limits=Limits(message=...), in bytes",
    "rejectUnauthorized": "give ssl= a context that trusts the server's certificate",
    "ca": "give ssl= a context: ssl.create_default_context(cafile=...)",
    "cert": "call create_server, or give ssl= a context, on which you called load_cert_chain(cert, key)",
    "key": "call create_server, or give ssl= a context, on which you called load_cert_chain(cert, key)",
    "websockets": "give transport= the ways that it may use, such as {'transports': ['polling']} for engine.io",
    "uri": "the URL is the first argument",
    "global": "leave it out: there is no compiled client",
    "iknowclusterwillbreakconnections": "leave it out: nothing warns of a cluster",
    "iknowhttpsisbetter": "leave it out, or give create_server warn=False",
    "hostname": "give host=",
    "listen": "a server listens once it is entered by `async with`",
    "plugin": "give plugins=",
}
LISTEN = "call on(event, listener); off(event, listener) removes it"
EMIT = "this end sends values by write(value); its events are those that happen to it"
SESSION_ADVICE = {
    "addListener": LISTEN,
    "addEventListener": LISTEN,
    "removeListener": "call off(event, listener)",
    "removeAllListeners": "call off(event, listener) for each of them",
    "emit": EMIT,
    "emits": "give on(event, ...) a function that does it",
    "pipe": "call relay(other) to send what arrives to another, pump(source) to send from something else",
    "close": "call end()",
    "disconnect": "call end()",
    "readyState": "read state",
}
CLIENT_ADVICE = {
    **SESSION_ADVICE,
    "connect": "it connects by itself; after an end, call open()",
    "reconnect": "it reconnects by itself, as its options say; after an end, call open()",
}
SPARK_ADVICE = {
    **SESSION_ADVICE,
    "join": "with the plugin rooms, call extension(Rooms).join(name)",
    "leave": "with the plugin rooms, call extension(Rooms).leave(name)",
    "rooms": "with the plugin rooms, read extension(Rooms).names",
    "room": "with the plugin rooms, call extension(Rooms).room(name)",
    "destroy": "call end()",
    "ip": "read address.ip",
}
SERVER_ADVICE = {
    **{name: SESSION_ADVICE[name] for name in SESSION_ADVICE.keys() - {"close"}},
    "emit": "broadcast a value by write(value)",
    "forEach": "call for_each(function), or write `for spark in server.sparks.values(): ...`",
    "connected": "write len(server.sparks)",
    "connections": "read sparks",
    "authorize": "give authorize= when the server is made",
    "createSocket": "call create_socket(...) of the same module",
    "room": "with the plugin rooms, call extension(ServerRooms).room(name)",
    "destroy": "call close()",
    "end": "call close()",
    "createServer": "primus_io.asyncio.create_server(handler, host, port) makes a server",
    "library": "there is no JavaScript client in this package: take it from the npm package",
    "save": "there is no JavaScript client in this package: take it from the npm package",
    "spec": "fetch_spec(url) asks a server for it",
    "send": "broadcast a value by write(value)",
}


def unknown_option(name: str, known: Iterable[str]) -> pp.ConfigError:
    """Return the error for an option that does not exist."""
    advice = f"; {OPTION_ADVICE[name]}" if name in OPTION_ADVICE else suggestion(name, known)
    return pp.ConfigError(f"there is no option {name!r}{advice}")


class Missing:
    """A member that a class does not have: looking it up raises AttributeError with what to do instead."""

    def __init__(self, name: str, advice: str) -> None:
        self._name = name
        self._advice = advice

    def __get__(self, held: object, cls: type) -> NoReturn:
        text = f"{cls.__name__!r} object has no attribute {self._name!r}{self._advice}"
        raise AttributeError(text, name=self._name, obj=held)


class Advising(type):
    """The type of classes with advice for members that users of the JavaScript package look for.

    `dir` and `help` do not show them. A `__getattr__` would do the same, and slow down each look-up of a member.
    """

    _missing: set[str]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        cls._missing = set().union(*(getattr(base, "_missing", ()) for base in bases))
        public = [member for member in dir(cls) if not member.startswith("_")]
        advice = {camel_case(member): f"; did you mean {member}?" for member in public}
        advice |= {member: f"; {text}" for member, text in cls.__dict__.get("_ADVICE", {}).items()}
        for member in advice.keys() - set(public) - cls._missing:
            setattr(cls, member, Missing(member, advice[member]))
            cls._missing.add(member)

    def __dir__(cls) -> list[str]:
        return sorted(set(super().__dir__()) - cls._missing)


def camel_case(name: str) -> str:
    """The name as JavaScript would have it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def running_environment(module: str, find: Callable[[], Environment]) -> Environment:
    """Return the environment of the running loop. Raises LocalProtocolError if that is of another library, or none."""
    try:
        environment = find()
        environment.now()
        return environment
    except RuntimeError as error:
        library = _running_library()
        if library is None:
            text = "no event loop is running here: use primus_io.threads, or call it in an async function that runs"
        else:
            text = f"this task runs on {library}: use primus_io.{library} or primus_io.anyio"
        raise pp.LocalProtocolError(f"{module} cannot run here, because {text}") from error


def _running_library() -> str | None:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"
