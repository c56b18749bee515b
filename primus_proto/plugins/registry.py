"""The plugins of an option: by name, as objects, or both; names come from entry points too."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import ConfigError
from ..plugin_events import PluginEvent

__all__ = ["ENTRY_POINTS", "HALVES", "check_plugin", "events_of", "find_plugin", "load_plugins"]

ENTRY_POINTS = "primus_proto.plugins"
"""The group of entry points of plugins that are packages of their own."""
HALVES = ("server", "spark", "client")
OWN: dict[str, Callable[[], Any]] = {}
"""The plugins that come with this package, which enters them itself."""


def load_plugins(value: Any) -> dict[str, Any]:
    """Normalise the option `plugins`. Raises ConfigError for anything but plugins, and for a name used twice."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, str):
        items = [(name, name) for name in re.split(r"[\s,]+", value) if name]
    elif isinstance(value, Collection):
        items = [(one if isinstance(one, str) else getattr(one, "name", ""), one) for one in value]
    else:
        raise ConfigError(f"plugins must be names and plugins, or a mapping of names to plugins; got {value!r}")
    plugins: dict[str, Any] = {}
    for name, plugin in items:
        found = find_plugin(plugin) if isinstance(plugin, str) else plugin
        check_plugin(name, found)
        if name in plugins:
            raise ConfigError(f"two plugins have the name {name!r}")
        plugins[name] = found
    return plugins


def check_plugin(name: object, plugin: object) -> None:
    """Raise ConfigError unless this is a name, and a plugin."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a plugin needs a name, as in plugins={{'name': plugin}}; got {name!r} for {plugin!r}")
    if isinstance(plugin, type):
        raise ConfigError(f"plugin {name!r} is a class: give an instance, {plugin.__name__}()")
    if not any(callable(getattr(plugin, half, None)) for half in HALVES):
        raise ConfigError(f"plugin {name!r} has none of the methods {', '.join(HALVES)}; got {plugin!r}")


def events_of(name: str, plugin: object) -> dict[str, type[PluginEvent] | None]:
    """The names that a plugin reserves, each with its event. Raises ConfigError for what is neither."""
    kinds, names = getattr(plugin, "events", ()), getattr(plugin, "reserved", ())
    if not isinstance(kinds, Collection) or not all(isinstance(k, type) and issubclass(k, PluginEvent) for k in kinds):
        raise ConfigError(f"events of plugin {name!r} must be subclasses of primus_proto.PluginEvent; got {kinds!r}")
    if isinstance(names, str) or not isinstance(names, Collection) or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"reserved of plugin {name!r} must be a collection of names; got {names!r}")
    return {**dict.fromkeys(names), **{kind.name: kind for kind in kinds}}


def find_plugin(name: str) -> Any:
    """The plugin of this name: one of ours, or one of an entry point. Raises ConfigError if there is none."""
    if name in OWN:
        return OWN[name]()
    from importlib.metadata import entry_points  # here, because it takes a while to import

    points = entry_points(group=ENTRY_POINTS)
    for point in points:
        if point.name == name:
            try:
                found = point.load()
                return found() if isinstance(found, type) else found
            except Exception as error:
                raise ConfigError(f"plugin {name!r}, which is {point.value}, cannot be loaded: {error!r}") from error
    known = ", ".join(sorted({*OWN, *(point.name for point in points)}))
    raise ConfigError(f"unknown plugin {name!r}; known: {known}. Is the package that brings it installed?")
