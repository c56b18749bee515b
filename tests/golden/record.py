"""Record what the real happn-primus client and server do: ``python -m tests.golden.record [situation …]``.

Needs Node and the packages of tests/interop. Writes one file for each side of each situation; with ``--check`` it
writes nothing, and fails where a recording comes out other than the one that is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import difflib
import json
import sys
from collections.abc import Mapping
from typing import Any

from tests.golden.address import Address
from tests.golden.lines import (
    CLIENT_EVENTS,
    NORMALISED,
    SERVER_EVENTS,
    Book,
    Line,
    Recording,
    normal_delay,
    path,
    recorded,
    whose,
)
from tests.golden.situations import Situation, situations
from tests.interop.peers import HERE as INTEROP
from tests.interop.peers import Peer, Peers, Report, missing

DEADLINE = 30.0  # seconds for a process to end by itself
COMMANDS = {  # what a step is called in the peers, where that is not its own name
    ("client", "offline"): {"cmd": "network", "on": False},
    ("client", "online"): {"cmd": "network", "on": True},
    ("client", "hear"): {"cmd": "mute-pings", "on": False},
    ("server", "hear"): {"cmd": "mute-pongs", "on": False},
}


class Recorder:
    """One run of one situation."""

    def __init__(self, situation: Situation, peers: Peers) -> None:
        self.situation = situation
        self.peers = peers
        self.acks = 0
        self.sides: dict[str, Side] = {}

    async def run(self) -> list[Recording]:
        situation = self.situation
        mute = situation.mute
        options: dict[str, Any] = {"primus": situation.server, "mutePongs": mute == "pongs"}
        if situation.authorization is not None:
            options["authorization"] = situation.authorization
        server = await self.peers.server(**options)
        self.address = Address(server.port)
        try:
            await self.address.become(situation.address)
            client = await self.peers.client(
                f"http://127.0.0.1:{self.address.port}",
                primus=situation.client,
                mutePings=mute == "pings",
                manual=True,
                network=situation.network,
            )
            self.sides = {"client": ClientSide(client, situation), "server": ServerSide(server)}
            for step in situation.steps:
                await self.step(step)
            await self.leave()
        finally:
            await self.address.close()
        return [Recording(self.header(side), self.sides[side].book.compose()) for side in situation.sides]

    async def step(self, step: Line) -> None:
        starts = {name: side.book.known for name, side in self.sides.items()}
        by, verb = step["by"], step["do"]
        for side in self.sides.values():
            side.book.note(step)
        if by == "network":
            if verb == "drop":
                self.address.drop()
            else:
                await self.address.become(step["what"])
        else:
            command = COMMANDS.get((by, verb)) or {"cmd": verb, **step}
            if (by, verb) == ("server", "end") and step.get("reconnect"):
                command["cmd"] = "end-reconnect"
            if (by, verb) == ("server", "write"):
                command["cmd"] = "write-last"
            await self.tell(self.sides[by], step, command)
        for item in step.get("until", ()):
            await self.sides[whose(item)].until(item, starts[whose(item)])

    async def tell(self, side: Side, step: Line, command: Mapping[str, Any]) -> None:
        """Have a peer carry out a command, and know what that caused at once."""
        self.acks += 1
        before, after = (self.acks, "before"), (self.acks, "after")
        fields = {key: value for key, value in command.items() if key not in ("cmd", "do", "by", "until")}
        side.peer.send(command["cmd"], ack=self.acks, **fields)
        await side.peer.until(lambda: after in side.read().acks, f"that it did {command['cmd']!r}")
        if step["by"] in self.situation.sides:
            unknown = side.book.lines[side.book.known : side.acks[before]]
            assert not unknown, f"the script does not wait for all of this, which came before {step}: {unknown}"
        side.book.know(side.acks[after])

    async def leave(self) -> None:
        """Let both ends do what they still have to do, then end their processes."""
        for side in self.sides.values():
            side.book.note({"do": "leave", "by": "script"})
        for side in self.sides.values():
            peer = side.peer
            peer.send("leave")
            await peer.until(lambda peer=peer: peer.over, "everything, and ended", DEADLINE)  # type: ignore[misc]
            side.read()

    def header(self, side: str) -> Line:
        situation = self.situation
        package = json.loads((INTEROP / "node_modules/happn-primus/package.json").read_text(encoding="utf-8"))
        given = {
            "client": situation.client,
            "server": situation.server,
            "address": situation.address,
            "mute": situation.mute,
            "authorization": situation.authorization,
            "network": situation.network or None,
        }
        return {
            "situation": situation.name,
            "about": situation.about,
            "who": side,
            "package": f"happn-primus {package['version']}",
            "options": {key: value for key, value in given.items() if value},
            "normalised": NORMALISED,
        }


class Side:
    """One of the two ends: its process, and what of its reports goes into the recording."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.book = Book()
        self.acks: dict[tuple[int, str], int] = {}
        self._read = 0

    def read(self) -> Side:
        """Take what it has said since the last time."""
        reports = self.peer.reports
        while self._read < len(reports):
            report = reports[self._read]
            self._read += 1
            if report.get("event") in ("command-failed", "uncaught", "listen-failed", "noise"):
                raise AssertionError(f"a peer failed: {report}")
            if "ack" in report:
                self.acks[report["ack"], report["when"]] = len(self.book.lines)
            elif (line := self.line(report)) is not None:
                self.book.lines.append(line)
        return self

    async def until(self, item: Line, start: int) -> None:
        self.book.know(await self.peer.until(lambda: self.read().book.find(item, start) or 0, f"{item}"))

    def line(self, report: Report) -> Line | None:
        raise NotImplementedError


class ClientSide(Side):
    def __init__(self, peer: Peer, situation: Situation) -> None:
        super().__init__(peer)
        self.reconnect = situation.client.get("reconnect", {})

    def line(self, report: Report) -> Line | None:
        if report.get("reply") == "write":
            return {"reply": "write", "result": report["result"]}
        name = report.get("event")
        if name not in CLIENT_EVENTS:
            return None
        line: Line = {"event": name, "readyState": report["state"]}
        if name in ("readyStateChange", "data"):
            line |= {key: report[key] for key in ("to", "value") if key in report}
        elif name == "error":
            line["error"] = error_kind(report)
        elif "attempt" in report:
            delay = normal_delay(report["attempt"], report["scheduled"], self.reconnect)
            line |= {"attempt": report["attempt"], "retries": report["retries"], "delay": delay}
            if "error" in report:
                line["error"] = True
        return line


class ServerSide(Side):
    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.sparks: list[str] = []

    def line(self, report: Report) -> Line | None:
        if report.get("reply") == "write-last":
            return {"reply": "write", "result": report["result"]}
        name = report.get("event")
        if name not in SERVER_EVENTS:
            return None
        line: Line = {"event": name}
        if name == "connection":
            self.sparks.append(report["id"])
        if "id" in report:
            line |= {"spark": self.sparks.index(report["id"]) + 1, "readyState": report["state"]}
        line |= {key: report[key] for key in ("value", "count", "level") if key in report}
        if name == "error":
            line["error"] = error_kind(report)
        return line


def error_kind(report: Report) -> str:
    message = report["message"]
    if report.get("code") == "ECONNREFUSED":
        return "refused"
    if message.startswith("unexpected server response ("):
        return f"status {message[-4:-1]}"
    if report.get("code") == "ECONNRESET":
        return "lost"
    if "JSON" in message:
        return "decode"
    raise AssertionError(f"an error of a kind that is not known yet: {report}")


async def record(situation: Situation) -> list[Recording]:
    async with contextlib.AsyncExitStack() as stack:
        peers = Peers(stack)
        try:
            async with asyncio.timeout(2 * DEADLINE):
                return await Recorder(situation, peers).run()
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"while recording {situation.name!r}:")
            for log in peers.logs:
                error.add_note(log.describe())
            raise


async def record_all(chosen: list[Situation], jobs: int) -> list[Recording]:
    room = asyncio.Semaphore(jobs)

    async def one(situation: Situation) -> list[Recording]:
        async with room:
            return await record(situation)

    return [recording for found in await asyncio.gather(*map(one, chosen)) for recording in found]


def difference(recording: Recording) -> str:
    """How a new recording differs from the one that is kept; empty if it does not."""
    file = path(recording.name)
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = difflib.unified_diff(old.splitlines(), recording.dump().splitlines(), "kept", "new", lineterm="")
    return "\n".join((f"{file.name}:", *lines)) if old != recording.dump() else ""


def main() -> int:
    known = situations()
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument("situation", nargs="*", help=f"what to record (default: all): {', '.join(known)}")
    parser.add_argument("--check", action="store_true", help="compare with the recordings there are, write nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: %(default)s)")
    given = parser.parse_args()
    if unknown := set(given.situation) - known.keys():
        parser.error(f"no such situation: {', '.join(sorted(unknown))}")
    if reason := missing():
        parser.error(reason)
    chosen = [known[name] for name in given.situation or known]
    recordings = asyncio.run(record_all(chosen, given.jobs))
    stale: set[str] = set() if given.situation else set(recorded()) - {recording.name for recording in recordings}
    if given.check:
        differences = [found for recording in recordings if (found := difference(recording))]
        differences += [f"{name}: no such situation any more" for name in sorted(stale)]
        print("\n\n".join(differences) or f"{len(recordings)} recordings are as they were")
        return 1 if differences else 0
    for recording in recordings:
        path(recording.name).write_text(recording.dump(), encoding="utf-8")
    for name in stale:
        path(name).unlink()
    print(f"{len(recordings)} recordings of {len(chosen)} situations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
