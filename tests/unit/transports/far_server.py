"""The far end of a client whose transport makes requests: it answers them by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

from primus_proto import events as ev
from tests.unit.wires import ClientWire, Frame, frame, frames

__all__ = ["Asked", "FarServer", "answer"]


class Asked(NamedTuple):
    """A request of the client, and the channel it came on."""

    channel: int
    method: str
    target: str
    head: str
    body: bytes

    @property
    def what(self) -> str:
        """The last segment of its path."""
        return self.target.partition("?")[0].rpartition("/")[2]


def answer(status: int = 200, body: bytes | str = b"", *fields: str) -> bytes:
    """An answer."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(data)}", *fields] if status != 204 else ["HTTP/1.1 204 x"]
    return "\r\n".join([*lines, "", ""]).encode() + data


class FarServer:
    """Opens each channel that a client wants, and has its requests."""

    def __init__(self, **options: Any) -> None:
        self.wire = ClientWire(strategy=False, ping=False, **options)
        self._up: set[int] = set()
        self._websockets: set[int] = set()

    def asked(self) -> list[Asked]:
        """The requests since the last question."""
        wire, found = self.wire, []
        wire.pump()
        for command in wire.opening:
            if command.channel not in self._up | wire.closed.keys():
                self._up.add(command.channel)
                wire.endpoint.channel_opened(command.channel, now=wire.now)
        wire.pump()
        for channel in sorted(wire.output.keys() - self._websockets):
            head, _, body = wire.take(channel).partition(b"\r\n\r\n")
            method, target, _ = head.decode().split(" ", 2)
            found.append(Asked(channel, method, target, head.decode(), body))
        return found

    def one(self, what: str = "") -> Asked:
        """The one request there is."""
        (found,) = self.asked()
        assert what in ("", found.what)
        return found

    def give(self, asked: Asked, *answers: bytes) -> None:
        """Answer it; in several parts, if there are several."""
        for part in answers:
            self.wire.feed(asked.channel, part)

    def accept(self, asked: Asked, *texts: str) -> None:
        """Accept a WebSocket, and send something at once."""
        self._websockets.add(asked.channel)
        more = b"".join(frame(1, text, mask=False) for text in texts)
        self.give(asked, self.wire.answer(asked.head.encode() + b"\r\n", more))

    def frames(self, asked: Asked) -> list[Frame]:
        """What came on a WebSocket."""
        return frames(self.wire.take(asked.channel))

    def names(self) -> list[str]:
        """What the client has said since the last question."""
        return self.wire.told()

    def error(self) -> Any:
        """The client's last error."""
        return self.wire.all(ev.ErrorOccurred)[-1].error
