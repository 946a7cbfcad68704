"""Any sequence of merges and overwrites leaves what a dictionary would hold, and changed_days what differs."""

from __future__ import annotations

import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karat.lake import Lake
from karat.names import TableName
from tests.profiles import examples

START = date(2024, 2, 27)  # a leap day lies within
DAYS = st.integers(0, 4).map(lambda n: START + timedelta(days=n))
KEYS = st.sampled_from(["a", "b", "c", "ä/=%"])
VALUES = st.sampled_from([None, 0.0, -0.0, 1.5, float("inf"), float("nan")])


def shape(kind: str) -> tuple[TableName, pa.Schema, dict]:
    """keyed by (k, day) and partitioned by day; by k alone with a time that moves; not partitioned."""
    fields = [("k", pa.string()), ("day", pa.date32()), ("v", pa.float64())]
    if kind == "timestamp":
        fields[1] = ("day", pa.timestamp("us", "UTC"))
    schema = pa.schema(fields)
    if kind == "by day":
        return TableName("t_dev", "features", "t"), schema, {"primary_key": ("k", "day"), "timeseries": "day"}
    if kind == "timestamp":
        return TableName("t_dev", "gold", "t"), schema, {"primary_key": ("k",), "timeseries": "day"}
    return TableName("t_dev", "predictions", "t"), schema, {"primary_key": ("k",), "timeseries": "day"}


ROWS = st.lists(st.tuples(KEYS, DAYS, VALUES), max_size=8)
STEPS = st.lists(st.tuples(st.sampled_from(["merge", "overwrite", "days"]), ROWS, st.sets(DAYS)), max_size=5)


def frame_of(rows, kind: str) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"k": pl.String, "day": pl.Date, "v": pl.Float64}, orient="row")
    if kind == "timestamp":
        frame = frame.with_columns(pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    return frame


def key_of(row, kind: str):
    return row[:2] if kind == "by day" else row[0]


def plain(rows) -> set:
    """Rows to compare: a time as its day, NaN as itself."""
    return {(k, d.date() if isinstance(d, datetime) else d, repr(v) if v != 0 else "0") for k, d, v in rows}


@pytest.mark.parametrize("kind", ["by day", "timestamp", "whole"])
@settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_writes_against_a_dictionary(kind, steps):
    name, schema, keys = shape(kind)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder), "dev")
        lake.create(name, schema, **keys)
        held: dict = {}
        for verb, given_rows, some_days in steps:
            days = sorted(some_days)
            rows = list({key_of(r, kind): r for r in given_rows}.values())
            before, version = dict(held), lake.version(name)
            if verb == "days":
                held = {k: r for k, r in held.items() if r[1] not in days}
                rows = [r for r in rows if r[1] in days and key_of(r, kind) not in held]
            elif verb == "overwrite":
                held = {}
            held |= {key_of(r, kind): r for r in rows}
            write = lake.merge if verb == "merge" else lake.overwrite
            commit = write(name, frame_of(rows, kind), **({"days": days} if verb == "days" else {}))
            assert plain(lake.read(name).rows()) == plain(held.values())
            assert commit.version == lake.version(name)
            assert commit.changed == (commit.version > version)
            differing = {r[1] for r in plain(before.values()) ^ plain(held.values())}
            named = set(lake.changed_days(name, "day", version, commit.version))
            assert differing <= named
            if kind != "whole" and verb == "merge":
                assert named == differing == set(commit.days)
