"""`SocketFactory`, a `connect` with its options set, and the one that a server has for its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import primus_proto as pp

__all__ = ["DEFAULT_URL", "SocketFactory", "WithSocket"]

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


class WithSocket:
    """A server that knows how its clients have to connect."""

    url: str
    _core: pp.Server
    _connect: Callable[..., Any]
    _unix: str | None = None

    @property
    def Socket(self) -> SocketFactory[Any]:  # noqa: N802  # as in the original
        """A `connect` with the URL, pathname, transformer, parser and plugins of this server: ``server.Socket()``

        Two looks at it are equal. Give it more options of `connect`, or another URL: for a server with TLS, `ssl=`.
        Plugins that have no half for a client are left out.
        """
        config = self._core.config
        plugins = {name: one for name, one in self._core.plugins.items() if callable(getattr(one, "client", None))}
        options = {"pathname": config.pathname, "transformer": config.transformer, "parser": config.parser}
        unix = {"unix": self._unix} if self._unix else {}
        return SocketFactory(self._connect, self.url or DEFAULT_URL, {**options, **unix, "plugins": plugins})
