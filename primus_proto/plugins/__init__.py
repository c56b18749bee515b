"""Plugins: extensions of servers, sparks and clients, which use public extension points only (protocol 5.2)."""

from ..plugin_events import PluginEvent
from .base import Extension, Plugin, Reply
from .emitter import Ack, Emitter, EmitterPlugin, ServerEmitter
from .registry import OWN, load_plugins
from .rooms import Room, RoomJoined, RoomLeft, Rooms, RoomsLeft, RoomsPlugin, ServerRooms

__all__ = [
    "Ack",
    "Emitter",
    "EmitterPlugin",
    "Extension",
    "Plugin",
    "PluginEvent",
    "Reply",
    "Room",
    "RoomJoined",
    "RoomLeft",
    "Rooms",
    "RoomsLeft",
    "RoomsPlugin",
    "ServerEmitter",
    "ServerRooms",
    "load_plugins",
]

OWN["emitter"] = EmitterPlugin
OWN["rooms"] = RoomsPlugin
