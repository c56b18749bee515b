"""What is recorded: for each situation its options, in the original's words and milliseconds, and the script.

A step says who does what, and with ``until`` what the script waits for before the next one; it never waits for time
to pass. The last step of all, `leave`, is added by the recorder: both ends are told that nothing more will be asked
of them, and end by themselves once nothing is left that could happen. So a recording shows that nothing followed.

Where a script waits for a burst of events it names all of them that may be the last, on each side that is recorded:
what is not waited for stands behind the next step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Step = dict[str, Any]

BOTH = ("client", "server")
CLIENT = ("client",)
SERVER = ("server",)


@dataclass(frozen=True)
class Situation:
    """`address` is what answers at first: the server (``primus``), ``silent``, or ``nobody``."""

    name: str
    about: str
    steps: tuple[Step, ...]
    sides: tuple[str, ...] = CLIENT
    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    address: str = "primus"
    mute: str | None = None
    """``pings`` or ``pongs``: those are swallowed where they are sent, until told otherwise."""
    authorization: dict[str, Any] | None = None
    network: bool = False
    """Whether the client can be told about the network, as a browser tells it."""


def do(by: str, verb: str, /, *until: dict[str, Any], **details: Any) -> Step:
    return {"do": verb, "by": by, **details, **({"until": list(until)} if until else {})}


def client(event: str, **fields: Any) -> dict[str, Any]:
    return {"client": event, **fields}


def server(event: str, **fields: Any) -> dict[str, Any]:
    return {"server": event, **fields}


OPENED = (client("open"), server("connection"))
ENDED = (client("end"), server("end"))
OPEN = do("client", "open", *OPENED)
END = do("client", "end", *ENDED)
DROP = do("network", "drop")
NOBODY = do("network", "become", what="nobody")
SILENT = do("network", "become", what="silent")
PRIMUS = do("network", "become", what="primus")
RSC_OPENING = client("readyStateChange", to="opening")
RSC_END = client("readyStateChange", to="end")

# Delays with one possible value, long enough for the script to act in.
STEADY = {"min": 300, "max": 300, "retries": 3, "reconnect timeout": 400}
LONG_TIMEOUT = 20_000  # a connect timer that runs, and that no script waits for
BEATS = {"ping": 800, "pong": 400}
STRATEGIES: dict[str, str | bool] = {
    "disconnect": "disconnect",
    "online": "online",
    "timeout": "timeout",
    "none": False,
}


def plain() -> Iterator[Situation]:
    yield Situation("end", "The client ends, and ends again.", (OPEN, END, do("client", "end")), BOTH)
    said = do("client", "end", *ENDED, value={"bye": 1})
    yield Situation("end-data", "The client ends with a last value.", (OPEN, said), BOTH)
    late = do("server", "write", value="too late")
    steps: tuple[Step, ...] = (OPEN, do("server", "end", *ENDED), late)
    yield Situation("server-end", "The server ends the spark, then writes to it.", steps, BOTH)
    steps = (OPEN, do("server", "end", *ENDED, value="bye"))
    yield Situation("server-end-data", "The server ends the spark with a last value.", steps, BOTH)
    back = do("server", "end", *OPENED, server("end"), reconnect=True)
    yield Situation(
        "server-end-reconnect", "The server ends the spark and asks to reconnect.", (OPEN, back, END), BOTH,
        client={"reconnect": STEADY},
    )  # fmt: skip
    gone = do("server", "destroy", client("end"), server("close"))
    yield Situation("server-destroy", "The server closes.", (OPEN, gone), BOTH)
    failed = (client("end"), client("reconnect failed"), RSC_END | {"times": 2})
    gone = do("server", "destroy", *failed, server("close"), options={"reconnect": True})
    yield Situation(
        "server-destroy-reconnect", "The server closes, asks to reconnect, and is not there any more.",
        (OPEN, NOBODY, gone), BOTH, client={"reconnect": STEADY | {"retries": 1}},
    )  # fmt: skip
    yield Situation("destroy", "The client is destroyed.", (OPEN, do("client", "destroy", *ENDED)), BOTH)
    yield Situation("open-after-end", "The client ends and is opened again.", (OPEN, END, OPEN, END), BOTH)


def lost() -> Iterator[Situation]:
    steady = {"reconnect": STEADY}
    back = do("network", "drop", *OPENED, server("end"))
    yield Situation("lost", "The connection is lost and comes back.", (OPEN, back, END), BOTH, client=steady)
    yield Situation(
        "lost-twice", "Two connections in a row are lost soon after they opened.", (OPEN, back, back, END), BOTH,
        client=steady,
    )  # fmt: skip
    refused = do("network", "drop", RSC_END | {"times": 2}, client("reconnect scheduled", attempt=2))
    yield Situation(
        "attempt-refused", "The first reconnect attempt is refused, the second succeeds.",
        (OPEN, NOBODY, refused, PRIMUS | {"until": list(OPENED)}, END), client=steady,
    )  # fmt: skip
    late = do("network", "drop", client("reconnect timeout"), client("reconnect scheduled", attempt=2))
    yield Situation(
        "attempt-timed-out", "The first reconnect attempt takes too long, the second succeeds.",
        (OPEN, SILENT, late, PRIMUS | {"until": list(OPENED)}, END, DROP), client=steady,
    )  # fmt: skip
    over = do("network", "drop", client("end"), client("reconnect failed"), RSC_END | {"times": 3})
    two = {"reconnect": STEADY | {"retries": 2}}
    again = (do("client", "end"), PRIMUS, OPEN, END)
    yield Situation(
        "retries-refused", "All reconnect attempts are refused; end() changes nothing, open() starts afresh.",
        (OPEN, NOBODY, over, *again), client=two,
    )  # fmt: skip
    yield Situation(
        "retries-timed-out", "All reconnect attempts take too long.",
        (OPEN, SILENT, do("network", "drop", client("end"), client("reconnect failed")), DROP), client=two,
    )  # fmt: skip
    growing = {"min": 40, "factor": 3, "retries": 4, "max": 1500}
    yield Situation(
        "delays", "The delays of the attempts, from min with factor up to max.",
        (OPEN, NOBODY, DROP), client={"reconnect": growing},
    )  # fmt: skip


def connecting() -> Iterator[Situation]:
    scheduled = (client("error"), client("reconnect scheduled"), RSC_END)
    yield Situation(
        "refused", "The first connect is refused, the first reconnect attempt succeeds.",
        (do("client", "open", *scheduled), PRIMUS | {"until": list(OPENED)}, END),
        client={"timeout": LONG_TIMEOUT, "reconnect": STEADY}, address="nobody",
    )  # fmt: skip
    late = do("client", "open", client("timeout"), client("reconnect scheduled"))
    yield Situation(
        "connect-timeout", "The first connect takes too long, the first reconnect attempt succeeds.",
        (late, PRIMUS | {"until": list(OPENED)}, END, DROP),
        client={"timeout": 300, "reconnect": STEADY}, address="silent",
    )  # fmt: skip
    once = {"timeout": False, "reconnect": STEADY | {"retries": 1}}
    opened = do("client", "open")
    yield Situation(
        "refused-untimed", "The first connect, without a limit in time, is refused.", (opened,),
        client=once, address="nobody",
    )  # fmt: skip
    yield Situation(
        "refused-untimed-none", "The same without a strategy.", (opened,),
        client=once | {"strategy": False}, address="nobody",
    )  # fmt: skip
    retry = {"timeout": LONG_TIMEOUT, "reconnect": STEADY | {"retries": 1}}
    for status in (401, 503):
        rule = {"status": status, "message": "no entry"}
        yield Situation(
            f"refused-{status}", f"The server answers the first connect with {status}.", (opened,), BOTH,
            client=retry, authorization=rule,
        )  # fmt: skip
    yield Situation(
        "refused-401-disconnect", "The same without the strategy `timeout`.", (opened,), BOTH,
        client=retry | {"strategy": "disconnect, online"}, authorization={"status": 401, "message": "no entry"},
    )  # fmt: skip
    steps = (do("client", "open", RSC_OPENING), do("client", "end", client("end")), DROP)
    yield Situation("end-connecting", "end() during the first connect.", steps, address="silent")
    yield Situation("end-unopened", "end() before open().", (do("client", "end"), OPEN, END))


def strategies() -> Iterator[Situation]:
    """Each strategy alone, and none, when a connection is lost, cannot be made, or the network is back."""
    for name, strategy in STRATEGIES.items():
        words = f"with the strategy `{name}` alone" if strategy else "without a strategy"
        options = {"timeout": LONG_TIMEOUT, "strategy": strategy, "reconnect": STEADY | {"retries": 1}}
        yield Situation(f"lost-{name}", f"A connection is lost {words}.", (OPEN, NOBODY, DROP), client=options)
        yield Situation(
            f"refused-{name}", f"The first connect is refused {words}.", (do("client", "open"),),
            client=options, address="nobody",
        )  # fmt: skip
        late: tuple[Step, ...] = (do("client", "open", client("end")), DROP)
        if name == "timeout":
            opened = do("client", "open", client("timeout"), client("reconnect scheduled"))
            late = (opened, NOBODY | {"until": [client("end"), client("reconnect failed"), RSC_END]}, DROP)
        yield Situation(
            f"connect-timeout-{name}", f"The first connect takes too long {words}.", late,
            client=options | {"timeout": 300}, address="silent",
        )  # fmt: skip
        yield Situation(
            f"online-{name}", f"The network goes and comes back {words}.",
            (OPEN, NOBODY, do("client", "offline"), do("client", "online")),
            client=options, network=True,
        )  # fmt: skip


def ending() -> Iterator[Situation]:
    """end() and the host's word about the network, while a reconnect procedure is under way."""
    slow = {"reconnect": STEADY | {"min": 5000, "max": 5000}}
    waiting = (OPEN, NOBODY, do("network", "drop", client("reconnect scheduled")))
    steps = (*waiting, do("client", "end", client("end")))
    yield Situation("end-waiting", "end() while waiting for a reconnect attempt.", steps, client=slow)
    timed_out = (OPEN, SILENT, do("network", "drop", client("reconnect scheduled", attempt=2)), NOBODY)
    steady = {"reconnect": STEADY | {"retries": 2}}
    yield Situation(
        "end-waiting-timed-out", "end() while waiting, after an attempt that took too long.",
        (*timed_out, do("client", "end", client("end")), DROP), client=steady,
    )  # fmt: skip
    attempting = (OPEN, SILENT, do("network", "drop", client("reconnect"), RSC_OPENING))
    yield Situation(
        "end-attempt", "end() during a reconnect attempt.",
        (*attempting, do("client", "end", client("end")), NOBODY, DROP), client=steady,
    )  # fmt: skip
    offline = do("client", "offline", client("end"))
    online = do("client", "online", *OPENED)
    yield Situation(
        "offline-online", "The host says that the network is gone, says it again, and that it is back.",
        (OPEN, offline, do("client", "offline"), online, END), client={"reconnect": STEADY}, network=True,
    )  # fmt: skip
    yield Situation(
        "offline-waiting", "The network is gone while the client waits for a reconnect attempt.",
        (*waiting, offline, PRIMUS, do("client", "online", client("reconnect scheduled")), do("client", "end")),
        client=slow, network=True,
    )  # fmt: skip
    yield Situation(
        "offline-attempt", "The network is gone during a reconnect attempt.",
        (*attempting, offline, PRIMUS, online, END, DROP), client={"reconnect": STEADY}, network=True,
    )  # fmt: skip
    yield Situation(
        "offline-ended", "The network goes and comes back after the client has ended.",
        (OPEN, END, do("client", "offline"), do("client", "online"), do("client", "end")),
        client=slow, network=True,
    )  # fmt: skip


def messages() -> Iterator[Situation]:
    for size in (0, 1, 3):
        early = (do("client", "write", value=f"early {index}") for index in range(1, 5))
        last = do("client", "write", server("data", value="last"), value="last")
        steps = (*early, OPEN, last, END)
        about = f"Four writes before the connection opens, to a queue of {size}."
        yield Situation(f"queue-{size}", about, steps, BOTH, client={"queueSize": size})
    written = do("client", "write", value="after end")
    last = do("client", "write", server("data", value="last"), value="last")
    steps = (OPEN, END, written, OPEN, last, END)
    yield Situation("write-after-end", "A write after end(), then open().", steps, BOTH)
    waiting = (OPEN, NOBODY, do("network", "drop", client("reconnect scheduled")))
    steps = (*waiting, do("client", "write", value="early"), do("client", "end", client("end")))
    yield Situation(
        "write-then-end-waiting", "A write while waiting for a reconnect attempt, and end() before it.", steps,
        client={"reconnect": STEADY | {"min": 5000, "max": 5000}},
    )  # fmt: skip
    for name, about, how in (
        ("undecodable", "A message that is not JSON.", {"text": "{bad"}),
        ("unknown", "A primus:: message that nobody knows.", {"text": '"primus::foo::bar"'}),
        ("binary", "A binary message.", {"base64": "AAEC/w=="}),
    ):
        kind = "binary" if "base64" in how else "raw"
        to_client = do("server", "write", client("data", value="after"), value="after")
        to_server = do("client", "write", server("data", value="after"), value="after")
        steps = (OPEN, do("server", kind, **how), to_client, do("client", kind, **how), to_server, END)
        yield Situation(name, f"{about} Each end sends it, and something ordinary after it.", steps, BOTH)


def heartbeats() -> Iterator[Situation]:
    options: dict[str, Any] = {"client": BEATS | {"reconnect": {"min": 1000}}, "server": {"pongSkipTime": 1}}
    beat = OPEN | {"until": [*OPENED, server("heartbeat", times=2)]}
    yield Situation("heartbeat", "Two pings and their pongs.", (beat, END), BOTH, **options)
    skipped = OPEN | {"until": [*OPENED, server("heartbeat-skipped", count=1)]}
    heard = do("client", "hear", server("heartbeat"), what="pings")
    yield Situation(
        "skipped", "A ping gets lost, the next one comes.", (skipped, heard, END), BOTH, mute="pings", **options
    )
    flat = OPEN | {"until": [*OPENED, server("flatline"), client("reconnect scheduled")]}
    again = do("client", "hear", *OPENED, what="pings")
    yield Situation("flatline", "All pings get lost.", (flat, again, END), BOTH, mute="pings", **options)
    options["client"] = BEATS | {"reconnect": STEADY}
    gone = OPEN | {"until": [*OPENED, client("offline"), client("reconnect scheduled")]}
    again = do("server", "hear", client("online"), client("open"), what="pongs")
    end = do("client", "end", client("end"))
    yield Situation("pong-timeout", "All pongs get lost.", (gone, again, end), mute="pongs", **options)
    late = do("server", "write", client("open"), value="late")
    yield Situation(
        "pong-timeout-late", "All pongs get lost, and a message comes after the client has given up.",
        (gone, do("server", "hear", what="pongs"), late, end), mute="pongs", **options,
    )  # fmt: skip
    options["client"] = BEATS | {"strategy": False}
    gone = OPEN | {"until": [*OPENED, client("end"), server("end")]}
    yield Situation(
        "pong-timeout-none", "All pongs get lost, without a strategy.", (gone,), BOTH, mute="pongs", **options
    )


def situations() -> dict[str, Situation]:
    """All of them, by name."""
    kinds = (plain, lost, connecting, strategies, ending, messages, heartbeats)
    found = [situation for kind in kinds for situation in kind()]
    assert len({situation.name for situation in found}) == len(found)
    return {situation.name: situation for situation in found}
