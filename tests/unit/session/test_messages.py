"""Protocol messages, and `Message` (protocol 1)."""

from __future__ import annotations

import pytest

from primus_proto.session.messages import MESSAGE_OVERHEAD, Message


@pytest.mark.parametrize(("payload", "size"), [("", 0), ("abc", 3), ("é\U0001f600", 6), (b"\x00\xff", 2)])
def test_the_size_is_what_it_costs_in_memory(payload: str | bytes, size: int) -> None:
    assert Message(payload).size == MESSAGE_OVERHEAD + size
