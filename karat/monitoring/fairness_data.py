"""Rows for a fairness check: the champion's test rows, and rows of the quarter since the training set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.errors import TrainingError
from karat.monitoring.reference_current import Champion, ChampionRows
from karat.training.split import TEST
from karat.training_sets.labels import label_spine
from karat.training_sets.protected_columns import protected_columns

QUARTER = timedelta(days=91)


@dataclass(frozen=True)
class FairnessData:
    """Rows for a fairness check.

    Attributes:
        rows: ``selected``, ``positive`` and the protected columns: test rows, then newer rows.
        notes: Lines for the report.
        tested: Number of test rows.
        newer: Number of newer rows.
        first: First day of the newer rows; None without any.
        last: Last day of the newer rows; None without any.
        left_out: The last day that has not ended, and why; "" without any.
    """

    rows: pl.DataFrame
    notes: tuple[str, ...]
    tested: int
    newer: int
    first: date | None = None
    last: date | None = None
    left_out: str = ""


def fairness_data(champion: Champion) -> FairnessData:
    """Return the champion's test rows, and newer rows with the labels known so far."""
    tested = champion.reference_rows(champion.training_rows((TEST,)))
    parts, first, last = [_fairness_rows(champion, tested)], None, None
    until, newest = champion.trained_until, champion.latest_day
    if until is not None and newest is not None and newest > until:
        first, last = max(until + timedelta(days=1), newest - QUARTER + timedelta(days=1)), newest
        parts.append(_fairness_rows(champion, _with_labels(champion, champion.current_rows(first, last))))
    rows = pl.concat(parts)
    labels = rows.height - rows["positive"].null_count()
    newer = rows.height - tested.rows
    since = f" and {newer:,} rows of {first} to {last}" if first else ""
    left_out = str(champion.unfinished_day or "")
    notes = [f"{tested.rows:,} test rows{since}; {labels:,} have a label.", *([f"{left_out}."] if left_out else [])]
    return FairnessData(rows, tuple(notes), tested.rows, newer, first, last, left_out)


def _with_labels(champion: Champion, side: ChampionRows) -> ChampionRows:
    """Add the labels known so far; null without any."""
    label = str(champion.spec.target)
    try:
        known = label_spine(champion.context, champion.lake).select(*champion.key, label)
    except TrainingError:
        known = side.keys.clear().select(*champion.key, pl.lit(None).alias(label))
    keys = side.keys.join(known, on=champion.key, how="left", nulls_equal=True, maintain_order="left")
    return ChampionRows(keys, side.inputs, side.days, side.total)


def _fairness_rows(champion: Champion, side: ChampionRows) -> pl.DataFrame:
    model = champion.loaded.model
    label = side.keys[str(champion.spec.target)]
    yes = model.classes[1] if model.classes else 1
    positive = (label == yes).cast(pl.Boolean)  # null where no label has come
    selected = pl.Series(model.predict(side.inputs) >= model.thresholds(side.inputs))
    groups = protected_columns(DeclaredModel(champion.context.project, champion.spec), champion.lake, side.keys)
    return pl.DataFrame([selected.alias("selected"), positive.alias("positive"), *groups])
