"""Which tests are tried on a mutant (``make mutants``): the quickest first, for at most ``MUTANT_SECONDS`` in all.

mutmut names every test that enters the changed function, in no order. Half of the functions are entered by 40 seconds
of tests, and one failure is enough.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import pytest

Test = TypeVar("Test")
#: Seconds of tests per mutant; the quickest test runs even if it takes longer.
BUDGET = float(os.environ.get("MUTANT_SECONDS", "inf"))
#: mutmut's measurement, in its copy of the tree, where the tests run.
STATISTICS = Path("mutmut-stats.json")


def tests_of_mutant(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort and cut the collected tests, if this process tests a mutant."""
    if "__mutmut_" not in os.environ.get("MUTANT_UNDER_TEST", "") or not STATISTICS.exists():
        return
    seconds = json.loads(STATISTICS.read_text())["duration_by_test"]
    chosen, rest = split_by_budget(items, {item: seconds.get(item.nodeid, 0.0) for item in items})
    config.hook.pytest_deselected(items=rest)
    items[:] = chosen


def split_by_budget(items: list[Test], seconds: Mapping[Test, float]) -> tuple[list[Test], list[Test]]:
    """Split tests into the quickest ones within the budget, in their order, and the rest."""
    quickest = sorted(items, key=seconds.__getitem__)
    used = accumulate(seconds[item] for item in quickest)
    count = max(1, sum(total <= BUDGET for total in used))
    return quickest[:count], quickest[count:]
