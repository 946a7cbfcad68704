"""Records of finished blocks of a build: a build that was killed goes on with the blocks that are not finished."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from karat.fingerprint import fingerprint, fingerprint_file
from karat.training_sets.digest import RowDigest
from karat.training_sets.files import BLOCKS, DataFile
from karat.training_sets.functions import PinnedFunction
from karat.training_sets.labels import LabelCounts, LabelExtent

#: The file that says what the records of a folder are of.
_WORK = "work"
#: Libraries that compute values.
_LIBRARIES = ("polars", "duckdb", "numpy", "pyarrow")
_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class JoinedBlock:
    """A block's files and figures: no rows but a few for messages.

    Attributes:
        files: Its files.
        schema: Their columns.
        rows: Digest of its rows.
        spine: Digest of its spine.
        report: Its leakage report.
        functions: The pinned feature functions.
        head: The first rows of its spine.
    """

    files: tuple[DataFile, ...]
    schema: pa.Schema
    rows: RowDigest
    spine: RowDigest
    report: pl.DataFrame
    functions: tuple[PinnedFunction, ...]
    head: pl.DataFrame

    def write(self, folder: Path, number: int) -> None:
        """Record that the block is finished; its files are whole then."""
        record = {
            "files": [asdict(file) for file in self.files],
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "rows": asdict(self.rows),
            "spine": asdict(self.spine),
            "report": _to_text(self.report),
            "functions": [f.as_json() for f in self.functions],
            "head": _to_text(self.head),
        }
        _write(folder / BLOCKS / f"{number:05d}.json", json.dumps(record))

    @classmethod
    def read(cls, folder: Path, number: int) -> JoinedBlock | None:
        """Read the record of a block in a folder of files; None if it is not finished, or a file is not whole."""
        path = folder / BLOCKS / f"{number:05d}.json"
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        files = tuple(DataFile(**file) for file in record["files"])
        if not all(_is_whole(folder, file) for file in files):
            return None
        return cls(
            files=files,
            schema=pa.ipc.read_schema(pa.BufferReader(base64.b64decode(record["schema"]))),
            rows=_digest_of(record["rows"]),
            spine=_digest_of(record["spine"]),
            report=_from_text(record["report"]),
            functions=tuple(PinnedFunction.from_json(f) for f in record["functions"]),
            head=_from_text(record["head"]),
        )


@dataclass(frozen=True)
class LabelledBlock:
    """What labelling has left of a block.

    Attributes:
        counts: Rows after each step.
        days: The days of its rows, each once, ascending.
    """

    counts: LabelCounts
    days: pl.Series

    def write(self, path: Path) -> None:
        """Record that the block is labelled; its file is whole then."""
        counts = self.counts
        times = pl.DataFrame({"time": list(counts.times or ())})
        record = {
            "counts": [counts.keys, counts.mature, counts.labelled],
            "times": _to_text(times),
            "days": _to_text(self.days.to_frame("day")),
        }
        _write(path, json.dumps(record))

    @classmethod
    def read(cls, path: Path, extent: LabelExtent) -> LabelledBlock | None:
        """Read the record of a block; None if it is not labelled."""
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        times = _from_text(record["times"])["time"].to_list()
        keys, mature, labelled = record["counts"]
        counts = LabelCounts(keys, mature, labelled, (times[0], times[1]) if times else None, extent)
        return cls(counts, _from_text(record["days"])["day"])


def work_of(*meaning: object) -> str:
    """Return what names a build: equal for the same tables, declaration, code and libraries alone.

    Args:
        meaning: What else decides the rows, as values with a ``repr`` of their own.
    """
    return fingerprint([code_fingerprint(), [f"{name} {version(name)}" for name in _LIBRARIES], repr(meaning)], size=8)


@cache
def code_fingerprint() -> str:
    """Fingerprint of Karat's own source."""
    paths = sorted(_PACKAGE.rglob("*.py"))
    return fingerprint([[str(path.relative_to(_PACKAGE)), fingerprint_file(path)] for path in paths])


def begin_work(folder: Path, work: str) -> None:
    """Make the folder of a work's records."""
    (folder / BLOCKS).mkdir(parents=True, exist_ok=True)
    _write(folder / BLOCKS / _WORK, work)


def finished_blocks(folder: Path, work: str, of: int) -> Sequence[JoinedBlock] | None:
    """Return the blocks of committed files; None if these are not whole, or not of this work."""
    path = folder / BLOCKS / _WORK
    if not path.exists() or path.read_text() != work:
        return None
    numbers = sorted(int(p.stem) for p in path.parent.glob("*.json"))
    blocks = [block for number in numbers if (block := JoinedBlock.read(folder, number)) is not None]
    return blocks if blocks and len(blocks) == len(numbers) and numbers[-1] < of else None


def _is_whole(folder: Path, file: DataFile) -> bool:
    try:
        return bool(pq.read_metadata(folder / file.name).num_rows == file.rows)
    except (OSError, pa.ArrowInvalid):
        return False


def _digest_of(record: Mapping[str, Any]) -> RowDigest:
    first, second = record["sums"]
    return RowDigest(record["types"], record["rows"], (first, second), record["columns"])


def _to_text(frame: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _from_text(text: str) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(base64.b64decode(text)))


def _write(path: Path, text: str) -> None:
    """Write a text file that has its name only when it is complete."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    hidden.write_text(text)
    os.replace(hidden, path)
