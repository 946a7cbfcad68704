"""Reference and current data of a champion: its training rows as pinned, and its rows as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from karat.declare import ModelSpec
from karat.errors import ColumnMissing
from karat.inference import inputs_of
from karat.lake import Lake
from karat.lifecycle import ModelContext
from karat.monitoring.current_window import MIN_ROWS
from karat.monitoring.unfinished_day import find_unfinished_day
from karat.names import TableName
from karat.quality.unfinished_day import UnfinishedDay, unfinished_gold_day
from karat.registry import LoadedModel, ModelVersion
from karat.training.split import SPLIT, TEST
from karat.training_sets.spine import ROW_NUMBER

#: Greatest number of reference rows, and of current rows.
MAX_ROWS = 10_000
_SEED = 0


@dataclass(frozen=True)
class Champion:
    """A champion and where its rows are.

    Attributes:
        context: The declared model with lake and registry.
        version: The champion's version.
        loaded: The model that was judged.
        training_keys: Keys of its training set, in stored order, ``(rows, keys)``.
    """

    context: ModelContext
    version: ModelVersion
    loaded: LoadedModel
    training_keys: pl.DataFrame

    @classmethod
    def load(cls, context: ModelContext, version: ModelVersion) -> Champion:
        """Load a champion with the keys of its training set.

        Raises:
            ColumnMissing: The training set lacks a key column of the spine table as declared now.
        """
        registry, spec = context.registry, context.spec
        # The judged model has not learned from the test rows, and reference and current rows are seen by the same one.
        loaded = registry.load(version, judged=True)
        champion = cls(context, version, loaded, registry.spine(version).sort(ROW_NUMBER))
        for column in champion.key:
            if column not in champion.training_keys.columns:
                raise ColumnMissing(
                    f"the training set of {version.uri} has no column {column!r}, which is now part of the key of "
                    f"{spec.spine_table!r}",
                    where=f"columns: {', '.join(champion.training_keys.columns)}",
                    remedy=f"train the model again: karat run {context.project.name} --models {spec.name}",
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
        """The time column of its rows; None without time."""
        return self.context.spine.time

    @property
    def key(self) -> list[str]:
        """The spine table's key columns."""
        return list(self.context.spine.primary_key)

    @property
    def columns(self) -> list[str]:
        """The key, and the event columns by which the champion's own lookups find their rows."""
        events = {f.name for f in self.context.spine.stored if f.event}
        more = [c for c in self.training_keys.columns if c in events and c not in self.key and c != self.spec.target]
        return [*self.key, *more]

    @property
    def pinned_versions(self) -> dict[TableName, int]:
        """The Delta version of each feature table that the training set pins."""
        return {lookup.table: lookup.version for lookup in self.loaded.lookups}

    @property
    def trained_until(self) -> date | None:
        """The day of the newest row in its training set; None without time."""
        return None if self.time is None else _latest_day(self.training_keys[self.time])

    @property
    def first_test_day(self) -> date | None:
        """The first day of its test rows, from which on the judged model has learned nothing; None without time."""
        return None if self.time is None else _first_day(self.training_rows((TEST,))[self.time])

    @property
    def latest_day(self) -> date | None:
        """The newest day of its spine table that has ended; None without time."""
        left_out = self.unfinished_day
        return max((d for d in self.rows_by_day if left_out is None or d < left_out.day), default=None)

    @cached_property
    def unfinished_day(self) -> UnfinishedDay | None:
        """The last day of its spine table, if that day has clearly not ended in the data; None without time."""
        project, source = self.context.project, self.context.spine.source
        of_gold = unfinished_gold_day(self.lake, project.gold_name(source), project.gold[source])
        return find_unfinished_day(self.rows_by_day, of_gold)

    @cached_property
    def rows_by_day(self) -> dict[date, int]:
        """Rows of each day of its spine table; none without time."""
        return {} if self.time is None else self.lake.rows_by_day(self._spine)

    @property
    def is_unchanged(self) -> bool:
        """Whether its feature tables are still at the pinned versions."""
        return all(self.lake.version(table) == version for table, version in self.pinned_versions.items())

    @property
    def _spine(self) -> TableName:
        return self.context.spine_name

    def current_rows(
        self, first: date | None = None, last: date | None = None, parts: Sequence[str] = ()
    ) -> ChampionRows:
        """Read rows as they are now.

        Args:
            first: First day; None reads all rows of a table without time.
            last: Last day.
            parts: Parts of the split; without time, reads the rows of these parts and all rows since.

        Returns:
            The rows.
        """
        days = None if first is None or last is None else (first, last)
        keys = self.lake.scan(self._spine, days=days).select(self.columns).collect()
        if parts and self.time is None:
            # Leave out rows that were there then and belong to no part: training rows and rows without a label.
            others = self._pinned_keys().join(self.training_rows(parts), on=self.key, how="anti", nulls_equal=True)
            keys = keys.join(others, on=self.key, how="anti", nulls_equal=True)
        return self._read_rows(keys.sort(self.key), None)

    def pinned_rows(self, first: date, last: date) -> ChampionRows:
        """Read all rows of these days at the pinned versions, with or without a label."""
        return self._read_rows(self._pinned_keys((first, last)).sort(self.key), self.pinned_versions)

    def _pinned_keys(self, days: tuple[date, date] | None = None) -> pl.DataFrame:
        """Return the keys of the spine table at the pinned version."""
        name = self._spine
        sources = self.loaded.metadata.pins["sources"]
        version = self.pinned_versions.get(name, sources.get(str(name)))
        source, stands = (name, None) if version is None else self.lake.pinned_source(name, version)
        return self.lake.scan(source, stands, days=days).select(self.columns).collect()

    def training_rows(self, parts: Sequence[str] = (), before: date | None = None) -> pl.DataFrame:
        """Return keys of the training set.

        Args:
            parts: Parts of the split; all if empty.
            before: Return rows before this day; rows of all days if fewer than ``MIN_ROWS`` are left.

        Returns:
            The keys, ``(rows, keys)``.
        """
        rows = self.training_keys
        if parts:
            rows = rows.filter(pl.col(SPLIT).cast(pl.String).is_in(list(parts)))
        if before is None or self.time is None:
            return rows
        earlier = rows.filter(pl.col(self.time).cast(pl.Date) < before)
        return earlier if earlier.height >= MIN_ROWS else rows

    def reference_rows(self, rows: pl.DataFrame) -> ChampionRows:
        """Read rows of the training set at the pinned versions."""
        return self._read_rows(rows, self.pinned_versions)

    def _read_rows(self, rows: pl.DataFrame, versions: dict[TableName, int] | None) -> ChampionRows:
        chosen = sample_rows(rows)
        keys = chosen.select(self.columns)
        inputs = inputs_of(
            self.lake, self.loaded, keys, missing="null", versions=versions, library=self.context.functions
        )
        days = None if self.time is None else chosen[self.time].cast(pl.Date)
        return ChampionRows(chosen, inputs.values, days, rows.height)


@dataclass(frozen=True)
class ChampionRows:
    """Rows of a champion.

    Attributes:
        keys: Keys of the sampled rows, ``(rows, keys)``.
        inputs: What the model reads, ``(rows, features)``.
        days: Day of each row; None without time.
        total: Number of rows before sampling.
    """

    keys: pl.DataFrame
    inputs: pl.DataFrame
    days: pl.Series | None
    total: int

    @property
    def rows(self) -> int:
        """Number of sampled rows."""
        return self.inputs.height


def sample_rows(rows: pl.DataFrame, most: int = MAX_ROWS) -> pl.DataFrame:
    """Return a fixed sample of ``most`` rows in their order, or all if there are no more."""
    if rows.height <= most:
        return rows
    places = np.random.default_rng(_SEED).choice(rows.height, most, replace=False)
    return rows[np.sort(places)]


def _first_day(times: pl.Series) -> date | None:
    found = times.cast(pl.Date).min()
    assert found is None or isinstance(found, date)
    return found


def _latest_day(times: pl.Series) -> date | None:
    found = times.cast(pl.Date).max()
    assert found is None or isinstance(found, date)
    return found
