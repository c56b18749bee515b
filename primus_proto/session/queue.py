"""The queue of what a client writes while it is not connected (protocol 4.3)."""

from __future__ import annotations

from collections import deque

from .messages import Message

__all__ = ["WriteQueue"]


class WriteQueue:
    """At most `count` messages (None: any number) and `limit` bytes. When it is full, the oldest are dropped."""

    __slots__ = ("_count", "_limit", "_messages", "size")

    def __init__(self, count: float | None, limit: int) -> None:
        self._count = count
        self._limit = limit
        self._messages: deque[Message] = deque()
        self.size: int = 0
        """Bytes queued."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> list[Message]:
        """Add a message; returns the dropped ones. A message that would not fit alone is dropped itself."""
        if message.size > self._limit or self._count == 0:
            return [message]
        self._messages.append(message)
        self.size += message.size
        dropped = []
        while self.size > self._limit or (self._count is not None and len(self._messages) > self._count):
            dropped.append(self._pop())
        return dropped

    def take_all(self) -> list[Message]:
        """Empty the queue; returns its messages."""
        taken = list(self._messages)
        self._messages.clear()
        self.size = 0
        return taken

    def _pop(self) -> Message:
        message = self._messages.popleft()
        self.size -= message.size
        return message
