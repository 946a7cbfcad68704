"""What a champion learned from and what it reads now: two frames of the same columns, of a bounded number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from karat.declare import ModelSpec
from karat.errors import ColumnMissing
from karat.inference import inputs_of
from karat.lake import Lake
from karat.lifecycle import ModelContext
from karat.monitoring.drift_history import FEWEST
from karat.names import TableName
from karat.registry import LoadedModel, ModelVersion
from karat.training.split import SPLIT
from karat.training_sets.spine import ROW_NUMBER

#: Rows of either side that are looked at, at most.
MOST = 10_000
_SEED = 0


@dataclass(frozen=True)
class Champion:
    """A champion and where its rows are; ``time`` is the time column of its rows, None where they have none."""

    context: ModelContext
    version: ModelVersion
    loaded: LoadedModel
    learned: pl.DataFrame

    @classmethod
    def of(cls, context: ModelContext, version: ModelVersion) -> Champion:
        """With the keys of its training set, in their stored order. Raises ColumnMissing where these are not of the
        spine table that is declared by now."""
        registry, spec = context.registry, context.spec
        champion = cls(context, version, registry.load(version), registry.spine(version).sort(ROW_NUMBER))
        for column in champion.key:
            if column not in champion.learned.columns:
                raise ColumnMissing(
                    f"the rows that {version.uri} learned from have no column {column!r}, by which "
                    f"{spec.spine_table!r} tells its rows apart",
                    where=f"columns: {', '.join(champion.learned.columns)}",
                    remedy="train the model on the rows declared now: "
                    f"karat run {context.project.name} --models {spec.name}",
                )
        return champion

    @property
    def spec(self) -> ModelSpec:
        """The model's declaration."""
        return self.context.spec

    @property
    def lake(self) -> Lake:
        """The tables that the champion reads."""
        return self.context.lake

    @property
    def time(self) -> str | None:
        return self.context.spine.time

    @property
    def key(self) -> list[str]:
        """The columns that tell its rows apart."""
        return list(self.context.spine.primary_key)

    @property
    def columns(self) -> list[str]:
        """The key, and what else of the spine's events the champion's own lookups find their rows by: a lookup declared
        since may bring a further column, and one taken away its column, too."""
        events = {f.name for f in self.context.spine.stored if f.event}
        more = [c for c in self.learned.columns if c in events and c not in self.key and c != self.spec.target]
        return [*self.key, *more]

    @property
    def pinned(self) -> dict[TableName, int]:
        """Feature table -> the Delta version that the training set pins."""
        return {lookup.table: lookup.version for lookup in self.loaded.lookups}

    @property
    def trained_until(self) -> date | None:
        """The day of the newest row that it learned from or was tested on."""
        return None if self.time is None else _newest(self.learned[self.time])

    @property
    def newest(self) -> date | None:
        """The day of the newest row that its spine table has now."""
        if self.time is None:
            return None
        return _newest(self.lake.scan(self._spine).select(pl.col(self.time).max()).collect().to_series())

    @property
    def unchanged(self) -> bool:
        """Whether its feature tables stand at the very versions that its training set pins."""
        return all(self.lake.version(table) == version for table, version in self.pinned.items())

    @property
    def _spine(self) -> TableName:
        return self.context.spine_name

    def current(self, first: date | None = None, last: date | None = None, parts: Sequence[str] = ()) -> Side:
        """The rows of these days as they stand now; all rows of a table without time: with ``parts`` those of these
        parts of its split, and those that have come since."""
        days = None if first is None or last is None else (first, last)
        keys = self.lake.scan(self._spine, days=days).select(self.columns).collect()
        if parts and self.time is None:
            # What stood there then and is in none of the parts: learned from, or without a label.
            others = self._stood().join(self.learned_from(parts), on=self.key, how="anti", nulls_equal=True)
            keys = keys.join(others, on=self.key, how="anti", nulls_equal=True)
        return self._side(keys.sort(self.key), None)

    def every(self, first: date, last: date) -> Side:
        """All rows that these days had in the tables that the training set pins, with or without a label."""
        return self._side(self._stood((first, last)).sort(self.key), self.pinned)

    def _stood(self, days: tuple[date, date] | None = None) -> pl.DataFrame:
        """The keys of the spine table at the version that the training set pins."""
        name = self._spine
        sources = self.loaded.metadata.pins["sources"]
        version = self.pinned.get(name, sources.get(str(name)))
        source, stands = (name, None) if version is None else self.lake.pinned_source(name, version)
        return self.lake.scan(source, stands, days=days).select(self.columns).collect()

    def learned_from(self, parts: Sequence[str] = (), before: date | None = None) -> pl.DataFrame:
        """The rows of the training set: those of ``parts`` of its split, ``before`` a day; all days where that leaves
        fewer than ``FEWEST``."""
        rows = self.learned
        if parts:
            rows = rows.filter(pl.col(SPLIT).cast(pl.String).is_in(list(parts)))
        if before is None or self.time is None:
            return rows
        earlier = rows.filter(pl.col(self.time).cast(pl.Date) < before)
        return earlier if earlier.height >= FEWEST else rows

    def reference(self, rows: pl.DataFrame) -> Side:
        """Rows of the training set as they were, at the versions that it pins."""
        return self._side(rows, self.pinned)

    def _side(self, rows: pl.DataFrame, versions: dict[TableName, int] | None) -> Side:
        chosen = sampled(rows)
        keys = chosen.select(self.columns)
        inputs, _ = inputs_of(
            self.lake, self.loaded, keys, missing="null", versions=versions, library=self.context.functions
        )
        days = None if self.time is None else chosen[self.time].cast(pl.Date)
        return Side(chosen, inputs, days, rows.height)


@dataclass(frozen=True)
class Side:
    """``keys`` and ``inputs`` (what the model reads) of the rows that were looked at, of ``total`` there are; ``days``:
    the day of each."""

    keys: pl.DataFrame
    inputs: pl.DataFrame
    days: pl.Series | None
    total: int

    @property
    def rows(self) -> int:
        return self.inputs.height


def sampled(rows: pl.DataFrame, most: int = MOST) -> pl.DataFrame:
    """``most`` of the rows in their order, the same ones each time; all where there are no more."""
    if rows.height <= most:
        return rows
    places = np.random.default_rng(_SEED).choice(rows.height, most, replace=False)
    return rows[np.sort(places)]


def _newest(times: pl.Series) -> date | None:
    found = times.cast(pl.Date).max()
    assert found is None or isinstance(found, date)
    return found
