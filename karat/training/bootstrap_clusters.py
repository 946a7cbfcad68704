"""Which test rows stand or fall together: what is drawn as one when a figure's interval is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from karat.declare.base import DAY

#: With fewer entities than this, their rows are cut into stretches of time as well.
FEWEST = 20


@dataclass(frozen=True)
class BootstrapClusters:
    """``codes`` (rows,) numbers each row's group, 0 to ``number`` - 1; ``what`` says what a group is, in the plural."""

    codes: np.ndarray
    number: int
    what: str


def bootstrap_clusters(
    rows: pl.DataFrame, *, entity: Sequence[str], time: str | None, horizon: timedelta
) -> BootstrapClusters:
    """By entity: the rows of one entity resemble each other (and their labels' windows overlap), so that they count as
    one observation. Of fewer than ``FEWEST`` entities each is cut into stretches of time that are as long as a label
    takes to be known, a day at least. Rows without known keys are groups of their own."""
    keys = [c for c in entity if c in rows.columns]
    if not keys:
        return BootstrapClusters(np.arange(rows.height), rows.height, "rows")
    codes = _numbered(rows.select(keys))
    number = int(codes.max()) + 1
    if number >= FEWEST or time is None or time not in rows.columns:
        return BootstrapClusters(codes, number, "entities")
    length = max(horizon, DAY)
    since = rows[time].cast(pl.Datetime("us")).to_physical().to_numpy()
    stretch = (since - since.min()) // (length // timedelta(microseconds=1))
    codes = _numbered(pl.DataFrame({"entity": codes, "stretch": stretch}))
    days = length / DAY
    return BootstrapClusters(
        codes, int(codes.max()) + 1, f"stretches of {days:g} day{'s' if days != 1 else ''} of an entity"
    )


def _numbered(keys: pl.DataFrame) -> np.ndarray:
    return keys.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
