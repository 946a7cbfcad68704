"""A fit by several workers: each reads its shard of the training rows, and all end with the same model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from karat.errors import TrainingError
from karat.kinds import Batch, Checkpoints, LabelStatistics, Model, Report, WorkerPlace, load_kind
from karat.training.row_stream import RowFiles

#: The file that a fitted kind writes last; with it a checkpoint is the fitted model.
FITTED = "kind.json"
#: The learning curve, and the seconds that a worker took for reading and fitting.
REPORT = "fit.json"
#: Validation rows that one worker reads for all, if its library compares no losses between workers.
_MOST_VALIDATION_ROWS = 500_000


@dataclass(frozen=True)
class ShardedFit:
    """A fit that workers make together; each is sent a copy.

    Attributes:
        model: The unfitted model with its fitted encoder and classes.
        files: The training rows.
        label: The label's column.
        statistics: Statistics of the label over all training rows.
        aside: Which training rows are for validation, a bit per row.
        weight: How much each training row counts, ``(rows,)``; None if all count the same.
    """

    model: Model
    files: RowFiles
    label: str
    statistics: LabelStatistics
    aside: np.ndarray = field(repr=False)
    weight: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FileShard:
    """A worker's shard (``karat.kinds.Shard``), read from the fit's files and encoded in the worker."""

    fit: ShardedFit
    place: WorkerPlace

    @property
    def labels(self) -> LabelStatistics:
        """Statistics of the label over the rows of all workers."""
        return self.fit.statistics

    @property
    def first(self) -> int:
        """The number of its first row among the rows of all workers."""
        return self.labels.rows * self.place.rank // self.place.workers

    @property
    def rows(self) -> int:
        """Number of its rows."""
        return self.labels.rows * (self.place.rank + 1) // self.place.workers - self.first

    def batches(self) -> Iterator[Batch]:
        """Read and encode its rows in their order."""
        for first, frame in self._frames(self.place.rank, self.place.workers, self.first):
            yield self._encoded(frame, np.arange(first, first + frame.height))

    def validation(self) -> Iterator[Batch]:
        """Read the validation rows of all workers, or every k-th if they are many."""
        every = -(-self.labels.validation_rows // _MOST_VALIDATION_ROWS)
        seen = 0
        for first, frame in self._frames(0, 1, 0):
            aside = np.flatnonzero(self._aside(first, first + frame.height))
            chosen = aside[(seen + np.arange(len(aside))) % every == 0]
            seen += len(aside)
            if len(chosen):
                yield self._encoded(frame[chosen], first + chosen)

    def _frames(self, shard: int, of: int, first: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows of a shard as they are read, with the number of the first of each batch."""
        columns = [*self.fit.model.feature_names, self.fit.label]
        for rows in self.fit.files.batches(shard, of, columns=columns):
            frame = pl.from_arrow(rows)
            assert isinstance(frame, pl.DataFrame)
            yield first, frame
            first += frame.height

    def _encoded(self, frame: pl.DataFrame, numbers: np.ndarray) -> Batch:
        """Encode rows with these numbers."""
        X, y = self.fit.model.encode_batch(frame, frame[self.fit.label])
        aside = self._aside(int(numbers[0]), int(numbers[-1]) + 1)[numbers - numbers[0]]
        return Batch(X, y, aside, self._weights(y, numbers))

    def _aside(self, first: int, end: int) -> np.ndarray:
        """Which of the rows ``first`` to ``end`` are for validation."""
        begin = first // 8
        return np.unpackbits(self.fit.aside[begin : -(-end // 8)])[first - 8 * begin : end - 8 * begin].astype(bool)

    def _weights(self, y: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
        """The weights of the rows times those of their classes."""
        weights = None if self.fit.weight is None else self.fit.weight[numbers]
        if self.fit.model.kind.class_weight:
            counts = np.array(self.labels.class_rows)
            of_class: np.ndarray = (self.labels.rows / (len(counts) * counts))[y.astype(int)]
            weights = of_class if weights is None else of_class * weights
        return weights


def sharded_fit(
    model: Model,
    files: RowFiles,
    label: str,
    target: np.ndarray,
    *,
    order: np.ndarray | None = None,
    place: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> ShardedFit:
    """Describe a fit by its label alone.

    Args:
        model: The model with its fitted encoder and classes.
        files: The training rows.
        label: The label's column.
        target: What the kind learns of each training row, ``(rows,)`` or ``(rows, parts)``.
        order: The time of each training row, ``(rows,)``.
        place: The numbers of the rows in the order in which one process has them; None if the files have that order.
        weight: How much each training row counts, ``(rows,)``.
    """
    kind = model.kind
    kind.classes = len(model.classes) if model.task in ("binary", "multiclass") else 0
    kind.outputs = target.shape[1] if target.ndim == 2 else 0
    aside = np.empty(len(target), dtype=bool)
    placed: np.ndarray | slice = slice(None) if place is None else place
    aside[placed] = kind.validation_rows(target[placed], None if order is None else order[placed])
    values = target[placed].reshape(len(target), -1).astype(np.float64, copy=False)
    statistics = LabelStatistics(
        rows=len(target),
        validation_rows=int(aside.sum()),
        classes=kind.classes,
        outputs=kind.outputs,
        class_rows=tuple(np.bincount(target, minlength=kind.classes).tolist()) if kind.classes else (),
        mean=values.mean(0),
        deviation=values.std(0),
    )
    return ShardedFit(model, files, label, statistics, np.packbits(aside), weight)


def fit_shard(fit: ShardedFit, place: WorkerPlace, checkpoints: Checkpoints, report: Report | None = None) -> None:
    """Fit the model in a worker, and keep the fitted model as the last checkpoint.

    Args:
        fit: What is fitted.
        place: The worker.
        checkpoints: Where the fit goes on, and where the fitted model is kept.
        report: Called after each round.

    Raises:
        TrainingError: The library refuses a parameter's value or the data.
    """
    latest = checkpoints.latest()
    if latest is not None and (latest / FITTED).exists():
        return
    model, began = fit.model, time.monotonic()
    model.kind.fit_shard(
        FileShard(fit, place),
        names=model.encoder.names,
        categorical=model.encoder.categorical,
        report=report,
        checkpoints=checkpoints,
    )
    seconds = time.monotonic() - began
    checkpoints.save(0, lambda folder: save_fitted(model, folder, seconds))


def save_fitted(model: Model, folder: Path, seconds: float) -> None:
    """Write the fitted estimator with its learning curve and the seconds of the fit; the estimator is complete last."""
    described = {"curve": model.kind.curve, "metric": model.kind.curve_metric, "seconds": seconds}
    (folder / REPORT).write_text(json.dumps(described))
    model.kind.save(folder)


def load_fitted(model: Model, folder: Path) -> Model:
    """Give a model the estimator that its workers have fitted, and return it.

    Raises:
        TrainingError: The folder holds no fitted estimator.
        UntrustedModel: A file is damaged.
    """
    if not (folder / FITTED).exists():
        raise TrainingError(
            "the workers ended without a model", where=str(folder), remedy="look at the log of the Ray job, and retry"
        )
    model.kind = load_kind(model.kind_name).load(folder)
    described = json.loads((folder / REPORT).read_text())
    model.kind.curve, model.kind.curve_metric = described["curve"], described["metric"]
    if model.kind.threshold is not None:
        model.threshold = model.kind.threshold
    return model
