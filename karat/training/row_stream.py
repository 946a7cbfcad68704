"""Rows of a training set in files, as the workers of a fit stream them: one process reads no features of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from karat.declare.declared_model import DeclaredModel
from karat.declare.models import UNSUPERVISED
from karat.executors import Executor, LocalExecutor
from karat.kinds import EncoderStatistics
from karat.lake import Lake
from karat.training_sets.files import ROW_GROUP, Part, TrainingSetFiles
from karat.training_sets.protected_columns import with_protected
from karat.training_sets.sharded_build import FileTrainingSet

#: Up to so many rows, validation rows are drawn in the order of the key, as one process draws them. Above, the keys
#: would not fit in the memory of one process, and the order is that of the files.
ORDERED_ROWS = 1 << 25
#: Rows whose protected columns are looked up at a time: each look-up reads a feature table.
_LOOKED_UP_ROWS = 1 << 21

#: Returns which rows are used, ``(rows,)``.
RowFilter = Callable[[pl.DataFrame], pl.Series]


class RowFiles(Protocol):
    """Rows in files that every worker reads, in a fixed order; ``TrainingSetFiles`` and ``RowStream`` are some."""

    def batches(self, shard: int = 0, of: int = 1, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream consecutive rows: rows ``n * shard // of`` to ``n * (shard + 1) // of`` of all n rows."""
        ...


@dataclass(frozen=True)
class RowStream:
    """Rows of one part of a training set, or of all parts, less those that a fit leaves out.

    Attributes:
        files: The training set's files.
        part: The part; None for all rows.
        rows: Number of rows that are used.
        used: Which rows of the part are used, a bit a row; None if all are.
    """

    files: TrainingSetFiles
    part: Part | None
    rows: int
    used: np.ndarray | None = field(default=None, repr=False)

    def batches(self, shard: int = 0, of: int = 1, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream consecutive rows: rows ``n * shard // of`` to ``n * (shard + 1) // of`` of the n used rows."""
        if self.used is None:
            yield from self.files.batches(shard, of, self.part, columns)
            return
        first, end = self.rows * shard // of, self.rows * (shard + 1) // of
        before = np.cumsum(np.bitwise_count(self.used), dtype=np.int64)  # used rows up to each byte's last
        byte = int(np.searchsorted(before, first, side="right"))
        place, skipped = 8 * byte, int(before[byte - 1]) if byte else 0
        for batch in self.files.rows_between(place, self.files.count(self.part), self.part, columns):
            if skipped >= end:
                return
            chosen = np.flatnonzero(self._used(place, place + batch.num_rows))
            place += batch.num_rows
            low, high = max(first - skipped, 0), min(end - skipped, len(chosen))
            skipped += len(chosen)
            if low < high:
                yield batch.take(pa.array(chosen[low:high]))

    def _used(self, first: int, end: int) -> np.ndarray:
        """Which of the part's rows ``first`` to ``end`` are used; ``first`` is the first of a byte, or not."""
        assert self.used is not None
        begin = first // 8
        return np.unpackbits(self.used[begin : -(-end // 8)])[first - 8 * begin : end - 8 * begin].astype(bool)


@dataclass(frozen=True)
class LearnedRows:
    """What one process reads of the rows that workers learn from.

    Attributes:
        stream: The rows.
        label: Their labels, ``(rows,)``.
        order: Their times, ``(rows,)``; None without a time.
        place: The numbers of the rows in the order of their key, ``(rows,)``; None if they are too many.
        groups: Their protected columns, ``(rows, columns)``; None if they are not needed.
    """

    stream: RowStream
    label: pl.Series = field(repr=False)
    order: np.ndarray | None = field(default=None, repr=False)
    place: np.ndarray | None = field(default=None, repr=False)
    groups: pl.DataFrame | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RowSource:
    """The files of a declared training set, and how its rows are read.

    Attributes:
        files: The files.
        features: Columns that a model reads.
        label: The label's column.
        key: The spine's key.
        spine: The spine's columns.
        time: The time column; None without one.
        protected: Returns the protected columns of rows that have the spine's columns; None without such columns.
        executor: Counts the texts of shards.
    """

    files: TrainingSetFiles
    features: tuple[str, ...]
    label: str
    key: tuple[str, ...]
    spine: tuple[str, ...]
    time: str | None
    executor: Executor
    protected: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    @classmethod
    def of_declared(
        cls, model: DeclaredModel, lake: Lake, whole: FileTrainingSet, executor: Executor | None = None
    ) -> RowSource | None:
        """Return the files of a model's training set; None for a model that learns no label.

        Args:
            model: The declared model.
            lake: Holds the feature tables, from which protected columns are looked up.
            whole: The training set.
            executor: Counts the texts of shards; in this process by default.
        """
        if whole.label is None or model.spec.task in UNSUPERVISED:
            return None
        return cls(
            files=whole.files,
            features=whole.features,
            label=whole.label,
            key=tuple(model.spine.primary_key),
            spine=tuple(model.spine_columns),
            time=model.spine.time,
            executor=executor or LocalExecutor(),
            protected=partial(with_protected, model, lake) if model.spec.protected else None,
        )

    @property
    def width(self) -> int:
        """Values of a row."""
        types = self._empty().schema
        return sum(int(np.prod(t.shape)) if isinstance(t, pl.Array) else 1 for t in map(types.get, self.features))

    def days(self, part: Part) -> pl.Series | None:
        """Return the days of a part, each once, ascending; None without a time."""
        if self.time is None:
            return None
        days = self.files.scan(part).select(pl.col(self.time).cast(pl.Date).unique())
        return days.collect(engine="streaming").to_series().drop_nulls().sort()

    def read(self, part: Part | None, used: RowFilter | None, *, grouped: bool = False) -> LearnedRows:
        """Read the labels, times and keys of the rows that a fit uses.

        Args:
            part: The part; None for all rows.
            used: Which rows are used, by their spine and label; all if None.
            grouped: Whether the protected columns are needed.
        """
        ordered = self.files.count(part) <= ORDERED_ROWS
        kept = list(dict.fromkeys([self.label, *([self.time] if self.time else []), *(self.key if ordered else ())]))
        bits: list[np.ndarray] = []
        frames: list[pl.DataFrame] = []
        groups: list[pl.DataFrame] = []
        for rows in self._chunks(part, _LOOKED_UP_ROWS if grouped else ROW_GROUP):
            chosen = rows
            if used is not None:
                bits.append(used(rows).to_numpy())
                chosen = rows.filter(bits[-1])
            frames.append(chosen.select(kept))
            if grouped and self.protected is not None:
                groups.append(self.protected(chosen.select(self.spine)).cast(pl.Categorical))
        whole = pl.concat(frames)
        packed = np.packbits(np.concatenate(bits)) if bits else None
        return LearnedRows(
            stream=RowStream(self.files, part, whole.height, packed),
            label=whole[self.label],
            order=whole[self.time].to_physical().to_numpy() if self.time else None,
            place=whole.select(pl.arg_sort_by(list(self.key))).to_series().to_numpy() if ordered else None,
            groups=pl.concat(groups) if groups else None,
        )

    def statistics(self, stream: RowStream, features: Sequence[str], *, sequences: bool) -> EncoderStatistics:
        """Return what an encoder learns of the rows, summed over shards; the counts of texts are exact."""
        empty = EncoderStatistics.of(self._empty().select(features), sequences=sequences)
        if not empty.texts:
            return empty
        of = self.executor.workers
        shards = [_TextShard(stream, tuple(features), sequences, shard, of) for shard in range(of)]
        return reduce(add, (found for _, found in self.executor.map(count_texts, shards)), empty)

    def _empty(self) -> pl.DataFrame:
        empty = pl.from_arrow(self.files.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return empty

    def _chunks(self, part: Part | None, rows: int) -> Iterator[pl.DataFrame]:
        """Read the spine's columns and the label, at least ``rows`` rows at a time."""
        columns = list(dict.fromkeys([*self.spine, self.label]))
        waiting: list[pa.RecordBatch] = []
        for batch in self.files.batches(part=part, columns=columns):
            waiting.append(batch)
            if sum(b.num_rows for b in waiting) >= rows:
                yield pl.DataFrame(pl.from_arrow(waiting))
                waiting = []
        if waiting:
            yield pl.DataFrame(pl.from_arrow(waiting))


@dataclass(frozen=True)
class _TextShard:
    """A shard of rows whose texts one task counts."""

    stream: RowStream
    features: tuple[str, ...]
    sequences: bool
    shard: int
    of: int


def count_texts(asked: _TextShard) -> EncoderStatistics:
    """Count the texts of a shard. Columns of other types are not read: their types say all that an encoder learns."""
    empty = pl.DataFrame(pl.from_arrow(asked.stream.files.schema.empty_table())).select(asked.features)
    found = EncoderStatistics.of(empty, sequences=asked.sequences)
    texts = list(found.texts)
    for batch in asked.stream.batches(asked.shard, asked.of, columns=texts):
        rows = EncoderStatistics.of(pl.DataFrame(pl.from_arrow(batch)), sequences=asked.sequences)
        found = EncoderStatistics(found.types, (found + rows).texts, asked.sequences)
    return found
