"""The fast lane reads what wsproto would read: both ends, any bytes, cut anywhere."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from primus_proto import Limits, PrimusError
from primus_proto.timers import Timers
from primus_proto.wire import frames, websocket
from primus_proto.wire.channel import Channel
from primus_proto.wire.frames import client_frame, server_frame, xor
from primus_proto.wire.websocket import WebSocket

KEY = b"\x01\x02\x03\x04"
LIMIT = 70_000


@pytest.fixture(autouse=True, scope="module", params=["in C", "in Python"] if frames.mask else ["in Python"])
def masking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Mask with the extra `speedups`, and without it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in Python":
            patch.setattr(frames, "mask", None)
            patch.setattr(websocket, "mask", None)
            patch.setattr(websocket, "unpack_masked", struct.Struct("<HI").unpack_from)
        yield


class Slow(WebSocket):
    """Gives every byte to wsproto."""

    __slots__ = ()

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        if not self._over:
            self._judge(bytes(data), now)


class Bench:
    """A WebSocket without an endpoint; `log` is all that came out of it."""

    def closing(self) -> bool:
        return False

    def __init__(self, kind: type[WebSocket], server: bool) -> None:
        self.timers, self.limits = Timers(), Limits(fragments=4, backlog=1000)
        self.log: list[object] = []
        self.channel = Channel(1, self)
        self.carrier = kind(self.channel, self.limits, LIMIT, client_rng=None if server else random.Random(1))
        self.carrier.owner = self
        self.channel.user = self.carrier

    def feed(self, data: bytes) -> list[object]:
        self.channel.receive_data(data, now=0.0)
        return [*self.log, self.channel.closed, b"".join(self.channel._chunks) if self.carrier._rng is None else None]

    def channel_dirty(self, channel: Channel) -> None:
        """Nothing collects here."""

    def defer(self, call: Callable[[float], None]) -> None:
        call(0.0)

    def received(self, data: str | bytes, *, now: float) -> None:
        self.log.append(data)

    def pinged(self, *, now: float) -> None:
        self.log.append("ping")

    def drained(self, *, now: float) -> None:
        self.log.append("drained")

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self.log.append((code, reason, repr(error)))


def header(first: int, length: int, size: int | None, masked: bool) -> bytes:
    """A frame's header with its length in `size` bytes (None: the shortest form)."""
    if size is None:
        size = 0 if length < 126 else 2 if length < 1 << 16 else 8
    second = {0: min(length, 125), 2: 126, 8: 127}[size]
    return bytes([first, second | 0x80 * masked]) + (length.to_bytes(size, "big") if size else b"") + KEY * masked


text = st.one_of(st.text(max_size=200).map(str.encode), st.binary(max_size=200))
payloads = st.one_of(text, st.sampled_from([b"", b"x" * 125, b"x" * 126, b"x" * 3000, b"x" * 65536, b"\xc3" * 2]))


@st.composite
def streams(draw: st.DrawFn, masked: bool) -> bytes:
    """Mostly good frames, some of them wrong in any of the ways there are."""
    stream = b""
    for _ in range(draw(st.integers(1, 5))):
        payload = draw(payloads)
        first = draw(
            st.one_of(
                st.sampled_from([0x81, 0x82]),
                st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0x09, 0xC1, 0x83, 0x8F, 0xFF]),
            )
        )
        size = draw(st.sampled_from([None, None, None, 0, 2, 8]))
        is_masked = masked is not draw(st.sampled_from([False] * 20 + [True]))
        if size == 2:
            payload = payload[:65535]
        if size == 0:
            payload = payload[:125]
        stream += header(first, len(payload), size, is_masked) + (xor(payload, KEY) if is_masked else payload)
    return stream[: len(stream) - draw(st.sampled_from([0, 0, 0, 1, 7]))]


cuts = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 70_000)), max_size=8)


def check_same(stream: bytes, cuts: list[int], server: bool) -> None:
    fast, slow = Bench(WebSocket, server), Bench(Slow, server)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, stop in pairwise(places):
        assert fast.feed(stream[start:stop]) == slow.feed(stream[start:stop])


@given(streams(masked=True), cuts)
@example(header(0x81, 2**63, 8, True), [])
@example((header(0x89, 125, None, True) + b"x" * 125) * 10, [])
@example(header(0x81, 2**63 - 1, 8, True), [1, 2, 9])
@example(header(0x82, LIMIT + 1, 8, True) + b"x", [3])
def test_a_server_reads_what_wsproto_reads(stream: bytes, cuts: list[int]) -> None:
    check_same(stream, cuts, server=True)


@given(streams(masked=False), cuts)
def test_a_client_reads_what_wsproto_reads(stream: bytes, cuts: list[int]) -> None:
    check_same(stream, cuts, server=False)


@given(st.binary(max_size=60), cuts)
def test_noise_is_read_as_wsproto_reads_it(stream: bytes, cuts: list[int]) -> None:
    check_same(stream, cuts, server=True)


@pytest.mark.parametrize("payload", ["", "é" * 70, "x" * 65535, "x" * 65536, b"", b"\xff" * 126, b"x" * 5000])
def test_frames_are_those_of_wsproto(payload: str | bytes) -> None:
    event = TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload)
    assert server_frame(payload) == bytes(Connection(ConnectionType.SERVER).send(event))
    frame = client_frame(payload, KEY)
    receiver = Connection(ConnectionType.SERVER)
    receiver.receive_data(frame)
    assert [received.data for received in receiver.events() if isinstance(received, TextMessage | BytesMessage)] == [
        payload
    ]


@given(st.binary(max_size=5000), st.binary(min_size=4, max_size=4))
def test_masking_twice_changes_nothing(data: bytes, key: bytes) -> None:
    assert xor(xor(data, key), key) == data
    assert xor(data, key)[:9] == bytes(byte ^ key[index % 4] for index, byte in enumerate(data[:9]))
