"""The order of the test files, and how they are spread over the workers.

The tests of the platform share one platform: one worker takes all of them, and takes them first, for they take longest.
The other workers take the rest file by file, the longest first (``durations.json``), so that all end together. A few
files stay together, because they share what is made once for a worker.
``make test ORDER=random SEED=1`` shuffles the files, and the tests in each.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
#: Test file -> processor seconds on one core; `pytest --write-durations` writes it anew.
DURATIONS = Path(__file__).with_name("durations.json")


#: Tests that share what takes seconds to make and is made once for a worker: one worker takes them all.
TOGETHER = ("tests/karat/compat/", "tests/serve/", "tests/projects/test_cost_")


def unit(path: Path) -> str:
    """The unit of work that a file belongs to: itself, or several together."""
    name = path.relative_to(ROOT).as_posix()
    if asks_for_platform(path):
        return "platform"
    return next((together for together in TOGETHER if name.startswith(together)), name)


@cache
def asks_for_platform(path: Path) -> bool:
    """Whether some test of the file needs the platform."""
    return "pytest.mark.platform" in path.read_text()


@cache
def durations() -> Mapping[str, float]:
    known: dict[str, float] = json.loads(DURATIONS.read_text())
    return known


def duration(path: Path) -> float:
    """Of a file that is not in the list: the median."""
    known = durations()
    return known.get(path.relative_to(ROOT).as_posix(), statistics.median(known.values()))


def sort_tests(items: list[pytest.Item], *, shuffled: bool) -> None:
    """Platform first, in it those last that kill parts of it; then the longest files, unless they are ``shuffled``."""

    seconds: Counter[str] = Counter()
    for path in sorted({item.path for item in items}):  # every worker adds up in the same order
        seconds[unit(path)] += duration(path)

    def place(item: pytest.Item) -> tuple[bool, bool, float, str]:
        platform = asks_for_platform(item.path)
        rest = (0.0, "") if platform or shuffled else (-seconds[unit(item.path)], item.path.as_posix())
        return not platform, "test_platform_faults" in item.nodeid, *rest

    items.sort(key=place)


class OnePlatform(LoadScopeScheduling):
    """The platform's files are one unit of work, those ``TOGETHER`` are one, and every other file is one. (xdist's own
    groups have no effect with this pytest, whose node ids can't be changed.)"""

    def _split_scope(self, nodeid: str) -> str:
        return unit(ROOT / nodeid.split("::", 1)[0])


class DurationsWriter:
    """Adds up the seconds of each file's tests, and writes them."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid.split("::", 1)[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = dict(durations()) | self.seconds
        there = {file: round(known[file], 1) for file in sorted(known) if (ROOT / file).exists()}
        DURATIONS.write_text(json.dumps(there, indent=0) + "\n")
