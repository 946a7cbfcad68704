"""Frames of Polars, pandas and Arrow: taken as Polars, given back as the kind that came."""

from __future__ import annotations

from typing import Any, Literal, get_args

import narwhals.stable.v2 as nw
import polars as pl

from karat.errors import WrongCall, did_you_mean

#: A Polars, pandas or Arrow frame.
Frame = Any
Kind = Literal["polars", "pandas", "arrow"]


def to_polars(frame: Frame) -> pl.DataFrame:
    """Raises WrongCall for anything that is no frame. Rows keep their order; a pandas index is left out.

    pandas has no dates: a naive column of its that holds midnights alone is taken as dates, any other as naive times.
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
    return _dated(rows) if eager.implementation.is_pandas() else rows


def _dated(frame: pl.DataFrame) -> pl.DataFrame:
    naive = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone is None]
    days = [n for n in naive if frame[n].count() and (frame[n] == frame[n].dt.truncate("1d")).all()]
    return frame.with_columns(pl.col(days).cast(pl.Date))


def as_kind(frame: pl.DataFrame, kind: Kind) -> Frame:
    """Raises WrongCall for another kind."""
    if kind not in get_args(Kind):
        raise WrongCall(f"{kind!r} is no kind of frame", remedy=did_you_mean(kind, get_args(Kind)))
    return {"polars": lambda: frame, "pandas": frame.to_pandas, "arrow": frame.to_arrow}[kind]()


def like(out: pl.DataFrame, given: Frame) -> Frame:
    """``out`` as the kind of ``given``; for pandas with its index, where the rows are the same."""
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


def beside(given: Frame, added: pl.DataFrame) -> Frame:
    """``given`` as it is, with the columns of ``added`` to the right of its own."""
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
    return like(to_polars(given).with_columns(added), given)
