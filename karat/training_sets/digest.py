"""BLAKE2 digest over canonical Arrow: equal rows in equal order give the same digest, whatever file they came from."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def digest(frame: pl.DataFrame) -> str:
    """Hash names, types and values, column by column, in the frame's row order.

    Canonical means: null positions as one bit each, and no value under a null; text as lengths and UTF-8 bytes; one NaN
    for all, and 0.0 for -0.0; times as UTC microseconds.

    Args:
        frame: The frame, ``(rows, columns)``.

    Returns:
        32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(f"rows {frame.height}".encode())
    for name in frame.columns:
        series = _normalize_type(frame.get_column(name))
        state.update(f"\x00{name}\x00{series.dtype}\x00".encode())
        state.update(np.packbits(series.is_null().to_numpy()).tobytes())
        for piece in _value_bytes(series):
            state.update(piece)
    return state.hexdigest()


def _normalize_type(series: pl.Series) -> pl.Series:
    """Cast types of equal meaning to one: categories to text, times to UTC microseconds."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    if isinstance(series.dtype, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series
        return utc.dt.cast_time_unit("us")
    return series


def _value_bytes(series: pl.Series) -> list[bytes]:
    if series.dtype == pl.String:
        text = series.fill_null("")
        return [_array_bytes(text.str.len_bytes().cast(pl.Int64)), "".join(text.to_list()).encode()]
    if series.dtype == pl.Boolean:
        return [np.packbits(series.fill_null(False).to_numpy()).tobytes()]
    if series.dtype.is_temporal():
        return [_array_bytes(series.to_physical().cast(pl.Int64).fill_null(0))]
    if series.dtype.is_float():
        # In NumPy adding 0.0 turns -0.0 into 0.0; Polars leaves such an addition out.
        return [(series.fill_null(0.0).fill_nan(float("nan")).to_numpy() + 0.0).tobytes()]
    if series.dtype in (pl.Int128, pl.UInt128):  # NumPy has no integers of this width
        return _value_bytes(series.cast(pl.String))
    if series.dtype.is_integer():
        return [_array_bytes(series.fill_null(0))]
    if isinstance(series.dtype, pl.Array):
        flat = _normalize_type(series.explode()) if len(series) else pl.Series([], dtype=series.dtype.inner)
        return [np.packbits(flat.is_null().to_numpy()).tobytes(), *_value_bytes(flat)]
    # Nested values are few (lists of ids in a spine): their JSON is canonical enough, field order being the type's.
    return [str(series.to_list()).encode()]


def _array_bytes(series: pl.Series) -> bytes:
    return np.ascontiguousarray(series.to_numpy()).tobytes()
