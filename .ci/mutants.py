"""Mutation test of a random sample of mutants of each room: prints the score and the mutants that no test notices.

Usage: python .ci/mutants.py [--per-room 150] [--seed 1] [--rooms features training_sets lifecycle]
mutmut keeps what it made in mutants/ (`mutmut show NAME` prints the change of a mutant). The first run takes some
minutes more: it times every test and notes which functions it enters.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("features", "training_sets", "lifecycle")
MUTMUT = Path(sys.executable).with_name("mutmut")
#: One thread per process, since two mutants run at a time; no search for the smallest failing example.
ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HYPOTHESIS_PROFILE": "mutants",
}
#: Tests of a mutant in the first round; those that survive it meet all their tests in a second one.
QUICK_SECONDS = 8.0
#: mutmut's exit codes: 0 the tests passed, 33 no test enters the function; the others mean that the mutant was noticed.
SURVIVED, UNTESTED = 0, 33


def results(room: str) -> Iterator[tuple[str, int | None]]:
    """Yield every mutant of a room with its exit code; None if it was not tried."""
    for path in sorted((ROOT / "mutants" / "karat" / room).rglob("*.meta")):
        yield from json.loads(path.read_text())["exit_code_by_key"].items()


def interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of ``count``."""
    z2 = 1.96**2
    middle, half = share + z2 / (2 * count), 1.96 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return (middle - half) / (1 + z2 / count), (middle + half) / (1 + z2 / count)


def run(names: Collection[str], seconds: float) -> None:
    """Run mutmut on these mutants, two at a time, each with its quickest tests of at most so many seconds in all."""
    command = [str(MUTMUT), "run", "--max-children", "2", *sorted(names)]
    environment = os.environ | ENVIRONMENT | {"MUTANT_SECONDS": str(seconds)}
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    """Choose, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-room", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    given = parser.parse_args()
    if not any((ROOT / "mutants").rglob("*.meta")):  # one mutant, so that all are written
        run(["karat.features.invalidation.x__each_day__mutmut_1"], QUICK_SECONDS)
    chosen = {}
    for room in given.rooms:
        names = [name for name, _ in results(room)]
        chosen[room] = set(random.Random(given.seed).sample(names, min(given.per_room, len(names))))
    run(set().union(*chosen.values()), QUICK_SECONDS)
    survivors = {n for room, names in chosen.items() for n, code in results(room) if n in names and code == SURVIVED}
    if survivors:
        run(survivors, math.inf)
    for room, names in chosen.items():
        codes = {name: code for name, code in results(room) if name in names}
        tried = {name: code for name, code in codes.items() if code is not None}
        count = Counter(tried.values())
        noticed = len(tried) - count[SURVIVED] - count[UNTESTED]
        low, high = interval(noticed / len(tried), len(tried))
        print(f"{room}: {noticed} of {len(tried)} noticed, {noticed / len(tried):.0%} ({low:.0%} to {high:.0%})")
        for name, code in sorted(tried.items()):
            if code in (SURVIVED, UNTESTED):
                print(f"  {'survived' if code == SURVIVED else 'no test '}  {name}")


if __name__ == "__main__":
    main()
