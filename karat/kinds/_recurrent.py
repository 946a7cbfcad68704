"""Base of the recurrent kinds: a network over scaled sequences, added to a linear model on the newest row.

The network is trained in torch, on a GPU if there is one. It predicts in NumPy: a serving process saves torch's three
seconds and its memory, and the prediction does not depend on the training device. Rows are predicted in blocks of one
size, because the last bits of a matrix product depend on its shape.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
from scipy.special import expit

from karat.errors import UntrustedModel
from karat.extras import optional_imports
from karat.kinds import _arrays
from karat.kinds._cells import CELLS, GATES, Layer
from karat.kinds._channels import Channels
from karat.kinds._contributions import Contributions
from karat.kinds._kind import UNITS, Kind, Parameters, Report, State
from karat.kinds._recurrent_gradient import Network, integrated_gradients
from karat.kinds._reduction import OneWorker
from karat.kinds._shard import Batch, Checkpoints, NoCheckpoints, Shard, WorkerPlace, collect
from karat.kinds._validation import latest_rows

#: Rows that are predicted together.
BLOCK = 16
_METHOD = (
    "integrated gradients, summed over the steps of each feature; the base is a sequence with every number at its mean "
    "and no text"
)
_SCALERS = ("mean", "scale", "told", "codes")


class Recurrent(Kind):
    """A recurrent network and its linear skip connection; ``network_shapes`` names its arrays.

    Attributes:
        cell: "lstm" or "gru".
    """

    cell: ClassVar[str]

    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
    ) -> None:
        assert y is not None
        self._check()
        values = y.reshape(len(y), -1)
        threads = self.parameters["n_jobs"]
        self._fit_rows(
            Batch(X, y, self.validation_rows(y, self.order)),
            (values.mean(0), values.std(0)),
            WorkerPlace(rank=0, workers=1, cores=threads if threads > 0 else os.cpu_count() or 1),
            categorical=categorical,
            report=report,
            checkpoints=NoCheckpoints(),
        )

    def _fit_shard(
        self,
        shard: Shard,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        self._check()
        scale = (shard.labels.mean, shard.labels.deviation)
        own = collect(shard.batches(), shard.rows)
        self._fit_rows(own, scale, shard.place, categorical=categorical, report=report, checkpoints=checkpoints)

    def _fit_rows(
        self,
        own: Batch,
        scale: tuple[np.ndarray, np.ndarray],
        place: WorkerPlace,
        *,
        categorical: list[bool],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        """Fit the network on a worker's own rows; ``scale`` is mean and deviation of the label over all rows."""
        fit, X = _torch_fit(), self._steps(own.X)
        workers = fit.ProcessGroup() if place.workers > 1 else OneWorker()
        self._channels = Channels.fit(X, categorical, tell_missing=True, workers=workers)
        self._set_scale(*scale)
        learned = fit.fit(
            self.cell,
            fit.Rows(self._scaled(X), self._scaled_labels(own.y), own.aside),
            self.parameters,
            binary=self.task == "binary",
            balanced=self.class_weight is not None,
            seed=self.seed,
            report=report,
            place=place,
            checkpoints=checkpoints,
        )
        self._network, self.curve = learned.network, learned.curve
        self.curve_metric = "log loss" if self.task == "binary" else "mean squared error of the scaled label"
        self._prepare()

    def validation_rows(self, y: np.ndarray, order: np.ndarray | None) -> np.ndarray:
        """The latest rows by ``order``."""
        found = None
        if self.parameters["patience"]:
            found = latest_rows(len(y), order, self.parameters["validation_fraction"])
        return np.zeros(len(y), dtype=bool) if found is None else found

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        return self._channels.apply(X, np.float32)

    def _scaled_labels(self, y: np.ndarray) -> np.ndarray:
        return ((y.reshape(len(y), -1) - self._center) / self._spread).astype(np.float32)

    def _check(self) -> None:
        """Refuse parameters that torch would refuse in its own words, or not at all."""
        for name in ("hidden_size", "num_layers", "batch_size", "epochs"):
            value = self.parameters[name]
            if value < 1 or value != int(value):
                raise ValueError(f"{name} is {value!r}; it must be a whole number of 1 or more")
        length = self.parameters["sequence_length"]
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise ValueError(f"sequence_length is {length!r}; it must be a whole number from 1, or null (all steps)")
        if not 0 <= self.parameters["dropout"] < 1:
            raise ValueError(f"dropout is {self.parameters['dropout']!r}; it must be a share below 1")

    def _steps(self, X: np.ndarray) -> np.ndarray:
        """The last ``sequence_length`` steps, ``(rows, steps, features)``; a row without sequences is one step."""
        X = X if X.ndim == 3 else X[:, None, :]
        length = self.parameters["sequence_length"]
        return X[:, -int(length) :] if length else X

    def _set_scale(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        self._center, self._spread = np.zeros(len(mean)), np.ones(len(mean))
        if self.task != "binary":
            self._center = mean
            self._spread = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)

    def _prepare(self) -> None:
        self.__dict__.pop("_differentiable", None)
        network = self._network
        run = CELLS[self.cell]
        self._layers = [
            (run, Layer(*(network[f"layer_{k}.{part}"] for part in ("input", "hidden", "bias", "hidden_bias"))))
            for k in range(int(self.parameters["num_layers"]))
        ]

    def predict(self, X: np.ndarray) -> np.ndarray:
        X = self._steps(X)
        out = np.empty((len(X), len(self._center)))
        for start in range(0, len(X), BLOCK):
            rows = X[start : start + BLOCK]
            block = np.zeros((BLOCK, *X.shape[1:]))
            block[: len(rows)] = rows
            out[start : start + BLOCK] = self._block(block)[: len(rows)]
        return out if self.task == "forecast" else out[:, 0]

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Integrated gradients of the prediction, summed over the steps of a feature; see ``Kind.contributions``."""
        values = self._channels.apply(self._steps(X)).transpose(0, 2, 1)
        asked = list(range(len(self._center))) if outputs is None else outputs
        channels = [
            integrated_gradients(self._differentiable, row, asked, logistic=self.task == "binary") for row in values
        ]
        by_feature = np.eye(X.shape[-1])[self._channels.owners]  # (channels, features)
        scale = self._spread[asked]
        found = [(attributions.sum(axis=-1) @ by_feature) * scale[:, None] for attributions, _ in channels]
        base = [start * scale + self._center[asked] for _, start in channels]
        return Contributions(np.array(found), np.array(base), _METHOD, UNITS[self.task])

    @cached_property
    def _differentiable(self) -> Network:
        """The network in 64 bits."""
        arrays = {name: array.astype(np.float64) for name, array in self._network.items()}
        layers = [Layer(*(part.astype(np.float64) for part in layer)) for _, layer in self._layers]
        return Network(self.cell, layers, arrays)

    def _block(self, X: np.ndarray) -> np.ndarray:
        """Predict one block, ``(BLOCK, steps, features)``: ``(BLOCK, outputs)``. Rows stay on the innermost axis."""
        values = np.ascontiguousarray(self._channels.apply(X, np.float32).transpose(2, 1, 0))
        newest = values[:, -1]
        for run, layer in self._layers:
            values = run(values, layer)
        network, last = self._network, values[:, -1]
        sums = np.empty((len(self._center), len(X)), dtype=np.float32)
        for k in range(len(sums)):
            head = (network["head.weight"][k][:, None] * last).sum(axis=0) + network["head.bias"][k]
            sums[k] = head + (network["skip.weight"][k][:, None] * newest).sum(axis=0) + network["skip.bias"][k]
        found = sums.astype(np.float64)
        found = expit(found) if self.task == "binary" else found * self._spread[:, None] + self._center[:, None]
        return found.T

    def _save_estimator(self, folder: Path) -> None:
        scalers = {"label.center": self._center, "label.spread": self._spread}
        scalers |= {f"scaler.{name}": array for name, array in self._channels.arrays().items()}
        _arrays.save(self._network | scalers, folder)

    def _load_estimator(self, folder: Path, state: State) -> None:
        arrays = _arrays.load(folder)
        features = arrays["scaler.mean"].shape if "scaler.mean" in arrays else ()
        if len(features) != 1:
            raise UntrustedModel(f"the model's file is not that of a {type(self).__name__}", where=str(folder))
        scalers = {name: arrays[f"scaler.{name}"] for name in _SCALERS if f"scaler.{name}" in arrays}
        _arrays.check_shapes(scalers, dict.fromkeys(_SCALERS, features), folder)
        self._channels = Channels.of(scalers)
        outputs, width = self.outputs or 1, self._channels.width
        shapes = network_shapes(self.cell, self.parameters, width, outputs)
        labels = dict.fromkeys(("label.center", "label.spread"), (outputs,))
        rest = {name: array for name, array in arrays.items() if not name.startswith("scaler.")}
        _arrays.check_shapes(rest, shapes | labels, folder)
        self._center, self._spread = rest.pop("label.center"), rest.pop("label.spread")
        self._network = {name: array.astype(np.float32) for name, array in rest.items()}
        self._prepare()


def _torch_fit() -> ModuleType:
    """The one import inside a function: torch costs 3 seconds and 300 MB, and a prediction does without it."""
    with optional_imports():
        from karat.kinds import _recurrent_fit
    return _recurrent_fit


def network_shapes(cell: str, parameters: Parameters, channels: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shape of every array of the network, by name.

    Args:
        cell: "lstm" or "gru".
        parameters: The kind's parameters.
        channels: Width of the input.
        outputs: Values per prediction.

    Returns:
        Name -> shape.
    """
    hidden = int(parameters["hidden_size"])
    gates = GATES[cell] * hidden
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(int(parameters["num_layers"])):
        shapes |= {
            f"layer_{k}.input": (gates, hidden if k else channels),
            f"layer_{k}.hidden": (gates, hidden),
            f"layer_{k}.bias": (gates,),
            f"layer_{k}.hidden_bias": (gates,),
        }
    shapes |= {"head.weight": (outputs, hidden), "head.bias": (outputs,)}
    return shapes | {"skip.weight": (outputs, channels), "skip.bias": (outputs,)}
