"""Record what the real happn-primus answers to cross-origin requests: ``python -m tests.golden.cors [--check]``.

Needs Node and the packages of tests/interop. Writes ``cors.json``, which tests/scenarios/test_golden_cors.py replays.
With ``--check`` it writes nothing, and fails if the original answers otherwise than is kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.interop.peers import HERE as INTEROP

FILE = Path(__file__).parent / "cors.json"

SERVERS: list[dict[str, Any]] = [
    {},
    {"credentials": False},
    {"origins": "http://a.example"},
    {"origins": ["http://a.example", "HTTPS://B.example:8080"], "credentials": False},
    {"origins": "http://a.example, null"},
    {"methods": ["get", "options"]},
    {"methods": "GET,POST"},
    {"methods": ""},
    {"maxAge": 60},
    {"maxAge": 0},
    {"headers": "X-One, X-Two", "exposed": ["X-Three", "X-Four"]},
    {"authorization": True},
]
"""Options of the servers that are asked; `authorization` stands for a function that refuses."""

ORIGINS = (
    "http://a.example", "HTTP://A.Example", "http://a.example:80", "https://b.example:8080", "http://c.example", "null",
    "", "a.example", "a.example:80", "http:/a.example", "://a.example", "http://a%2eexample", "app+x://a", "file://",
)  # fmt: skip
PREFLIGHT = {"Access-Control-Request-Method": "PUT"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def requests() -> list[tuple[str, str, dict[str, str]]]:
    """Method, path and header fields of what every server is asked."""
    one = {"Origin": ORIGINS[0]}
    found = [("GET", "/primus/spec", {"Origin": origin}) for origin in ORIGINS]
    found += [("OPTIONS", "/primus/spec", {"Origin": origin, **PREFLIGHT}) for origin in ORIGINS]
    for method in ("GET", "HEAD", "POST", "PATCH", "OPTIONS"):
        found += [(method, "/primus", {}), (method, "/primus", one)]
    found += [
        ("OPTIONS", "/primus", {**one, "Access-Control-Request-Method": "NONSENSE"}),
        ("OPTIONS", "/primus", {**one, **PREFLIGHT, "Access-Control-Request-Headers": "x-a, X-B"}),
        ("OPTIONS", "/primus", {**one, "Access-Control-Request-Headers": "x-a"}),
        ("OPTIONS", "/primus", PREFLIGHT),
        ("GET", "/primus", UPGRADE),
        *(("GET", "/primus", {"Origin": origin, **UPGRADE}) for origin in (ORIGINS[0], ORIGINS[4], "null", "a%20b")),
    ]
    return found


def record() -> str:
    """Ask the original; returns the table as it is kept."""
    script = INTEROP.parent / "golden/cors.js"
    asked = {"servers": SERVERS, "requests": requests()}
    done = subprocess.run(["node", script, INTEROP], input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    lines = []
    for options, answers in zip(SERVERS, json.loads(done.stdout), strict=True):
        rows = [json.dumps([*request, *kept(answer)]) for request, answer in zip(requests(), answers, strict=True)]
        lines.append(f'{{"options": {json.dumps(options)}, "answers": [\n' + ",\n".join(rows) + "\n]}")
    return "[\n" + ",\n".join(lines) + "\n]\n"


def kept(answer: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """The status and those header fields that are about origins."""
    fields = {name: value for name, value in answer["headers"].items() if re.match(r"access-control-|vary$", name)}
    return answer["status"], dict(sorted(fields.items()))


def main() -> int:
    table = record()
    if "--check" in sys.argv[1:]:
        same = table == FILE.read_text(encoding="utf-8")
        print("the table of cross-origin answers is", "as it was" if same else "NOT as it was")
        return 0 if same else 1
    FILE.write_text(table, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
