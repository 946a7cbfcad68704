"""Sequence join: for each row of a spine, the latest N feature rows known at its time, oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from karat.clock import MICROSECOND
from karat.errors import SchemaMismatch, SequenceTooShort, WrongCall
from karat.features.keys import aligned, microseconds, spine_microseconds
from karat.features.point_in_time import STATUS, Status, check_columns

Short = Literal["pad", "refuse"]
_CODE = {s: i for i, s in enumerate(Status)}
_FOREVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True)
class SequenceResult:
    """One row per spine row, in its order.

    ``values`` holds an Array(Float64, N) per column, oldest first, padded in front with null; ``mask``
    (Array(Boolean, N)) is true where a row is, so that a stored null is told from padding. ``statuses`` are those of
    the newest row, ``found`` whether there is one (PRESENT, NOT_FOUND, EXPIRED); ``age`` is the spine's time less the
    newest row's, null where there is none.
    """

    values: pl.DataFrame
    mask: pl.Series
    statuses: pl.DataFrame
    found: pl.Series
    age: pl.Series


def sequence_join(
    spine: pl.DataFrame,
    features: pl.DataFrame,
    *,
    keys: Mapping[str, str],
    time: tuple[str, str],
    length: int,
    step: timedelta | None = None,
    short: Short = "pad",
    lag: timedelta = timedelta(0),
    lookback: timedelta | None = None,
    event_id: str | None = None,
    columns: Sequence[str],
) -> SequenceResult:
    """The ``length`` latest rows of each spine row's entity that an as-of join could have taken.

    Known means ``feature_time + lag <= t``; with a ``lookback`` also ``feature_time >= t - lookback``. A gap between
    two rows that is wider than ``step`` ends the sequence: only what lies after it counts. Rows of one time are in the
    order of ``event_id``. ``short`` says what becomes of fewer rows than ``length``: padded, or SequenceTooShort.
    Raises what ``lookup`` raises, and SchemaMismatch for a column that is no number.
    """
    if length < 1:
        raise WrongCall(f"a sequence of length {length} holds nothing", remedy="give sequence_length=1 or more")
    check_columns(spine, features, [*keys.items(), time], columns, {})
    numbers = [_numeric(features[c]) for c in columns]
    stored = _sorted(features, keys, time[1], event_id)
    asked = _asked(spine, features.schema, keys, time)
    newest = _newest(asked, stored, lag)
    at = stored["t"].to_numpy()
    moments = asked["t"].fill_null(0).to_numpy()
    oldest = np.full(spine.height, -_FOREVER) if lookback is None else moments - _span(lookback)
    found = newest >= 0
    last = np.where(found, newest, 0)
    newest_at = at[last] if len(at) else np.zeros(spine.height, dtype=np.int64)
    expired = found & (newest_at < oldest)
    used = found & ~expired
    places = newest[:, None] - np.arange(length - 1, -1, -1)
    taken = used[:, None] & (places >= 0)
    if len(at):
        taken &= places >= _starts(stored, step)[last][:, None]
        taken &= at[np.clip(places, 0, None)] >= oldest[:, None]
    if short == "refuse":
        _refuse_short(taken.sum(axis=1), length, spine, [*keys, time[0]])
    rows = stored["row"].gather(np.clip(places, 0, None).ravel()) if len(at) else None
    state = np.where(used, _CODE[Status.PRESENT], np.where(expired, _CODE[Status.EXPIRED], _CODE[Status.NOT_FOUND]))
    values = [_array(n, rows, taken) for n in numbers]
    return SequenceResult(
        values=pl.DataFrame(values),
        mask=_shaped(pl.Series("mask", taken.ravel()), taken),
        statuses=pl.DataFrame([_status(v, state, used) for v in values]),
        found=_enum("mask", state),
        age=pl.Series("age", moments - newest_at).cast(pl.Duration("us")).set(pl.Series(~used), None),
    )


def _span(span: timedelta) -> int:
    return min(span // MICROSECOND, _FOREVER)


def _numeric(column: pl.Series) -> pl.Series:
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64)
    raise SchemaMismatch(
        f"the feature {column.name!r} is a {column.dtype}, and a sequence holds numbers",
        where="a lookup with sequence_length",
        remedy="leave it out of feature_names, or make a number of it in its feature table",
    )


def _sorted(features: pl.DataFrame, keys: Mapping[str, str], time: str, event_id: str | None) -> pl.DataFrame:
    """Key columns k0.., time ``t`` (microseconds) and ``row`` of every row with a whole key, by entity and time."""
    names = [f"k{i}" for i in range(len(keys))]
    rows = features.select(
        *(pl.col(f).alias(n) for n, f in zip(names, keys.values(), strict=True)),
        microseconds(features[time]).alias("t"),
        *([pl.col(event_id).alias("event")] if event_id else []),
    ).with_row_index("row")
    order = [*names, "t", *(["event"] if event_id else [])]
    return rows.drop_nulls([*names, "t"]).sort(order, maintain_order=True)


def _asked(spine: pl.DataFrame, schema: pl.Schema, keys: Mapping[str, str], time: tuple[str, str]) -> pl.DataFrame:
    """The spine's keys k0.. in the types of the table, and its time ``t`` (microseconds)."""
    aligned_keys = [
        aligned(spine[s], schema[f], of=f"the feature table's {f!r}").alias(f"k{i}")
        for i, (s, f) in enumerate(keys.items())
    ]
    return pl.DataFrame([*aligned_keys, spine_microseconds(spine[time[0]], schema[time[1]]).alias("t")])


def _newest(asked: pl.DataFrame, stored: pl.DataFrame, lag: timedelta) -> np.ndarray:
    """For each row asked for the place in ``stored`` of the latest one known at its time; -1 where there is none."""
    names = [c for c in asked.columns if c != "t"]
    left = asked.with_row_index("n")
    right = stored.select(*names, pl.col("t") + _span(lag)).with_row_index("place")
    right = right.unique([*names, "t"], keep="last", maintain_order=True).sort("t")
    found = left.drop_nulls([*names, "t"]).sort("t")
    joined = found.join_asof(right, on="t", by=names, strategy="backward", check_sortedness=False)
    out = np.full(asked.height, -1, dtype=np.int64)
    out[joined["n"].to_numpy()] = joined["place"].cast(pl.Int64).fill_null(-1).to_numpy()
    return out


def _starts(stored: pl.DataFrame, step: timedelta | None) -> np.ndarray:
    """For each place the first one of its run: the same entity, and no gap wider than ``step`` in between."""
    names = [c for c in stored.columns if c.startswith("k")]
    begins = pl.any_horizontal(pl.col(n) != pl.col(n).shift() for n in names).fill_null(True)
    if step is not None:
        begins = begins | ((pl.col("t") - pl.col("t").shift()).fill_null(0) > _span(step))
    first = stored.select(begins).to_series().to_numpy().copy()
    first[0] = True
    return np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))


def _array(column: pl.Series, rows: pl.Series | None, taken: np.ndarray) -> pl.Series:
    flat = pl.Series(column.name, [None] * taken.size, dtype=pl.Float64)
    if rows is not None:
        flat = column.gather(rows.set(pl.Series(~taken.ravel()), None))
    return _shaped(flat, taken)


def _shaped(flat: pl.Series, like: np.ndarray) -> pl.Series:
    if not like.shape[0]:
        return pl.Series(flat.name, [], dtype=pl.Array(flat.dtype, like.shape[1]))
    return flat.reshape(like.shape)


def _status(values: pl.Series, state: np.ndarray, used: np.ndarray) -> pl.Series:
    missing = values.arr.last().is_null().to_numpy()
    return _enum(values.name, np.where(used & missing, _CODE[Status.NULL], state))


def _enum(name: str, codes: np.ndarray) -> pl.Series:
    return pl.Series(name, codes.astype(np.uint8), dtype=pl.UInt8).cat.to(STATUS)


def _refuse_short(lengths: np.ndarray, length: int, spine: pl.DataFrame, columns: list[str]) -> None:
    less = lengths < length
    if not less.any():
        return
    rows = spine.select(columns).filter(pl.Series(less)).head(3).rows()
    shown = "; ".join(f"{row}: {n}" for row, n in zip(rows, lengths[less][:3].tolist(), strict=True))
    raise SequenceTooShort(
        f"{int(less.sum())} of {spine.height} rows have fewer than {length} rows in their sequence",
        where=f"the first ({', '.join(columns)}: rows found): {shown}",
        remedy="leave these rows out, take a smaller sequence_length or a wider step, or say short='pad'",
    )
