"""What the scenarios and properties share: a network told of when they fail, and what travels in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from primus_proto import Client, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.transports.pipe import Pipe
from primus_proto.transports.websockets import WebSocketPipe
from primus_proto.wire.websocket import WebSocket
from tests.unit.wires import TEXT, frames

fractions = st.floats(0.0, 1.0, allow_nan=False)
extremes = st.sampled_from([0.0, 1.0]) | fractions
"""Fractions, the ends more often than not: that is where a bound is tried."""
lines = st.lists(st.tuples(fractions, st.floats(0.1, 3.0)), min_size=1, max_size=12)
"""The course of a line for `vary`: parts of the longest way, and how long each stays."""


class Machine(RuleBasedStateMachine):
    """A machine that counts what happens in its runs, over all of them."""

    reached: ClassVar[Counter[type[ev.Event]]]

    def __init_subclass__(cls) -> None:
        cls.reached = Counter()


Events = Sequence[type[ev.Event]]
MANY = 1000


def run_machine(machine: type[Machine], *, often: Events, rarely: Events) -> None:
    """Run it, and see that its runs came to these events: of what they never came to they would prove nothing.

    Those that come but `rarely` are asked for where there are many runs.
    """
    machine.reached.clear()
    run_state_machine_as_test(machine)
    wanted = [*often, *rarely] if settings().max_examples >= MANY else often
    missed = [event.__name__ for event in wanted if not machine.reached[event]]
    assert not missed, f"in none of its runs was there any {', '.join(missed)}"


@contextmanager
def told(network: VirtualNetwork) -> Iterator[None]:
    """Add the network's trace to any failure in here."""
    try:
        yield
    except BaseException:
        note(network.trace_tail(80))
        raise


@contextmanager
def said_by(kind: type[Spark] | type[Client]) -> Iterator[Counter[str]]:
    """Counts the protocol messages that sparks, or clients, send, by name."""
    counter: Counter[str] = Counter()
    say: Any = kind.say

    def counted(session: Any, name: str, value: str) -> None:
        counter[name] += 1
        say(session, name, value)

    with patch.object(kind, "say", counted):
        yield counter


def vary(network: VirtualNetwork, up: list[tuple[float, float]], down: list[tuple[float, float]], unit: float) -> None:
    """Change the line again and again: (seconds a message takes, units of time that it stays so), by direction."""
    for index, course in enumerate((up, down)):
        at = network.now
        for seconds, stays in course * 3:

            def change(seconds: float = seconds, index: int = index) -> None:
                latency = list(network.latency if isinstance(network.latency, tuple) else [0.0, 0.0])
                latency[index] = seconds
                network.latency = (latency[0], latency[1])

            network.call_at(at, change)
            at += stays * unit


def session(network: VirtualNetwork, **options: Any) -> tuple[VirtualServer, VirtualClient]:
    """A server and a client of it, open. Skips that are allowed: `allowed`; the rest is the client's."""
    server = network.serve(allow_skipped_heartbeats=options.pop("allowed", 2))
    client = network.connect("http://server", **{"dialect": "happn", "timeout": False, **options})
    network.run_until(lambda: client.seen(ev.Opened) == 1)
    return server, client


class Carried:
    """What one end has given to its driver: what the application wrote, in the frames of every `Write`, by channel."""

    def __init__(self, node: VirtualClient | VirtualServer) -> None:
        self.values: dict[int, list[Any]] = {}
        poll = node.endpoint.poll

        def seen(*, now: float) -> Iterator[ev.Event | cmd.Command]:
            for item in poll(now=now):
                if isinstance(item, cmd.Write):
                    for channel in item.channels:
                        self._read(channel, item.data)
                yield item

        node.endpoint.poll = seen  # type: ignore[method-assign]

    def _read(self, channel: int, data: bytes) -> None:
        if channel not in self.values:
            head, _, data = data.partition(b"\r\n\r\n")
            if b"websocket" not in head:
                return  # a refusal
            self.values[channel] = []
        texts = [found.payload for found in frames(data) if found.opcode == TEXT]
        self.values[channel] += [json.loads(text) for text in texts if not text.startswith(b'"primus::')]


def channel_of(pipe: Pipe) -> int:
    """The channel that a session's pipe runs on."""
    assert isinstance(pipe, WebSocketPipe)
    assert isinstance(pipe.carrier, WebSocket)
    return pipe.carrier._channel.number


def number(text: str) -> int:
    """The number that a text of these tests begins with."""
    return int(text.partition(":")[0])


def numbers(payloads: Iterable[str | bytes]) -> list[int]:
    """Of each message as encoded."""
    return [number(json.loads(payload)) for payload in payloads]


@dataclass
class Direction:
    """What was written on one connection, one way, and what became of it."""

    written: list[int]
    driver: Carried
    channel: int
    over: str = ""
    """Why it is over, as the `CloseReason` of the writing end says."""
    lost: list[int] = field(default_factory=list)

    @property
    def carried(self) -> list[int]:
        """What the driver was given."""
        return [number(text) for text in self.driver.values.get(self.channel, [])]

    def lose(self, payloads: Iterable[str | bytes]) -> None:
        """It was reported that these will not be sent."""
        assert self.over, "it is still there"
        assert not self.lost, "told of twice"
        self.lost = numbers(payloads)

    def check(self) -> None:
        """All that was written was given to the driver or reported, and nothing was both; in order."""
        if not self.lost and self.over in ("", "local"):  # under way, or ended: then the rest has its time to leave
            assert self.carried == self.written[: len(self.carried)]
        else:
            assert self.carried + self.lost == self.written
