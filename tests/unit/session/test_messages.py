"""Protocol messages, and `Message` (protocol 1)."""

from __future__ import annotations

import pytest

from primus_proto.session.messages import MESSAGE_OVERHEAD, Message


@pytest.mark.parametrize(("payload", "size"), [("", 0), ("abc", 3), ("é\U0001f600", 6), (b"\x00\xff", 2)])
def test_the_size_is_what_it_costs_in_memory(payload: str | bytes, size: int) -> None:
    assert Message(payload).size == MESSAGE_OVERHEAD + size


def test_each_framing_is_made_once() -> None:
    made: list[str | bytes] = []

    def frame(payload: str | bytes) -> bytes:
        made.append(payload)
        return b"frame"

    message = Message("text")
    for kind in ("one", "two", "three") * 2:
        assert message.framed(kind, frame) == b"frame"
    assert made == ["text"] * 3
