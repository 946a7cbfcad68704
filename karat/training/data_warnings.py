"""Warnings about the rows of a training set that still allow training."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake

_SHOWN = 3
#: No warning if the median day has fewer rows than this, so that an empty one is no surprise (with 10 events a day on
#: average, one day in 20,000 is empty).
_MIN_ROWS_PER_DAY = 10
#: A weekday with rows in a smaller share of its weeks is closed. Days that are usually this far apart: no daily grain.
_MIN_WEEKDAY_SHARE, _COARSE = 0.2, timedelta(days=7)


def data_warnings(X: pl.DataFrame) -> list[str]:
    """Warn of features that are constant or missing in every row, and of infinite values."""
    found = []
    for series in X:
        values = series.drop_nulls()
        if isinstance(series.dtype, pl.Array) and len(values):
            values = values.explode()
        if values.dtype.is_float() and (infinite := int(values.is_infinite().sum())):
            what = "values" if isinstance(series.dtype, pl.Array) else "rows"
            found.append(f"feature {series.name!r} is infinite in {infinite} {what}: they count as missing")
        known = values.drop_nulls()
        if known.dtype.is_float():
            known = known.drop_nans()
        if not len(known):
            found.append(f"feature {series.name!r} is missing in every row")
        elif len(known) >= X.height and known.n_unique() == 1:
            found.append(f"feature {series.name!r} is constant: {known[0]!r} in every row")
    return found


def unseen_value_warnings(learned: pl.DataFrame, test: pl.DataFrame) -> list[str]:
    """Warn of texts in the test rows that no training row has; the model treats them as missing."""
    found = []
    for name, dtype in learned.schema.items():
        if dtype not in (pl.String, pl.Categorical, pl.Enum):
            continue
        known, asked = learned[name].cast(pl.String).unique(), test[name].cast(pl.String)
        new = asked.drop_nulls().filter(~asked.drop_nulls().is_in(known.drop_nulls().implode()))
        if len(new):
            shown = ", ".join(map(repr, new.unique().sort().head(_SHOWN).to_list()))
            found.append(
                f"feature {name!r} has values in {len(new)} of {len(asked)} test rows that no training row has "
                f"({shown}): they count as missing"
            )
    return found


def missing_day_warnings(model: DeclaredModel, lake: Lake) -> list[str]:
    """Warn of days without rows inside the label's gold table: labels whose window covers one lack its rows.

    Args:
        model: The declared model.
        lake: The lake.

    Returns:
        At most one message. None if missing days are usual: weekdays that hardly ever have rows, a grain of a week or
            more, or few rows per day.
    """
    project, label = model.project, model.spec.label
    gold = project.gold[label.source] if label is not None else None
    if label is None or label.horizon is None or gold is None or gold.truth or gold.event_time is None:
        return []
    name = project.gold_name(gold.name)
    if not lake.exists(name):
        return []
    day = pl.col(gold.event_time).cast(pl.Date).alias("day")
    counts = lake.scan(name).group_by(day).len().drop_nulls().sort("day").collect()
    if counts.height < 2 or counts["len"].median() < _MIN_ROWS_PER_DAY:  # type: ignore[operator]
        return []
    days = counts["day"]
    missing = missing_days(days)
    if not len(missing):
        return []
    span = (days[-1] - days[0]).days + 1
    shown = ", ".join(str(day) for day in missing.head(_SHOWN)) + (", ..." if len(missing) > _SHOWN else "")
    return [
        f"gold table {gold.name!r} has no rows on {len(missing)} of {span} days ({shown}): labels whose window "
        "covers one lack its rows"
    ]


def missing_days(days: pl.Series) -> pl.Series:
    """Return the days without rows between the first and the last of ``days`` (sorted) on which rows are usual.

    Args:
        days: The days with rows, ``(days,)``.

    Returns:
        The others, without weekdays that hardly ever have rows; empty for a grain of a week or more.
    """
    every = pl.date_range(days[0], days[-1], eager=True)
    missing = every.filter(~every.is_in(days.implode()))
    if days.diff().median() >= _COARSE:  # type: ignore[operator]
        return missing.clear()
    return missing.filter(missing.dt.weekday().is_in(_working_weekdays(days).implode()))


def _working_weekdays(days: pl.Series) -> pl.Series:
    """The weekdays that usually have rows, relative to the weekday with the most."""
    counted = days.dt.weekday().alias("weekday").value_counts(name="n")
    return counted.filter(pl.col("n") >= _MIN_WEEKDAY_SHARE * pl.col("n").max())["weekday"]
