"""Drift inputs: reference and current data of a champion's features or predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from karat.monitoring.current_window import MIN_ROWS, current_window
from karat.monitoring.drift_history import past_periods
from karat.monitoring.drift_thresholds import DriftHistory, comparable_columns
from karat.monitoring.reference_current import Champion, ChampionRows
from karat.training.split import TEST, TRAIN

#: Days of current rows, in whole weeks: the last 7 days of features, and up to a month of predictions. They are more
#: where these have too few rows.
FEATURE_DAYS, PREDICTION_DAYS = 7, 28


@dataclass(frozen=True)
class DriftInputs:
    """Frames to compare, as ``comparable_columns`` returns them.

    Attributes:
        reason: Why there is nothing to compare; "" if there is.
        first: First current day; None without time.
        last: Last current day; None without time.
        reference: Reference columns, ``(rows, columns)``.
        current: Current columns, ``(rows, columns)``.
        history: Rows of the past.
        notes: Lines for the report: which rows were compared.
        left_out: Which last day is left out and why; "" if none is.
    """

    reason: str = ""
    first: date | None = None
    last: date | None = None
    reference: pl.DataFrame = field(default_factory=pl.DataFrame)
    current: pl.DataFrame = field(default_factory=pl.DataFrame)
    history: DriftHistory = field(default_factory=lambda: DriftHistory.empty(pl.DataFrame()))
    notes: tuple[str, ...] = ()
    left_out: str = ""


def feature_inputs(champion: Champion) -> DriftInputs:
    """Select a week of the champion's features and, as reference, the training rows before that week."""
    return _drift_inputs(champion, FEATURE_DAYS, lambda side: side.inputs)


def prediction_inputs(champion: Champion) -> DriftInputs:
    """Select up to four weeks of predictions and, as reference, predictions of the test rows.

    A model is surer of its training rows, so they are no reference; they show how far predictions move from week to
    week.
    Without time the current rows are the test rows with their present values and all rows since.
    """
    return _drift_inputs(
        champion, PREDICTION_DAYS, lambda side: model_outputs(champion, side.inputs), (TEST,), (TRAIN,)
    )


def _drift_inputs(
    champion: Champion,
    longest: int,
    of: Callable[[ChampionRows], pl.DataFrame],
    parts: Sequence[str] = (),
    past_parts: Sequence[str] = (),
) -> DriftInputs:
    until, newest = champion.trained_until, champion.latest_day
    left_out = str(champion.unfinished_day or "")
    if champion.is_unchanged and (until == newest or (until and newest and newest < until)):
        return DriftInputs("no row is newer than the training set", left_out=left_out)
    first, last = current_window(
        champion.rows_by_day, until, newest, longest, champion.first_test_day if parts else None
    )
    rows, current = champion.training_rows(parts, first), champion.current_rows(first, last, parts)
    if reason := _too_few(champion, current.total, rows.height, parts, first):
        return DriftInputs(reason, first, last, left_out=left_out)
    reference = champion.reference_rows(rows)
    learned = champion.reference_rows(champion.training_rows(past_parts, first)) if past_parts else reference
    known = comparable_columns(of(reference))
    history = _drift_history(champion, of, learned, reference.days, (first, last))
    timeless = "test rows with their present values, and new rows" if parts else "all rows with their present values"
    days = timeless if first is None else f"{first} to {last}"
    notes = (f"Current: {days}, {_row_count(current)}.", *_reference_notes(champion, reference, len(history.periods)))
    notes = (*notes, f"{left_out}.") if left_out else notes
    return DriftInputs("", first, last, known, comparable_columns(of(current)), history, notes, left_out)


def _drift_history(
    champion: Champion,
    of: Callable[[ChampionRows], pl.DataFrame],
    learned: ChampionRows,
    reference_days: pl.Series | None,
    current: tuple[date | None, date | None],
) -> DriftHistory:
    """Return past rows, those without a label included, as the current rows include them."""
    first, last = current
    if first is None or last is None or learned.days is None or reference_days is None or not learned.rows:
        return DriftHistory.empty(comparable_columns(of(learned)))
    every = champion.pinned_rows(learned.days.min(), learned.days.max())  # type: ignore[arg-type]
    assert every.days is not None
    past = past_periods(every.days, learned.days, first, last, reference_days.max())  # type: ignore[arg-type]
    return DriftHistory(comparable_columns(of(every)), comparable_columns(of(learned)), past)


def _too_few(champion: Champion, current: int, reference: int, parts: Sequence[str], first: date | None) -> str:
    """Why too few rows are there to compare, and what gives more; "" if there are enough."""
    if min(current, reference) >= MIN_ROWS:
        return ""
    since = "" if first is None else f" since {first}"
    reason = f"too few rows: {current} current{since}, {reference} reference (at least {MIN_ROWS} of each)"
    if current < MIN_ROWS:
        return f"{reason}; checked once {MIN_ROWS - current} more have come"
    if TEST in parts:
        split = champion.spec.split
        more = "an earlier test_from" if split.test_from else f"more than test: {split.test:g}"
        return f"{reason}; the reference are the test rows: declare {more} under 'split', and train again"
    return f"{reason}; train again once gold has more days: karat run {champion.context.project.name} --train always"


def model_outputs(champion: Champion, inputs: pl.DataFrame) -> pl.DataFrame:
    """Return the champion's numbers for these rows, and the class of a multiclass model, ``(rows, outputs)``."""
    model = champion.loaded.model
    found = pl.DataFrame(model.outputs(model.predict(inputs), model.thresholds(inputs)))
    parts = [c for c in found.columns if c not in ("prediction", "probability")]
    if model.task == "multiclass":
        return found.select("prediction", *parts)
    return found.select(parts or found.columns[-1:])


def _reference_notes(champion: Champion, reference: ChampionRows, past: int) -> tuple[str, ...]:
    pins = ", ".join(f"{table} version {version}" for table, version in champion.pinned_versions.items())
    history = f"{past} past periods of as many days, each against the rows before it."
    return (
        f"Reference: rows of the training set of {champion.version.uri}, {_row_count(reference)}, from {pins}.",
        f"Usual drift: {history}" if past else "Usual drift: unknown, since the training set has too few days.",
    )


def _row_count(side: ChampionRows) -> str:
    whole = side.total == side.rows
    return f"{side.total:,} rows" if whole else f"a fixed sample of {side.rows:,} of {side.total:,} rows"
