"""What of a champion is compared with what: its features, or its predictions, of comparable rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from karat.monitoring.drift_history import FEWEST, WEEK, past_of
from karat.monitoring.drift_thresholds import History, plain
from karat.monitoring.reference_current import Champion, Side
from karat.training.split import TEST, TRAIN

#: Days of current rows at most, in whole weeks: document 004's last 7 days, and a month of predictions.
FEATURE_DAYS, PREDICTION_DAYS = 7, 28


@dataclass(frozen=True)
class DriftInputs:
    """Frames as ``plain`` makes them; ``why``: what keeps them from being compared, "" where nothing does. ``first``
    and ``last``: the current days, None without time. ``told``: what was looked at, line by line."""

    why: str = ""
    first: date | None = None
    last: date | None = None
    reference: pl.DataFrame = field(default_factory=pl.DataFrame)
    current: pl.DataFrame = field(default_factory=pl.DataFrame)
    history: History = field(default_factory=lambda: History.none(pl.DataFrame()))
    told: tuple[str, ...] = ()


def features(champion: Champion) -> DriftInputs:
    """A week of what the champion reads, against what it learned from before that week."""
    return _compared(champion, FEATURE_DAYS, lambda side: side.inputs)


def predictions(champion: Champion) -> DriftInputs:
    """Up to four weeks of what it predicts, against its predictions of the rows that it was tested on: of those that
    it learned from it is surer. How these move from week to week is seen among the rows that it learned from.

    Without time the current rows are those that it was tested on, as they are now, and those that have come since.
    """
    return _compared(champion, PREDICTION_DAYS, lambda side: outputs(champion, side.inputs), (TEST,), (TRAIN,))


def _compared(
    champion: Champion,
    longest: int,
    of: Callable[[Side], pl.DataFrame],
    parts: Sequence[str] = (),
    past_parts: Sequence[str] = (),
) -> DriftInputs:
    until, newest = champion.trained_until, champion.newest
    if champion.unchanged and until == newest:
        return DriftInputs("no row is newer than the training set")
    first, last = _window(until, newest, longest)
    rows, current = champion.learned_from(parts, first), champion.current(first, last, parts)
    if min(rows.height, current.total) < FEWEST:
        why = f"too few rows: {current.total} now, {rows.height} to compare with (at least {FEWEST} of each)"
        return DriftInputs(why, first, last)
    reference = champion.reference(rows)
    learned = champion.reference(champion.learned_from(past_parts, first)) if past_parts else reference
    known = plain(of(reference))
    history = _history(champion, of, learned, reference.days, (first, last))
    timeless = "rows of the test as they are now, and new ones" if parts else "all rows as they are now"
    days = timeless if first is None else f"{first} to {last}"
    told = (f"Current: {days}, {_counted(current)}.", *_told(champion, reference, len(history.past)))
    return DriftInputs("", first, last, known, plain(of(current)), history, told)


def _history(
    champion: Champion,
    of: Callable[[Side], pl.DataFrame],
    learned: Side,
    reference_days: pl.Series | None,
    current: tuple[date | None, date | None],
) -> History:
    """The rows of the past, as ``current`` holds the rows of now: also those that have no label and so were not learned
    from, which may be other people."""
    first, last = current
    if first is None or last is None or learned.days is None or reference_days is None or not learned.rows:
        return History.none(plain(of(learned)))
    every = champion.every(learned.days.min(), learned.days.max())  # type: ignore[arg-type]
    assert every.days is not None
    past = past_of(every.days, learned.days, first, last, reference_days.max())  # type: ignore[arg-type]
    return History(plain(of(every)), plain(of(learned)), past)


def _window(until: date | None, newest: date | None, longest: int) -> tuple[date | None, date | None]:
    """The newest week; as many weeks, up to ``longest`` days, as there are since the training set ended."""
    if until is None or newest is None:
        return None, None
    days = max(WEEK, min(longest, (newest - until).days // WEEK * WEEK))
    return newest - timedelta(days=days - 1), newest


def outputs(champion: Champion, inputs: pl.DataFrame) -> pl.DataFrame:
    """What the champion says of these rows: the numbers behind a decision, and the class where several are possible."""
    model = champion.loaded.model
    found = pl.DataFrame(model.outputs(model.predict(inputs)))
    parts = [c for c in found.columns if c not in ("prediction", "probability")]
    if model.task == "multiclass":
        return found.select("prediction", *parts)
    return found.select(parts or found.columns[-1:])


def _told(champion: Champion, reference: Side, past: int) -> tuple[str, ...]:
    pins = ", ".join(f"{table} version {version}" for table, version in champion.pinned.items())
    usual = f"{past} past stretches of as many days, each against the rows before it."
    return (
        f"Reference: rows of the training set of {champion.version.uri}, {_counted(reference)}, of {pins}.",
        f"What is usual: {usual}" if past else "What is usual is not known: the training set has too few days.",
    )


def _counted(side: Side) -> str:
    whole = side.total == side.rows
    return f"{side.total:,} rows" if whole else f"{side.rows:,} of {side.total:,} rows, a fixed sample"
