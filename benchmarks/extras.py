"""What the extras of Primus cost a message that does not need them, in instructions of the core.

python benchmarks/extras.py

It runs this file under valgrind (cachegrind), which counts instructions. So the figures hardly depend on what else the
machine does: two runs differ by less than 0.5 %. It takes some minutes.
"""

from __future__ import annotations

import gc
import os
import random
import re
import subprocess
import sys
from typing import Any

from primus_proto import ByteServer, Compression, ServerConfig, events
from primus_proto.parsers import JSONParser
from primus_proto.wire.frames import client_frame

HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
FEW, MANY = 400, 1400


def layers(server: ByteServer) -> None:
    for number in range(5):
        server.server.before(f"layer{number}", lambda request: None)


def incoming(server: ByteServer) -> None:
    server.server.transform("incoming", lambda packet: None)


def both(server: ByteServer) -> None:
    incoming(server)
    server.server.transform("outgoing", lambda packet: None)


# By name: the options of the server, what the client offers, and what is done with the server.
EXTRAS: dict[str, tuple[dict[str, Any], bytes, Any]] = {
    "none": ({}, b"", None),
    "five layers": ({}, b"", layers),
    "compression, not offered": ({"compression": True}, b"", None),
    "compression, below the threshold": ({"compression": True}, OFFER, None),
    "compression": ({"compression": Compression(threshold=0)}, OFFER, None),
    "an incoming transform": ({}, b"", incoming),
    "a transform each way": ({}, b"", both),
    "the plugin emitter": ({"plugins": ["emitter"]}, b"", None),
}


def echo(name: str, count: int) -> None:
    """Send so many messages back."""
    options, offer, prepare = EXTRAS[name]
    server = ByteServer(ServerConfig(**options), rng=random.Random(1))
    if prepare is not None:
        prepare(server)
    channel = server.channel_accepted(now=0.0)

    def run(data: bytes) -> None:
        server.receive_data(channel, data, now=0.0)
        for item in server.poll(now=0.0):
            if type(item) is events.SparkData:
                item.spark.write(item.data)

    gc.disable()  # or a collection would count for one of them
    run(HANDSHAKE + offer + b"\r\n")
    message = client_frame(JSONParser().encode({"text": "x" * 64}), b"\x01\x02\x03\x04")
    for _ in range(200 + count):
        run(message)


def instructions(name: str) -> float:
    """The instructions of one message."""
    counts = []
    for count in (FEW, MANY):
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        command += [sys.executable, __file__, name, str(count)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr
        [number] = re.findall(r"I\s+refs:\s+([\d,]+)", told)
        counts.append(int(number.replace(",", "")))
    return (counts[1] - counts[0]) / (MANY - FEW)


def main() -> None:
    if len(sys.argv) == 3:
        echo(sys.argv[1], int(sys.argv[2]))
        return
    print("| with | instructions per message | ratio |\n|---|---|---|")
    base = None
    for name in EXTRAS:
        number = instructions(name)
        base = base or number
        print(f"| {name} | {number:,.0f} | {number / base:.3f} |", flush=True)


if __name__ == "__main__":
    main()
