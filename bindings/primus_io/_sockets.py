"""`create_socket`: a `connect` with its options set, as the original's `createSocket` makes a class of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, Unpack

import primus_proto as pp
from primus_proto.options import ClientOptions

from ._entry import client_config
from ._socket_factory import DEFAULT_URL, SocketFactory

__all__ = ["CreateSocket", "SocketFactory", "make_create_socket"]

R = TypeVar("R", covariant=True)


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
