"""How many rows a drafted model would learn from, counted in the gold table that the lake has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import polars as pl

from karat.declare import FeatureTable, GoldTable
from karat.lake import Lake
from karat.names import TableName

#: A gold table of more rows is large whatever its entities: only its rows are counted.
_LARGE = 2_000_000


@dataclass(frozen=True)
class RowCount:
    """The rows of a feature table, as gold lets one foresee them.

    Attributes:
        rows: Rows: events, days of entities, or entities.
        days: Days from the first to the last; None without time, or if they were not counted.
    """

    rows: int
    days: int | None = None

    @property
    def per_day(self) -> float | None:
        """Rows of a day; None if the days are unknown."""
        return self.rows / self.days if self.days else None


def count_rows(lake: Lake, name: TableName, gold: GoldTable, spine: FeatureTable) -> RowCount:
    """Count the rows that ``spine`` has where gold is as it is now.

    Args:
        lake: The lake.
        name: The gold table in the lake.
        gold: Its declaration.
        spine: The feature table on it.

    Returns:
        The count.
    """
    total = lake.count(name)
    if total > _LARGE or total == 0:
        return RowCount(total)
    entity = pl.struct(spine.entity)
    if spine.time is None or gold.event_time is None:
        return RowCount(cast(int, lake.scan(name).select(entity.n_unique()).collect().item()))
    day = pl.col(gold.event_time).cast(pl.Date)
    rows = pl.struct(*spine.entity, day.alias("__day__")).n_unique() if spine.row_span is not None else pl.len()
    span = (day.max() - day.min()).dt.total_days() + 1
    found = lake.scan(name).filter(day.is_not_null()).select(rows=rows, days=span).collect()
    return RowCount(*cast(tuple[int, int], found.row(0)))
