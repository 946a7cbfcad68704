"""Sequences against plain loops: ties, gaps, nulls, unseen keys, several keys, one row, empty frames."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import (
    ColumnMissing,
    FeatureNotFound,
    LookupKeyMismatch,
    NaiveTimestamp,
    SchemaMismatch,
    SequenceTooShort,
    WrongCall,
)
from karat.features import sequence_join
from tests.profiles import examples

DAY = timedelta(days=1)
START = datetime(2024, 2, 26, tzinfo=UTC)
moments = st.integers(0, 24).map(lambda n: START + n * timedelta(hours=6))
days = st.integers(0, 6).map(lambda n: date(2024, 2, 26) + n * DAY)  # over a leap day
KEYS = {
    "string": (pl.String(), st.sampled_from(["a", "b"])),
    "int": (pl.Int64(), st.integers(0, 1)),
    "date": (pl.Date(), st.sampled_from([date(2024, 2, 29), date(2024, 3, 1)])),
    "timestamp": (pl.Datetime("us", "UTC"), st.sampled_from([START, START + timedelta(microseconds=1)])),
}


@st.composite
def cases(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=2))
    clock, asked = (draw(st.sampled_from([(pl.Date(), days), (pl.Datetime("us", "UTC"), moments)])) for _ in range(2))
    keys = st.tuples(*(KEYS[k][1] for k in kinds))
    maybe = st.tuples(*(st.one_of(KEYS[k][1], KEYS[k][1], st.none()) for k in kinds))
    values = st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.booleans()))
    stored = draw(
        st.lists(
            st.tuples(keys, clock[1], st.integers(0, 3), values), max_size=25, unique_by=lambda r: (r[0], r[1], r[2])
        )
    )
    spine = draw(st.lists(st.tuples(maybe, st.one_of(asked[1], asked[1], st.none())), max_size=12))
    types = {f"k{n}": KEYS[k][0] for n, k in enumerate(kinds)}
    features = pl.DataFrame(
        [(*k, t, e, *v) for k, t, e, v in stored],
        schema={**types, "t": clock[0], "id": pl.Int64, "x": pl.Int64, "y": pl.Boolean},
        orient="row",
    )
    rows = pl.DataFrame(
        [(*k, t) for k, t in spine], schema={**{f"s_{n}": t for n, t in types.items()}, "when": asked[0]}, orient="row"
    )
    return list(types), features, rows


def instant(value):
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if type(value) is date else value


def plainly(row, keys, features, *, length, step, lag, lookback):
    """(values by column, mask, status by column, age) of one spine row."""
    when = instant(row["when"])
    known = []
    if when is not None and all(row[s] is not None for s in keys):
        known = [f for f in features if all(f[k] == row[s] for s, k in keys.items()) and instant(f["t"]) + lag <= when]
    known.sort(key=lambda f: (instant(f["t"]), f["id"]))
    fresh = [f for f in known if lookback is None or instant(f["t"]) >= when - lookback]
    missing = "EXPIRED" if known and not fresh else "NOT_FOUND"
    taken = []
    for f in reversed(fresh):
        if len(taken) == length or (taken and step is not None and instant(taken[0]["t"]) - instant(f["t"]) > step):
            break
        taken.insert(0, f)
    pad = [None] * (length - len(taken))
    values = {c: [*pad, *(None if f[c] is None else float(f[c]) for f in taken)] for c in ("x", "y")}
    statuses = {c: missing if not taken else "NULL" if taken[-1][c] is None else "PRESENT" for c in ("x", "y")}
    return (
        values,
        [False] * len(pad) + [True] * len(taken),
        statuses,
        when - instant(taken[-1]["t"]) if taken else None,
    )


spans = st.sampled_from([timedelta(0), timedelta(hours=6), DAY, 3 * DAY])


@settings(max_examples=examples(150), deadline=None)
@given(
    case=cases(), length=st.integers(1, 4), step=st.none() | spans, lag=spans, lookback=st.none() | spans
)  # fmt: skip
def test_sequences_are_what_plain_loops_say(case, length, step, lag, lookback):
    names, features, spine = case
    keys = {f"s_{n}": n for n in names}
    made = sequence_join(
        spine, features, keys=keys, time=("when", "t"), length=length, step=step, lag=lag, lookback=lookback,
        event_id="id", columns=["x", "y"],
    )  # fmt: skip
    stored = features.to_dicts()
    expected = [
        plainly(r, keys, stored, length=length, step=step, lag=lag, lookback=lookback) for r in spine.to_dicts()
    ]
    assert made.values.schema == {c: pl.Array(pl.Float64, length) for c in ("x", "y")}
    assert made.mask.dtype == pl.Array(pl.Boolean, length)
    for c in ("x", "y"):
        assert made.values[c].to_list() == [e[0][c] for e in expected]
        assert made.statuses[c].to_list() == [e[2][c] for e in expected]
    assert made.mask.to_list() == [e[1] for e in expected]
    assert made.age.to_list() == [e[3] for e in expected]


def table(**columns):
    return pl.DataFrame({"user": ["a", "a", "a", "b"], "day": [date(2024, 3, d) for d in (1, 2, 5, 4)], **columns})


def of(spine, features=None, **how):
    how = {"keys": {"user": "user"}, "time": ("t", "day"), "length": 3, "columns": ["x"], **how}
    return sequence_join(spine, table(x=[1, None, 3, 9]) if features is None else features, **how)


SPINE = pl.DataFrame({"user": ["a", "b", "z"], "t": [date(2024, 3, 6)] * 3})


def test_a_gap_wider_than_the_step_ends_the_sequence_and_padding_is_told_from_null():
    whole = of(SPINE)
    assert whole.values["x"].to_list() == [[1, None, 3], [None, None, 9], [None] * 3]
    assert whole.mask.to_list() == [[True] * 3, [False, False, True], [False] * 3]
    cut = of(SPINE, step=DAY)
    assert cut.values["x"].to_list() == [[None, None, 3], [None, None, 9], [None] * 3]
    assert of(SPINE, step=timedelta.max).values["x"].to_list() == whole.values["x"].to_list()


def test_short_sequences_are_refused_where_the_lookup_says_so():
    with pytest.raises(SequenceTooShort, match=r"2 of 3 rows have fewer than 3") as caught:
        of(SPINE, short="refuse")
    assert "('b'" in caught.value.where
    assert of(SPINE.head(1), short="refuse").values["x"].to_list() == [[1, None, 3]]


def test_wrong_calls_say_what_is_wrong():
    with pytest.raises(SchemaMismatch, match="holds numbers"):
        of(SPINE, table(x=["a", "b", "c", "d"]))
    with pytest.raises(WrongCall, match="length 0"):
        of(SPINE, length=0)
    with pytest.raises(FeatureNotFound, match="'z'"):
        of(SPINE, columns=["z"])
    with pytest.raises(ColumnMissing, match="'usr'"):
        of(SPINE, keys={"usr": "user"})
    with pytest.raises(LookupKeyMismatch, match="never compared"):
        of(SPINE.with_columns(user=pl.Series([1, 2, 3])))
    with pytest.raises(NaiveTimestamp):
        of(SPINE.with_columns(pl.col("t").cast(pl.Datetime("us")).dt.offset_by("1h")))
