"""``catalog.monitoring.drift``: what each report found, a row a model, check, column and day."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

import polars as pl
import pyarrow as pa

from karat import dtypes
from karat.dtypes import ARROW, Dtype
from karat.errors import CommitConflict
from karat.lake import Commit, Lake, Work
from karat.names import TableName

#: What is watched: features, predictions, differences between groups of people.
Check = Literal["dataset", "prediction", "fairness"]
CHECKS: tuple[Check, ...] = get_args(Check)
#: check -> the field of a project's ``schedules``.
SCHEDULES: dict[Check, str] = {"dataset": "dataset_drift", "prediction": "prediction_drift", "fairness": "fairness"}

_MOMENT = pl.Datetime("us", "UTC")
_COLUMNS: dict[str, tuple[Dtype, str]] = {
    "day": ("date", "UTC day of the report"),
    "model_name": ("string", "The registered model: catalog.models.NAME"),
    "check_name": ("string", "dataset (features), prediction or fairness"),
    "column_name": ("string", "The feature, the column of predictions, or the protected column"),
    "model_version": ("int64", "The champion's version"),
    "run_id": ("string", "The run that trained it; the report is among its artifacts"),
    "method": ("string", "What the statistic is"),
    "statistic": ("float64", "How far the current rows are from the reference; null where there was too little"),
    "threshold": ("float64", "From where on it counts as drift"),
    "drifted": ("bool", "Whether it did"),
    "usual": ("float64", "The greatest statistic of past stretches of the same length; null without history"),
    "note": ("string", "What decided the threshold, or why nothing was found out"),
    "reference_version": ("string", "The digest of the training set that the version pins"),
    "reference_rows": ("int64", "Its rows that were looked at"),
    "current_rows": ("int64", "The current rows that were looked at"),
    "first_day": ("date", "First day of the current rows; null without time"),
    "last_day": ("date", "Their last day"),
    "report": ("string", "The report's path among the run's artifacts; null where there is none"),
    "checked_at": ("timestamp", "When"),
}
KEY = ("day", "model_name", "check_name", "column_name")
SCHEMA = pa.schema(
    [pa.field(n, ARROW[t], nullable=n not in KEY, metadata={"comment": text}) for n, (t, text) in _COLUMNS.items()]
)
POLARS = {name: dtypes.POLARS[dtype] for name, (dtype, _) in _COLUMNS.items()}
_KIND, _ATTEMPTS = "drift", 20
_AT = pl.coalesce("checked_at", pl.col("day").cast(_MOMENT)).alias("at")


def drift_name(catalog: str) -> TableName:
    return TableName(catalog, "monitoring", "drift")


def record(lake: Lake, catalog: str, rows: pl.DataFrame) -> Commit | None:
    """Puts ``rows`` (SCHEMA, all of one day) in the place of what these models' checks found on that day, in one
    commit; no commit where they say what stands there. None without rows. Raises what the lake raises."""
    if rows.is_empty():
        return None
    name = drift_name(catalog)
    lake.create(
        name,
        SCHEMA,
        primary_key=KEY,
        timeseries="day",
        partition_by=["day"],
        description="Drift and fairness of every champion, by column and day of the report",
    )
    for attempt in range(_ATTEMPTS):
        try:
            return _replaced(lake, name, rows)
        except CommitConflict:
            if attempt + 1 == _ATTEMPTS:  # others have written of the same day each time
                raise
    raise AssertionError("unreachable")


def _replaced(lake: Lake, name: TableName, rows: pl.DataFrame) -> Commit:
    day: date = rows["day"].unique().item()
    base = lake.last_work(name, _KIND)
    standing = lake.read(name, where=pl.col("day") == day)
    mine = ["model_name", "check_name"]
    replaced = standing.join(rows.select(mine).unique(), on=mine, how="semi")
    if _same(replaced, rows):
        return Commit(name, lake.version(name), False, 0)
    kept = standing.join(rows.select(mine).unique(), on=mine, how="anti")
    staged = lake.stage(name, pl.concat([kept, rows.select(standing.columns)]), label="drift")
    return lake.commit(name, staged, replace=[day], work=Work(_KIND, uuid.uuid4().hex), base=base)


def _same(standing: pl.DataFrame, rows: pl.DataFrame) -> bool:
    """But for the moment at which it was found."""
    known, new = (f.drop("checked_at").sort(KEY) for f in (standing, rows.select(standing.columns)))
    return known.equals(new)


def found_on(lake: Lake, catalog: str, day: date | None = None) -> pl.DataFrame:
    """Rows of SCHEMA: what the reports of ``day`` found, or each model's and check's newest; empty without any."""
    name = drift_name(catalog)
    if not lake.exists(name):
        return pl.DataFrame(schema=POLARS)
    rows = lake.scan(name)
    newest = pl.col("day") == pl.col("day").max().over("model_name", "check_name")
    return rows.filter(newest if day is None else pl.col("day") == day).sort(KEY).collect()


@dataclass(frozen=True)
class ReportedCheck:
    """The newest report of a model's check: when it was made, and the model's version in it."""

    at: datetime
    version: int


def reported(lake: Lake, catalog: str) -> dict[tuple[str, str], ReportedCheck]:
    """(model's name, check) -> its newest report."""
    newest = found_on(lake, catalog).group_by("model_name", "check_name").agg(_AT.max(), pl.col("model_version").max())
    return {(model, check): ReportedCheck(at, version) for model, check, at, version in newest.rows()}


def first_reported(lake: Lake, catalog: str) -> dict[str, datetime]:
    """Model's name -> when the first report of any of its checks was made."""
    name = drift_name(catalog)
    if not lake.exists(name):
        return {}
    return dict(lake.scan(name).group_by("model_name").agg(_AT.min()).collect().rows())
