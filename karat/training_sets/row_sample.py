"""Training set in files, as a process works on it: all its rows where they fit, else stated samples of each part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from karat.training_sets.files import PARTS
from karat.training_sets.sharded_build import FileTrainingSet
from karat.training_sets.training_set import TrainingSet

#: Cells (rows times columns) of the training rows that one process learns from: 2 GiB as float64.
TRAIN_CELLS = 1 << 28
#: Test rows that plots, importance, the bootstrap and fairness see; metrics are of all test rows.
TEST_ROWS = 1_000_000


@dataclass(frozen=True)
class SampledTrainingSet(TrainingSet):
    """A training set whose rows are in files; ``data`` has those that this process works on.

    The digest, the pins, the report and the number of rows are those of the whole.

    Attributes:
        whole: The whole training set.
        parts: The part of each row of ``data``, ``(rows,)``.
        sampled: Part -> its rows in ``data`` and its rows in all, where these differ.
        streams: Whether workers are to stream all training rows.
    """

    whole: FileTrainingSet | None = field(default=None, repr=False)
    parts: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String), repr=False)
    sampled: dict[str, tuple[int, int]] = field(default_factory=dict)
    streams: bool = False

    @property
    def rows(self) -> int:
        """Number of rows of the whole."""
        assert self.whole is not None
        return self.whole.rows

    def notes(self, *, streamed: bool) -> list[str]:
        """Say what was done on a sample.

        Args:
            streamed: Whether workers fitted the model on all training rows.
        """
        fitted = "the model was fitted on {0} of {1} training rows, every {2} of an entity and time order"
        chosen = "search, thresholds and training metrics are of {0} of {1} training rows; the model was fitted on all"
        what = {
            "train": chosen if streamed else fitted,
            "test": "plots, importance, the bootstrap and the gain are of {0} of {1} test rows; metrics are of all",
        }
        return [
            what[part].format(some, every, _ordinal(math.ceil(every / some)))
            for part, (some, every) in self.sampled.items()
            if part in what
        ]


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def sample_training_set(
    whole: FileTrainingSet,
    key: Sequence[str],
    *,
    train_cells: int = TRAIN_CELLS,
    test_rows: int = TEST_ROWS,
    streams: bool = False,
) -> SampledTrainingSet:
    """Load the rows of a training set that one process works on, in the order of the key.

    A part that is too large is sampled: every k-th row, in the order of the files, which is by a hash of the entity and
    then by key. All rows of a small set are the rows of the one-process path, in its order.

    Args:
        whole: The training set.
        key: The spine's key.
        train_cells: Most cells (rows times columns) of the training part.
        test_rows: Most rows of the test part, and of a training part that workers stream.
        streams: Whether workers stream the training rows, so that this process needs a sample of them alone.
    """
    files = whole.files
    train_rows = max(1, train_cells // len(files.schema))
    most = {"train": min(train_rows, test_rows) if streams else train_rows, "test": test_rows}
    frames, parts = [], []
    sampled: dict[str, tuple[int, int]] = {}
    for part in PARTS:
        count = files.count(part)
        if not count:
            continue
        step = math.ceil(count / most.get(part, test_rows))
        rows = files.scan(part)
        frame = (rows if step == 1 else rows.gather_every(step)).collect(engine="streaming" if step > 1 else "auto")
        if frame.height < count:
            sampled[part] = (frame.height, count)
        frames.append(frame)
        parts.append(pl.repeat(part, frame.height, dtype=pl.String, eager=True))
    data = pl.concat(frames)
    order = data.select(pl.arg_sort_by(list(key))).to_series()
    data, split = data[order], pl.concat(parts)[order]
    return SampledTrainingSet(
        features=whole.features,
        label=whole.label,
        exclude_columns=whole.exclude_columns,
        lookups=whole.lookups,
        functions=whole.functions,
        spine=data.select(whole.spine_columns),
        data=data,
        report=whole.report,
        pins=whole.pins,
        digest=whole.digest,
        whole=whole,
        parts=split,
        sampled=sampled,
        streams=streams,
    )
