"""The script of a recording, carried out by our machines on the virtual network, and written down in the same form.

The law kept here: the only things looked at are public events, and the only things done are the public verbs of
`Client`, `Spark` and `Server`; what the network does, the virtual network does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from primus_proto import ConnectError, DecodeError, Limits, ReadyState, Spark
from primus_proto import events as ev
from primus_proto.limits import HOUR
from primus_proto.parsers import JSONParser
from primus_proto.session.messages import Message
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.transports.pipe import Pipe
from tests.golden.lines import Book, Line, Recording, normal_delay, whose

LATENCY = 0.001
A_DAY = 24 * HOUR
READY = {"opening": ReadyState.OPENING, "open": ReadyState.OPEN, "end": ReadyState.CLOSED}
# What the core asks of its binding, or tells of its own making at a start, is no event of Primus.
NOT_PUBLIC = (ev.RequestHeld, ev.Initialised)


class Raw:
    """A message that leaves as it is, past the parser: what a well-behaved peer never sends."""

    def __init__(self, step: Line) -> None:
        self.payload: str | bytes = base64.b64decode(step["base64"]) if "base64" in step else step["text"]


class RawParser(JSONParser):
    """JSON, but for `Raw`."""

    binary = True

    def encode(self, value: Any) -> Any:
        return value.payload if isinstance(value, Raw) else super().encode(value)


class DeafSession:
    """Stands between a spark and its pipe while pings get lost."""

    def __init__(self, replay: Replay, spark: Spark) -> None:
        self.__dict__.update(replay=replay, spark=spark)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.spark, name)

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        if not (self.replay.muted == "pings" and str(data).startswith('"primus::ping::')):
            self.spark.receive_message(data, now=now)

    def receive_messages(self, messages: Sequence[str | bytes], *, now: float) -> None:
        for data in messages:
            self.receive_message(data, now=now)


class MutePipe:
    """Stands between a spark and its pipe while pongs get lost."""

    replay: Replay
    pipe: Pipe

    def __init__(self, replay: Replay, pipe: Pipe) -> None:
        self.__dict__.update(replay=replay, pipe=pipe)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.pipe, name, value)

    def send(self, message: Message) -> int:
        if self.replay.muted == "pongs" and str(message.payload).startswith('"primus::pong::'):
            return self.pipe.buffered
        return self.pipe.send(message)


class Replay:
    """One run of one recording's script."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.options: dict[str, Any] = recording.header["options"]
        self.books = {"client": Book(), "server": Book()}
        self.address: str = self.options["address"]
        self.muted: str | None = self.options.get("mute")
        self.ready = ReadyState.CLOSED
        """What the events have told of the client so far: listeners are called after the core has moved on."""
        self.began: float | None = None
        """When the reconnect procedure under way began."""
        self.sparks: list[Spark] = []
        self.closed: set[Spark] = set()
        self.network = VirtualNetwork(latency=LATENCY)
        self.server = self.network.serve(on_event=self.server_event, **self.server_options())
        self.server.listening = self.address != "nobody"
        self.client = self.network.connect("http://server", on_event=self.client_event, **self.client_options())

    def run(self) -> list[Line]:
        """What the recorded side of our machines says, steps included."""
        for step in self.recording.steps:
            self.step(step)
            assert self.client.client.ready_state is self.ready, "the events told otherwise"
        assert self.network_is_quiet()
        return self.books[self.recording.header["who"]].compose()

    def network_is_quiet(self) -> bool:
        """Whether no timer runs any more at either end."""
        return self.client.endpoint.next_timeout() is None and self.server.endpoint.next_timeout() is None

    # --- options, from the original's words and milliseconds ---

    def client_options(self) -> dict[str, Any]:
        given: dict[str, Any] = dict(self.options.get("client", {}))
        given |= given.pop("reconnect", {})
        names = {"queueSize": "queue_size", "reconnect timeout": "reconnect_timeout"}
        durations = ("ping", "pong", "timeout", "min", "max", "reconnect timeout")
        options: dict[str, Any] = {
            names.get(name, name): value / 1000 if name in durations and value is not False else value
            for name, value in given.items()
        }
        return {"manual": True, "parser": RawParser(), **options}

    def server_options(self) -> dict[str, Any]:
        given = dict(self.options.get("server", {}))
        options: dict[str, Any] = {"parser": RawParser()}
        if "pongSkipTime" in given:
            options["pong_skip_time"] = given.pop("pongSkipTime") / 1000
        assert not given, f"options that are not translated: {given}"
        silent = self.address == "silent" or any(step.get("what") == "silent" for step in self.recording.steps)
        if silent or "authorization" in self.options:
            # A server that is asked and does not answer is a silent one.
            options |= {"authorization": True, "limits": Limits(authorization=HOUR, handshake=HOUR)}
        return options

    # --- the script ---

    def step(self, step: Line) -> None:
        starts = {side: book.known for side, book in self.books.items()}
        for book in self.books.values():
            book.note(step)
        if step["by"] == "script":
            self.network.run(A_DAY)
            return
        getattr(self, f"{step['by']}_does")(step)
        for item in step.get("until", ()):
            side = whose(item)
            book, start = self.books[side], starts[side]
            self.network.run_until(lambda book=book, item=item, start=start: book.find(item, start) is not None)  # type: ignore[misc]
            book.know(book.find(item, start) or 0)

    def client_does(self, step: Line) -> None:
        client = self.client.client
        result: bool | None = None
        match step["do"]:
            case "end" if "value" in step:
                client.end(step["value"])
            case "write":
                result = client.write(step["value"])
            case "raw" | "binary":
                client.write(Raw(step))
            case "hear":
                self.muted = None
            case "offline":
                client.network_offline()
            case "online":
                client.network_online()
            case verb:
                getattr(client, verb)()
        self.caused("client", result)

    def server_does(self, step: Line) -> None:
        result: bool | None = None
        match step["do"]:
            case "end":
                last = [step["value"]] if "value" in step else []
                self.sparks[-1].end(*last, reconnect=step.get("reconnect", False))
            case "write":
                result = self.sparks[-1].write(step["value"])
            case "raw" | "binary":
                self.sparks[-1].write(Raw(step))
            case "hear":
                self.muted = None
            case "destroy":
                self.server.server.close(**step.get("options", {}))
            case verb:
                raise AssertionError(f"the server cannot {verb}")
        self.caused("server", result)

    def network_does(self, step: Line) -> None:
        if step["do"] == "drop":
            self.network.drop(self.server)
        else:
            self.address = step["what"]
            self.server.listening = self.address != "nobody"

    def caused(self, side: str, result: bool | None) -> None:
        """What a verb causes at once is known to the script, its result included."""
        self.network.run(0.0)
        book = self.books[side]
        if result is not None:
            book.lines.append({"reply": "write", "result": result})
        book.know(len(book.lines))

    # --- what is told ---

    def client_event(self, node: VirtualClient, event: ev.Event) -> None:
        line: Line = {"event": event.name}
        match event:
            case ev.ReadyStateChanged(state):
                self.ready = READY[state]
                line["to"] = state
            case ev.DataReceived(value):
                line["value"] = portable(value)
            case ev.ErrorOccurred(error):
                line["error"] = error_kind(error)
            case ev.MessageIgnored(text):
                line["text"] = text
            case ev.MessagesDropped(payloads):
                line["payloads"] = list(payloads)
            case ev.ReconnectEvent(attempt, retries, delay, start, duration, error):
                reconnect = self.options["client"].get("reconnect", {})
                normal = normal_delay(attempt, round(delay * 1000, 6), reconnect)
                line |= {"attempt": attempt, "retries": retries, "delay": normal}
                self.check_times(event, start, duration)
                if isinstance(event, ev.ReconnectTimedOut | ev.ReconnectFailed):
                    line["error"] = error is not None
        if isinstance(event, ev.Reconnected | ev.Ended):
            self.began = None
        self.books["client"].lines.append(line | {"readyState": int(self.ready)})

    def check_times(self, event: ev.ReconnectEvent, start: float, duration: float) -> None:
        """What recordings leave out: a procedure has one start, and a duration that runs from there."""
        if self.began is None:
            assert isinstance(event, ev.ReconnectScheduled)
            self.began = self.network.now
        assert start == self.began
        assert abs(duration - (self.network.now - start)) < 1e-9

    def server_event(self, node: VirtualServer, event: ev.Event) -> None:
        line: Line = {"event": event.name}
        match event:
            case ev.RequestHeld(id):
                self.authorize(node, id)
            case ev.SparkConnected(spark):
                self.sparks.append(spark)
                self.interpose(spark)
            case ev.SparkReadyStateChanged(spark):
                self.closed.add(spark)
            case ev.SparkData(_, value):
                line["value"] = portable(value)
            case ev.SparkError(_, error):
                line["error"] = error_kind(error)
            case ev.SparkMessageIgnored(_, text):
                line["text"] = text
            case ev.HeartbeatSkipped(_, count) | ev.Flatlined(_, count):
                line["count"] = count
            case ev.Logged(level):
                line["level"] = level
        if isinstance(event, ev.SparkEvent) and "count" not in line:  # the original does not say which spark was late
            state = ReadyState.CLOSED if event.spark in self.closed else ReadyState.OPEN
            line |= {"spark": self.sparks.index(event.spark) + 1, "readyState": int(state)}
        if not isinstance(event, NOT_PUBLIC):
            self.books["server"].lines.append(line)

    def authorize(self, node: VirtualServer, id: int) -> None:
        rule = self.options.get("authorization")
        if rule is not None:
            node.endpoint.resume(id, node.server.refusal(rule["message"], status=rule["status"]))
        elif self.address == "primus":
            node.endpoint.resume(id)

    def interpose(self, spark: Spark) -> None:
        if self.muted is not None:
            spark.pipe.session = DeafSession(self, spark)
            spark.pipe = MutePipe(self, spark.pipe)  # type: ignore[assignment]


def portable(value: Any) -> Any:
    """A value as the recorder writes it."""
    return {"$base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def error_kind(error: Exception) -> str:
    """An error as the recorder calls it."""
    match error:
        case DecodeError():
            return "decode"
        case ConnectError(status=int() as status):
            return f"status {status}"
        case ConnectError():
            return "refused"
    raise AssertionError(f"an error that the original does not know: {error!r}")
