"""Whether rows already are in the order of their key: far cheaper to see than to sort them or to look for doubles."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def strictly_increasing(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether each row's key is greater than that of the row before, so that the frame is sorted and no key is there
    twice. False says neither: floats, missing keys and the like are not looked at closely."""
    if not keys or not all(_ordered(frame.schema[k]) for k in keys):
        return False
    last = frame.height - 1
    if last < 1:
        return all(frame[k].null_count() == 0 for k in keys)
    greater = pl.lit(False)
    for key in reversed(keys):
        later, earlier = pl.col(key).slice(1, last), pl.col(key).slice(0, last)
        greater = (later > earlier) | ((later == earlier) & greater)
    return frame.select(greater.all(ignore_nulls=False)).item() is True


def _ordered(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype.is_temporal() or dtype == pl.String
