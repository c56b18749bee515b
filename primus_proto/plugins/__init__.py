"""Plugins: extensions of servers, sparks and clients, which use public extension points only (protocol 5.2)."""

from .base import Extension, Plugin, Reply
from .emitter import Ack, Emitter, EmitterPlugin, ServerEmitter
from .registry import OWN, load_plugins
from .rooms import Room, Rooms, RoomsPlugin, ServerRooms

__all__ = [
    "Ack",
    "Emitter",
    "EmitterPlugin",
    "Extension",
    "Plugin",
    "Reply",
    "Room",
    "Rooms",
    "RoomsPlugin",
    "ServerEmitter",
    "ServerRooms",
    "load_plugins",
]

OWN["emitter"] = EmitterPlugin
OWN["rooms"] = RoomsPlugin
