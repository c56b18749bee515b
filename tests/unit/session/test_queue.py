"""The write queue: in order, bounded by count and by bytes, the oldest goes, nothing goes unseen (protocol 4.3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from primus_proto.session.messages import Message
from primus_proto.session.queue import WriteQueue


def fill(queue: WriteQueue, *payloads: str) -> list[str]:
    """Put them in; what had to go."""
    return [str(gone.payload) for payload in payloads for gone in queue.put(Message(payload))]


def held(queue: WriteQueue) -> list[str]:
    return [str(message.payload) for message in queue.take_all()]


def test_keeps_the_order() -> None:
    queue = WriteQueue(None, 100)
    assert fill(queue, "a", "bb", "ccc") == []
    assert (len(queue), queue.size) == (3, 6)
    assert held(queue) == ["a", "bb", "ccc"]
    assert (len(queue), queue.size) == (0, 0)
    assert held(queue) == []


def test_by_count_the_oldest_goes() -> None:
    queue = WriteQueue(2, 100)
    assert fill(queue, "a", "b", "c", "d") == ["a", "b"]
    assert held(queue) == ["c", "d"]


def test_a_queue_of_one_keeps_the_newest() -> None:
    queue = WriteQueue(1, 100)
    assert fill(queue, "a", "b") == ["a"]
    assert held(queue) == ["b"]


def test_what_just_fits_is_kept() -> None:
    queue = WriteQueue(None, 5)
    assert fill(queue, "a", "bbbbb") == ["a"]
    assert held(queue) == ["bbbbb"]


def test_by_bytes_the_oldest_go() -> None:
    queue = WriteQueue(None, 10)
    assert fill(queue, "aaaa", "bbbb", "cc") == []
    assert fill(queue, "ddddd") == ["aaaa", "bbbb"]
    assert held(queue) == ["cc", "ddddd"]


def test_zero_keeps_nothing() -> None:
    assert fill(WriteQueue(0, 100), "a", "b") == ["a", "b"]
    assert fill(WriteQueue(None, 0), "a") == ["a"]


def test_what_can_never_fit_does_not_push_out_the_rest() -> None:
    queue = WriteQueue(None, 10)
    assert fill(queue, "aaaa", "bbbb", "c" * 11) == ["c" * 11]
    assert held(queue) == ["aaaa", "bbbb"]


def test_bytes_are_those_of_the_wire() -> None:
    queue = WriteQueue(None, 5)
    assert fill(queue, "é", "ü") == []
    assert queue.size == 4
    assert fill(queue, "ß") == ["é"]


@given(st.lists(st.integers(0, 6)), st.none() | st.integers(0, 4), st.integers(0, 12))
def test_nothing_vanishes(sizes: list[int], count: int | None, limit: int) -> None:
    """Kept are the last of those that can fit at all, as many as do; all others are told of, once."""
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
        assert len(one_more) == (count or 0) + 1 or sum(map(len, one_more)) > limit, "no more than had to go"
