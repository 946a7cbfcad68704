"""Distributed fit of one model: on rows in memory, or streamed from the files of a large training set."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec
from karat.kinds import Model
from karat.training.bias_mitigation import reweighed
from karat.training.fit_files import write_learned_rows
from karat.training.fit_placement import Cluster, FitPlacement, FitPlan, place_fit
from karat.training.preconditions import LabelledRows, label_mask
from karat.training.row_stream import LearnedRows, RowFilter, RowSource
from karat.training.sharded_fit import ShardedFit, load_fitted, sharded_fit

#: A folder of an interrupted fit is removed after this time by the next fit.
_ABANDONED_SECONDS = 7 * 86_400.0
#: The folder of the lake that holds running fits. No catalog begins with a dot.
FITS = ".fits"


class DistributedFitter(Protocol):
    """Runs the workers of a fit on a cluster."""

    @property
    def cluster(self) -> Cluster:
        """What the cluster has."""
        ...

    def __call__(self, fit: ShardedFit, plan: FitPlan, folder: Path) -> Path:
        """Run ``fit_shard`` in every worker, again after a fault.

        Args:
            fit: What is fitted.
            plan: The workers.
            folder: Keeps the checkpoints; a fit that was interrupted goes on from there.

        Returns:
            The folder with what ``save_fitted`` wrote.

        Raises:
            TrainingError: The model can't be fitted, or workers died again and again.
        """
        ...


@dataclass(frozen=True)
class Distributor:
    """Fits one model by workers if its declaration and its rows ask for it.

    Attributes:
        fitter: Runs the workers.
        folder: Keeps the rows and checkpoints of this fit, on storage that every worker reads.
        source: The training set's files, if workers are to stream them; None for rows in memory.
    """

    fitter: DistributedFitter
    folder: Path
    source: RowSource | None = None

    def fit(
        self,
        spec: ModelSpec,
        model: Model,
        learned: LabelledRows,
        *,
        order: pl.Series | None = None,
        weight: np.ndarray | None = None,
        used: RowFilter | None = None,
    ) -> FitPlacement:
        """Fit the model in place if workers are to fit it.

        Args:
            spec: The model's declaration.
            model: The unfitted model.
            learned: Features and label of the training rows; of a source, those of a sample.
            order: The time of each row.
            weight: How much each row counts, ``(rows,)``; all the same if None. Those of a source follow from its rows.
            used: Which training rows of a source the fit uses; all if None.

        Returns:
            Where it was fitted; without a plan it was not, and one process is to fit it.

        Raises:
            TrainingError: The cluster is too small, or the model can't be fitted.
        """
        X, y = learned
        rows = X.height if self.source is None else self.source.files.count("train")
        width = sum(_width(dtype) for dtype in X.dtypes) if self.source is None else self.source.width
        placement = place_fit(spec, rows, rows * width, self.fitter.cluster)
        if placement.plan is None or y is None:
            return placement
        if self.source is not None:
            read = self.source.read("train", used, grouped=_is_reweighed(spec))
            statistics = self.source.statistics(read.stream, X.columns, sequences=model.kind.sequences)
            target = model.set_encoder(statistics.encoder(), read.label)
            assert target is not None
            self.run(_streamed(spec, model, read, target), placement.plan)
            return replace(placement, rows=read.stream.rows, streamed=True)
        target = model.fit_encoder(X, y)
        assert target is not None
        self.run_in_memory(model, X, y, target, placement.plan, order=order, weight=weight)
        return placement

    def refit(
        self,
        spec: ModelSpec,
        model: Model,
        rows: LabelledRows,
        plan: FitPlan,
        *,
        order: pl.Series | None = None,
        weight: np.ndarray | None = None,
    ) -> Model:
        """Fit an evaluated model again by the workers that fitted it, on all rows; see ``refit_on_all``.

        Args:
            spec: The model's declaration.
            model: The evaluated model.
            rows: Features and label of all rows; of a source, those of a sample.
            plan: The workers.
            order: The time of each row.
            weight: How much each row counts, ``(rows,)``.

        Returns:
            The refitted model.

        Raises:
            TrainingError: The model can't be fitted.
        """
        again, (X, y) = model.with_parameters(spec.parameters), rows
        refitting = replace(self, folder=self.folder / "refit")
        if self.source is not None:
            label = self.source.label
            read = self.source.read(None, lambda frame: known_labels(model, frame[label]), grouped=_is_reweighed(spec))
            refitting.run(_streamed(spec, again, read, model.known_target(read.label)), plan)
            return again
        assert y is not None
        X = X.select(model.feature_names)
        refitting.run_in_memory(again, X, y, model.known_target(y), plan, order=order, weight=weight)
        return again

    def run(self, fit: ShardedFit, plan: FitPlan) -> None:
        """Fit the model of a fit in place, by the workers of a plan."""
        load_fitted(fit.model, self.fitter(fit, plan, self.folder / "checkpoints"))

    def clean(self) -> None:
        """Remove the folder of this fit, and those of fits that were given up long ago."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for other in self.folder.parent.glob("*"):
            if time.time() - other.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)

    def run_in_memory(
        self,
        model: Model,
        X: pl.DataFrame,
        y: pl.Series,
        target: np.ndarray,
        plan: FitPlan,
        *,
        order: pl.Series | None,
        weight: np.ndarray | None,
    ) -> None:
        """Write rows that are in memory as files, and fit the model in place on them.

        Args:
            model: The model with its fitted encoder and classes.
            X: Features, ``(rows, features)``.
            y: Labels, ``(rows,)``.
            target: What the kind learns of them.
            plan: The workers.
            order: The time of each row.
            weight: How much each row counts, ``(rows,)``.
        """
        files = write_learned_rows(self.folder / "rows", X, y, key=self.folder.name)
        times = None if order is None else order.to_physical().to_numpy()
        self.run(sharded_fit(model, files, y.name, target, order=times, weight=weight), plan)


def known_labels(model: Model, label: pl.Series) -> pl.Series:
    """Return which rows a refit learns from, ``(rows,)``: those with a label, of a class that the model knows."""
    known = label_mask(label)
    if model.classes:
        different = label.unique()
        of_class = different.filter(
            pl.Series([value in model.classes for value in different.to_list()], dtype=pl.Boolean)
        )
        known &= label.is_in(of_class.implode())
    return known


def _streamed(spec: ModelSpec, model: Model, read: LearnedRows, target: np.ndarray) -> ShardedFit:
    weight = None if read.groups is None else reweighed(spec.fairness, spec.protected, read.groups, read.label)
    name = read.label.name
    return sharded_fit(model, read.stream, name, target, order=read.order, place=read.place, weight=weight)


def _is_reweighed(spec: ModelSpec) -> bool:
    return spec.fairness is not None and spec.fairness.mitigation == "reweigh"


def _width(dtype: pl.DataType) -> int:
    return int(np.prod(dtype.shape)) if isinstance(dtype, pl.Array) else 1
