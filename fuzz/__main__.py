"""Fuzz one target, or all in turn: `python -m fuzz [TARGET] --seconds 60`. Needs atheris (Python 3.11 to 3.13)."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(folder.name for folder in (HERE / "corpus").iterdir())


def fuzz(name: str, seconds: int, work: Path) -> None:
    """Run one target in this process, which it ends."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: make fuzz, or pip install atheris (Python 3.11 to 3.13)")
    with atheris.instrument_imports(include=["primus_proto", "h11", "wsproto"]):
        from .targets import TARGETS
    for folder in (work / name, HERE / "findings"):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        *(f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"),
        *(f"-dict={HERE / 'dictionary.txt'}", f"-artifact_prefix={HERE / 'findings'}/{name}-"),
        *(str(work / name), str(HERE / "corpus" / name)),
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def main() -> None:
    """Fuzz the target that is named, or one after the other."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", nargs="?", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, default=HERE / "reached", help="where inputs that reach new code are kept")
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, options.seconds, options.work)
        return
    failed = []
    for name in NAMES:
        print(f"==== {name} ====", flush=True)
        command = [sys.executable, "-m", "fuzz", name, "--seconds", str(options.seconds), "--work", str(options.work)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"findings in {', '.join(failed)}: see {HERE / 'findings'}")


if __name__ == "__main__":
    main()
