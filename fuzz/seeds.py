"""Writes the seed corpus: sessions of our two ends, and the frames and requests of the tests. `python -m fuzz.seeds`"""

from __future__ import annotations

import random
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

from primus_proto import ByteClient, ByteServer, ClientConfig
from primus_proto import commands as cmd
from primus_proto.parsers import get_parser
from tests.scenarios.test_properties_cuts import FRAMES, REQUESTS
from tests.unit.wires import TEXT, frame, handshake

VALUE: Any = {"a": [1, -2, 300, 2**40, 1.5, None, True, "é", {}], "b": {"c": "x" * 40}}

CORPUS = Path(__file__).parent / "corpus"


def session(dialect: str) -> tuple[bytes, bytes]:
    """The bytes of a short session, from the client and from the server."""
    rng = random.Random(1)
    server = ByteServer(rng=rng)
    client = ByteClient(ClientConfig(url="http://localhost?a=b", dialect=dialect), rng=rng)  # type: ignore[arg-type]
    said: dict[object, bytes] = {client: b"", server: b""}
    client.client.write({"hello": ["world", 1, 2.5, None, True, "é"]})
    for now in (0.0, 0.1, 26.0, 26.1, 60.0, 60.1, 60.2):
        if now == 60.0:
            client.client.end("bye")
        for endpoint, other in ((client, server), (server, client)) * 3:
            endpoint.handle_timeout(now=now)
            for item in endpoint.poll(now=now):
                if isinstance(item, cmd.OpenChannel):
                    server.channel_accepted(now=now)
                    client.channel_opened(item.channel, now=now)
                elif isinstance(item, cmd.Write):
                    said[endpoint] += item.data
                    other.receive_data(1, item.data, now=now)
    return said[client], said[server]


def encoded(parser: str) -> list[bytes]:
    """Some values in bytes."""
    messages = [get_parser(parser).encode(value) for value in (VALUE, b"abc", [1.5, "x" * 20])]
    return [message for message in messages if isinstance(message, bytes)]


def deflated(text: bytes) -> list[bytes]:
    """A message that is compressed, whole and in fragments."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    whole, first = bytearray(frame(TEXT, data)), bytearray(frame(TEXT, data[:3], fin=False))
    whole[0] |= 0x40
    first[0] |= 0x40
    return [bytes(whole), bytes(first) + frame(0, data[3:])]


def seeds() -> dict[str, list[bytes]]:
    """All seeds, by target."""
    sessions = [session(dialect) for dialect in ("happn", "primus6", "primus")]
    asked = [client.partition(b"\r\n\r\n") for client, _ in sessions]
    answered = [server.partition(b"\r\n\r\n") for _, server in sessions]
    frames = [*FRAMES, b"".join(FRAMES[:6]), *(rest for *_, rest in asked)]
    unmasked = [
        b"\x81\x07[1,2,3]",
        b"\x89\x00",
        b"\x88\x02\x03\xe8",
        b"\x82\x03\x01\x02\x03",
        b"\x81\x7e\x01\x00" + b"x" * 256,
    ]
    return {
        "server_http": [
            *REQUESTS,
            b"".join(REQUESTS[:3]),
            handshake() + frame(1, "1"),
            *(client for client, _ in sessions),
        ],
        "server_websocket": frames,
        "fast_lane": frames,
        "compressed": [frame(TEXT, "[1]"), *deflated(b"[1,2]"), *deflated(b'"' + b"x" * 5000 + b'"')],
        "client_polling": [b"\x804[1]\x1e2\n--\n4[2]\x1e1", b'\0a["[1]"]\n\n--\nh\n\n--\nc[1000,"x"]\n'],
        "websockets": frames,
        "server_messages": [
            b'[1]\n"primus::ping::1"\n"primus::id::"\n{"a":{"b":[1e9,"\\ud83d\\ude00"]}}',
            b"primus::\n\n\xff",
        ],
        "client_http": [
            *(server for _, server in sessions),
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
        ],
        "client_websocket": [*unmasked, *(rest for *_, rest in answered)],
        "json": [b'{"a":[1,2.5e300,null,true,"\\ud800"]}', b"[" * 50, b"1" * 400, b'{"a":1,"a":2}', b"NaN"],
        "ejson": [
            b'{"a":{"$date":1},"b":{"$binary":"AQID"},"c":{"$regexp":"a+","$flags":"g"},"d":{"$escape":{"$date":1}}}'
        ],
        "binary": encoded("binary"),
        "msgpack": encoded("msgpack"),
        "engineio": [
            b'04[1]\n--\n2probe\x1e4"primus::ping::1"\x1eb4AQID\n--\n1',
            b"J\nd=4[1]%1e42\n--\nd=1",
            b'S4:4[1]3:4"a\n--\n1:2',
            b"X\x00\x04\xff4[1]\x01\x04\xff\x04abc",
            b"0\n2probe\n5\n4[1]\n\0bytes\n--\n4[2]",
        ],
        "sockjs": [
            b'["[1]","2"]\n--\n["\\"primus::ping::1\\""]',
            b'"1"',
            b"[1]\n--\n[]\n--\n",
            b'\0["[1]"]\n"[2]"\n[',
            b"d=%5B%22%5B1%5D%22%5D",
        ],
        "connect_url": [
            b"http://host:80/?a=b&c=%20",
            b"wss://[::1]:443/primus",
            b"https://user:pw@host",
            b"ws://x/..//",
        ],
        "forwarded": [b", 203.0.113.7, unknown", b", [2001:db8::1]:80", b";for=_hidden"],
        "operations": [
            bytes([0, 2 | 8 << 3, 0, 3, 0, 2 | 31 << 3, 1]),
            bytes([4, 0, 0, 12, 5, 2, 7 | 31 << 3]),
            bytes(range(60)),
        ],
    }


def main() -> None:
    """Write the corpus."""
    for name, inputs in seeds().items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (folder / sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
