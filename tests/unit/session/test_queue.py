"""The write queue: in order, bounded by count and bytes; the oldest message goes first (protocol 4.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto.session.messages import MESSAGE_OVERHEAD, Message
from primus_proto.session.queue import WriteQueue


def fill(queue: WriteQueue, *payloads: str) -> list[str]:
    """Put messages in; returns those that had to go."""
    return [str(gone.payload) for payload in payloads for gone in queue.put(Message(payload))]


def cost(*payloads: str) -> int:
    return sum(MESSAGE_OVERHEAD + len(payload.encode()) for payload in payloads)


def held(queue: WriteQueue) -> list[str]:
    return [str(message.payload) for message in queue.take_all()]


@pytest.mark.parametrize(
    ("count", "limit", "payloads", "dropped", "kept"),
    [
        (None, 1000, ["a", "bb", "ccc"], [], ["a", "bb", "ccc"]),
        (2, 1000, ["a", "b", "c", "d"], ["a", "b"], ["c", "d"]),
        (1, 1000, ["a", "b"], ["a"], ["b"]),
        (None, cost("aaaa", "bbbb") + 2, ["aaaa", "bbbb", "cc", "ddddd"], ["aaaa", "bbbb"], ["cc", "ddddd"]),
        (None, cost("bbbbb"), ["a", "bbbbb"], ["a"], ["bbbbb"]),
        (0, 1000, ["a", "b"], ["a", "b"], []),
        (None, 0, ["a"], ["a"], []),
        (None, cost("aaaa", "bbbb"), ["aaaa", "bbbb", "c" * 500], ["c" * 500], ["aaaa", "bbbb"]),
        (None, cost("é", "ü") + 1, ["é", "ü", "ß"], ["é"], ["ü", "ß"]),
    ],
)
def test_a_full_queue_drops_its_oldest_messages(
    count: int | None, limit: int, payloads: list[str], dropped: list[str], kept: list[str]
) -> None:
    queue = WriteQueue(count, limit)
    assert fill(queue, *payloads) == dropped
    assert (len(queue), queue.size) == (len(kept), cost(*kept))
    assert held(queue) == kept
    assert (len(queue), queue.size, held(queue)) == (0, 0, [])


@given(st.lists(st.integers(0, 6)), st.none() | st.integers(0, 4), st.integers(0, 4 * MESSAGE_OVERHEAD))
def test_every_message_is_kept_or_dropped_and_no_more_are_dropped_than_must(
    sizes: list[int], count: int | None, limit: int
) -> None:
    payloads = [chr(65 + number) * size for number, size in enumerate(sizes)]
    queue = WriteQueue(count, limit)
    dropped = []
    for payload in payloads:
        dropped += fill(queue, payload)
        assert queue.size <= limit
        assert count is None or len(queue) <= count
    kept = held(queue)
    assert sorted(dropped + kept) == sorted(payloads)
    able = [payload for payload in payloads if cost(payload) <= limit and count != 0]
    assert kept == able[len(able) - len(kept) :]
    assert [payload for payload in dropped if payload in able] == able[: len(able) - len(kept)]
    if len(kept) < len(able):
        one_more = able[len(able) - len(kept) - 1 :]
        assert len(one_more) == (count or 0) + 1 or cost(*one_more) > limit
