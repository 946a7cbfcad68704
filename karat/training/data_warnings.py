"""What is odd about the rows of a training set: told as warnings, for a model can be made of them all the same."""

from __future__ import annotations

import polars as pl

from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.lake import Lake

_SHOWN = 3
#: With a greater share of days without rows gold is no daily table, and they say nothing; nor do they where a day has
#: so few rows that none is no surprise (of events as many a day on average, one day in 20,000 would have none).
_RARE, _USUAL = 0.1, 10


def data_warnings(X: pl.DataFrame) -> list[str]:
    """Columns that can teach nothing, and values that are taken as missing."""
    found = []
    for series in X:
        values = series.drop_nulls()
        if isinstance(series.dtype, pl.Array) and len(values):
            values = values.explode()
        if values.dtype.is_float() and (infinite := int(values.is_infinite().sum())):
            what = "values" if isinstance(series.dtype, pl.Array) else "rows"
            found.append(f"feature {series.name!r} is infinite in {infinite} {what}, which count as missing")
        known = values.drop_nulls()
        if known.dtype.is_float():
            known = known.drop_nans()
        if not len(known):
            found.append(f"feature {series.name!r} is missing in every row")
        elif len(known) >= X.height and known.n_unique() == 1:
            found.append(f"feature {series.name!r} is constant: {known[0]!r} in every row")
    return found


def unseen(learned: pl.DataFrame, test: pl.DataFrame) -> list[str]:
    """Texts of the test rows that no row learned from had: the model takes them as missing."""
    found = []
    for name, dtype in learned.schema.items():
        if dtype not in (pl.String, pl.Categorical, pl.Enum):
            continue
        known, asked = learned[name].cast(pl.String).unique(), test[name].cast(pl.String)
        new = asked.drop_nulls().filter(~asked.drop_nulls().is_in(known.drop_nulls().implode()))
        if len(new):
            shown = ", ".join(map(repr, new.unique().sort().head(_SHOWN).to_list()))
            found.append(
                f"feature {name!r} has texts in {len(new)} of {len(asked)} test rows that no row learned from had "
                f"({shown}): they count as missing"
            )
    return found


def days_without_rows(project: Project, spec: ModelSpec, lake: Lake) -> list[str]:
    """Days between the first and the last of the label's gold table on which it has no rows at all, where that is no
    matter of course: a label whose window covers one is made of the rest."""
    label = spec.label
    gold = project.gold[label.source] if label is not None else None
    if label is None or label.horizon is None or gold is None or gold.truth or gold.event_time is None:
        return []
    name = project.gold_name(gold.name)
    if not lake.exists(name):
        return []
    day = pl.col(gold.event_time).cast(pl.Date).alias("day")
    counts = lake.scan(name).group_by(day).len().drop_nulls().sort("day").collect()
    if counts.height < 2 or counts["len"].median() < _USUAL:  # type: ignore[operator]
        return []
    days = counts["day"]
    every = pl.date_range(days[0], days[-1], eager=True)
    missing = every.filter(~every.is_in(days.implode()))
    if not len(missing) or len(missing) > _RARE * len(every):
        return []
    shown = ", ".join(str(day) for day in missing.head(_SHOWN)) + (", ..." if len(missing) > _SHOWN else "")
    return [
        f"gold table {gold.name!r} has no rows on {len(missing)} of {len(every)} days ({shown}): labels whose window "
        "covers one lack its rows"
    ]
