"""`create_socket`: a `connect` with its options set, as the original's `createSocket` makes a class of clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, Unpack

import primus_proto as pp
from primus_proto.options import ClientOptions

from ._entry import client_config

__all__ = ["DEFAULT_URL", "CreateSocket", "SocketFactory", "make_create_socket"]

R = TypeVar("R", covariant=True)

DEFAULT_URL = "http://127.0.0.1"


class SocketFactory(Generic[R]):
    """A `connect` with options of its own: ``Socket = create_socket(parser="ejson")``, ``async with Socket(url): …``

    Two are equal if they connect alike.
    """

    def __init__(self, connect: Callable[..., R], url: str, options: Mapping[str, Any]) -> None:
        self._connect = connect
        self.url: str = url
        """The URL that is used where none is given."""
        self._options = dict(options)

    @property
    def options(self) -> Mapping[str, Any]:
        """Its options, read-only."""
        return MappingProxyType(self._options)

    def __call__(self, url: str | None = None, **options: Any) -> R:
        """Call `connect`. Options given here come before those of the factory."""
        return self._connect(self.url if url is None else url, **{**self._options, **options})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SocketFactory):
            return NotImplemented
        return (self._connect, self.url, self._options) == (other._connect, other.url, other._options)

    __hash__ = None  # type: ignore[assignment]  # options may be mutable

    def __repr__(self) -> str:
        return f"<SocketFactory {', '.join(self._options) or 'with no options'}>"  # values may be secret


class CreateSocket(Protocol[R]):
    """The type of `create_socket`."""

    def __call__(self, url: str = DEFAULT_URL, **options: Unpack[ClientOptions]) -> SocketFactory[R]:
        """Make a `connect` with these options: ``Socket = create_socket(pathname="/live", plugins=["emitter"])``

        Call it with a URL, or without one for `url`, and with more options of `connect`: ``async with
        Socket("http://localhost:8080") as primus: ...`` Invalid options raise ConfigError at once.
        """


def make_create_socket(module: str, connect: Callable[..., R]) -> CreateSocket[R]:
    """Make the `create_socket` of a binding."""

    def create_socket(url: str = DEFAULT_URL, **options: Unpack[ClientOptions]) -> SocketFactory[R]:
        if not isinstance(url, str):
            raise pp.ConfigError(f"url must be a string like {DEFAULT_URL!r}; got {url!r}")
        client_config(url, options)
        return SocketFactory(connect, url, options)

    create_socket.__module__, create_socket.__qualname__ = module, "create_socket"
    create_socket.__doc__ = CreateSocket.__call__.__doc__
    return create_socket
