"""The as-of join and the exact lookup, against plain loops."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import (
    ColumnMissing,
    DuplicateKeys,
    FeatureNotFound,
    LookupKeyMismatch,
    NaiveTimestamp,
    SchemaMismatch,
)
from karat.features import Status, point_in_time_join
from karat.features.keys import sort_by_key
from tests.profiles import examples

DAY = timedelta(days=1)
START = datetime(2024, 2, 26, tzinfo=UTC)
times = st.builds(lambda n: START + timedelta(hours=6 * n), st.integers(0, 40))
days = st.integers(0, 10).map(lambda n: date(2024, 2, 24) + n * DAY)
KEY_TYPES = {
    "string": (pl.String(), st.sampled_from(["a", "b", "1"])),
    "int": (pl.Int64(), st.integers(0, 2)),
    "date": (pl.Date(), st.sampled_from([date(2024, 2, 29), date(2024, 3, 1)])),
    "timestamp": (pl.Datetime("us", "UTC"), st.sampled_from([START, START + timedelta(microseconds=1)])),
}


@st.composite
def cases(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(KEY_TYPES)), min_size=1, max_size=3))
    clock = draw(st.sampled_from([(pl.Date(), days), (pl.Datetime("us", "UTC"), times)]))
    asked = draw(st.sampled_from([(pl.Date(), days), (pl.Datetime("us", "UTC"), times)]))
    keys = st.tuples(*(KEY_TYPES[k][1] for k in kinds))
    values = st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.sampled_from(["u", "v"])))
    ties = draw(st.booleans())  # several rows of one key and time, told apart by an event id
    stored = draw(
        st.lists(
            st.tuples(keys, clock[1], st.integers(0, 3), values),
            max_size=20,
            unique_by=lambda r: (r[0], r[1], r[2] if ties else None),
        )
    )
    maybe = st.tuples(*(st.one_of(KEY_TYPES[k][1], KEY_TYPES[k][1], st.none()) for k in kinds))
    spine = draw(st.lists(st.tuples(maybe, st.one_of(asked[1], asked[1], st.none())), max_size=20))
    names = [f"k{n}" for n in range(len(kinds))]
    types = {n: KEY_TYPES[k][0] for n, k in zip(names, kinds, strict=True)}
    features = pl.DataFrame(
        [(*k, t, e, *v) for k, t, e, v in stored],
        schema={**types, "t": clock[0], "id": pl.Int64, "x": pl.Int64, "y": pl.String},
        orient="row",
    )
    rows = pl.DataFrame(
        [(*k, t) for k, t in spine], schema={**{f"s_{n}": t for n, t in types.items()}, "when": asked[0]}, orient="row"
    )
    if asked[0] != pl.Date():  # the same instants, whatever zone they are written in
        zone = draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/St_Johns"]))
        rows = rows.with_columns(pl.col("when").dt.convert_time_zone(zone))
    return names, features, rows, "id" if ties else None


def instant(value):
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if type(value) is date else value


def plainly(row, keys, features, *, lag, lookback, defaults):
    """(values, statuses, age) of one spine row."""
    when = instant(row["when"])
    found, known = None, []
    if when is not None and all(row[s] is not None for s in keys):
        known = [f for f in features if all(f[k] == row[s] for s, k in keys.items()) and instant(f["t"]) + lag <= when]
        found = max(known, key=lambda f: (instant(f["t"]), f["id"]), default=None)
    missing = "NOT_FOUND"
    if found is not None and lookback is not None and instant(found["t"]) < when - lookback:
        found, missing = None, "EXPIRED"
    if found is None:
        return (
            {c: defaults.get(c) for c in ("x", "y")},
            {c: "DEFAULTED" if c in defaults else missing for c in ("x", "y")},
            None,
        )
    return (
        {c: found[c] for c in ("x", "y")},
        {c: "NULL" if found[c] is None else "PRESENT" for c in ("x", "y")},
        when - instant(found["t"]),
    )


spans = st.sampled_from([timedelta(0), timedelta(hours=6), DAY, 3 * DAY, timedelta(days=9999)])  # wider than the data


@settings(max_examples=examples(150), deadline=None)
@given(
    case=cases(),
    lag=spans,
    lookback=st.one_of(st.none(), spans),
    defaults=st.sampled_from([{}, {"x": 7}, {"x": 7, "y": "d"}]),
)
def test_the_as_of_join_is_what_plain_loops_say(case, lag, lookback, defaults):
    names, features, spine, event_id = case
    keys = {f"s_{n}": n for n in names}
    looked = point_in_time_join(
        spine,
        features,
        keys=keys,
        time=("when", "t"),
        lag=lag,
        lookback=lookback,
        event_id=event_id,
        columns=["x", "y"],
        defaults=defaults,
    )
    stored = features.to_dicts()
    expected = [plainly(r, keys, stored, lag=lag, lookback=lookback, defaults=defaults) for r in spine.to_dicts()]
    assert looked.values.schema == {"x": pl.Int64, "y": pl.String}
    assert looked.values.to_dicts() == [e[0] for e in expected]
    assert looked.statuses.to_dicts() == [e[1] for e in expected]
    assert looked.age.to_list() == [e[2] for e in expected]


@settings(max_examples=examples(60), deadline=None)
@given(case=cases(), defaults=st.sampled_from([{}, {"y": "d"}]))
def test_the_exact_lookup_is_what_plain_loops_say(case, defaults):
    names, features, spine, _ = case
    features = features.unique(names, keep="first", maintain_order=True)
    looked = point_in_time_join(
        spine, features, keys={f"s_{n}": n for n in names}, columns=["y", "x"], defaults=defaults
    )
    stored = {tuple(f[n] for n in names): f for f in features.to_dicts()}
    for place, row in enumerate(spine.to_dicts()):
        found = stored.get(tuple(row[f"s_{n}"] for n in names))
        for column in ("y", "x"):
            missing = (defaults.get(column), "DEFAULTED" if column in defaults else "NOT_FOUND")
            present = (found[column], "NULL" if found[column] is None else "PRESENT") if found else missing
            assert (looked.values[column][place], looked.statuses[column][place]) == present
    assert looked.age.null_count() == spine.height == looked.values.height


def features_of(**more):
    return pl.DataFrame({"user": ["a", "a"], "day": [date(2024, 2, 28), date(2024, 2, 29)], "x": [1.0, None], **more})


def spine_at(*moments):
    return pl.DataFrame({"user": ["a"] * len(moments), "t": moments}, schema_overrides={"t": pl.Datetime("us", "UTC")})


def test_a_row_is_known_one_lag_after_its_day_and_not_a_microsecond_earlier():
    edge = datetime(2024, 3, 1, tzinfo=UTC)
    looked = point_in_time_join(
        spine_at(edge, edge - timedelta(microseconds=1)),
        features_of(),
        keys={"user": "user"},
        time=("t", "day"),
        lag=DAY,
        columns=["x"],
    )
    assert looked.values["x"].to_list() == [None, 1.0]
    assert looked.statuses["x"].to_list() == [Status.NULL, Status.PRESENT]
    assert looked.age.to_list() == [DAY, 2 * DAY - timedelta(microseconds=1)]


def test_a_stored_null_is_a_value_and_gets_no_default():
    looked = point_in_time_join(
        spine_at(datetime(2024, 3, 1, tzinfo=UTC)),
        features_of(),
        keys={"user": "user"},
        time=("t", "day"),
        columns=["x"],
        defaults={"x": 5.0},
    )
    assert (looked.values["x"][0], looked.statuses["x"][0]) == (None, "NULL")


def test_both_ends_of_the_lookback_count():
    edge = datetime(2024, 3, 3, tzinfo=UTC)
    looked = point_in_time_join(
        spine_at(edge, edge + timedelta(microseconds=1)),
        features_of(),
        keys={"user": "user"},
        time=("t", "day"),
        lookback=3 * DAY,
        columns=["x"],
    )
    assert looked.statuses["x"].to_list() == ["NULL", "EXPIRED"]


def test_keys_are_compared_as_typed_columns_never_as_joined_text():
    features = pl.DataFrame({"a": ["x_", "x"], "b": ["y", "_y"], "v": [1, 2]})
    spine = pl.DataFrame({"a": ["x", "x_"], "b": ["_y", "y"]})
    assert point_in_time_join(spine, features, keys={"a": "a", "b": "b"}, columns=["v"]).values["v"].to_list() == [2, 1]


def test_keys_take_the_declared_type_where_that_loses_nothing():
    features = pl.DataFrame({"id": [1, 2**53 + 1], "v": ["one", "big"]})
    floats = pl.DataFrame({"id": [1.0, float("nan"), 1.5, None]})
    looked = point_in_time_join(floats, features, keys={"id": "id"}, columns=["v"])
    assert looked.values["v"].to_list() == ["one", None, None, None]
    small = pl.DataFrame({"id": pl.Series([1, None], dtype=pl.Int8)})
    assert point_in_time_join(small, features, keys={"id": "id"}, columns=["v"]).values["v"].to_list() == ["one", None]
    named = pl.DataFrame({"k": ["one", "big", "no"]}, schema={"k": pl.Categorical})
    assert point_in_time_join(named, features, keys={"k": "v"}, columns=["id"]).values["id"].to_list() == [
        1,
        2**53 + 1,
        None,
    ]


def test_a_moment_is_a_day_only_at_midnight_utc():
    features = pl.DataFrame({"day": [date(2024, 2, 29)], "v": [1]})
    berlin = pl.Series("t", [datetime(2024, 2, 29, 1), datetime(2024, 2, 29, 0)]).dt.replace_time_zone("Europe/Berlin")
    looked = point_in_time_join(pl.DataFrame(berlin), features, keys={"t": "day"}, columns=["v"])
    assert looked.values["v"].to_list() == [1, None]


def test_times_of_another_zone_and_unit_are_the_same_instants():
    tokyo = pl.Series([datetime(2024, 3, 1, 9)], dtype=pl.Datetime("ns")).dt.replace_time_zone("Asia/Tokyo")
    spine = pl.DataFrame({"user": ["a"], "t": tokyo})
    looked = point_in_time_join(spine, features_of(), keys={"user": "user"}, time=("t", "day"), lag=DAY, columns=["x"])
    assert looked.age.to_list() == [DAY]


def test_text_is_never_compared_with_numbers():
    with pytest.raises(LookupKeyMismatch, match="'id' is String"):
        point_in_time_join(
            pl.DataFrame({"id": ["1"]}), pl.DataFrame({"id": [1], "v": [1]}), keys={"id": "id"}, columns=["v"]
        )


def test_a_naive_time_is_refused():
    spine = pl.DataFrame({"user": ["a"], "t": [datetime(2024, 3, 1, 12)]})
    with pytest.raises(NaiveTimestamp, match="'t'"):
        point_in_time_join(spine, features_of(), keys={"user": "user"}, time=("t", "day"), columns=["x"])


def test_a_time_that_is_text_is_refused():
    spine = pl.DataFrame({"user": ["a"], "t": ["2024-03-01"]})
    with pytest.raises(LookupKeyMismatch, match="not a date or timestamp"):
        point_in_time_join(spine, features_of(), keys={"user": "user"}, time=("t", "day"), columns=["x"])


def test_an_exact_lookup_that_would_find_several_rows_is_refused():
    with pytest.raises(DuplicateKeys):
        point_in_time_join(pl.DataFrame({"user": ["a"]}), features_of(), keys={"user": "user"}, columns=["x"])


def test_unknown_names_name_the_nearest():
    spine, keys = pl.DataFrame({"user": ["a"]}), {"user": "user"}
    with pytest.raises(FeatureNotFound) as caught:
        point_in_time_join(spine, features_of(total_7d=[1, 2]), keys=keys, columns=["totl_7d"])
    assert "'total_7d'" in caught.value.remedy
    with pytest.raises(ColumnMissing) as missing:
        point_in_time_join(spine, features_of(), keys={"usr": "user"}, columns=["x"])
    assert "'user'" in missing.value.remedy
    with pytest.raises(FeatureNotFound, match="default"):
        point_in_time_join(spine, features_of(), keys=keys, columns=["x"], defaults={"y": 1})


@pytest.mark.parametrize("default", ["text", 1.5, True])
def test_a_default_of_another_type_is_refused(default):
    features = pl.DataFrame({"user": ["a"], "n": [1]})
    with pytest.raises(SchemaMismatch, match="'n'"):
        point_in_time_join(
            pl.DataFrame({"user": ["b"]}), features, keys={"user": "user"}, columns=["n"], defaults={"n": default}
        )


@given(
    spine=st.lists(st.tuples(st.integers(-2, 3), times), min_size=2, max_size=20),
    stored=st.lists(st.tuples(st.integers(-3, 3), times), min_size=1, max_size=20, unique=True),
    lag=st.integers(0, 30),
    lookback=st.none() | st.integers(0, 60),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_sorted_spine_is_joined_as_an_unsorted_one(
    spine: list[tuple[int, datetime]], stored: list[tuple[int, datetime]], lag: int, lookback: int | None
) -> None:
    """Where the spine is sorted by a whole-number key and time, a binary search takes the place of the join."""
    rows = pl.DataFrame(spine, schema={"k": pl.Int64, "t": pl.Datetime("us", "UTC")}, orient="row").sort("k", "t")
    features = pl.DataFrame(stored, schema=rows.schema, orient="row").with_row_index("x")
    how = {
        "keys": {"k": "k"}, "time": ("t", "t"), "columns": ["x"], "lag": timedelta(hours=lag),
        "lookback": None if lookback is None else timedelta(hours=lookback),
    }  # fmt: skip
    made = point_in_time_join(rows, features, **how)  # type: ignore[arg-type]
    turned = point_in_time_join(rows.reverse(), features, **how)  # type: ignore[arg-type]
    assert made.values.equals(turned.values.reverse())
    assert made.statuses.equals(turned.statuses.reverse())
    assert made.age.equals(turned.age.reverse(), check_names=False)


@given(
    rows=st.lists(
        st.tuples(st.integers(-3, 3) | st.integers(-(2**62), 2**62) | st.none(), times | st.none()), max_size=20
    ),
    unique=st.booleans(),
)
@settings(max_examples=examples(60), deadline=None)
def test_rows_are_sorted_by_key(rows: list[tuple[int | None, datetime | None]], unique: bool) -> None:
    """A key of whole numbers and a time are sorted as one number where they fit, else column by column."""
    frame = pl.DataFrame(rows, schema={"k": pl.Int64, "t": pl.Datetime("us", "UTC")}, orient="row")
    frame = frame.unique().with_row_index("id") if unique else frame.with_row_index("id")
    for key in (["k", "t"], ["k", "t", "id"], ["t"]) if unique else (["k", "t", "id"],):
        made = sort_by_key(frame, key)
        assert made.select(key).equals(frame.sort(key).select(key))
        assert sorted(made["id"]) == sorted(frame["id"])
