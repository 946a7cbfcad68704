"""kill -9 at each named point of a computation, a backfill, a merge and a publication: the next run makes it good."""

from __future__ import annotations

import pytest

MATRIX = pytest.mark.faults
COMPUTE = [
    pytest.param("stale", ("karat.features.materialize.check_gold", "after", 1), marks=MATRIX),
    pytest.param("empty", ("karat.features.shard.stage_checked", "after", 2), marks=MATRIX),
    pytest.param("stale", ("karat.features.materialize.conclude", "before", 1), marks=MATRIX),
    ("empty", ("karat.features.materialize.commit_aside", "after", 1)),
    pytest.param("empty", ("karat.features.materialize.commit_aside", "before", 1), marks=MATRIX),
    pytest.param("stale", ("karat.features.materialize.commit_aside", "after", 1), marks=MATRIX),
    ("stale", ("karat.features.materialize.keep_results", "before", 1)),
    pytest.param("stale", ("karat.features.materialize.keep_statistics", "before", 1), marks=MATRIX),
]
BACKFILL = [
    pytest.param(("karat.features.shard._stage_others", "after", 1), marks=MATRIX),
    pytest.param(("karat.features.materialize.commit_aside", "after", 1), marks=MATRIX),
    ("karat.features.materialize.commit_plan", "after", 1),
    pytest.param(("karat.features.daily_statistics._rows", "after", 1), marks=MATRIX),
]
MERGE = [
    ("karat.lake.changes.write_files", "after", 1),
    pytest.param(("karat.lake.transaction.attempt_commit", "before", 1), marks=MATRIX),
    ("karat.lake.transaction.attempt_commit", "after", 1),
]
PUBLISH = [
    ("karat.online._publish._write", "before", 1),
    pytest.param(("karat.online.lmdb.Store.apply", "after", 1), marks=MATRIX),
    ("karat.online.lmdb.Store.apply", "before", 4),
]


def named(point):
    return point if isinstance(point, str) else f"{point[0].rpartition('.')[2]}-{point[1]}-{point[2]}"


@pytest.mark.parametrize(("start", "point"), COMPUTE, ids=named)
def test_a_killed_computation(killed, start, point):
    killed("compute", start, point)


@pytest.mark.parametrize("point", BACKFILL, ids=named)
def test_a_killed_backfill(killed, point):
    killed("backfill", "stale", point)


@pytest.mark.parametrize("point", MERGE, ids=named)
def test_a_killed_merge(killed, point):
    killed("merge", "stale", point)


@pytest.mark.parametrize("point", PUBLISH, ids=named)
def test_a_killed_publication(killed, point):
    killed("publish", "stale", point)
