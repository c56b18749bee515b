"""Runs the Autobahn cases against our server and our client, on each binding, and lists what is not OK.

    python -m tests.autobahn.run [--cases 1.*,2.*] [--bindings asyncio,trio,threads] [--roles server,client]

Ends with 1 unless every case is OK or INFORMATIONAL, in behaviour and in closing. `kosoku` runs the genuine cases.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import kosoku

CORRECTNESS = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*"
BINDINGS, ROLES = "asyncio,trio,threads", "server,client"
GOOD = {"OK", "INFORMATIONAL"}


async def subject(*arguments: str) -> asyncio.subprocess.Process:
    """Start our end."""
    command = (sys.executable, "-m", "tests.autobahn.subject", *arguments)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)


async def against_server(binding: str, cases: list[str]) -> Any:
    """Results of the cases against our server."""
    process = await subject(binding, "serve")
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        return await kosoku.run_fuzzingclient(f"ws://127.0.0.1:{port}/runCase?ping=false", cases)
    except kosoku.FailureError as failure:
        return failure.results
    finally:
        process.stdin.close()
        await process.wait()


async def against_client(binding: str, cases: list[str]) -> Any:
    """Results of the cases against our client."""
    async with kosoku.run_fuzzingserver(cases, host="127.0.0.1", port=0) as server:
        process = await subject(binding, "connect", str(server.port))
        await process.wait()
        try:
            return await server.get_result()
        except kosoku.FailureError as failure:
            return failure.results


def mend_kosoku() -> None:
    """Give bytes to the cases about compression, which were written for Python 2. kosoku 0.1.0 gives them str."""
    importlib.import_module("kosoku.cases")
    cases = importlib.import_module("case12_x_x")  # which the line above has made one that can be found

    def mended(on_message: Any) -> Any:
        def give_bytes(case: Any, message: str | bytes, binary: bool) -> None:
            if isinstance(message, str):
                message = message.encode("latin-1" if binary else "utf-8")
            on_message(case, message, binary)

        return give_bytes

    for case in (*cases.Case12_X_X, *cases.Case13_X_X):
        case.onMessage = mended(case.onMessage)


def report(title: str, results: Sequence[Any]) -> bool:
    """Print a summary; return whether all is good."""
    behaviour = Counter(result.behavior.value for result in results)
    closing = Counter(result.behavior_close.value for result in results)
    print(f"{title}: {len(results)} cases; behaviour {dict(behaviour)}; closing {dict(closing)}", flush=True)
    bad = [each for each in results if {each.behavior.value, each.behavior_close.value} - GOOD]
    for each in bad:
        print(f"  {each.case_id}: {each.behavior.value}, closing {each.behavior_close.value}: {each.result_close}")
    return bool(results) and not bad


async def main() -> int:
    """Run all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default=CORRECTNESS)
    parser.add_argument("--bindings", default=BINDINGS)
    parser.add_argument("--roles", default=ROLES)
    options = parser.parse_args()
    mend_kosoku()
    cases, good = options.cases.split(","), True
    for binding in options.bindings.split(","):
        if "server" in options.roles:
            good &= report(f"server, {binding}", await against_server(binding, cases))
        if "client" in options.roles:
            good &= report(f"client, {binding}", await against_client(binding, cases))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
