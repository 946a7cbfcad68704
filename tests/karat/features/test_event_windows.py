"""Tables with a row per event against plain loops."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import aggregate
from karat.errors import ColumnMissing, DeclarationError
from karat.features import compute_frame
from tests.karat.features.events_oracle import GOLD, MORE, START, clean, expected, payments, same, table
from tests.profiles import examples

CLOSED = st.sampled_from(["left", "right"])
DELAYS = st.sampled_from(["0d", "1s", "7s", "1d"])


@settings(max_examples=examples(30), deadline=None)
@given(payments(), CLOSED, DELAYS, st.booleans())
def test_every_aggregation_equals_plain_loops(rows: pl.DataFrame, closed: str, delay: str, more: bool) -> None:
    declared = table(closed=closed, delay=delay, more=MORE if more else ())
    frame = compute_frame(declared, rows, source=GOLD)
    assert frame.columns == [*declared.primary_key, *(f.name for f in declared.stored)]
    wanted = expected(declared, rows)
    assert frame.select(declared.primary_key).rows() == sorted(wanted)
    for row in frame.to_dicts():
        key = tuple(row[c] for c in declared.primary_key)
        scale = 1e20 if "value" in row else 100.0  # items go up to 2**60
        different = {n: (row[n], v) for n, v in wanted[key].items() if not same(row[n], v, scale=scale)}
        assert not different, key


@settings(max_examples=examples(8), deadline=None)
@given(payments(least=1), DELAYS)
def test_the_days_asked_for_are_those_rows_and_no_others(rows: pl.DataFrame, delay: str) -> None:
    declared = table(delay=delay)
    whole = compute_frame(declared, rows, source=GOLD)
    day = START.date() + timedelta(days=1)
    part = compute_frame(declared, rows, (day, day), source=GOLD)
    assert part.equals(whole.filter(pl.col("paid_at").dt.date() == day))


def test_events_of_one_time_are_in_each_others_window_where_it_is_closed_on_the_right() -> None:
    rows = pl.DataFrame({"payment_id": [7, 3], "user": ["ann"] * 2, "shop": [1, 1], "paid_at": [START] * 2})
    counted = aggregate("n", "count", window="1d", description="")
    for closed, wanted in (("right", [2, 2]), ("left", [0, 0])):
        declared = table(windows=(), closed=closed, more=(counted,))
        assert compute_frame(declared, rows, source=GOLD)["n"].to_list() == wanted


def test_a_window_wider_than_the_data_and_an_empty_frame() -> None:
    rows = payments_of([0, 5])
    declared = table(windows=("30d",))
    assert compute_frame(declared, rows, source=GOLD)["count_30d"].to_list() == [0, 1]
    empty = compute_frame(declared, rows.clear(), source=GOLD)
    assert empty.height == 0
    assert empty.schema["paid_at"] == pl.Datetime("us", "UTC")


def payments_of(seconds: list[int]) -> pl.DataFrame:
    at = [START + timedelta(seconds=s) for s in seconds]
    n = len(at)
    rows = {"payment_id": range(n), "user": ["ann"] * n, "shop": [1] * n, "paid_at": at, "amount": [1.5] * n}
    types = {"items": pl.Int64, "fraud": pl.Boolean, "what": pl.String}
    return pl.DataFrame(rows).with_columns(pl.lit(None, dtype=t).alias(c) for c, t in types.items())


def test_a_missing_event_id_and_a_broken_expression_say_what_and_where() -> None:
    rows = payments_of([0])
    with pytest.raises(ColumnMissing, match="payment_id"):
        compute_frame(table(), rows.drop("payment_id"), source=GOLD)
    broken = aggregate("n", "sum", "amonut", window="1d", description="")
    with pytest.raises(DeclarationError, match="amonut") as error:
        compute_frame(table(windows=("1d",), more=(broken,)), rows, source=GOLD)
    assert "amount" in error.value.remedy


def test_rows_that_a_key_lacks_are_no_events() -> None:
    rows = payments_of([0, 1, 2]).with_columns(user=pl.Series(["ann", None, "ann"]))
    assert compute_frame(table(windows=("10s",)), rows, source=GOLD)["count_10s"].to_list() == [0, 1]
    assert len(clean(rows)) == 2
