"""Tables of events and what their rows should hold, by plain loops."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from karat.declare import Column, Feature, FeatureTable, GoldTable, aggregate, from_event, from_polars, from_sql

GOLD = GoldTable(
    name="payments",
    description="",
    key=("payment_id",),
    event_time="paid_at",
    columns={
        "payment_id": Column(dtype="int64"),
        "user": Column(dtype="string"),
        "shop": Column(dtype="int64"),
        "paid_at": Column(dtype="timestamp"),
        "amount": Column(dtype="float64"),
        "items": Column(dtype="int64"),
        "fraud": Column(dtype="bool"),
        "what": Column(dtype="string"),
    },
)
FUNCTIONS: dict[str, tuple[str | None, str]] = {
    "sum": ("amount", "float64"),
    "count": (None, "int64"),
    "mean": ("amount", "float64"),
    "min": ("amount", "float64"),
    "max": ("items", "int64"),
    "std": ("amount", "float64"),
    "variance": ("amount", "float64"),
    "share": ("fraud", "float64"),
    "first": ("what", "string"),
    "last": ("what", "string"),
    "count_distinct": ("what", "int64"),
}
START = datetime(2024, 2, 28, 23, 59, 50, tzinfo=UTC)  # a leap day begins ten seconds later


def table(
    *,
    windows: Sequence[str] = ("10s", "1d"),
    closed: str = "left",
    delay: str = "0d",
    more: Sequence[Feature] = (),
    event_id: str | None = "payment_id",
) -> FeatureTable:
    """Every aggregation over every window, some sums with a condition of their own, and the event's own values."""
    features = [
        aggregate(f"{function}_{window}", function, column, window=window, dtype=dtype, description="")  # type: ignore[arg-type]
        for window in windows
        for function, (column, dtype) in FUNCTIONS.items()
    ]
    return FeatureTable(
        name="paid",
        description="",
        source="payments",
        entity=("user", "shop"),
        grain="event",
        time="paid_at",
        event_id=event_id,
        closed=closed,  # type: ignore[arg-type]
        delay=delay,  # type: ignore[arg-type]
        features=(*features, *more),
    )


#: Expressions, conditions, features with a delay or closing of their own, and derived ones.
MORE = (
    aggregate("dear_items", "sum", "items", window="20s", where="amount > 2", dtype="int64", description=""),
    aggregate("dear", "count", window="20s", where="amount > 2", description=""),
    aggregate("value", "sum", "amount * items", window="20s", description=""),
    aggregate("others", "count", "fraud", window="20s", closed="left", delay="0d", description=""),
    aggregate("earlier", "mean", "amount", window="20s", closed="right", delay="5s", description=""),
    from_event("amount", description=""),
    from_event("late_hour", "hour(paid_at) >= 23", dtype="bool", description=""),
    from_polars("above", pl.col("amount") - pl.col("earlier"), description=""),
    from_polars("weekday", pl.col("paid_at").dt.weekday(), dtype="int64", description=""),
    from_sql("doubled", "above * 2", description=""),
)

_amounts = st.one_of(st.none(), st.just(math.nan), st.floats(-100, 100).map(lambda x: round(x, 3)))


@st.composite
def payments(draw: st.DrawFn, least: int = 0) -> pl.DataFrame:
    """Up to 25 payments in any order, many at the same time, with nulls in everything but the id."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["ann", "bob", None]),
                st.sampled_from([1, 2, None]),
                st.one_of(st.none(), st.integers(0, 30), st.sampled_from([0, 1, 86_400])),
                _amounts,
                st.one_of(st.none(), st.integers(-5, 2**60)),
                st.one_of(st.none(), st.booleans()),
                st.sampled_from(["card", "cash", "häß", None]),
            ),
            min_size=least,
            max_size=25,
        )
    )
    ids = draw(st.permutations(range(len(rows))))
    return pl.DataFrame(
        [
            (i, user, shop, None if s is None else START + timedelta(seconds=s), amount, items, fraud, what)
            for i, (user, shop, s, amount, items, fraud, what) in zip(ids, rows, strict=True)
        ],
        schema={
            "payment_id": pl.Int64,
            "user": pl.String,
            "shop": pl.Int64,
            "paid_at": pl.Datetime("us", "UTC"),
            "amount": pl.Float64,
            "items": pl.Int64,
            "fraud": pl.Boolean,
            "what": pl.String,
        },
        orient="row",
    )


def clean(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows that count, by time and id; what is not finite is missing."""
    found = [r for r in rows.to_dicts() if None not in (r["user"], r["shop"], r["paid_at"])]
    for row in found:
        if row["amount"] is not None and not math.isfinite(row["amount"]):
            row["amount"] = None
    return sorted(found, key=lambda r: (r["paid_at"], r["payment_id"]))


def within(rows: list[dict[str, Any]], event: dict[str, Any], declared: FeatureTable, f: Feature) -> list[dict]:
    """The rows of the event's window, by the definition."""
    end = event["paid_at"] - declared.delay_of(f)
    start = end - (f.window or timedelta(0))
    right = declared.closed_of(f) == "right"
    same = [r for r in rows if (r["user"], r["shop"]) == (event["user"], event["shop"])]
    return [r for r in same if (start < r["paid_at"] <= end if right else start <= r["paid_at"] < end)]


def value(f: Feature, rows: list[dict[str, Any]]) -> Any:
    """What ``f`` is of the rows in its window."""
    if f.where:
        assert f.where == "amount > 2"
        rows = [r for r in rows if r["amount"] is not None and r["amount"] > 2]
    if f.column is None:
        return len(rows)
    if f.column == "amount * items":
        found = [r["amount"] * r["items"] for r in rows if None not in (r["amount"], r["items"])]
    else:
        found = [r[f.column] for r in rows if r[f.column] is not None]
    if f.function in ("count", "count_distinct"):
        return len(found) if f.function == "count" else len(set(found))
    if f.function == "sum":
        return sum(found)
    if not found or (f.function in ("std", "variance") and len(found) < 2):
        return None
    return {
        "mean": lambda: math.fsum(found) / len(found),
        "share": lambda: sum(found) / len(found),
        "min": lambda: min(found),
        "max": lambda: max(found),
        "std": lambda: plain.stdev(found),
        "variance": lambda: plain.variance(found),
        "first": lambda: found[0],
        "last": lambda: found[-1],
    }[str(f.function)]()


def expected(declared: FeatureTable, rows: pl.DataFrame) -> dict[tuple, dict[str, Any]]:
    """Key -> feature -> value."""
    known = clean(rows)
    out = {}
    for event in known:
        got = {f.name: value(f, within(known, event, declared, f)) for f in declared.features if f.function}
        if "above" in {f.name for f in declared.features}:
            got["amount"], got["late_hour"] = event["amount"], event["paid_at"].hour >= 23
            pair = (event["amount"], got["earlier"])
            got["above"] = None if None in pair else pair[0] - pair[1]
            got["weekday"] = event["paid_at"].isoweekday()
            got["doubled"] = None if got["above"] is None else got["above"] * 2
        out[(event["user"], event["shop"], event["paid_at"], event["payment_id"])] = got
    return out


def same(one: Any, other: Any, *, scale: float = 100.0) -> bool:
    """Floats to 1e-9 of what they are made of."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * scale)
    return one == other and (one is None) == (other is None)
