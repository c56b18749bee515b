"""Packets of Engine.IO in every framing, as recorded from engine.io 1.6, 2.0 and 6.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto.transports.engineio.packets import (
    BAD,
    BINARY3,
    MESSAGE,
    TEXT3,
    TEXT3_ONCE,
    TEXT4,
    Decoder,
    Framing,
    Packet,
    joined,
    jsonp_answer,
    jsonp_body,
    websocket_packet,
)

TEXT = "é😀a"
BYTES = b"\x01\x02"

FRAMINGS = {
    TEXT3: (b"8:4" + TEXT.encode().decode("latin-1").encode(), b"6:b4AQI="),
    TEXT3_ONCE: ("5:4é😀a".encode(), b"6:b4AQI="),
    BINARY3: (b"\x00\x08\xff4" + TEXT.encode(), b"\x01\x03\xff\x04\x01\x02"),
    TEXT4: ("4é😀a".encode(), b"bAQI="),
}


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.name)
def test_framing(framing: Framing) -> None:
    text, binary = FRAMINGS[framing]
    assert framing.message(TEXT) == text
    assert framing.message(BYTES) == binary
    decoder = Decoder(4 if framing is TEXT4 else 3)
    body = joined(framing, [framing.packet("2probe"), text, binary, framing.packet("6")])
    assert list(decoder.body(body, binary=framing is BINARY3)) == [
        ("2", "probe"),
        (MESSAGE, TEXT),
        (MESSAGE, BYTES),
        ("6", ""),
    ]
    assert decoder.once is {TEXT3: False, TEXT3_ONCE: True}.get(framing)


@pytest.mark.parametrize(
    ("protocol", "base64_only", "packets"),
    [
        (3, False, ("4é", b"\x04\x01\x02")),
        (3, True, ("4é", "b4AQI=")),
        (4, False, ("4é", b"\x01\x02")),
        (4, True, ("4é", "bAQI=")),
    ],
)
def test_packets_of_a_websocket(protocol: int, base64_only: bool, packets: tuple[str, str | bytes]) -> None:
    payloads: list[str | bytes] = ["é", BYTES]
    for payload, packet in zip(payloads, packets, strict=True):
        assert websocket_packet(payload, protocol, base64_only=base64_only) == packet
        assert Decoder(protocol).websocket(packet) == Packet(MESSAGE, payload)


BROKEN: list[tuple[int, bool, bytes, str]] = [
    (4, False, b"", "no packet: ''"),
    (4, False, b"4a\x1e", "no packet: ''"),
    (4, False, b"9a", "no packet: '9a'"),
    (4, False, b"4\xff", "not UTF-8"),
    (4, False, b"bA", "not base64"),
    (3, False, b"4", "no length"),
    (3, False, b":4", "no length"),
    (3, False, b"-1:4", "no length"),
    (3, False, "٣:4aa".encode(), "no length"),
    (3, False, b"1234567890:4", "no length"),
    (3, False, b"3:4a", "cut off"),
    (3, False, b"3:4\xff\xff", "not UTF-8"),
    (3, False, b"5:b3AQI", "not base64"),
    (3, False, b"6:b3AQI=", "bytes in a packet other than a message"),
    (3, False, "1:é".encode(), "no packet: 'é'"),
    (3, True, b"\x02\x01\xff4", "no length"),
    (3, True, b"\x00\xff4", "no length"),
    (3, True, b"\x00\x31\xff4", "no length"),
    (3, True, b"\x00\x01\x01", "no length"),
    (3, True, b"\x00\x02\xff4", "cut off"),
    (3, True, b"\x00\x02\xff4\xff", "not UTF-8"),
    (3, True, b"\x01\x02\xff\x03a", "bytes in a packet other than a message"),
]


@pytest.mark.parametrize(("protocol", "binary", "body", "why"), BROKEN)
def test_what_is_no_packet(protocol: int, binary: bool, body: bytes, why: str) -> None:
    packets = list(Decoder(protocol).body(body, binary=binary))
    assert packets[-1] == (BAD, why)
    assert all(packet.kind != BAD for packet in packets[:-1])


NOISE = st.binary(max_size=40) | st.text("0123456b:é\x1e", max_size=30).map(str.encode)


@given(st.sampled_from([3, 4]), st.booleans(), NOISE)
def test_decoding_never_raises(protocol: int, binary: bool, body: bytes) -> None:
    for packet in Decoder(protocol).body(body, binary=binary and protocol == 3):
        assert packet.kind == BAD or packet.kind in "0123456"
    Decoder(protocol).websocket(body)


@given(st.sampled_from(list(FRAMINGS)), st.lists(st.text(st.characters(codec="utf-8")) | st.binary()))
def test_what_is_framed_comes_out_again(framing: Framing, payloads: list[str | bytes]) -> None:
    if framing is TEXT4:
        payloads = [each.replace("\x1e", "") if isinstance(each, str) else each for each in payloads] or [""]
    if framing is TEXT3_ONCE:  # cannot be told from text that is encoded twice where that is possible
        payloads = [each for each in payloads if isinstance(each, bytes) or not _twice(each)]
    body = joined(framing, map(framing.message, payloads))
    decoder = Decoder(4 if framing is TEXT4 else 3)
    assert [packet.data for packet in decoder.body(body, binary=framing is BINARY3)] == payloads


def _twice(text: str) -> bool:
    try:
        return text.encode("latin-1").decode() != text
    except UnicodeError:
        return False


def test_scripts() -> None:
    assert jsonp_answer("3", '4"\u2028\u2029é</script>'.encode()) == rb'___eio[3]("4\"\u2028\u2029\u00e9</script>");'
    assert jsonp_body(rb"x=1&d=4a%20b+c\n%5Cn\\n\\\n%zz&e") == b"4a b c\n\n\\n\\\\n%zz"
    assert jsonp_body(b"x=1") == b""
    assert jsonp_body(b"d=\xff\\n") == b"\xff\\n"
    assert jsonp_body(b"d=" + b"%" * 2000) == b"", "a client escapes what it sends"
