"""`primus demo`: every step works, in under ten seconds; a step that fails is reported."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.command import Command, environment

STEPS = ("starts", "two clients", "to the server", "to ben", "broadcasts", "heartbeat", "disconnects anna")


def test_every_step_works() -> None:
    started = time.monotonic()
    with Command("demo") as demo, Command("demo", "--json") as script:
        assert (demo.finish(), script.finish()) == (0, 0)
        assert time.monotonic() - started < 10
    assert (demo.stderr, script.stderr) == ("", "")
    text = "\n".join(demo.lines)
    for step in (*STEPS, "reconnects by herself", "closes for good", "every step worked"):
        assert step.lower() in text.lower()
    assert max(map(len, demo.lines)) <= 100
    *steps, done = script.events
    assert [step["step"] for step in steps] == list(range(1, 10))
    assert {step["event"] for step in steps} == {"step"}
    assert (done["event"], done["steps"]) == ("done", 9)


def test_a_step_that_fails_is_reported() -> None:
    code = "from primus_io.cli import demo; demo.PING, demo.STEP = 60.0, 0.5"
    code = f"{code}\nfrom primus_io.__main__ import main\nraise SystemExit(main(['demo', '--json']))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "primus demo: step 6 failed: anna's heartbeat: nothing within 0.5 s\n"
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "missing"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_it_can_be_stopped() -> None:
    with Command("demo", "--json") as demo:
        demo.wait("step", step=3)
        demo.signal(signal.SIGINT)
        assert demo.status() == 1
        assert demo.stderr == "primus demo: stopped before the end"
