"""Sort order of rows by their key: checking it is far cheaper than sorting or searching for duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def is_strictly_increasing(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether each row's key is greater than the key of the row before it.

    Args:
        frame: The rows.
        keys: The key columns.

    Returns:
        True if the frame is sorted and has no duplicate key. False means nothing: floats and missing keys are not
        compared.
    """
    if not keys or not all(_has_order(frame.schema[k]) for k in keys):
        return False
    last = frame.height - 1
    if last < 1:
        return all(frame[k].null_count() == 0 for k in keys)
    greater = pl.lit(False)
    for key in reversed(keys):
        later, earlier = pl.col(key).slice(1, last), pl.col(key).slice(0, last)
        greater = (later > earlier) | ((later == earlier) & greater)
    return frame.select(greater.all(ignore_nulls=False)).item() is True


def _has_order(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype.is_temporal() or dtype == pl.String
