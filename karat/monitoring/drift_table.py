"""Drift table ``catalog.monitoring.drift``: one row per model, check, column and day."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

import polars as pl
import pyarrow as pa

from karat import dtypes
from karat.declare.models import ModelSpec
from karat.dtypes import ARROW, Dtype
from karat.lake import Commit, Lake, Work, retry_conflicts
from karat.names import TableName

#: A check of a champion: features, predictions, differences between groups of people.
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
    "method": ("string", "The statistic's name"),
    "statistic": ("float64", "Distance of the current rows from the reference; null if there were too few rows"),
    "threshold": ("float64", "The statistic counts as drift above this value"),
    "drifted": ("bool", "Whether the statistic is above the threshold"),
    "usual": ("float64", "The greatest statistic of past periods of the same length; null without history"),
    "note": ("string", "What sets the threshold, or why there is no statistic"),
    "reference_version": ("string", "Digest of the version's training set"),
    "reference_rows": ("int64", "Number of reference rows compared"),
    "current_rows": ("int64", "Number of current rows compared"),
    "first_day": ("date", "First day of the current rows; null without time"),
    "last_day": ("date", "Last day of the current rows; null without time"),
    "report": ("string", "Path of the report among the run's artifacts; null if there is none"),
    "checked_at": ("timestamp", "Time of the check"),
}
KEY = ("day", "model_name", "check_name", "column_name")
SCHEMA = pa.schema(
    [pa.field(n, ARROW[t], nullable=n not in KEY, metadata={"comment": text}) for n, (t, text) in _COLUMNS.items()]
)
POLARS_SCHEMA = {name: dtypes.POLARS[dtype] for name, (dtype, _) in _COLUMNS.items()}
_KIND, _ATTEMPTS = "drift", 20
_AT = pl.coalesce("checked_at", pl.col("day").cast(_MOMENT)).alias("at")


def drift_name(catalog: str) -> TableName:
    """Return the drift table's name."""
    return TableName(catalog, "monitoring", "drift")


def checks_of(spec: ModelSpec) -> list[Check]:
    """Return the checks of a model; fairness only if it declares protected columns."""
    return [check for check in CHECKS if check != "fairness" or spec.protected]


def write_drift(lake: Lake, catalog: str, rows: pl.DataFrame) -> Commit | None:
    """Replace the results of these models' checks on that day, in one commit.

    Args:
        lake: The lake.
        catalog: The catalog.
        rows: Rows with the columns of SCHEMA, all of one day.

    Returns:
        The commit; None without rows. Equal rows make no new version.

    Raises:
        CommitConflict: Other writers changed the same day again and again.
    """
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
    return retry_conflicts(_ATTEMPTS)(_replace_day, lake, name, rows)


def _replace_day(lake: Lake, name: TableName, rows: pl.DataFrame) -> Commit:
    day: date = rows["day"].unique().item()
    base = lake.last_work(name, _KIND)
    standing = lake.read(name, where=pl.col("day") == day)
    mine = ["model_name", "check_name"]
    replaced = standing.join(rows.select(mine).unique(), on=mine, how="semi")
    if _equals(replaced, rows):
        return Commit(name, lake.version(name), False, 0)
    kept = standing.join(rows.select(mine).unique(), on=mine, how="anti")
    staged = lake.stage(name, pl.concat([kept, rows.select(standing.columns)]), label="drift")
    return lake.commit(name, staged, replace=[day], work=Work(_KIND, uuid.uuid4().hex), base=base)


def _equals(standing: pl.DataFrame, rows: pl.DataFrame) -> bool:
    """Whether the rows are equal but for the time of the check."""
    known, new = (f.drop("checked_at").sort(KEY) for f in (standing, rows.select(standing.columns)))
    return known.equals(new)


def read_drift(lake: Lake, catalog: str, day: date | None = None) -> pl.DataFrame:
    """Read the results of ``day``, or the newest of each model and check.

    Args:
        lake: The lake.
        catalog: The catalog.
        day: The day; None for the newest.

    Returns:
        Rows with the columns of SCHEMA; empty without results.
    """
    name = drift_name(catalog)
    if not lake.exists(name):
        return pl.DataFrame(schema=POLARS_SCHEMA)
    rows = lake.scan(name)
    newest = pl.col("day") == pl.col("day").max().over("model_name", "check_name")
    return rows.filter(newest if day is None else pl.col("day") == day).sort(KEY).collect()


@dataclass(frozen=True)
class ReportedCheck:
    """The newest report of a model's check.

    Attributes:
        at: Time of the report.
        version: The model version in it.
    """

    at: datetime
    version: int


def latest_checks(lake: Lake, catalog: str) -> dict[tuple[str, str], ReportedCheck]:
    """Return the newest report by model name and check."""
    newest = (
        read_drift(lake, catalog).group_by("model_name", "check_name").agg(_AT.max(), pl.col("model_version").max())
    )
    return {(model, check): ReportedCheck(at, version) for model, check, at, version in newest.rows()}


def first_checks(lake: Lake, catalog: str) -> dict[str, datetime]:
    """Return the time of the first report by model name."""
    name = drift_name(catalog)
    if not lake.exists(name):
        return {}
    return dict(lake.scan(name).group_by("model_name").agg(_AT.min()).collect().rows())
