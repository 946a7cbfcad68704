"""Clusters of dependent test rows, which a bootstrap draws as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from karat.clock import DAY, MICROSECOND

#: With fewer entities than this, clusters are stretches of time of an entity.
MIN_ENTITIES = 20


@dataclass(frozen=True)
class BootstrapClusters:
    """Assignment of rows to clusters.

    Attributes:
        codes: Each row's cluster, 0 to ``number`` - 1, ``(rows,)``.
        number: Number of clusters.
        unit: What a cluster is, in the plural.
    """

    codes: np.ndarray
    number: int
    unit: str


def bootstrap_clusters(
    rows: pl.DataFrame, *, entity: Sequence[str], time: str | None, horizon: timedelta
) -> BootstrapClusters:
    """Cluster rows by entity: rows of one entity resemble each other, and the windows of their labels overlap.

    With fewer than ``MIN_ENTITIES`` entities, each entity is cut into stretches of time as long as the label's horizon,
    at
    least a day. Rows without known keys are clusters of their own.

    Args:
        rows: Test rows with keys and times, ``(rows, columns)``.
        entity: The entity's columns.
        time: The time column.
        horizon: Time from a row until its label is known.

    Returns:
        The clusters.
    """
    keys = [c for c in entity if c in rows.columns]
    if not keys:
        return BootstrapClusters(np.arange(rows.height), rows.height, "rows")
    codes = _cluster_codes(rows.select(keys))
    number = int(codes.max()) + 1
    if number >= MIN_ENTITIES or time is None or time not in rows.columns:
        return BootstrapClusters(codes, number, "entities")
    length = max(horizon, DAY)
    since = rows[time].cast(pl.Datetime("us")).to_physical().to_numpy()
    stretch = (since - since.min()) // (length // MICROSECOND)
    codes = _cluster_codes(pl.DataFrame({"entity": codes, "stretch": stretch}))
    days = length / DAY
    return BootstrapClusters(
        codes, int(codes.max()) + 1, f"stretches of {days:g} day{'s' if days != 1 else ''} of an entity"
    )


def _cluster_codes(keys: pl.DataFrame) -> np.ndarray:
    return keys.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
