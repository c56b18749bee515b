"""Events of transforms and plugins. Users find them in `primus_proto.events`, with all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from .commands import message
from .event_base import Event

if TYPE_CHECKING:
    from .session.work import Held

__all__ = ["Delivery", "PluginAdded", "PluginRemoved", "StepHeld"]


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
    size: int = field(default=0, compare=False, repr=False)


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
