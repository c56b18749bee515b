"""Cross-origin requests: the same answers as the original's, whose table tests/golden/cors.py records."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.golden.cors import FILE, UPGRADE
from tests.unit.wires import ServerWire, replies, request

NAMES = {"maxAge": "max_age", "headers": "allow_headers"}
TABLE = json.loads(FILE.read_text(encoding="utf-8"))

# Protocol 2 says why each of these is so.
STRICTER = "origins that are named are enforced for WebSockets"
PREFLIGHTS = "a preflight is answered whatever `methods` has"


def deviation(options: dict[str, Any], headers: dict[str, str], status: int, by_default: int) -> str | None:
    """Why the answer differs from the original's `status`. `by_default` is that without options."""
    origin = headers.get("Origin")
    if "Upgrade" in headers and origin is not None and "origins" in options:
        return None if origin in options["origins"] else STRICTER
    if "methods" in options and "Access-Control-Request-Method" in headers and (status, by_default) == (403, 200):
        return PREFLIGHTS
    return None


@pytest.mark.parametrize("row", TABLE, ids=lambda row: json.dumps(row["options"]))
def test_cross_origin_requests_are_answered_as_by_the_original(row: dict[str, Any]) -> None:
    options = {NAMES.get(name, name): value for name, value in row["options"].items()}
    seen: set[str] = set()
    for (method, path, headers, status, fields), default in zip(row["answers"], TABLE[0]["answers"], strict=True):
        wire = ServerWire(**options)
        peer = wire.accept()
        peer.send(request(method, path, headers=headers))
        if wire.told() == ["request held"]:
            wire.endpoint.resume(1, wire.server.refusal("no"))
            wire.pump()
        found, _ = replies(wire.take(peer.channel), head=method == "HEAD")
        reply = found[0]
        ours = {name: value for name, value in reply.headers.items() if re.match(r"access-control-|vary$", name)}
        why = deviation(row["options"], headers, status, default[3])
        if why is None:
            assert (reply.status, ours) == (status, fields), (method, path, headers)
        else:
            seen.add(why)
            assert (reply.status, ours) != (status, fields), f"no deviation any more: {(method, path, headers)}"
            assert reply.status == (403 if why == STRICTER else 200)
    assert seen == {STRICTER} if "origins" in options else seen <= {PREFLIGHTS}


def test_a_refusal_says_what_was_refused() -> None:
    peer = ServerWire(origins=["https://a.example"]).accept()
    reply = peer.ask("GET", "/primus", headers=UPGRADE | {"Origin": "x:y"})
    assert (reply.status, reply.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert reply.body.splitlines()[1:] == [b"Origin: x:y", b"Method: GET"]
