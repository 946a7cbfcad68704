"""The values at request time equal those of the engine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import DeclarationError, FeatureNotFound
from karat.features import compute_frame
from karat.features.request_features import event_columns, finish, tail_columns, tail_span
from tests.karat.features.events_oracle import GOLD, MORE, START, payments, same, table
from tests.profiles import examples

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def as_tail(rows: pl.DataFrame, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A tail as a store keeps it: floats with NaN, the rest as objects where something is missing."""
    tail: dict[str, np.ndarray] = {}
    for name in columns:
        column = rows[name]
        if name == "paid_at":
            tail[name] = column.dt.epoch("us").to_numpy()
        elif column.dtype.is_float():
            tail[name] = column.fill_null(float("nan")).to_numpy()
        elif column.null_count() or column.dtype == pl.String:
            tail[name] = np.array([*column.to_list(), None], dtype=object)[:-1]
        else:
            tail[name] = column.to_numpy()
    return tail


@settings(max_examples=examples(25), deadline=None)
@given(
    payments(least=1),
    st.sampled_from(["left", "right"]),
    st.sampled_from(["0d", "7s"]),
    st.tuples(st.booleans(), st.booleans()),
    st.data(),
)
def test_the_request_gets_what_the_engine_gives_its_event(
    rows: pl.DataFrame, closed: str, delay: str, event: tuple[bool, bool], data: Any
) -> None:
    """``event``: whether it is stored, and whether an id names it; else its time does, of which there is one."""
    replayed, named = event
    declared = table(closed=closed, delay=delay, more=MORE, event_id="payment_id" if named else None)
    rows = rows.with_columns(items=pl.col("items") % 1000)
    rows = rows if named else rows.unique(["user", "shop", "paid_at"], keep="first", maintain_order=True)
    whole = compute_frame(declared, rows, source=GOLD)
    if whole.is_empty():
        return
    wanted = whole.row(data.draw(st.integers(0, whole.height - 1)), named=True)
    of_entity = (
        rows.filter(user=wanted["user"], shop=wanted["shop"]).drop_nulls("paid_at").sort("paid_at", "payment_id")
    )
    own = pl.col(declared.event_id) == wanted[declared.event_id]
    current = of_entity.row(by_predicate=own, named=True)
    tail = of_entity if replayed else of_entity.filter(~own)
    names = [f.name for f in declared.stored]
    got = finish(declared, as_tail(tail, tail_columns(declared)), micros(wanted["paid_at"]), current, names)
    different = {n: (v, wanted[n]) for n, v in zip(names, got, strict=True) if not same(v, wanted[n], scale=1e4)}
    assert not different


def test_what_a_tail_and_a_request_must_hold() -> None:
    declared = table(windows=("10s",), delay="1d", more=MORE)
    assert tail_span(declared) == timedelta(days=1, seconds=20)
    assert set(tail_columns(declared)) == {"paid_at", "payment_id", "amount", "items", "fraud", "what"}
    # None of its windows holds the event itself: only what is its own is asked for.
    assert event_columns(declared) == ("amount", "paid_at")
    assert set(event_columns(table(closed="right"))) == set(tail_columns(declared))


def test_without_an_event_of_its_own_a_request_gets_the_windows_at_its_time() -> None:
    declared = table(windows=("10s",), closed="right", more=MORE)
    tail = {
        "paid_at": np.array([micros(START), micros(START)]),
        "payment_id": np.array([1, 2]),
        "amount": np.array([2.5, np.nan]),
        "items": np.array([3, 4]),
        "fraud": np.array([True, False]),
        "what": np.array(["card", None], dtype=object),
    }
    asked = ["count_10s", "sum_10s", "share_10s", "last_10s", "std_10s", "dear_items", "amount"]
    assert finish(declared, tail, micros(START), None, asked) == [2, 2.5, 0.5, "card", None, 3, None]
    # Ten seconds later both have left (t - w, t]; nothing is stale.
    later = micros(START + timedelta(seconds=10))
    assert finish(declared, tail, later, None, asked) == [0, 0.0, None, None, None, 3, None]
    with pytest.raises(FeatureNotFound, match="count_10s"):
        finish(declared, tail, later, None, ["count_10"])


def test_a_request_without_a_column_of_its_event_says_which_feature_needs_it() -> None:
    declared = table(windows=(), more=MORE)
    empty = as_tail(pl.DataFrame(schema=payments_schema()), tail_columns(declared))
    with pytest.raises(DeclarationError, match="amount"):
        finish(declared, empty, micros(START), {"amount": "much"}, ["amount"])


def payments_schema() -> dict[str, pl.DataType]:
    return {
        "payment_id": pl.Int64(),
        "paid_at": pl.Datetime("us", "UTC"),
        "amount": pl.Float64(),
        "items": pl.Int64(),
        "fraud": pl.Boolean(),
        "what": pl.String(),
    }


def test_plain_columns_are_finished_within_a_millisecond() -> None:
    declared = table(windows=("10s", "1d"), closed="right")
    names = [f.name for f in declared.stored if f.function not in ("first", "last", "count_distinct")]
    n = 1000
    rng = np.random.default_rng(0)
    tail = {
        "paid_at": micros(START) + np.sort(rng.integers(0, 3600, n)) * 1_000_000,
        "payment_id": np.arange(n),
        "amount": rng.random(n),
        "items": rng.integers(0, 9, n),
        "fraud": rng.random(n) < 0.1,
        "what": np.array(["card"] * n, dtype=object),
    }
    current = {"payment_id": n, "amount": 1.0, "items": 1, "fraud": False, "what": "card"}
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        finish(declared, tail, micros(START) + 3600 * 1_000_000, current, names)
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.001
