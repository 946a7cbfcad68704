"""kill -9 at twenty random moments of a computation, a merge and a publication (make faults)."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("work", "start"), [("compute", "empty"), ("compute", "stale"), ("merge", "stale"), ("publish", "stale")]
)
def test_killed_at_a_random_moment(killed_anytime, work, start, seed):
    killed_anytime(work, start, random.Random(f"{work} {start} {seed}"))
