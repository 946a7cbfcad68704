"""Which rows are learned from and which are kept for the test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from karat.declare.base import DAY, format_duration
from karat.declare.models import ModelSpec
from karat.errors import ColumnMissing, TrainingError, did_you_mean

TRAIN, GAP, TEST = "train", "gap", "test"
PARTS = pl.Enum([TRAIN, GAP, TEST])


def split_rows(frame: pl.DataFrame, spec: ModelSpec, *, time: str | None, entity: Sequence[str]) -> pl.Series:
    """One of "train", "gap" and "test" for each row of ``frame``, in its order.

    By time (the default where there is one): the last ``spec.split.test`` of the days are the test, at least one; of
    the days before, those whose label is not complete when the test begins are the gap, in neither, and so are the
    last ``spec.split.gap``. By entity: a hash of the entity's key, so that all rows of one entity fall on one side, in
    every run and however the rows change.
    Raises ColumnMissing; TrainingError where a split by time has no time.
    """
    by = spec.split.by or ("time" if time else "entity")
    if by == "time" and not time:
        raise TrainingError(
            f"model {spec.name!r} is split by time, but its rows have none",
            remedy="write 'split: {by: entity}', or take a spine table that has a time",
        )
    needed = [time] if by == "time" and time else list(entity)
    for column in needed:
        if column not in frame.columns:
            raise ColumnMissing(f"the rows to split have no column {column!r}. {did_you_mean(column, frame.columns)}")
    if by == "time" and time:
        return _by_time(frame[time], spec.split.test, _apart(spec), spec.horizon_end)
    return _by_entity(frame.select(needed), spec.split.test, spec.seed)


def _by_time(times: pl.Series, share: float, horizon: timedelta, after: timedelta) -> pl.Series:
    """``horizon`` counts from a row's day, ``after`` from its time."""
    days = times.cast(pl.Date)
    distinct = days.unique().drop_nulls().sort()
    if not len(distinct):
        return pl.Series("split", [], dtype=PARTS)
    first = distinct[len(distinct) - min(max(round(len(distinct) * share), 1), len(distinct))]
    # A label that covers days of the test would teach what the test asks.
    overlaps = (pl.col("day").cast(pl.Datetime("us")) + horizon > first) | (pl.col("time") + after > first)
    part = pl.when(pl.col("day") >= first).then(pl.lit(TEST)).when(overlaps).then(pl.lit(GAP)).otherwise(pl.lit(TRAIN))
    rows = pl.DataFrame({"day": days, "time": times.cast(pl.Datetime("us"))})
    return rows.select(part.cast(PARTS).alias("split")).to_series()


def _apart(spec: ModelSpec) -> timedelta:
    """How long from a day's begin to the first test that may follow it: a gap is counted from the day's end."""
    return max(spec.horizon_end, spec.split.gap + DAY if spec.split.gap else timedelta(0))


def _by_entity(keys: pl.DataFrame, share: float, seed: int) -> pl.Series:
    distinct = keys.unique(maintain_order=True)
    limit = int(share * 2**64)
    parts = [TEST if _hash(row, seed) < limit else TRAIN for row in distinct.iter_rows()]
    known = distinct.with_columns(pl.Series("split", parts, dtype=PARTS))
    return keys.join(known, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")["split"]


def _hash(key: tuple[object, ...], seed: int) -> int:
    # Polars' own hash differs between its versions.
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def describe(split: pl.Series, spec: ModelSpec) -> str:
    """How many rows fell where, for messages."""
    counts = {part: int((split == part).sum()) for part in (TRAIN, GAP, TEST)}
    gap = f" (the label ends {format_duration(spec.horizon_end)} after its row)" if counts[GAP] else ""
    return f"{counts[TRAIN]} rows to learn from, {counts[GAP]} in the gap{gap}, {counts[TEST]} for the test"
