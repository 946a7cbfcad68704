"""BLAKE2 over canonical Arrow: the same rows in the same order give the same digest, whatever file they came from."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def digest(frame: pl.DataFrame) -> str:
    """32 hexadecimal digits over names, types and values, column by column, in the frame's row order.

    Canonical means: null positions as one bit each; under a null nothing counts; text as lengths and UTF-8 bytes;
    every NaN is the same NaN and -0.0 is 0.0; times as UTC microseconds.
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(f"rows {frame.height}".encode())
    for name in frame.columns:
        series = _plain(frame.get_column(name))
        state.update(f"\x00{name}\x00{series.dtype}\x00".encode())
        state.update(np.packbits(series.is_null().to_numpy()).tobytes())
        for piece in _values(series):
            state.update(piece)
    return state.hexdigest()


def _plain(series: pl.Series) -> pl.Series:
    """Types that mean the same thing become one: categories are text, times are UTC microseconds."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    if isinstance(series.dtype, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series
        return utc.dt.cast_time_unit("us")
    return series


def _values(series: pl.Series) -> list[bytes]:
    if series.dtype == pl.String:
        text = series.fill_null("")
        return [_bytes(text.str.len_bytes().cast(pl.Int64)), "".join(text.to_list()).encode()]
    if series.dtype == pl.Boolean:
        return [np.packbits(series.fill_null(False).to_numpy()).tobytes()]
    if series.dtype.is_temporal():
        return [_bytes(series.to_physical().cast(pl.Int64).fill_null(0))]
    if series.dtype.is_float():
        # In NumPy adding 0.0 turns -0.0 into 0.0; Polars leaves such an addition out.
        return [(series.fill_null(0.0).fill_nan(float("nan")).to_numpy() + 0.0).tobytes()]
    if series.dtype.is_integer():
        return [_bytes(series.fill_null(0))]
    if isinstance(series.dtype, pl.Array):
        flat = _plain(series.explode()) if len(series) else pl.Series([], dtype=series.dtype.inner)
        return [np.packbits(flat.is_null().to_numpy()).tobytes(), *_values(flat)]
    # Nested values are few (lists of ids in a spine): their JSON is canonical enough, field order being the type's.
    return [str(series.to_list()).encode()]


def _bytes(series: pl.Series) -> bytes:
    return np.ascontiguousarray(series.to_numpy()).tobytes()
