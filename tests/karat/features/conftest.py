"""A small shop on disk (gold of events and users, feature tables over them), and a brute-force oracle."""

from __future__ import annotations

import math
import statistics as plain
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from karat.declare import FeatureTable, GoldTable, Project, load_project
from karat.lake import Lake
from karat.settings import Settings

GOLD = """
from karat.declare import Column, GoldTable

events = GoldTable(
    name="events",
    description="what users do",
    key=("event_id",),
    event_time="at",
    columns={
        "event_id": Column(dtype="int64"),
        "user": Column(dtype="string"),
        "shop": Column(dtype="int64"),
        "at": Column(dtype="timestamp"),
        "amount": Column(dtype="float64"),
        "items": Column(dtype="int64"),
        "what": Column(dtype="string"),
    },
)
users = GoldTable(
    name="users",
    description="who they are",
    key=("user",),
    columns={"user": Column(dtype="string"), "plan": Column(dtype="string"), "age": Column(dtype="int64")},
)
"""

SPEND = """
import polars as pl
from karat.declare import FeatureTable, aggregate, from_polars, from_python, from_sql

def ratio(total, count):
    return total / count

spend = FeatureTable(
    name="spend",
    description="what a user spends",
    source="events",
    entity=("user", "shop"),
    time="day",
    rows="active",
    features=(
        aggregate("amount_1d", "sum", "amount", window="1d", description="of the day"),
        aggregate("amount_3d", "sum", "amount", window="3d", description="of three days"),
        aggregate("events_3d", "count", window="3d", description="events of three days"),
        aggregate("least_3d", "min", "items", window="3d", dtype="int64", description="least items"),
        aggregate("most_7d", "max", "items", window="7d", dtype="int64", description="most items"),
        aggregate("deviation_7d", "std", "amount", window="7d", description="spread"),
        aggregate("kinds_7d", "count_distinct", "what", window="7d", description="kinds of events"),
        aggregate("last_what_7d", "last", "what", window="7d", dtype="string", description="last kind"),
        from_polars("double", pl.col("amount_3d") * 2, description="twice"),
        from_sql("weekday", "isodow(day)", dtype="int64", description="1 Monday"),
        from_python("mean_3d", ratio, ("amount_3d", "events_3d"), description="a mean"),
    ),
)
"""

PROFILE = """
from karat.declare import FeatureTable, aggregate

profile = FeatureTable(
    name="profile",
    description="who a user is",
    source="users",
    entity=("user",),
    features=(
        aggregate("plan", "last", "plan", dtype="string", description="the plan"),
        aggregate("age", "max", "age", dtype="int64", description="age in years"),
    ),
)
"""

VISITS = """
from karat.declare import Column, GoldTable

visits = GoldTable(
    name="visits",
    description="visits, by the day, and when each was paid",
    key=("visit_id",),
    event_time="on",
    columns={
        "visit_id": Column(dtype="int64"),
        "user": Column(dtype="string"),
        "on": Column(dtype="date"),
        "paid": Column(dtype="timestamp"),
        "amount": Column(dtype="float64"),
    },
)
"""

BY_VISIT = """
from karat.declare import FeatureTable, aggregate

by_visit = FeatureTable(
    name="by_visit",
    description="by the day of the visit",
    source="visits",
    entity=("user",),
    time="day",
    rows="window",
    features=(aggregate("visits_3d", "count", window="3d", description="visits"),),
)
by_payment = FeatureTable(
    name="by_payment",
    description="by the day of the payment, which gold is not partitioned by",
    source="visits",
    entity=("user",),
    time="day",
    event_time="paid",
    features=(aggregate("paid_3d", "sum", "amount", window="3d", description="paid"),),
)
"""


class Shop:
    """A project on disk and its lake; ``declare`` changes a file, ``project`` reads all of them anew."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home", projects=folder / "projects")
        self.path = folder / "projects" / "shop"
        self.path.joinpath("features").mkdir(parents=True)
        self.path.joinpath("project.yaml").write_text("description: a shop\nowner: team\n")
        self.path.joinpath("gold.py").write_text(GOLD + VISITS)
        self.declare("spend", SPEND)
        self.declare("profile", PROFILE)
        self.declare("visits", BY_VISIT)
        self.lake = Lake(self.settings.lake, "dev")

    def declare(self, name: str, text: str) -> None:
        self.path.joinpath("features", f"{name}.py").write_text(textwrap.dedent(text))

    @property
    def project(self) -> Project:
        return load_project("shop", self.settings)

    def gold(self, table: str, rows: pl.DataFrame, *, origin: str = "sample") -> None:
        """Creates the gold table where it is missing, and merges ``rows`` into it."""
        project = self.project
        declared = project.gold[table]
        self.lake.create(
            project.gold_name(table),
            declared.schema,
            primary_key=declared.key,
            timeseries=declared.event_time,
            properties={"karat.origin": origin},
        )
        self.lake.merge(project.gold_name(table), rows)

    def features(self, table: str) -> pl.DataFrame:
        name = self.project.table_name(table)
        return self.lake.read(name).sort(self.lake.info(name).primary_key)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture(scope="session")
def fresh_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Shop]:
    """A new shop at each call: hypothesis runs many examples in one test."""
    return lambda: Shop(tmp_path_factory.mktemp("shop"))


def at(day: int, hour: int = 12) -> datetime:
    """Day 1 is 27 February 2024, so that day 3 is a leap day."""
    return datetime(2024, 2, 26, hour, tzinfo=UTC) + timedelta(days=day)


@pytest.fixture(scope="session")
def moment() -> Callable[..., datetime]:
    return at


def make_events(rows: Sequence[tuple[Any, ...]], start: int = 0) -> pl.DataFrame:
    """(user, shop, day, amount, items, what) -> gold rows numbered from ``start``."""
    return pl.DataFrame(
        [(start + n, u, s, at(d), a, i, w) for n, (u, s, d, a, i, w) in enumerate(rows)],
        schema={
            "event_id": pl.Int64,
            "user": pl.String,
            "shop": pl.Int64,
            "at": pl.Datetime("us", "UTC"),
            "amount": pl.Float64,
            "items": pl.Int64,
            "what": pl.String,
        },
        orient="row",
    )


@pytest.fixture(scope="session")
def events() -> Callable[..., pl.DataFrame]:
    return make_events


# ---- the oracle: what a feature value means, in plain loops

_WHERE: dict[str | None, Callable[[dict[str, Any]], bool]] = {
    None: lambda row: True,
    "items > 1": lambda row: row["items"] is not None and row["items"] > 1,
    "what = 'a'": lambda row: row["what"] == "a",
}
_TRUTH = {
    "amount > 0": lambda row: None if row["amount"] is None or not math.isfinite(row["amount"]) else row["amount"] > 0
}


def brute_force(
    table: FeatureTable, gold: pl.DataFrame, source: GoldTable, days: tuple[date, date] | None = None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Aggregated features by key (entity values, day)."""
    rows = [r for r in gold.to_dicts() if _WHERE[table.where](r) and all(r[e] is not None for e in table.entity)]
    timed = [r for r in gold.to_dicts() if r["at"] is not None]
    rows = [{**r, "day": r["at"].date()} for r in rows if r["at"] is not None]
    if not timed:
        return {}
    first, last = days or (min(r["at"] for r in timed).date(), max(r["at"] for r in timed).date())
    found = {}
    for entity in {tuple(r[e] for e in table.entity) for r in rows}:
        own = [r for r in rows if tuple(r[e] for e in table.entity) == entity]
        day = first
        while day <= last:
            span = table.lookback if table.rows == "window" else timedelta(days=1)
            if any(day + timedelta(days=1) - span <= r["day"] <= day for r in own):
                found[*entity, day] = {f.name: _one(f, own, day, source) for f in table.features if f.function}
            day += timedelta(days=1)
    return found


def _one(feature: Any, own: list[dict[str, Any]], day: date, source: GoldTable) -> Any:
    begin = day + timedelta(days=1) - feature.window
    rows = [r for r in own if begin <= r["day"] <= day and _WHERE[feature.where](r)]
    rows.sort(key=lambda r: (r["at"], *(r[k] for k in source.key)))
    if feature.column in _TRUTH:
        values = [_TRUTH[feature.column](r) for r in rows]
    else:
        values = [r[feature.column] for r in rows] if feature.column else [1 for _ in rows]
    values = [v for v in values if v is not None and not (isinstance(v, float) and not math.isfinite(v))]
    match feature.function:
        case "sum":
            return math.fsum(values)
        case "count":
            return len(values)
        case "count_distinct":
            return len(set(values))
        case "mean" | "share":
            return math.fsum(values) / len(values) if values else None
        case "std":
            return plain.stdev(values) if len(values) > 1 else None
        case "variance":
            return plain.variance(values) if len(values) > 1 else None
        case "first":
            return values[0] if values else None
        case "last":
            return values[-1] if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
    raise AssertionError(feature.function)


@pytest.fixture(scope="session")
def oracle() -> Callable[..., dict[tuple[Any, ...], dict[str, Any]]]:
    return brute_force


def close(one: Any, other: Any) -> bool:
    """Equal; floats to 1e-9 of their size (or of one, around nothing)."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return one == other


@pytest.fixture(scope="session")
def same_value() -> Callable[[Any, Any], bool]:
    return close


def assert_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Keys, counts, minima and maxima equal exactly, floats within 1e-9."""
    assert one.columns == other.columns
    assert one.height == other.height
    for column in one.columns:
        if one[column].dtype.is_float() and not column.startswith(("least", "most")):
            pairs = zip(one[column], other[column], strict=True)
            assert all(close(a, b) for a, b in pairs), column
        else:
            assert one[column].equals(other[column]), column


@pytest.fixture(scope="session")
def same_tables() -> Callable[[pl.DataFrame, pl.DataFrame], None]:
    return assert_same
