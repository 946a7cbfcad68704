"""Conversion between Polars, pandas and Arrow frames: Polars inside, the caller's kind outside."""

from __future__ import annotations

from typing import Any, Literal, get_args

import narwhals.stable.v2 as nw
import polars as pl

from karat.errors import WrongCall, did_you_mean

#: A Polars, pandas or Arrow frame.
Frame = Any
FrameKind = Literal["polars", "pandas", "arrow"]


def to_polars(frame: Frame) -> pl.DataFrame:
    """Convert a frame to Polars. Rows keep their order; a pandas index is dropped.

    pandas has no dates: a naive column that holds midnights alone becomes dates, any other becomes naive times.

    Raises:
        WrongCall: It is not a frame.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        native = nw.from_native(frame)
    except TypeError as error:
        raise WrongCall(
            f"a {type(frame).__name__} is not a frame", remedy="give a Polars, pandas or Arrow frame"
        ) from error
    eager = native.collect() if isinstance(native, nw.LazyFrame) else native
    rows = eager.to_polars()
    return _cast_midnights_to_dates(rows) if eager.implementation.is_pandas() else rows


def _cast_midnights_to_dates(frame: pl.DataFrame) -> pl.DataFrame:
    naive = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone is None]
    days = [n for n in naive if frame[n].count() and (frame[n] == frame[n].dt.truncate("1d")).all()]
    return frame.with_columns(pl.col(days).cast(pl.Date))


def convert_frame(frame: pl.DataFrame, kind: FrameKind) -> Frame:
    """Convert a Polars frame to ``kind``.

    Raises:
        WrongCall: There is no such kind.
    """
    if kind not in get_args(FrameKind):
        raise WrongCall(f"there is no kind of frame {kind!r}", remedy=did_you_mean(kind, get_args(FrameKind)))
    return {"polars": lambda: frame, "pandas": frame.to_pandas, "arrow": frame.to_arrow}[kind]()


def convert_like(out: pl.DataFrame, given: Frame) -> Frame:
    """Convert ``out`` to the kind of ``given``; pandas keeps its index if both have as many rows."""
    if isinstance(given, pl.DataFrame):
        return out
    if isinstance(given, pl.LazyFrame):
        return out.lazy()
    kind = nw.from_native(given).implementation
    if kind.is_pyarrow():
        return out.to_arrow()
    if kind.is_pandas():
        frame = out.to_pandas()
        if len(frame) == len(given):
            frame.index = given.index
        return frame
    return out


def append_columns(given: Frame, added: pl.DataFrame) -> Frame:
    """Return ``given`` with the columns of ``added`` to the right."""
    if isinstance(given, pl.DataFrame):
        return given.with_columns(added)
    native = nw.from_native(given)
    if native.implementation.is_pandas():
        extra = added.to_pandas()
        extra.index = given.index
        return given.assign(**{name: extra[name] for name in added.columns})
    if native.implementation.is_pyarrow():
        for name, column in zip(added.columns, added.to_arrow().columns, strict=True):
            given = given.append_column(name, column)
        return given
    return convert_like(to_polars(given).with_columns(added), given)
