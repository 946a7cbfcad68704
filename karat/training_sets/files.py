"""Training set as Parquet files: written once, committed whole, and streamed in shards to the workers that fit."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from karat.errors import ColumnMissing, DataError, SchemaMismatch, TableNotFound, WrongCall, did_you_mean
from karat.training_sets.training_set import TrainingSet

#: A part of the rows. Rows of the gap belong to no other part, because their labels overlap the test.
Part = Literal["train", "validation", "gap", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
#: The file that describes a folder. It is written last: a folder without it is incomplete.
MANIFEST = "training_set.json"
#: The folder of the records of blocks, beside the files of a training set that was built in blocks.
BLOCKS = "blocks"
#: Rows of a row group: few enough for a reader's memory, many enough for compression.
ROW_GROUP = 1 << 16
_FORMAT = 1


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a training set; all its rows are of one part.

    Attributes:
        name: Its name in the folder.
        rows: Number of rows.
        part: The part of its rows.
    """

    name: str
    rows: int
    part: Part


@dataclass(frozen=True)
class TrainingSetFiles:
    """A training set in a folder of Parquet files; picklable, so that it can be sent to workers.

    The files have the spine's columns, the features and the label; categories are texts. Their order is fixed, and so
    is the order of the rows in each: ``batches`` gives the same rows in the same order in every process.

    Attributes:
        folder: The folder, on storage that every worker reads.
        files: The files in their order.
        schema: The columns of each file.
        features: Columns that a model reads, in order.
        label: The label's column.
        time: The column that orders the rows in time; None if they have none.
        entity: The columns that name an entity.
        digest: Digest of the training set; it does not depend on the files.
        rows: Number of rows.
    """

    folder: Path
    files: tuple[DataFile, ...] = field(repr=False)
    schema: pa.Schema = field(repr=False)
    features: tuple[str, ...]
    label: str | None
    time: str | None
    entity: tuple[str, ...]
    digest: str
    rows: int

    def count(self, part: Part | None = None) -> int:
        """Return the number of rows of a part; of all parts if None."""
        return sum(f.rows for f in self.files if part in (None, f.part))

    def batches(
        self,
        shard: int = 0,
        of: int = 1,
        part: Part | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = ROW_GROUP,
    ) -> Iterator[pa.RecordBatch]:
        """Stream one of ``of`` shards of a part, so that a process holds one row group at a time.

        The shards of a part are disjoint, cover it, and differ by at most one row in length. A shard reads only the row
        groups that hold its rows.

        Args:
            shard: Which shard, from 0.
            of: Number of shards.
            part: The part; None for all rows.
            columns: Columns to read, in this order; by default all.
            batch_rows: Most rows of a batch.

        Returns:
            Batches of at least one row.

        Raises:
            WrongCall: There is no such part or shard, or ``batch_rows`` is less than 1.
            ColumnMissing: There is no such column.
            DataError: A file is gone, or has not the rows that it was written with.
        """
        if not 0 <= shard < of:
            raise WrongCall(f"shard={shard}, of={of}", remedy="give a shard from 0 to of - 1")
        rows = self.count(part)
        first, end = rows * shard // of, rows * (shard + 1) // of
        return self.rows_between(first, end, part, columns, batch_rows)

    def rows_between(
        self,
        first: int,
        end: int,
        part: Part | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = ROW_GROUP,
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows ``first`` to ``end`` of a part; see ``batches``."""
        if part is not None and part not in PARTS:
            raise WrongCall(f"there is no part {part!r}", remedy=did_you_mean(part, PARTS) or ", ".join(PARTS))
        if batch_rows < 1:
            raise WrongCall(f"batch_rows={batch_rows}", remedy="give at least one row a batch")
        names = self._known_columns(columns)
        begin = 0
        for file in (f for f in self.files if part in (None, f.part)):
            low, high = max(first - begin, 0), min(end - begin, file.rows)
            if low < high:
                yield from self._rows_of(file, low, high, names, batch_rows)
            begin += file.rows

    def scan(self, part: Part | None = None) -> pl.LazyFrame:
        """Scan a part (all parts if None) lazily, in the order of ``batches``."""
        paths = [self.folder / f.name for f in self.files if part in (None, f.part)]
        if not paths:
            empty = pl.from_arrow(self.schema.empty_table())
            assert isinstance(empty, pl.DataFrame)
            return empty.lazy()
        return pl.scan_parquet(paths, hive_partitioning=False)

    def _known_columns(self, columns: Sequence[str] | None) -> list[str]:
        known = self.schema.names
        for name in columns or ():
            if name not in known:
                raise ColumnMissing(
                    f"the training set has no column {name!r}",
                    where=str(self.folder),
                    remedy=did_you_mean(name, known),
                )
        return list(known if columns is None else columns)

    def _rows_of(
        self, file: DataFile, low: int, high: int, names: list[str], batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows ``low`` to ``high`` of one file."""
        path = self.folder / file.name
        try:
            opened = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path, f"it cannot be read: {error}") from error
        with opened:
            if opened.metadata.num_rows != file.rows:
                raise _damaged(path, f"it has {opened.metadata.num_rows} rows, and was written with {file.rows}")
            begin = 0
            for group in range(opened.num_row_groups):
                count = opened.metadata.row_group(group).num_rows
                first, end = max(low - begin, 0), min(high - begin, count)
                begin += count
                if first >= end:
                    continue
                table = opened.read_row_group(group, columns=names, use_threads=False).select(names)
                for batch in table.slice(first, end - first).combine_chunks().to_batches(max_chunksize=batch_rows):
                    if batch.num_rows:
                        yield batch


def open_files(folder: Path) -> TrainingSetFiles:
    """Open a folder of training-set files.

    Raises:
        TableNotFound: The folder has none, or their writing was interrupted.
    """
    path = folder / MANIFEST
    try:
        known = json.loads(path.read_text())
    except OSError as error:
        raise TableNotFound(
            f"there are no files of a training set in {folder}",
            where=str(path),
            remedy="write the training set again: its writing was interrupted, or its folder was deleted",
        ) from error
    return TrainingSetFiles(
        folder=folder,
        files=tuple(DataFile(**f) for f in known["files"]),
        schema=pa.ipc.read_schema(pa.BufferReader(base64.b64decode(known["schema"]))),
        features=tuple(known["features"]),
        label=known["label"],
        time=known["time"],
        entity=tuple(known["entity"]),
        digest=known["digest"],
        rows=known["rows"],
    )


def write_training_set(
    training_set: TrainingSet,
    folder: Path,
    *,
    split: pl.Series | None = None,
    time: str | None = None,
    entity: Sequence[str] = (),
    rows_per_file: int = 1 << 20,
) -> TrainingSetFiles:
    """Write a training set that is in memory as files.

    Args:
        training_set: The training set.
        folder: The folder; it is made. Files of the same digest that are there already are kept.
        split: The part of each row, ``(rows,)``; all rows are for training if None.
        time: The column that orders the rows in time.
        entity: The columns that name an entity.
        rows_per_file: Most rows of a file.

    Returns:
        The files.

    Raises:
        DataError: The folder holds another training set.
    """
    data = training_set.data
    parts = pl.repeat("train", data.height, dtype=pl.String, eager=True) if split is None else split.cast(pl.String)
    staging = staging_folder(folder, training_set.digest)
    staged: list[DataFile] = []
    for number, start in enumerate(range(0, data.height, rows_per_file)):
        rows = data.slice(start, rows_per_file)
        staged += stage_rows(staging, f"rows-{number:05d}", rows, parts.slice(start, rows_per_file))
    return commit_files(
        staging,
        TrainingSetFiles(
            folder=folder,
            files=tuple(staged),
            schema=arrow_schema(data),
            features=training_set.features,
            label=training_set.label,
            time=time,
            entity=tuple(entity),
            digest=training_set.digest,
            rows=data.height,
        ),
    )


def staging_folder(folder: Path, work: str) -> Path:
    """Make the hidden folder beside ``folder`` in which files are staged; the same ``work`` gets the same folder."""
    made = folder.parent / f".{folder.name}-{work}"
    made.mkdir(parents=True, exist_ok=True)
    return made


def stage_rows(staging: Path, name: str, rows: pl.DataFrame, parts: pl.Series) -> list[DataFile]:
    """Write rows into a staging folder, a file for each part that has some.

    Args:
        staging: The folder of ``staging_folder``.
        name: The files' name; the part is added.
        rows: The rows, ``(rows, columns)``.
        parts: The part of each row, ``(rows,)``.

    Returns:
        The files, in the order of ``PARTS``.
    """
    staged = []
    for part in PARTS:
        chosen = rows.filter(parts == part)
        if chosen.height:
            staged.append(DataFile(f"{name}-{part}.parquet", chosen.height, part))
            write_whole(_to_arrow(chosen), staging / staged[-1].name)
    return staged


def write_whole(table: pa.Table, path: Path) -> None:
    """Write a Parquet file that has its name only when it is complete."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    # Texts repeat, and numbers rarely do: to try a dictionary for these takes longer than it saves.
    texts = [f.name for f in table.schema if pa.types.is_large_string(f.type) or pa.types.is_string(f.type)]
    try:
        pq.write_table(table, hidden, row_group_size=ROW_GROUP, compression="lz4", use_dictionary=texts)
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)


def arrow_schema(frame: pl.DataFrame) -> pa.Schema:
    """Return the columns of the files of a frame."""
    schema: pa.Schema = _to_arrow(frame.clear()).schema
    return schema


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Convert to Arrow; categories are texts, because each file would number them anew."""
    named = [c for c, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)]
    return frame.with_columns(pl.col(named).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())


def commit_files(staging: Path, files: TrainingSetFiles) -> TrainingSetFiles:
    """Turn a staging folder into ``files.folder`` by one rename, or keep the same files that another writer committed.

    Raises:
        SchemaMismatch: A staged file has other columns than ``files.schema``.
        DataError: The folder holds another training set.
    """
    for file in files.files:
        found = pq.read_schema(staging / file.name)
        if not found.equals(files.schema):
            raise SchemaMismatch(
                f"the files of the training set differ in their columns: {_difference(found, files.schema)}",
                where=file.name,
                remedy="report this: every shard must compute the same columns",
            )
    described = asdict(files) | {
        "format": _FORMAT,
        "folder": "",
        "schema": base64.b64encode(files.schema.serialize().to_pybytes()).decode(),
    }
    named = {file.name for file in files.files}
    for path in staging.iterdir():
        if path.name not in named and path.name != BLOCKS:  # what an interrupted writer left
            path.unlink() if path.is_file() else shutil.rmtree(path)
    (staging / MANIFEST).write_text(json.dumps(described))
    try:
        staging.rename(files.folder)
    except OSError:
        there = open_files(files.folder)
        if there.digest != files.digest:
            raise DataError(
                f"the folder holds another training set, of digest {there.digest}",
                where=str(files.folder),
                remedy="give a folder of its own to each training set, or delete this one",
            ) from None
        shutil.rmtree(staging, ignore_errors=True)
        return there
    return files


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    both = zip(found, wanted, strict=False)
    odd = [f"{a.name} {a.type}, not {b.name} {b.type}" for a, b in both if not a.equals(b)]
    return "; ".join(odd[:3]) or f"{len(found)} columns, not {len(wanted)}"


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"a file of the training set is damaged: {why}",
        where=str(path),
        remedy="delete its folder; the next training writes it again",
    )
