"""Training rows of one fit, written as files that its workers read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from karat.training_sets.files import (
    TrainingSetFiles,
    arrow_schema,
    commit_files,
    open_files,
    stage_rows,
    staging_folder,
)

_ROWS_PER_FILE = 1 << 20


def write_learned_rows(folder: Path, X: pl.DataFrame, y: pl.Series, *, key: str) -> TrainingSetFiles:
    """Write the training rows of a fit, or find those that an interrupted run of the same fit has written.

    Args:
        folder: The folder; it is made.
        X: Features, ``(rows, features)``.
        y: The label, ``(rows,)``.
        key: Names the fit; the same key stands for the same rows.
    """
    if folder.exists():
        return open_files(folder)
    frame = X.with_columns(y)
    staging = staging_folder(folder, key)
    staged = []
    for number, start in enumerate(range(0, frame.height, _ROWS_PER_FILE)):
        rows = frame.slice(start, _ROWS_PER_FILE)
        parts = pl.repeat("train", rows.height, dtype=pl.String, eager=True)
        staged += stage_rows(staging, f"rows-{number:05d}", rows, parts)
    return commit_files(
        staging,
        TrainingSetFiles(
            folder=folder,
            files=tuple(staged),
            schema=arrow_schema(frame),
            features=tuple(X.columns),
            label=y.name,
            time=None,
            entity=(),
            digest=key,
            rows=frame.height,
        ),
    )
