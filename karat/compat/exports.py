"""Export of frames to Parquet, CSV or JSON files, atomically."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from karat.boundary import public_verb
from karat.errors import DataError, DiskFull, StoreUnreachable, WrongCall, did_you_mean, is_disk_full
from karat.training_sets.frames import Frame, to_polars

_WRITERS: dict[str, Callable[[pl.DataFrame, Any], Any]] = {
    "parquet": lambda frame, file: frame.write_parquet(file),
    "csv": lambda frame, file: frame.write_csv(file),
    "json": lambda frame, file: frame.write_json(file),
}


@public_verb
def export(df: Frame, path: str | Path, format: str | None = None) -> Path:
    """Write ``df`` to a file and return its path.

    A reader sees the old file or the whole new one; a killed call leaves nothing behind. JSON is a list of objects.

    Args:
        df: A Polars, pandas or Arrow frame.
        path: The file.
        format: ``parquet``, ``csv`` or ``json``; by default the path's suffix.

    Returns:
        The path of the file.

    Raises:
        WrongCall: There is no such format.
        DataError: The format can't hold the columns.
        DiskFull: The disk is full.
        StoreUnreachable: The path can't be written.
    """
    target = Path(path)
    kind = (format or target.suffix.lstrip(".")).lower()
    if kind not in _WRITERS:
        raise WrongCall(
            f"{kind!r} is not a known format" if kind else "no format is given, and the name has no ending",
            where=f"export to {target}",
            remedy=did_you_mean(kind, _WRITERS) if kind else "end it in .parquet, .csv or .json",
        )
    frame = to_polars(df)
    try:
        with _atomic_file(target) as file:
            _WRITERS[kind](frame, file)
    except pl.exceptions.PolarsError as error:
        if not is_disk_full(error):
            raise DataError(
                f"{kind} can't hold these columns: {str(error).splitlines()[0]}",
                where=str(target),
                remedy="export Parquet, or leave the lists and structs out",
            ) from error
        raise _write_error(target, error) from error
    except OSError as error:
        raise _write_error(target, error) from error
    return target


def _write_error(target: Path, error: Exception) -> DiskFull | StoreUnreachable:
    if is_disk_full(error):
        return DiskFull(f"no space is left for {target}", where=str(target.parent), remedy="free some space")
    return StoreUnreachable(f"{target} can't be written: {error}", where=str(target.parent), remedy="check the path")


@contextmanager
def _atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a nameless file that takes ``target``'s name when it is complete; a killed process leaves nothing."""
    hidden = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        handle = os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o644)
    except (OSError, AttributeError):  # a file system without nameless files
        handle = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not hidden.exists():
                _link_file(file.fileno(), hidden)
        os.replace(hidden, target)
    finally:
        hidden.unlink(missing_ok=True)


def _link_file(handle: int, path: Path) -> None:
    """Name a nameless file; with a folder's handle Python follows the link in /proc, without one it does not."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
