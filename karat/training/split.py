"""Split into training and test rows, by time or by entity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from karat.clock import DAY
from karat.declare.models import ModelSpec
from karat.errors import ColumnMissing, TrainingError, did_you_mean

TRAIN, GAP, TEST = "train", "gap", "test"
SPLIT_TYPE = pl.Enum([TRAIN, GAP, TEST])
#: Column of a stored spine that names the part of each row.
SPLIT = "karat_split"


def split_rows(frame: pl.DataFrame, spec: ModelSpec, *, time: str | None, entity: Sequence[str]) -> pl.Series:
    """Assign "train", "gap" or "test" to each row of ``frame``.

    By time (the default if there is one): the last ``spec.split.test`` of the days are test days, at least one. Earlier
    days whose label is incomplete when the test begins are the gap, and so are the last ``spec.split.gap``. By entity:
    a
    hash of the key decides, so that all rows of an entity fall on one side in every run.

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
    by = spec.split.by or ("time" if time else "entity")
    if by == "time" and not time:
        raise TrainingError(
            f"model {spec.name!r} is split by time, and its rows have none",
            remedy="write 'split: {by: entity}', or choose a spine table with a time",
        )
    needed = [time] if by == "time" and time else list(entity)
    for column in needed:
        if column not in frame.columns:
            raise ColumnMissing(f"the rows to split have no column {column!r}. {did_you_mean(column, frame.columns)}")
    if by == "time" and time:
        return _split_by_time(frame[time], spec.split.test, _minimum_gap(spec), spec.horizon_end)
    return _split_by_entity(frame.select(needed), spec.split.test, spec.seed)


def _split_by_time(times: pl.Series, share: float, horizon: timedelta, after: timedelta) -> pl.Series:
    """Split by days; ``horizon`` counts from a row's day, ``after`` from its time."""
    days = times.cast(pl.Date)
    distinct = days.unique().drop_nulls().sort()
    if not len(distinct):
        return pl.Series("split", [], dtype=SPLIT_TYPE)
    first = distinct[len(distinct) - min(max(round(len(distinct) * share), 1), len(distinct))]
    # A training label that covers test days would leak them.
    overlaps = (pl.col("day").cast(pl.Datetime("us")) + horizon > first) | (pl.col("time") + after > first)
    part = pl.when(pl.col("day") >= first).then(pl.lit(TEST)).when(overlaps).then(pl.lit(GAP)).otherwise(pl.lit(TRAIN))
    rows = pl.DataFrame({"day": days, "time": times.cast(pl.Datetime("us"))})
    return rows.select(part.cast(SPLIT_TYPE).alias("split")).to_series()


def _minimum_gap(spec: ModelSpec) -> timedelta:
    """Return the time from a day's start to the first test that may follow it; a gap counts from the day's end."""
    return max(spec.horizon_end, spec.split.gap + DAY if spec.split.gap else timedelta(0))


def _split_by_entity(keys: pl.DataFrame, share: float, seed: int) -> pl.Series:
    distinct = keys.unique(maintain_order=True)
    limit = int(share * 2**64)
    parts = [TEST if _hash_key(row, seed) < limit else TRAIN for row in distinct.iter_rows()]
    known = distinct.with_columns(pl.Series("split", parts, dtype=SPLIT_TYPE))
    return keys.join(known, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")["split"]


def _hash_key(key: tuple[object, ...], seed: int) -> int:
    # Polars' own hash differs between versions of Polars.
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
