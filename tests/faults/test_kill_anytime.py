"""kill -9 at twenty random moments of a computation, a backfill, a merge and a publication (make faults)."""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import WORKS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("start", "work"), WORKS)
def test_killed_at_a_random_moment(killed_anytime, work, start, seed):
    killed_anytime(work, start, random.Random(f"{work} {start} {seed}"))
