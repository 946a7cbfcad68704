"""A lake with the rows of one block of entities, from tables that are filtered, or were cut once for all blocks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from karat.errors import ColumnMissing, did_you_mean
from karat.executors import Executor
from karat.lake import Lake
from karat.names import TableName

#: Rows of a table that are cut at a time.
CHUNK_ROWS = 1 << 21
#: Spine rows of a block: its rows, those of its tables and what is computed from them stay below 2 GiB.
BLOCK_ROWS = 2_000_000


def block_count(rows: int) -> int:
    """Return the number of blocks of entities in which ``rows`` spine rows are worked on: it follows from the data."""
    return max(1, math.ceil(rows / BLOCK_ROWS))


def block_number(column: str, key_type: pl.DataType, of: int) -> pl.Expr:
    """The block of each row, by the hash of a key in the type in which all tables are compared."""
    return (pl.col(column).cast(key_type).hash(seed=0) % of).fill_null(0).cast(pl.UInt32)


@dataclass(frozen=True)
class CutTable:
    """A table to cut by the hash of one of its columns.

    Attributes:
        name: The table.
        version: Its Delta version.
        key: The column whose hash decides.
        columns: The columns to keep.
        key_type: The type in which the key is hashed: all tables of a cut hash the same one.
    """

    name: TableName
    version: int | None
    key: str
    columns: tuple[str, ...]
    key_type: pl.DataType


@dataclass(frozen=True)
class Chunk:
    """Rows of a table that one task cuts; references only, the worker reads the rows itself."""

    lake: Path
    environment: str | None
    table: CutTable
    folder: Path
    number: int
    rows: int
    of: int


def cut_tables(
    lake: Lake, tables: Sequence[CutTable], folder: Path, of: int, executor: Executor
) -> dict[TableName, tuple[str, ...]]:
    """Cut tables into ``of`` blocks, each row once, as Arrow files under ``folder``.

    A table is read once for all blocks: to scan it for every block would cost as many times as much.

    Args:
        lake: The lake.
        tables: The tables.
        folder: A folder. Chunks that are cut in it already, by a build that was killed, are kept.
        of: Number of blocks.
        executor: Runs the cutting, chunk by chunk.

    Returns:
        Table -> the columns that were kept.
    """
    chunks = [
        Chunk(lake.root, lake.environment, table, folder / str(table.name), number, CHUNK_ROWS, of)
        for table in tables
        for number in range(math.ceil(lake.count(table.name, table.version) / CHUNK_ROWS))
    ]
    for chunk in {c.folder: c for c in chunks}.values():
        for block in range(of):
            (chunk.folder / str(block)).mkdir(parents=True, exist_ok=True)
    for _ in executor.map(cut_chunk, chunks):
        pass
    return {table.name: table.columns for table in tables}


def cut_chunk(chunk: Chunk) -> None:
    """Write a chunk's rows of each block as one file."""
    table, done = chunk.table, chunk.folder / f"{chunk.number:06d}.done"
    if done.exists():
        return
    rows = Lake(chunk.lake, chunk.environment).scan(table.name, table.version).select(table.columns)
    frame = rows.slice(chunk.number * chunk.rows, chunk.rows).collect()
    blocks = frame.select(block_number(table.key, table.key_type, chunk.of)).to_series().to_numpy()
    # A stable sort keeps the table's order by key, and of 16 bits NumPy has the fastest.
    small = blocks.astype(np.uint16) if chunk.of < 1 << 16 else blocks
    frame, start = frame[np.argsort(small, kind="stable")], 0
    for block, rows in enumerate(np.bincount(blocks, minlength=chunk.of).tolist()):
        if rows:
            write_arrow(frame.slice(start, rows), chunk.folder / str(block) / f"{chunk.number:06d}.arrow")
            start += rows
    done.touch()


def write_arrow(frame: pl.DataFrame, path: Path) -> None:
    """Write an Arrow file that has its name only when it is complete: a task may run twice."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    frame.write_ipc(hidden, compression="uncompressed")
    os.replace(hidden, path)


def read_arrow(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read Arrow files of the same columns, one after the other."""
    frames = [pl.read_ipc(path, columns=None if columns is None else list(columns)) for path in paths]
    return pl.concat(frames)


@dataclass
class BlockLake(Lake):
    """The lake with the rows of one block of cut tables, and all rows of others.

    Attributes:
        root: The lake's folder.
        environment: The lake's environment.
        folder: The folder of ``cut_tables``.
        number: The block.
        cut: Cut table -> the columns that were kept.
    """

    root: Path
    environment: str | None
    folder: Path
    number: int
    cut: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)

    def count(self, name: TableName, version: int | None = None) -> int:
        """The number of the block's rows."""
        if name not in self.cut:
            return super().count(name, version)
        return sum(pl.scan_ipc(path).select(pl.len()).collect().item() for path in self._files(name))

    def read(
        self,
        name: TableName,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Read the block's rows; a cut table has the version at which it was cut. See ``Lake.read``."""
        if name not in self.cut:
            return super().read(name, version=version, columns=columns, where=where)
        known = self.cut[name]
        for column in columns or ():
            if column not in known:
                raise ColumnMissing(
                    f"the table has no column {column!r}", where=str(name), remedy=did_you_mean(column, known)
                )
        paths = self._files(name)
        if not paths:
            rows = self.scan(name).select(known).head(0).collect()
        else:
            tested = [] if where is None else where.meta.root_names()
            rows = read_arrow(paths, None if columns is None else list(dict.fromkeys([*columns, *tested])))
        kept = rows if where is None else rows.filter(where)
        return kept if columns is None else kept.select(list(columns))

    def _files(self, name: TableName) -> list[Path]:
        return sorted((self.folder / str(name) / str(self.number)).glob("*.arrow"))


@dataclass
class EntityLake(Lake):
    """The lake with the rows of one block of entities in some tables, and all rows of others; nothing is cut.

    Attributes:
        root: The lake's folder.
        environment: The lake's environment.
        keys: Table -> the column whose hash decides.
        key_type: The type in which the key is hashed.
        number: The block.
        of: Number of blocks.
    """

    root: Path
    environment: str | None
    keys: Mapping[TableName, str]
    key_type: pl.DataType
    number: int
    of: int

    def read(
        self,
        name: TableName,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Read the block's rows. See ``Lake.read``."""
        if name in self.keys:
            own = block_number(self.keys[name], self.key_type, self.of) == self.number
            where = own if where is None else own & where
        return super().read(name, version=version, columns=columns, where=where)
