"""Plugins at work: who has which, what their halves have added, and how that is undone (protocol 5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..errors import STOPPING, ConfigError, LocalProtocolError, PrimusError
from ..plugin_events import PluginEvent
from ..plugins.registry import check_plugin, events_of, find_plugin
from .names import is_reserved
from .transforms import Transforms

__all__ = ["Extensible", "HasPlugins", "Plugins"]

X = TypeVar("X")


class Extensible:
    """Has extensions: what the halves of plugins returned."""

    if not TYPE_CHECKING:  # a subclass has the attributes, as slots or not
        __slots__ = ()

    EVENTS: ClassVar[frozenset[str]]
    """The names of its own events that the original has."""
    transforms: Any
    extensions: dict[type, Any] | None

    @property
    def plugin_events(self) -> Mapping[str, type[PluginEvent] | None]:
        """The names that its plugins have reserved, each with the event of that name, if there is one."""
        raise NotImplementedError

    def reserved(self, name: str) -> bool:
        """Whether a name is that of one of its events, or its plugins': not for events of the application (protocol 5).

        Raises LocalProtocolError for what is not a string.
        """
        return is_reserved(name, self.EVENTS, self.plugin_events)

    def find_extension(self, kind: type[X]) -> X | None:
        """The extension of this class; None if no plugin added one."""
        found: X | None = self.extensions.get(kind) if self.extensions is not None else None
        return found

    def extension(self, kind: type[X]) -> X:
        """The extension of this class. Raises LocalProtocolError if no plugin added one."""
        found = self.find_extension(kind)
        if found is None:
            known = ", ".join(one.__name__ for one in self.extensions or ()) or "none"
            name = getattr(kind, "__name__", repr(kind))
            text = f"there is no extension {name} here (there are: {known}): give its plugin by plugins=, or by `use`"
            raise LocalProtocolError(text)
        return found

    def extend(self, half: Callable[[Any], object]) -> None:
        """Run a plugin's half for this object, and keep the extension that it returns. Undone if it raises."""
        with self._undoing():
            extension = half(self)
            if extension is not None:
                if self.find_extension(type(extension)) is not None:
                    raise ConfigError(f"two plugins add an extension {type(extension).__name__}")
                self.extensions = {**(self.extensions or {}), type(extension): extension}

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        transforms: Transforms | None = self.transforms
        before = (transforms.incoming, transforms.outgoing) if transforms is not None else ((), ())
        extensions = self.extensions
        pipeline: Any = getattr(self, "pipeline", None)  # of a server
        layers = pipeline.layers if pipeline is not None else ()
        try:
            yield
        except BaseException:
            if pipeline is not None:
                pipeline.restore(layers)
            if self.transforms is not None:
                self.transforms.incoming, self.transforms.outgoing = before
            self.extensions = extensions
            raise

    def tell_closed(self, error: PrimusError) -> list[BaseException]:
        """Tell the extensions that the connection is gone. Returns what they raised."""
        failures: list[BaseException] = []
        for extension in (self.extensions or {}).values():
            closed = getattr(extension, "closed", None)
            try:
                if closed is not None:
                    closed(error)
            except STOPPING:
                raise
            except BaseException as failure:
                failures.append(failure)
        return failures


class Plugins:
    """The plugins of one server or client, by name."""

    def __init__(
        self, owner: Extensible, half: str, changed: Callable[[str, str, Any], object] = lambda *_: None
    ) -> None:
        self._owner = owner
        self._half = half
        self._changed = changed  # called with an event's name, the plugin's name and the plugin
        self._plugins: dict[str, Any] = {}
        # By plugin, what its half has added: transforms and extensions. Layers know their plugin.
        self._added: dict[str, tuple[tuple[Any, ...], tuple[type, ...]]] = {}
        self.view: Mapping[str, Any] = MappingProxyType(self._plugins)
        """The plugins, read-only."""
        self.events: dict[str, type[PluginEvent] | None] = {}
        """The names that plugins have reserved, each with the event of that name, if there is one."""

    def use_all(self, plugins: Mapping[str, Any]) -> None:
        """Add several plugins."""
        for name, plugin in plugins.items():
            self.use(name, plugin)

    def use(self, name: object, plugin: object = None) -> None:
        """Add a plugin. Raises ConfigError for what is none or has a name in use; then nothing has changed."""
        if plugin is None:
            if isinstance(name, str):
                plugin = find_plugin(name)
            else:
                name, plugin = getattr(name, "name", None), name
        elif isinstance(plugin, str):
            plugin = find_plugin(plugin)
        check_plugin(name, plugin)
        assert isinstance(name, str)
        if name in self._plugins:
            raise ConfigError(f"there is a plugin {name!r} already")
        events = events_of(name, plugin)
        for event, kind in events.items():
            if self.events.get(event, kind) is not kind:
                raise ConfigError(f"plugin {name!r} has an event {event!r}, and so has another plugin")
        owner = self._owner
        before = (*owner.transforms.incoming, *owner.transforms.outgoing) if owner.transforms is not None else ()
        had = owner.extensions or {}
        pipeline: Any = getattr(owner, "pipeline", None)  # of a server
        half = getattr(plugin, self._half, None)
        if callable(half):
            if pipeline is not None:
                pipeline.plugin = name
            try:
                owner.extend(half)
            finally:
                if pipeline is not None:
                    pipeline.plugin = ""
        after = owner.transforms
        steps = tuple(
            (direction, step.function)
            for direction in ("incoming", "outgoing")
            for step in (getattr(after, direction) if after is not None else ())
            if step not in before
        )
        kinds = tuple(kind for kind in owner.extensions or {} if kind not in had)
        self._added[name] = (steps, kinds)
        self._plugins[name] = plugin
        self.events.update(events)
        self._changed("plugin", name, plugin)

    def plugout(self, name: str) -> bool:
        """Remove a plugin, and what its half has added. Returns whether there was one."""
        if name not in self._plugins:
            return False
        plugin = self._plugins.pop(name)
        steps, kinds = self._added.pop(name)
        owner: Any = self._owner  # a server: only there plugins are removed
        owner.pipeline.remove_plugin(name)
        for direction, function in steps:
            self._owner.transforms.remove(direction, function)
        if kinds:
            left = {kind: one for kind, one in (self._owner.extensions or {}).items() if kind not in kinds}
            self._owner.extensions = left
        self.events.clear()
        for other, one in self._plugins.items():
            self.events.update(events_of(other, one))
        self._changed("plugout", name, plugin)
        return True


class HasPlugins(Extensible):
    """Has plugins: a server, or a client."""

    _plugins: Plugins

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The plugins by name, as they are now."""
        return MappingProxyType(dict(self._plugins.view))

    @property
    def plugin_events(self) -> Mapping[str, type[PluginEvent] | None]:
        return self._plugins.events
