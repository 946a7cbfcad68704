"""Split into training and test rows, by time or by entity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import polars as pl

from karat.clock import DAY
from karat.declare.models import ModelSpec
from karat.errors import ColumnMissing, TrainingError, did_you_mean
from karat.training_sets.row_sample import SampledTrainingSet
from karat.training_sets.sharded_build import distinct_days
from karat.training_sets.training_set import TrainingSet

TRAIN, GAP, TEST = "train", "gap", "test"
SPLIT_TYPE = pl.Enum([TRAIN, GAP, TEST])
#: Column of a stored spine that names the part of each row.
SPLIT = "karat_split"


@dataclass(frozen=True)
class SplitRule:
    """How rows are split, row by row: a shard is split as the whole is. It can be sent to workers.

    Attributes:
        time: The time column of a split by time; None splits by entity.
        entity: The entity's columns.
        first: The first test day; None without rows.
        gap: Time from a row's day to the first test day that may follow it.
        horizon: Time from a row to the end of its label.
        share: Share of the entities that are tested.
        seed: Seed of the entities' hashes.
    """

    time: str | None
    entity: tuple[str, ...]
    first: date | None
    gap: timedelta
    horizon: timedelta
    share: float
    seed: int

    def parts(self, rows: pl.DataFrame) -> pl.Series:
        """Assign "train", "gap" or "test" to each row of ``rows``, ``(rows,)``."""
        if self.time is not None:
            return _split_by_time(rows[self.time], self.first, None, self.gap, self.horizon)
        return _split_by_entity(rows.select(self.entity), self.share, self.seed)


def split_rows(frame: pl.DataFrame, spec: ModelSpec, *, time: str | None, entity: Sequence[str]) -> pl.Series:
    """Assign "train", "gap" or "test" to each row of ``frame``.

    By time (the default if there is one): the last ``spec.split.test`` of the days are test days, at least one, or
    those from ``spec.split.test_from`` on. Earlier days whose label is incomplete when the test begins are the gap, and
    so are the last ``spec.split.gap``. By entity: a hash of the key decides, so that all rows of an entity fall on one
    side in every run.

    Args:
        frame: Rows, ``(rows, columns)``.
        spec: The model's declaration.
        time: The time column.
        entity: The entity's columns.

    Returns:
        The part of each row, ``(rows,)``.

    Raises:
        ColumnMissing: The rows lack the time or an entity column.
        TrainingError: The split is by time and the rows have none.
    """
    return rule_of_rows(frame, spec, time=time, entity=entity).parts(frame)


def rule_of_rows(
    frame: pl.DataFrame, spec: ModelSpec, *, time: str | None, entity: Sequence[str], days: pl.Series | None = None
) -> SplitRule:
    """Return the rule of ``split_rows``; ``days`` are those of all rows where ``frame`` is a sample."""
    by_time = _is_by_time(spec, time)
    needed = [time] if by_time and time else list(entity)
    for column in needed:
        if column not in frame.columns:
            raise ColumnMissing(f"the rows to split have no column {column!r}. {did_you_mean(column, frame.columns)}")
    if days is None and by_time and time:
        days = distinct_days(frame[time])
    return split_rule(spec, days, time=time, entity=entity)


def split_training_set(
    training_set: TrainingSet, spec: ModelSpec, *, time: str | None, entity: Sequence[str]
) -> pl.Series:
    """Return the part of each row of ``training_set.data``; a sample has that of the whole. See ``split_rows``."""
    if isinstance(training_set, SampledTrainingSet):
        return training_set.parts
    return split_rows(training_set.data, spec, time=time, entity=entity)


def split_rule(spec: ModelSpec, days: pl.Series | None, *, time: str | None, entity: Sequence[str]) -> SplitRule:
    """Return the rule by which the rows of a model are split; see ``split_rows``.

    Args:
        spec: The model's declaration.
        days: The distinct days of all rows, ascending; None without a time.
        time: The time column.
        entity: The entity's columns.

    Raises:
        TrainingError: The split is by time and the rows have none.
    """
    by_time = _is_by_time(spec, time)
    return SplitRule(
        time=time if by_time else None,
        entity=tuple(entity),
        first=_first_test_day(spec, days) if by_time and days is not None else None,
        gap=_minimum_gap(spec),
        horizon=spec.horizon_end,
        share=spec.split.test,
        seed=spec.seed,
    )


def _is_by_time(spec: ModelSpec, time: str | None) -> bool:
    by = spec.split.by or ("time" if time else "entity")
    if by == "time" and not time:
        raise TrainingError(
            f"model {spec.name!r} is split by time, and its rows have none",
            remedy="write 'split: {by: entity}', or choose a spine table with a time",
        )
    return by == "time"


def fold_splits(frame: pl.DataFrame, spec: ModelSpec, *, time: str | None, entity: Sequence[str]) -> list[pl.Series]:
    """Split the rows once for each fold of the declared cross-validation.

    By entity, a hash of the key puts each entity into one fold; the fold is the test. By time, the days fall into
    ``folds + 1`` stretches of as many days each (scikit-learn's TimeSeriesSplit): each but the first is tested by a
    model of the days before it, less the gap; later days are in neither part.

    Args:
        frame: Rows, ``(rows, columns)``.
        spec: The model's declaration; ``split.folds`` is set.
        time: The time column.
        entity: The entity's columns.

    Returns:
        For each fold the part of each row, ``(rows,)``.

    Raises:
        TrainingError: There are fewer days than stretches.
    """
    folds = spec.split.folds or 0
    if (spec.split.by or ("time" if time else "entity")) == "entity" or time is None:
        keys = frame.select(entity)
        bounds = [(k / folds, (k + 1) / folds) for k in range(folds)]
        return [_split_by_entity(keys, high, spec.seed, least=low) for low, high in bounds]
    days = distinct_days(frame[time])
    if len(days) <= folds:
        raise TrainingError(
            f"model {spec.name!r} is cross-validated in {folds} stretches of time, and its rows have {len(days)} days",
            where=f"model {spec.name!r}, split.folds",
            remedy="declare fewer folds, or 'by: entity'",
        )
    ends = [len(days) * k // (folds + 1) for k in range(1, folds + 2)]
    after = [days[end] if end < len(days) else None for end in ends]
    gap = _minimum_gap(spec)
    stretches = pairwise(after)
    return [_split_by_time(frame[time], first, last, gap, spec.horizon_end) for first, last in stretches if first]


def _first_test_day(spec: ModelSpec, days: pl.Series) -> date | None:
    """Return the declared first test day, or the one that leaves the share ``test`` of the days; None without days."""
    if spec.split.test_from is not None:
        return spec.split.test_from
    tested = min(max(round(len(days) * spec.split.test), 1), len(days))
    first: date | None = days[len(days) - tested] if len(days) else None
    return first


def _split_by_time(
    times: pl.Series, first: date | None, end: date | None, horizon: timedelta, after: timedelta
) -> pl.Series:
    """Split at the day ``first``; rows from the day ``end`` on are in no part.

    ``horizon`` counts from a row's day, ``after`` from its time.
    """
    if first is None:
        return pl.Series("split", [], dtype=SPLIT_TYPE)
    days = times.cast(pl.Date)
    # A training label that covers test days would leak them.
    overlaps = (pl.col("day").cast(pl.Datetime("us")) + horizon > first) | (pl.col("time") + after > first)
    late = pl.lit(False) if end is None else pl.col("day") >= end
    early = pl.when(overlaps).then(pl.lit(GAP)).otherwise(pl.lit(TRAIN))
    part = pl.when(late).then(pl.lit(GAP)).when(pl.col("day") >= first).then(pl.lit(TEST)).otherwise(early)
    rows = pl.DataFrame({"day": days, "time": times.cast(pl.Datetime("us"))})
    return rows.select(part.cast(SPLIT_TYPE).alias("split")).to_series()


def _minimum_gap(spec: ModelSpec) -> timedelta:
    """Return the time from a day's start to the first test that may follow it; a gap counts from the day's end."""
    return max(spec.horizon_end, spec.split.gap + DAY if spec.split.gap else timedelta(0))


def _split_by_entity(keys: pl.DataFrame, share: float, seed: int, *, least: float = 0.0) -> pl.Series:
    """Test the entities whose hash, as a share of all hashes, lies in [``least``, ``share``)."""
    distinct = keys.unique(maintain_order=True)
    low, limit = int(least * 2**64), int(share * 2**64)
    parts = [TEST if low <= _hash_key(row, seed) < limit else TRAIN for row in distinct.iter_rows()]
    known = distinct.with_columns(pl.Series("split", parts, dtype=SPLIT_TYPE))
    return keys.join(known, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")["split"]


def _hash_key(key: tuple[object, ...], seed: int) -> int:
    # Polars' own hash differs between versions of Polars.
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
