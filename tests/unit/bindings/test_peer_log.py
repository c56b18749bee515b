"""What peers cause is logged at a bounded rate, each in one line of text."""

from __future__ import annotations

import logging

import pytest

from primus_io._peer_log import BURST, LONGEST, PeerLog


def test_a_flood_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("primus_io._peer_log.time.monotonic", lambda: now)
    peers = PeerLog()
    with caplog.at_level(logging.WARNING, "primus_io"):
        for _ in range(300_000):
            peers.warning("spark %s: %s", "x", "not JSON")
        assert caplog.messages == ["spark x: not JSON"] * BURST
        now += 2.0
        caplog.clear()
        for _ in range(5):
            peers.warning("again")
        assert caplog.messages == [f"{300_000 - BURST} more warnings about peers were not logged", "again", "again"]
        caplog.clear()
        peers.report()
        peers.report()
        assert caplog.messages == ["3 more warnings about peers were not logged"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("bye\r\nWARNING forged", "bye\\r\\nWARNING forged"),
        ("\x1b[31mred\x00\u2028", "\\x1b[31mred\\x00\\u2028"),
        ("héllo", "héllo"),
        ("x" * 2 * LONGEST, "x" * LONGEST + "…"),
    ],
)
def test_a_peer_cannot_forge_a_line(text: str, line: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "primus_io"):
        PeerLog().warning("%s", text)
    assert caplog.messages == [line]
