"""The write queue: in order, bounded by count and bytes; the oldest message goes first (protocol 4.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto.session.messages import Message
from primus_proto.session.queue import WriteQueue


def fill(queue: WriteQueue, *payloads: str) -> list[str]:
    """Put messages in; returns those that had to go."""
    return [str(gone.payload) for payload in payloads for gone in queue.put(Message(payload))]


def held(queue: WriteQueue) -> list[str]:
    return [str(message.payload) for message in queue.take_all()]


@pytest.mark.parametrize(
    ("count", "limit", "payloads", "dropped", "kept"),
    [
        (None, 100, ["a", "bb", "ccc"], [], ["a", "bb", "ccc"]),
        (2, 100, ["a", "b", "c", "d"], ["a", "b"], ["c", "d"]),
        (1, 100, ["a", "b"], ["a"], ["b"]),
        (None, 10, ["aaaa", "bbbb", "cc", "ddddd"], ["aaaa", "bbbb"], ["cc", "ddddd"]),
        (None, 5, ["a", "bbbbb"], ["a"], ["bbbbb"]),
        (0, 100, ["a", "b"], ["a", "b"], []),
        (None, 0, ["a"], ["a"], []),
        (None, 10, ["aaaa", "bbbb", "c" * 11], ["c" * 11], ["aaaa", "bbbb"]),
        (None, 5, ["é", "ü", "ß"], ["é"], ["ü", "ß"]),
    ],
)
def test_a_full_queue_drops_its_oldest_messages(
    count: int | None, limit: int, payloads: list[str], dropped: list[str], kept: list[str]
) -> None:
    queue = WriteQueue(count, limit)
    assert fill(queue, *payloads) == dropped
    assert (len(queue), queue.size) == (len(kept), sum(len(text.encode()) for text in kept))
    assert held(queue) == kept
    assert (len(queue), queue.size, held(queue)) == (0, 0, [])


@given(st.lists(st.integers(0, 6)), st.none() | st.integers(0, 4), st.integers(0, 12))
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
    able = [payload for payload in payloads if len(payload) <= limit and count != 0]
    assert kept == able[len(able) - len(kept) :]
    assert [payload for payload in dropped if payload in able] == able[: len(able) - len(kept)]
    if len(kept) < len(able):
        one_more = able[len(able) - len(kept) - 1 :]
        assert len(one_more) == (count or 0) + 1 or sum(map(len, one_more)) > limit
