"""`python -m benchmarks [NAME ...]`: runs the benchmarks one after the other, each in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.report import write
from karat.errors import did_you_mean

HERE = Path(__file__).parent
#: Programs of this folder that measure no speed; `make nightly`, `make kills` and `make soak` run most of them.
NO_SPEED = {"champions_by_date", "kills", "refit_later_rows", "soak"}


def names() -> tuple[str, ...]:
    """The benchmarks: programs of this folder that have a ``main`` and measure speed."""
    programs = {p.stem for p in HERE.glob("[!_]*.py") if "\ndef main(" in p.read_text()}
    return tuple(sorted(programs - NO_SPEED))


def run(name: str) -> int:
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; all by default")
    parser.add_argument("--report", action="store_true", help="write docs/benchmarks.md from what was measured last")
    called = parser.parse_args()
    if called.report:
        write()
        return
    chosen = called.names or list(names())
    for name in chosen:
        if name not in names():
            parser.error(f"there is no benchmark {name!r}. {did_you_mean(name, names())}")
    failed = [name for name in chosen if run(name)]
    if failed:
        sys.exit(f"broke off: {', '.join(failed)}")


if __name__ == "__main__":
    main()
