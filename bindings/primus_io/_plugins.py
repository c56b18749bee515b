"""Plugins and their extensions, on the objects that users hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ._io import IO

__all__ = ["Extended", "ServerPlugins", "WithPlugins"]

X = TypeVar("X")


class Extended:
    """Has extensions: what plugins have added."""

    _core: Any
    _io: IO

    def reserved(self, name: str) -> bool:
        """Whether a name is that of an event of this object or of its plugins, and not for those of the application.

        Raises LocalProtocolError for what is not a string.
        """
        found: bool = self._core.reserved(name)
        return found

    def _schedule(self) -> None:
        """Have the core pumped soon."""
        self._io.schedule()

    def extension(self, kind: type[X]) -> X:
        """What a plugin has added, by its class: ``spark.extension(Emitter)``.

        Raises LocalProtocolError if no plugin added one.
        """
        found: X = self._core.extension(kind)
        return found


class WithPlugins(Extended):
    """Has plugins."""

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The plugins by name, read-only."""
        plugins: Mapping[str, Any] = self._core.plugins
        return plugins

    def plugin(self, name: str) -> Any:
        """The plugin of this name, or None."""
        return self._core.plugins.get(name)


class ServerPlugins(WithPlugins):
    """Plugins of a server, which may come and go."""

    def __init__(self) -> None:
        super().__init__()
        self._used: list[tuple[Any, Any]] = []  # since the server was made
        self._removed: list[str] = []

    def use(self, name: Any, plugin: Any = None) -> None:
        """Add a plugin: ``use("name", plugin)``, ``use("name")`` or ``use(plugin)``. It joins sparks that open later.

        Raises ConfigError for an object that is not a plugin, and for a name that is in use. What the plugin's server
        half raises is raised here, and what that half has done is undone.
        """
        self._core.use(name, plugin)
        self._used.append((name, plugin))
        self._schedule()

    def plugout(self, name: str) -> bool:
        """Remove a plugin and what its server half added; open sparks keep theirs. Returns whether there was one."""
        plugin = self._core.plugins.get(name)
        removed: bool = self._core.plugout(name)
        self._schedule()
        self._removed.append(name)
        self._used = [used for used in self._used if name not in used and plugin not in used]
        return removed

    def _use_again(self) -> None:
        """Add the plugins to a new core."""
        for name in self._removed:
            self._core.plugout(name)
        for name, plugin in self._used:
            self._core.use(name, plugin)
