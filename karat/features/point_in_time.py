"""Point-in-time join: for each row of a spine, the feature row that was known at its time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np
import polars as pl

from karat.clock import MICROSECOND
from karat.errors import ColumnMissing, DuplicateKeys, FeatureNotFound, SchemaMismatch, did_you_mean
from karat.features.keys import aligned, microseconds, packed, spine_microseconds


class Status(StrEnum):
    """What a looked-up value is: a stored null is a value (NULL), a row out of the lookback is EXPIRED."""

    PRESENT = "PRESENT"
    NULL = "NULL"
    NOT_FOUND = "NOT_FOUND"
    EXPIRED = "EXPIRED"
    DEFAULTED = "DEFAULTED"


#: The statuses of a feature that brings no value to a prediction.
MISSING = frozenset({Status.NULL, Status.NOT_FOUND, Status.EXPIRED})
STATUS = pl.Enum([s.value for s in Status])
_CODE = {s: np.uint8(i) for i, s in enumerate(Status)}


@dataclass(frozen=True)
class JoinResult:
    """One row per spine row, in its order.

    ``values`` and ``statuses`` (Enum) have the columns asked for. ``age`` is the spine's time less the time of the
    feature row used; null where none was used, and throughout an exact lookup.
    """

    values: pl.DataFrame
    statuses: pl.DataFrame
    age: pl.Series


def point_in_time_join(
    spine: pl.DataFrame,
    features: pl.DataFrame,
    *,
    keys: Mapping[str, str],
    time: tuple[str, str] | None = None,
    lag: timedelta = timedelta(0),
    lookback: timedelta | None = None,
    event_id: str | None = None,
    columns: Sequence[str],
    defaults: Mapping[str, object] | None = None,
) -> JoinResult:
    """Features for every row of ``spine``; ``keys`` and ``time`` name spine column -> feature column.

    With ``time``: the latest feature row with ``feature_time + lag <= t`` and, given a ``lookback``,
    ``feature_time >= t - lookback``; of several of one time the one with the highest ``event_id``. Without: the row
    whose key is equal. A null in a key finds nothing.
    ``defaults`` replace what is NOT_FOUND or EXPIRED, never a stored null.
    Raises ColumnMissing, FeatureNotFound, LookupKeyMismatch, NaiveTimestamp, DuplicateKeys, SchemaMismatch.
    """
    defaults = defaults or {}
    check_columns(spine, features, [*keys.items(), *([time] if time else [])], columns, defaults)
    left = pl.DataFrame(
        [
            aligned(spine[s], features.schema[f], of=f"the feature table's {f!r}").alias(f"k{i}")
            for i, (s, f) in _each(keys)
        ]
    )
    right = features.select(pl.col(f).alias(f"k{i}") for i, (_, f) in _each(keys))
    if event_id is not None and time is not None:
        right = right.with_columns(features[event_id].alias("event"))
    if time is None:
        row, age = _exact(left, right, list(keys)), None
    else:
        moments = spine_microseconds(spine[time[0]], features.schema[time[1]]), microseconds(features[time[1]])
        row, age = _as_of(left, right, *moments, lag)
    state = np.where(row < 0, _CODE[Status.NOT_FOUND], _CODE[Status.PRESENT])
    if age is not None and lookback is not None:
        state[(row >= 0) & (age > _microseconds(lookback))] = _CODE[Status.EXPIRED]
    used = state == _CODE[Status.PRESENT]
    taken = pl.Series(row, dtype=pl.Int64).set(pl.Series(~used), None)
    looked = features.select(pl.col(columns).gather(taken)) if columns else pl.DataFrame()
    assert not columns or looked.height == spine.height
    return JoinResult(
        values=looked.select(_with_default(looked[c], used, defaults[c]) if c in defaults else c for c in columns),
        statuses=_statuses(looked, state, used, defaults),
        age=_ages(age, used, spine.height),
    )


def _each(keys: Mapping[str, str]) -> Iterable[tuple[int, tuple[str, str]]]:
    return enumerate(keys.items())


def _microseconds(span: timedelta) -> int:
    return span // MICROSECOND


def _exact(left: pl.DataFrame, right: pl.DataFrame, keys: list[str]) -> np.ndarray:
    """The number of the feature row with the same key, -1 where there is none."""
    names = left.columns
    try:
        found = left.join(
            right.with_row_index("row"), on=names, how="left", validate="m:1", maintain_order="left", coalesce=True
        )
    except pl.exceptions.ComputeError as error:
        raise DuplicateKeys(
            f"several feature rows have the same {', '.join(keys)}",
            where="the feature table",
            remedy="look up by its whole primary key, or name a timestamp_lookup_key",
        ) from error
    return _numbers(found["row"])


def _as_of(
    left: pl.DataFrame,
    right: pl.DataFrame,
    asked: pl.Series,
    known: pl.Series,
    lag: timedelta,
) -> tuple[np.ndarray, np.ndarray]:
    """The number and the age (microseconds) of the latest feature row known at each time; -1 where there is none."""
    sorted_rows = _as_of_sorted(left, right, asked, known + _microseconds(lag))
    if sorted_rows is not None:
        return sorted_rows, _ages_of(sorted_rows, asked, known)
    names, n = left.columns, left.height
    spine = left.with_columns(asked.alias("t")).with_row_index("n").drop_nulls([*names, "t"]).sort("t")
    rows = right.with_columns((known + _microseconds(lag)).alias("t")).with_row_index("row")
    rows = rows.drop_nulls([*names, "t"]).sort("t", *(c for c in rows.columns if c == "event"))
    found = spine.join_asof(  # of equal times it takes the last
        rows.with_columns(at=pl.col("t")), on="t", by=names, strategy="backward", check_sortedness=False
    ).select("n", "row", age=pl.col("t") - pl.col("at") + _microseconds(lag))
    row, age = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    place = found["n"].to_numpy()
    row[place], age[place] = _numbers(found["row"]), found["age"].fill_null(0).to_numpy()
    return row, age


def _as_of_sorted(left: pl.DataFrame, right: pl.DataFrame, asked: pl.Series, known: pl.Series) -> np.ndarray | None:
    """What ``_as_of`` finds, where the spine is sorted by one whole-number key and time: by one binary search.

    Key and time make one number, by which the feature rows are sorted; neighbours in the spine then meet neighbours
    there, so that the search stays in the processor's caches. None where the rows are others: the caller joins them.
    """
    found = packed((left.to_series(), asked), (right.to_series(), known)) if left.width == 1 else None
    if found is None:
        return None
    (wanted, had), bits = found
    if (wanted[1:] < wanted[:-1]).any():
        return None
    order = None if (had[1:] > had[:-1]).all() else np.argsort(had, kind="stable")
    ordered = had if order is None else had[order]
    if (ordered[1:] == ordered[:-1]).any():  # several rows of one time: an event id decides
        return None
    place = np.searchsorted(ordered, wanted, side="right") - 1
    there = (place >= 0) & (ordered[place] >> bits == wanted >> bits)
    return np.where(there, place if order is None else order[place], -1)


def _whole(column: pl.Series) -> np.ndarray:
    return np.asarray(column.cast(pl.Int64).to_numpy())


def _ages_of(row: np.ndarray, asked: pl.Series, known: pl.Series) -> np.ndarray:
    """The ages of the rows ``row``, in microseconds; 0 where there is none."""
    return np.where(row >= 0, _whole(asked) - _whole(known)[row], 0)


def _numbers(rows: pl.Series) -> np.ndarray:
    return rows.cast(pl.Int64).fill_null(-1).to_numpy()


def _with_default(column: pl.Series, used: np.ndarray, default: object) -> pl.Series:
    value = _default(column, default)
    return (
        column.to_frame()
        .select(pl.when(pl.Series(used)).then(pl.first()).otherwise(pl.lit(value.item(), dtype=column.dtype)))
        .to_series()
    )


def _default(column: pl.Series, default: object) -> pl.Series:
    """``default`` in the type of ``column``, where that changes nothing about it."""
    try:
        value = pl.Series([default], strict=True).cast(column.dtype, strict=True)
    except (pl.exceptions.PolarsError, TypeError):
        value = None
    same_kind = isinstance(default, bool) == (column.dtype == pl.Boolean) or default is None
    if value is None or not same_kind or not _is_same(value.item(), default):
        raise SchemaMismatch(
            f"the default {default!r} of {column.name!r} is not {column.dtype}",
            where="default_values of the lookup",
            remedy="give a value of the feature's own type",
        )
    return value


def _is_same(value: object, default: object) -> bool:
    if isinstance(value, float) and isinstance(default, float) and math.isnan(default):
        return math.isnan(value)
    return value == default


def _statuses(looked: pl.DataFrame, state: np.ndarray, used: np.ndarray, defaulted: Collection[str]) -> pl.DataFrame:
    """The statuses of all columns in one pass: a wide table has a hundred."""
    of_row, found = pl.lit(pl.Series(state, dtype=pl.UInt8).cat.to(STATUS)), pl.lit(pl.Series(used, dtype=pl.Boolean))
    null, default = (pl.lit(s.value, dtype=STATUS) for s in (Status.NULL, Status.DEFAULTED))

    def status(column: pl.Series) -> pl.Expr:
        if column.name in defaulted:
            return pl.when(~found).then(default).when(pl.col(column.name).is_null()).then(null).otherwise(of_row)
        if column.null_count():
            return pl.when(found & pl.col(column.name).is_null()).then(null).otherwise(of_row)
        return of_row

    return looked.select(status(column).alias(column.name) for column in looked)


def _ages(age: np.ndarray | None, used: np.ndarray, height: int) -> pl.Series:
    if age is None:
        return pl.Series("age", [None] * height, dtype=pl.Duration("us"))
    return pl.Series("age", age).cast(pl.Duration("us")).set(pl.Series(~used), None)


def check_columns(
    spine: pl.DataFrame,
    features: pl.DataFrame,
    pairs: Sequence[tuple[str, str]],
    columns: Sequence[str],
    defaults: Mapping[str, object],
) -> None:
    """Check that the columns of a join exist.

    Raises:
        ColumnMissing: A key or time column is missing; the message has the nearest name.
        FeatureNotFound: A feature is missing, or a default is given for one that is not looked up.
    """
    asked, stored = {p[0] for p in pairs}, {p[1] for p in pairs}
    for frame, names, where in ((spine, asked, "the spine"), (features, stored, "the feature table")):
        for name in sorted(names - set(frame.columns)):
            near = did_you_mean(name, frame.columns)
            raise ColumnMissing(f"there is no column {name!r}", where=where, remedy=near)
    for name in columns:
        if name not in features.columns:
            near = did_you_mean(name, set(features.columns) - stored)
            raise FeatureNotFound(f"there is no feature {name!r}", where="the feature table", remedy=near)
    for name in defaults:
        if name not in columns:
            raise FeatureNotFound(
                f"a default is given for {name!r}, which is not looked up",
                where="default_values of the lookup",
                remedy=did_you_mean(name, columns),
            )
