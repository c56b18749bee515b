"""Events of transforms and plugins. Users find them in `primus_proto.events`, with all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .commands import message
from .errors import ConfigError
from .event_base import Event
from .session.names import OWN_EVENTS, is_reserved, reserved

if TYPE_CHECKING:
    from .session.work import Held

__all__ = ["Delivery", "PluginAdded", "PluginEvent", "PluginRemoved", "StepHeld"]


@message
class StepHeld(Event):
    """A message waits for an asynchronous transform or parser. Await it, then answer `held` (protocol 5.1)."""

    name = "step held"
    held: Held


@message
class Delivery(Event):
    """A transform delivers a message to a function: call it as a listener of `data` is called (protocol 5.1)."""

    name = "delivery"
    session: Any
    """The client or spark."""
    function: Callable[..., object]
    arguments: tuple[Any, ...]
    topic: str = "delivery"
    """Coroutine functions handle messages of one topic one at a time."""
    size: int = field(default=0, compare=False, repr=False)


@dataclass
class PluginEvent(Event):
    """Base of the events that plugins emit (protocol 5.2): dataclasses, each with a `name` of its own and `args`.

    Raises ConfigError for a subclass whose name is reserved.
    """

    session: Any
    """The client or spark that it happened to, as its user holds it."""

    def __init_subclass__(cls) -> None:
        if is_reserved(cls.name, OWN_EVENTS) or reserved(cls.name):
            raise ConfigError(f"{cls.__name__} cannot have the name {cls.name!r}, which is an event of Primus")

    @property
    def server_args(self) -> tuple[Any, ...]:
        """The arguments for a listener of the server: `args`, and then the spark."""
        return (*self.args, self.session)


@message
class PluginAdded(Event):
    """A plugin was added to the server, as `plugin_name`."""

    name = "plugin"
    plugin_name: str
    plugin: Any

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.plugin_name, self.plugin)


@message
class PluginRemoved(Event):
    """A plugin was removed from the server."""

    name = "plugout"
    plugin_name: str
    plugin: Any

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.plugin_name, self.plugin)
