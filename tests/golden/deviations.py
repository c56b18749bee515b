"""Where our machines differ from the original on purpose: each decision once, as what it does to a recording.

A deviation takes a recording and gives the lines that ours has instead. One that changes nothing in a recording which
names it is an error, so that none can stand by and hide a difference that nobody decided.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.golden.lines import Line, Recording, load

__all__ = ["DECIDED", "DEVIATIONS", "expected"]

Deviation = Callable[[Recording], list[Line]]

DECIDED: dict[str, Deviation] = {}
"""Allowed by the protocol page: by an "Ours" of the section that each names, or by its table of both orders."""

CLOSED, OPENING = 2, 1
RECOVERY = {"reconnect scheduled", "reconnect", "reconnect timeout", "reconnect failed", "readyStateChange", "end"}


def decided(deviation: Deviation) -> Deviation:
    DECIDED[deviation.__name__] = deviation
    return deviation


def is_event(line: Line, name: str) -> bool:
    return line.get("event") == name


def is_rsc(line: Line, to: str) -> bool:
    return is_event(line, "readyStateChange") and line.get("to") == to


def is_step(line: Line, verb: str) -> bool:
    return line.get("by") == "client" and line.get("do") == verb


RSC_END: Line = {"event": "readyStateChange", "readyState": CLOSED, "to": "end"}
CLOSE: Line = {"event": "close", "readyState": CLOSED}
END: Line = {"event": "end", "readyState": CLOSED}


def dropped(*values: object, state: int = CLOSED) -> Line:
    payloads = [json.dumps(value) for value in values]
    return {"event": "messages dropped", "readyState": state, "payloads": payloads}


# --- the order of events ---


@decided
def reconnect_comes_first(recording: Recording) -> list[Line]:
    """`reconnect` precedes the rsc(opening) that it causes (protocol 4.2)."""
    lines = list(recording.lines)
    for i in range(len(lines) - 1):
        if is_rsc(lines[i], "opening") and is_event(lines[i + 1], "reconnect"):
            lines[i : i + 2] = [lines[i + 1] | {"readyState": CLOSED}, lines[i]]
    return lines


@decided
def closed_before_scheduled(recording: Recording) -> list[Line]:
    """rsc(end) precedes `reconnect scheduled`, whose listeners see a state that is true (protocol 4.2)."""
    lines = list(recording.lines)
    for i in range(len(lines) - 1):
        if is_event(lines[i], "reconnect scheduled") and is_rsc(lines[i + 1], "end"):
            lines[i : i + 2] = [lines[i + 1], lines[i] | {"readyState": CLOSED}]
    return lines


@decided
def end_is_last(recording: Recording) -> list[Line]:
    """`end` is the last event of all: rsc(end), then `reconnect failed`, come before it (protocol 4.2)."""
    lines = list(recording.lines)
    for i in range(len(lines) - 1):
        if is_event(lines[i], "end") and is_event(lines[i + 1], "reconnect failed"):
            end, failed, *rest = lines[i : i + 3]
            closed = [line for line in rest if is_rsc(line, "end")]
            state = {"readyState": CLOSED} if closed else {}
            lines[i : i + 2 + len(closed)] = [*closed, failed | state, end | state]
    return lines


@decided
def ended_is_closed(recording: Recording) -> list[Line]:
    """rsc(end) is there also when the last attempt took too long; the original stays opening (protocol 4.2)."""
    lines = list(recording.lines)
    for i in range(len(lines) - 1):
        if is_event(lines[i], "reconnect failed") and lines[i]["readyState"] == OPENING:
            lines[i : i + 2] = [RSC_END, *(line | {"readyState": CLOSED} for line in lines[i : i + 2])]
            break
    return lines


# --- what is over is over ---


def until_opened(recording: Recording, after: Callable[[Line | None], bool]) -> Iterator[tuple[Line, bool]]:
    """Each line, and whether it follows an `end` that came of a step that `after` takes, up to the next open()."""
    over = False
    step: Line | None = None
    for line in recording.lines:
        if line.get("by") == "client":
            step = line
            over = over and not (is_step(line, "open") or is_step(line, "online"))
        yield line, over
        over = over or (is_event(line, "end") and after(step))


@decided
def end_stops_the_attempt(recording: Recording) -> list[Line]:
    """`end()` really stops a reconnect procedure; the original goes on with it (protocol 4.2)."""
    lines = until_opened(recording, lambda step: step is not None and is_step(step, "end"))
    return [line for line, over in lines if not (over and line.get("event") in RECOVERY)]


@decided
def given_up_is_given_up(recording: Recording) -> list[Line]:
    """After the last `reconnect timeout` the attempt is dropped, so nothing of it follows the end (protocol 4.2).

    The original leaves that connection as it is, and reports its loss, or that it opened after all.
    """
    lines = until_opened(recording, lambda step: step is not None and not is_step(step, "end"))
    return [line for line, over in lines if not (over and line.get("event") in ("error", "readyStateChange"))]


@decided
def lost_is_lost(recording: Recording) -> list[Line]:
    """After `offline` nothing is taken from the connection any more; the original listens on (protocol 3.1: "counts
    as lost", and the law that whatever arrives for an earlier attempt is ignored)."""
    return [line for line in recording.lines if not (is_event(line, "data") and line["readyState"] == CLOSED)]


@decided
def refused_for_good(recording: Recording) -> list[Line]:
    """A first connect answered with 4xx is final (protocol 4.4)."""
    lines = recording.lines
    for i, line in enumerate(lines):
        if is_event(line, "error") and line["error"].startswith("status 4"):
            rest = lines[i + 1 :]
            if {other.get("event") for other in rest} <= RECOVERY and is_event(rest[0], "reconnect scheduled"):
                return [*lines[: i + 1], RSC_END, CLOSE, END]
    return lines


@decided
def refused_follows_the_strategy(recording: Recording) -> list[Line]:
    """A refused first connect follows the strategy also where there is no connect timer (protocol 4.4).

    The original then does nothing more at all; with a timer, set long enough, it does what ours does.
    """
    timed = {"refused-untimed": "refused-timeout", "refused-untimed-none": "refused-none"}
    stuck = [line.get("event") for line in recording.lines if "event" in line]
    if stuck != ["readyStateChange", "error", "readyStateChange"]:
        return recording.lines
    return load(f"{timed[recording.header['situation']]}.client").lines


@decided
def attempts_count_on(recording: Recording) -> list[Line]:
    """The attempts are counted on after a connection that was open for less than max(min, 5 s) (protocol 4.6)."""
    lines = []
    before = last = 0
    for line in recording.lines:
        if "attempt" in line:
            last = before + line["attempt"]
            line = line | {"attempt": last}
        elif is_event(line, "open"):
            before = last
        lines.append(line)
    return lines


# --- messages: nothing is lost unseen ---


@decided
def write_after_end_is_refused(recording: Recording) -> list[Line]:
    """After `end` a write returns False and is not kept for an open() that may never come (protocol 4.3)."""
    lines: list[Line] = []
    ended = refuse = False
    refused: list[object] = []
    for line in recording.lines:
        if is_step(line, "end") or is_step(line, "open"):
            ended = is_step(line, "end")
        if "do" in line:
            refuse = ended and is_step(line, "write")
            refused += [line["value"]] if refuse else []
        elif refuse and line.get("reply") == "write":
            line = line | {"result": False}
        elif is_event(line, "data") and line["value"] in refused:
            continue
        lines.append(line)
    return lines


@decided
def overflow_is_reported(recording: Recording) -> list[Line]:
    """What a full queue drops, the oldest first, is reported by `messages dropped` (protocol 4.3)."""
    size = recording.header["options"]["client"]["queueSize"]
    lines: list[Line] = []
    queue: list[object] = []
    opened = False
    for line in recording.lines:
        opened = opened or is_step(line, "open")
        if is_step(line, "write") and not opened:
            queue.append(line["value"])
        elif "reply" in line and 0 < size < len(queue):
            lines.append(dropped(queue.pop(0)))
        lines.append(line)
    return lines


@decided
def queue_of_0_keeps_nothing(recording: Recording) -> list[Line]:
    """A `queueSize` of 0 keeps nothing, says so, and a write returns False (protocol 4.3).

    So the documentation has it; in the original's code a queue of 0 has no bound.
    """
    lines: list[Line] = []
    gone: list[object] = []
    opened = False
    for line in recording.lines:
        opened = opened or is_step(line, "open")
        if is_step(line, "write") and not opened:
            gone.append(line["value"])
        elif "reply" in line and not opened:
            lines.append(dropped(gone[-1]))
            line = line | {"result": False}
        elif is_event(line, "data") and line["value"] in gone:
            continue
        lines.append(line)
    return lines


@decided
def unsent_is_reported(recording: Recording) -> list[Line]:
    """What still waits to be sent when the client ends is dropped, and reported (protocol 4.3)."""
    lines: list[Line] = []
    waiting: list[object] = []
    for line in recording.lines:
        if is_step(line, "write"):
            waiting.append(line["value"])
        if is_event(line, "end") and waiting:
            lines.append(dropped(*waiting))
            waiting = []
        lines.append(line)
    return lines


@decided
def unknown_is_no_data(recording: Recording) -> list[Line]:
    """An unknown primus:: message is reported as `message ignored`, never as data (protocol 1)."""
    lines = []
    for line in recording.lines:
        if is_event(line, "data") and str(line["value"]).startswith("primus::"):
            rest = {key: value for key, value in line.items() if key != "value"}
            line = rest | {"event": "message ignored", "text": line["value"]}
        lines.append(line)
    return lines


@decided
def end_unopened_is_an_end(recording: Recording) -> list[Line]:
    """`end()` before the first `open()` emits `end`; the original does nothing (protocol 4.2)."""
    lines = list(recording.lines)
    return [lines[0], END, *lines[1:]] if is_step(lines[0], "end") and is_step(lines[1], "open") else lines


@decided
def ended_stays_ended(recording: Recording) -> list[Line]:
    """The network that is back does not revive a client that its application has ended (protocol 4.4)."""
    lines: list[Line] = []
    ended = False
    for line in recording.lines:
        if is_step(line, "online") and ended:
            lines += [other for other in recording.lines[len(lines) :] if other.get("event") not in RECOVERY]
            return lines
        if "do" in line and line["by"] == "client":
            ended = is_step(line, "end") or (ended and is_step(line, "offline"))
        lines.append(line)
    return lines


# --- which of them a recording shows ---

BACK = (reconnect_comes_first,)
FAILED = (closed_before_scheduled, reconnect_comes_first, end_is_last)

DEVIATIONS: dict[str, tuple[Deviation, ...]] = {
    "attempt-refused.client": (closed_before_scheduled, reconnect_comes_first),
    "attempt-timed-out.client": BACK,
    "connect-timeout-timeout.client": (end_is_last,),
    "delays.client": FAILED,
    "end-attempt.client": (end_stops_the_attempt, reconnect_comes_first),
    "end-unopened.client": (end_unopened_is_an_end,),
    "end-waiting-timed-out.client": (end_stops_the_attempt, reconnect_comes_first),
    "flatline.client": BACK,
    "lost-disconnect.client": (reconnect_comes_first, end_is_last),
    "lost-twice.client": (attempts_count_on, reconnect_comes_first),
    "lost.client": BACK,
    "offline-attempt.client": BACK,
    "offline-ended.client": (ended_stays_ended,),
    "offline-online.client": BACK,
    "online-online.client": (reconnect_comes_first, end_is_last),
    "pong-timeout-late.client": (lost_is_lost, reconnect_comes_first),
    "pong-timeout.client": BACK,
    "queue-0.client": (queue_of_0_keeps_nothing,),
    "queue-0.server": (queue_of_0_keeps_nothing,),
    "queue-1.client": (overflow_is_reported,),
    "queue-3.client": (overflow_is_reported,),
    "refused-401.client": (refused_for_good,),
    "refused-503.client": FAILED,
    "refused-timeout.client": FAILED,
    "refused-untimed-none.client": (refused_follows_the_strategy,),
    "refused-untimed.client": (refused_follows_the_strategy, *FAILED),
    "refused.client": (closed_before_scheduled, reconnect_comes_first),
    "retries-refused.client": FAILED,
    "retries-timed-out.client": (given_up_is_given_up, end_is_last, ended_is_closed, reconnect_comes_first),
    "server-destroy-reconnect.client": (reconnect_comes_first, end_is_last),
    "server-end-reconnect.client": BACK,
    "unknown.client": (unknown_is_no_data,),
    "unknown.server": (unknown_is_no_data,),
    "write-after-end.client": (write_after_end_is_refused,),
    "write-after-end.server": (write_after_end_is_refused,),
    "write-then-end-waiting.client": (unsent_is_reported,),
}


def expected(recording: Recording) -> list[Line]:
    """What ours must do: the recording, with its deviations applied one after the other."""
    for deviation in DEVIATIONS.get(recording.name, ()):
        lines = deviation(recording)
        assert lines != recording.lines, f"{deviation.__name__} changes nothing in {recording.name}"
        recording = replace(recording, lines=lines)
    return recording.lines
