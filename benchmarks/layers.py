"""What each layer costs, in one process and without sockets, by pyperf.

python benchmarks/layers.py -o layers.json && python -m pyperf show layers.json
"""

from __future__ import annotations

import random

import pyperf

from primus_proto import ByteServer, events
from primus_proto.parsers import JSONParser
from primus_proto.session.messages import Message
from primus_proto.wire.frames import client_frame, server_frame, xor

HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KEY = b"\x01\x02\x03\x04"


class Echo:
    """A core that sends every value back, without a driver."""

    def __init__(self, size: int, batch: int) -> None:
        self.endpoint = ByteServer(rng=random.Random(1))
        self.channel = self.endpoint.channel_accepted(now=0.0)
        self.run(HANDSHAKE)
        self.request = client_frame(JSONParser().encode({"text": "x" * size}), KEY) * batch

    def run(self, data: bytes) -> None:
        """Everything that follows from these bytes."""
        self.endpoint.receive_data(self.channel, data, now=0.0)
        for item in self.endpoint.poll(now=0.0):
            if type(item) is events.SparkData:
                item.spark.write(item.data)


def main() -> None:
    runner = pyperf.Runner()
    for size in (64, 4096):
        value = {"text": "x" * size}
        parser = JSONParser()
        text = parser.encode(value)
        runner.bench_func(f"JSON: decode {size} B", parser.decode, text)
        runner.bench_func(f"JSON: encode {size} B", parser.encode, value)
        runner.bench_func(f"wire: unmask {size} B", xor, text.encode(), KEY)
        runner.bench_func(f"wire: frame {size} B", server_frame, text)
        runner.bench_func(f"session: make a message of {size} B", Message, text)
        for batch in (1, 16):
            echo = Echo(size, batch)
            runner.bench_func(f"core: echo {size} B, {batch} in a read", echo.run, echo.request)


if __name__ == "__main__":
    main()
