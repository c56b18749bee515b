"""Which outages and uploads a happn connection survives, found by running it in virtual time.

    python benchmarks/heartbeats.py docs/explanation/heartbeats.svg

The picture shows the share of moments at which an outage, or an upload, of a given length may begin without the client
or the server giving the connection up. It needs matplotlib.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from primus_proto import events
from primus_proto.testing import VirtualNetwork

SETTINGS = [(25.0, 10.0, 2), (25.0, 20.0, 2), (10.0, 5.0, 2), (10.0, 5.0, 5), (5.0, 3.0, 2)]
PHASES = 10
SECONDS = [0, 1, *range(2, 20), *range(20, 60, 2), *range(60, 150, 5)]
UNIT = 1000  # bytes per second of the line while it is busy


def survives(ping: float, pong: float, skips: int, seconds: float, phase: float, upload: bool) -> bool:
    """Whether the connection lives through trouble of that length, begun `phase` seconds after the first ping."""
    network = VirtualNetwork(seed=1, latency=0.02)
    network.serve(dialect="happn", allow_skipped_heartbeats=skips)
    client = network.connect("http://server", dialect="happn", ping=ping, pong=pong)
    network.run(ping + phase)
    if upload:
        network.bandwidth = UNIT
        client.client.write("x" * int(seconds * UNIT))
        network.run(seconds + 1)
    else:
        network.freeze(client)
        network.run(seconds)
        network.thaw(client)
    network.run(4 * (ping + pong))
    return client.seen(events.Closed) == 0


def share(ping: float, pong: float, skips: int, seconds: float, upload: bool) -> float:
    phases = [ping * (step + 0.5) / PHASES for step in range(PHASES)]
    return sum(survives(ping, pong, skips, seconds, phase, upload) for phase in phases) / PHASES


def main(target: Path) -> None:
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "primus-proto"  # the same input, the same file
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for panel, upload in zip(panels, (False, True), strict=True):
        for ping, pong, skips in SETTINGS:
            label = f"ping {ping:g}, pong {pong:g}, {skips} skips"
            panel.plot(SECONDS, [100 * share(ping, pong, skips, each, upload) for each in SECONDS], label=label)
        panel.set_xlabel("seconds")
        panel.set_title("an upload that fills the line" if upload else "an outage")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("connections that survive, %")
    panels[1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
