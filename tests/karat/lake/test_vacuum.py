"""Vacuum removes what no version needs that is to stay; what stays reads as it did."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from karat.errors import ForeignCatalog, KaratError, StoreUnreachable
from karat.lake import Lake
from karat.names import TableName
from tests.profiles import examples

NAME = TableName("demo_dev", "features", "t")
NOW, LATER = timedelta(0), datetime.now(UTC) + timedelta(days=60)
DAYS = [date(2026, 1, d) for d in (1, 2, 3)]


def table(lake: Lake) -> None:
    schema = pa.schema(
        [pa.field("id", pa.int64(), nullable=False), pa.field("day", pa.date32(), nullable=False), ("x", pa.int64())]
    )
    lake.create(NAME, schema, primary_key=["id", "day"], timeseries="day")


def rows(ids, x: int) -> pl.DataFrame:
    found = [(i, d, x) for i in ids for d in DAYS]
    return pl.DataFrame(found, schema={"id": pl.Int64, "day": pl.Date, "x": pl.Int64}, orient="row")


def states(lake: Lake) -> dict[int, pl.DataFrame]:
    return {v: lake.read(NAME, version=v).sort("id", "day") for v in range(lake.version(NAME) + 1)}


steps = st.lists(st.tuples(st.sampled_from(["merge", "overwrite", "days"]), st.integers(0, 3)), min_size=1, max_size=6)


@settings(max_examples=examples(25), deadline=None)
@given(steps=steps, keep=st.sets(st.integers(0, 8), max_size=3))
def test_kept_versions_read_as_before_and_the_others_are_gone(tmp_path_factory, steps, keep) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), "dev")
    table(lake)
    for x, (step, count) in enumerate(steps):
        if step == "days":
            lake.overwrite(NAME, rows(range(count), x).filter(pl.col("day") == DAYS[0]), days=[DAYS[0]])
        else:
            getattr(lake, step)(NAME, rows(range(count), x))
    before = states(lake)
    tried = lake.vacuum(NAME, keep=keep, older_than=NOW, dry_run=True)
    assert_frame_equal(pl.concat(states(lake).values()), pl.concat(before.values()))  # nothing happened
    done = lake.vacuum(NAME, keep=keep, older_than=NOW)
    assert done == tried
    assert set(done.kept) == {*(k for k in keep if k in before), max(before)}
    assert not set(done.kept) & set(done.lost)
    assert lake.version(NAME) == max(before)
    for version, frame in before.items():
        if version in done.lost:
            with pytest.raises((KaratError, OSError, pl.exceptions.PolarsError)):
                lake.read(NAME, version=version)
        else:
            assert_frame_equal(lake.read(NAME, version=version).sort("id", "day"), frame)
    assert lake.vacuum(NAME, keep=keep, older_than=NOW).files == 0
    lake.merge(NAME, rows(range(5), 99))  # and the table goes on
    assert lake.count(NAME) == lake.read(NAME).height


def test_versions_that_were_the_newest_in_the_time_to_keep_stay(lake: Lake) -> None:
    table(lake)
    for x in range(3):
        lake.overwrite(NAME, rows([1], x))
    assert lake.vacuum(NAME, older_than=timedelta(days=30)).files == 0
    assert lake.vacuum(NAME, older_than=timedelta(days=30), now=LATER).kept == (3,)
    assert lake.vacuum(NAME, older_than=timedelta(days=30), now=LATER).lost == (1, 2)


def test_what_killed_writers_left_goes_too(lake: Lake) -> None:
    table(lake)
    staged = lake.stage(NAME, rows([1], 1), label="killed")
    assert lake.vacuum(NAME).files == 0  # it may be written right now
    for file in staged:
        old = time.time() - 2 * 86400
        os.utime(lake.path(NAME) / file.path, (old, old))
    done = lake.vacuum(NAME)
    assert (done.files, done.left_behind) == (3, 3)
    assert done.bytes == sum(f.size for f in staged)


def test_a_log_with_gaps_and_a_foreign_catalog_are_refused(lake: Lake) -> None:
    table(lake)
    lake.overwrite(NAME, rows([1], 0))
    with pytest.raises(ForeignCatalog):
        Lake(lake.root, "prod").vacuum(NAME)
    (lake.path(NAME) / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(StoreUnreachable, match="gaps"):
        lake.vacuum(NAME, older_than=NOW)
