"""How many Python functions a message calls on its way through the core: a guard for its speed, without a clock.

A hook that is not used must not add a call. Fewer calls than allowed here are welcome: then lower the number.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from primus_proto import ByteServer, events
from primus_proto.wire.frames import client_frame

HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MESSAGE = client_frame('{"hello":"world"}', b"\x01\x02\x03\x04")


class Echo:
    """A server that sends every message back to its sender, or to all."""

    def __init__(self, connections: int, everyone: bool) -> None:
        self.everyone = everyone
        self.endpoint = ByteServer(rng=random.Random(1))
        self.channels: list[int] = []
        for _ in range(connections):
            self.connect()

    def connect(self) -> None:
        """Shake hands with one more client."""
        channel = self.endpoint.channel_accepted(now=0.0)
        self.channels.append(channel)
        self.endpoint.receive_data(channel, HANDSHAKE, now=0.0)
        assert len(list(self.endpoint.poll(now=0.0))) >= 2  # the event, and the answer

    def run(self, data: bytes) -> int:
        """Handle the bytes, and write what they ask for. Returns how many bytes that was."""
        self.endpoint.receive_data(self.channels[0], data, now=1.0)
        written = 0
        for item in self.endpoint.poll(now=1.0):
            if type(item) is events.SparkData:
                (self.endpoint.server if self.everyone else item.spark).write(item.data)
            else:
                written += len(item.data) * len(item.channels)  # type: ignore[union-attr]  # nothing but Write
        return written


def calls(function: Callable[[], object]) -> int:
    """The number of calls of Python functions that this makes the third time, resumed generators included."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    assert function() == function()
    former = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(former)
    return count


@pytest.mark.parametrize(
    ("connections", "batch", "everyone", "most"),
    [
        pytest.param(1, 1, False, 18, id="one message, echoed"),
        pytest.param(1, 17, False, 98, id="seventeen messages, echoed"),
        pytest.param(101, 1, True, 731, id="a broadcast to a hundred and one"),
    ],
)
def test_a_message_calls_few_functions(connections: int, batch: int, everyone: bool, most: int) -> None:
    echo = Echo(connections, everyone)
    assert echo.run(MESSAGE * batch) > 0
    assert calls(partial(echo.run, MESSAGE * batch)) <= most


def test_a_handshake_calls_few_functions() -> None:
    assert calls(Echo(1, False).connect) <= 84
