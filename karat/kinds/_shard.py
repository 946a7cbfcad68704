"""What a worker of a distributed fit is given: its shard of the rows, its workers' network, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class LabelStatistics:
    """Statistics of the label over all training rows, validation rows included.

    Attributes:
        rows: Number of training rows.
        validation_rows: How many of them are for validation.
        classes: Number of classes; 0 if the task has none.
        outputs: Number of the label's parts; 0 if the label is one value.
        class_rows: Number of rows of each class, ``(classes,)``.
        mean: Mean of each part, ``(max(outputs, 1),)``.
        deviation: Standard deviation of each part, ``(max(outputs, 1),)``.
    """

    rows: int
    validation_rows: int
    classes: int
    outputs: int
    class_rows: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Some encoded rows.

    Attributes:
        X: Features, ``(rows, features)`` or ``(rows, steps, features)`` float64.
        y: What the kind learns, ``(rows,)`` or ``(rows, parts)``.
        aside: Which rows are for validation, ``(rows,)``.
        weight: Weights by class, ``(rows,)``; None without class weights.
    """

    X: np.ndarray
    y: np.ndarray
    aside: np.ndarray
    weight: np.ndarray | None = None

    def output(self, label: int) -> Batch:
        """Return the rows with one part of the label."""
        return Batch(self.X, self.y[:, label], self.aside, self.weight)

    def part(self, *, aside: bool) -> Batch:
        """Return the validation rows, or the others."""
        chosen = self.aside if aside else ~self.aside
        if chosen.all():
            return self
        weight = None if self.weight is None else self.weight[chosen]
        return Batch(self.X[chosen], self.y[chosen], self.aside[chosen], weight)


@dataclass(frozen=True)
class WorkerPlace:
    """A worker's place among the workers, and what it may use.

    Attributes:
        rank: Its number, from 0.
        workers: Number of workers.
        cores: Threads that it may run.
        memory: Bytes that it may use.
        gpu: Whether it has a GPU.
        scratch: A local folder for what does not fit in memory.
        network: The library's own parameters of the network between the workers; empty if the adapter has set it up.
    """

    rank: int
    workers: int
    cores: int = 1
    memory: int = 2 << 30
    gpu: bool = False
    scratch: Path = Path(".")
    network: Mapping[str, str | int] = field(default_factory=dict)


class Shard(Protocol):
    """A worker's part of the training rows: consecutive rows, which can be read several times."""

    @property
    def place(self) -> WorkerPlace:
        """The worker that reads it."""
        ...

    @property
    def labels(self) -> LabelStatistics:
        """Statistics of the label over the rows of all workers."""
        ...

    @property
    def first(self) -> int:
        """The number of its first row among the rows of all workers."""
        ...

    @property
    def rows(self) -> int:
        """Number of its rows."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Read its rows in their order."""
        ...

    def validation(self) -> Iterator[Batch]:
        """Read the validation rows of all workers, in their order."""
        ...


#: Writes a checkpoint's files into a folder.
WriteFiles = Callable[[Path], None]


class Checkpoints(Protocol):
    """Keeps checkpoints of a fit on storage that survives its workers."""

    def latest(self) -> Path | None:
        """Return the folder of the latest checkpoint; None at the start."""
        ...

    def due(self, iteration: int) -> bool:
        """Whether to write a checkpoint after this round. Every worker asks after every round, and hears the same."""
        ...

    def save(self, iteration: int, write: WriteFiles) -> None:
        """Keep a checkpoint; every worker calls it, and the files of the first are kept."""
        ...


class NoCheckpoints:
    """Checkpoints of a fit that begins anew after a fault."""

    def latest(self) -> Path | None:
        """There is none."""
        return None

    def due(self, iteration: int) -> bool:
        """None is due."""
        return False

    def save(self, iteration: int, write: WriteFiles) -> None:
        """Keep nothing."""


def collect(batches: Iterator[Batch], most: int) -> Batch:
    """Join batches in one, without a second copy of them.

    Args:
        batches: At least one batch.
        most: Most rows of all of them.
    """
    joined: Batch | None = None
    rows = 0
    for batch in batches:
        if joined is None:
            joined = Batch(
                np.empty((most, *batch.X.shape[1:]), batch.X.dtype),
                np.empty((most, *batch.y.shape[1:]), batch.y.dtype),
                np.empty(most, dtype=bool),
                None if batch.weight is None else np.empty(most),
            )
        part = slice(rows, rows + len(batch.y))
        joined.X[part], joined.y[part], joined.aside[part] = batch.X, batch.y, batch.aside
        if joined.weight is not None:
            joined.weight[part] = batch.weight
        rows = part.stop
    assert joined is not None
    weight = None if joined.weight is None else joined.weight[:rows]
    return Batch(joined.X[:rows], joined.y[:rows], joined.aside[:rows], weight)
