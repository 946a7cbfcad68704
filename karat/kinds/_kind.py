"""The interface of every estimator kind, and the checks of its parameters and files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from threadpoolctl import threadpool_limits

from karat.errors import DeclarationError, TrainingError, UntrustedModel, did_you_mean
from karat.fingerprint import fingerprint_file
from karat.kinds._baseline_shapley import METHOD, baseline_shapley
from karat.kinds._contributions import Contributions
from karat.kinds._shard import Checkpoints, NoCheckpoints, Shard

#: ``report(iteration, metrics)``: called by kinds that learn in rounds, after each round.
Report = Callable[[int, dict[str, float]], None]
#: Parameter -> plain value (number, text, switch or None), as YAML has it.
Parameters = dict[str, Any]
#: What ``kind.json`` keeps of a fitted kind besides the estimator's own file, as JSON.
State = dict[str, Any]
#: The field of a declaration (path of keys), and what is wrong with it.
Problem = tuple[tuple[str, ...], str]
#: Task -> the unit of its predictions, and of the contributions to them.
UNITS = {
    "regression": "value",
    "forecast": "value",
    "binary": "probability",
    "multiclass": "probability",
    "multilabel": "probability",
    "anomaly": "score",
    "clustering": "cluster",
}


class Kind(ABC):
    """An estimator behind one interface for all tasks.

    Each subclass lives in a file of its own, named after the kind. Its ``tasks`` and ``defaults`` are literals, because
    declarations are checked against the file's text without loading its library.

    Attributes:
        tasks: The tasks that the kind can learn.
        defaults: Every parameter that the kind takes, with its default.
        sequences: Whether the kind reads sequences.
        weighs_rows: Whether ``fit`` takes weights of rows.
        rounds_parameter: The parameter that counts its rounds, if it calls ``report`` after each; else empty.
        communicator: Family of the network by which several workers fit it together ("xgboost", "lightgbm", "torch");
            empty if one process fits it.
        gpu: Whether it can be fitted on a GPU.
        parameters: The given parameters over the defaults.
        curve: Part of the rows ("train", "validation") -> the loss after each round. Empty if the kind learns in one
            step.
        curve_metric: The name of the loss in ``curve``.
        threshold: The decision threshold of a kind that learns one; else None.
        classes: Number of classes; 0 if the task has none.
        outputs: Number of the label's parts; 0 if the label is one value.
    """

    tasks: ClassVar[frozenset[str]]
    defaults: ClassVar[Parameters]
    sequences: ClassVar[bool] = False
    weighs_rows: ClassVar[bool] = False
    rounds_parameter: ClassVar[str] = ""
    communicator: ClassVar[str] = ""
    gpu: ClassVar[bool] = False

    def __init__(
        self, task: str, parameters: Parameters | None = None, *, seed: int = 0, class_weight: str | None = None
    ) -> None:
        """Make an unfitted estimator.

        Args:
            task: One of ``tasks``.
            parameters: Parameters that differ from ``defaults``.
            seed: Seed of every random draw.
            class_weight: ``"balanced"`` to weigh classes by their inverse frequency.

        Raises:
            DeclarationError: The kind does not take this task or one of the parameters.
        """
        check(type(self).__module__.rpartition(".")[2], self.tasks, self.defaults, task, parameters or {})
        self.task, self.seed, self.class_weight = task, seed, class_weight
        self.parameters: Parameters = {**self.defaults, **(parameters or {})}
        self.curve: dict[str, list[float]] = {}
        self.curve_metric = ""
        self.threshold: float | None = None
        self.classes = self.outputs = 0
        self.order: np.ndarray | None = None
        self.weight: np.ndarray | None = None

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None = None,
        order: np.ndarray | None = None,
        weight: np.ndarray | None = None,
    ) -> None:
        """Fit the estimator.

        A kind that stops early sets its validation rows aside from these rows. It uses ``n_jobs`` threads, 1 by
        default: models are trained side by side, and threads that wait for a busy core make a fit many times slower.

        Args:
            X: Features, ``(rows, features)`` float64. NaN marks a missing value; categories are codes 0..k-1. A kind
                that reads sequences takes ``(rows, steps, features)``, oldest step first.
            y: Labels. ``(rows,)`` values for a regression, class codes 0..k-1 for a classification; ``(rows, labels)``
                zeros and ones for a multi-label model; ``(rows, steps)`` for a forecast; None for an anomaly detector
                or a clustering.
            names: Feature names.
            categorical: Per feature, whether its values are codes.
            report: Called after each round by kinds that learn in rounds.
            order: The time of each row, ``(rows,)``. None if the rows are in the order of time.
            weight: How much each row counts, ``(rows,)``; all the same if None.

        Raises:
            TrainingError: The library refuses a parameter's value or the data.
        """
        self._forget_computed()
        self.classes = int(y.max()) + 1 if y is not None and self.task in ("binary", "multiclass") else 0
        self.outputs = y.shape[1] if y is not None and y.ndim == 2 else 0
        self.order, self.weight = order, weight
        try:
            # -1 is scikit-learn's word for every core.
            with threadpool_limits(limits=max(self.parameters["n_jobs"], 0) or None):
                self._fit(X, y, names=names, categorical=categorical, report=report)
        except ValueError as error:
            raise self._untrainable(error) from error
        finally:
            self.order = self.weight = None

    def row_weights(self, of_class: np.ndarray | None) -> np.ndarray | None:
        """The weights of the rows times those of their classes, ``(rows,)``; None if all rows count the same."""
        if of_class is None or self.weight is None:
            return self.weight if of_class is None else of_class
        return np.asarray(of_class * self.weight)

    def fit_shard(
        self,
        shard: Shard,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Fit the estimator together with other workers, each on its shard of the rows.

        Every worker ends with the same estimator, whose files are those of ``fit``.

        Args:
            shard: The worker's rows.
            names: Feature names.
            categorical: Per feature, whether its values are codes.
            report: Called after each round.
            checkpoints: Where the fit goes on after a fault; None begins anew.

        Raises:
            TrainingError: The library refuses a parameter's value or the data.
            NotImplementedError: The kind has no ``communicator``.
            Exception: Another worker could not be reached, as the library says it.
        """
        self._forget_computed()
        self.classes, self.outputs = shard.labels.classes, shard.labels.outputs
        try:
            with threadpool_limits(limits=shard.place.cores):
                self._fit_shard(
                    shard,
                    names=names,
                    categorical=categorical,
                    report=report,
                    checkpoints=checkpoints or NoCheckpoints(),
                )
        except ValueError as error:
            if self._is_network_error(error):
                raise
            raise self._untrainable(error) from error

    def _is_network_error(self, error: ValueError) -> bool:
        """Whether the library could not reach another worker, which a retry mends."""
        return False

    def _untrainable(self, error: ValueError) -> TrainingError:
        """What the libraries say of a parameter's value, or of the data."""
        return TrainingError(
            f"{type(self).__name__} could not be trained: {str(error).partition('Stack trace')[0].strip()}",
            remedy="look at the model's parameters: "
            + ", ".join(f"{k}={v!r}" for k, v in self.parameters.items() if v != self.defaults[k]),
        )

    @abstractmethod
    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
    ) -> None:
        """Fit the library's estimator; see ``fit``. ``X`` must stay unchanged."""

    def _fit_shard(
        self,
        shard: Shard,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        """Fit the library's estimator with other workers; see ``fit_shard``."""
        raise NotImplementedError(f"{type(self).__name__} has no communicator: one process fits it")

    def validation_rows(self, y: np.ndarray, order: np.ndarray | None) -> np.ndarray:
        """Choose the rows that a fit sets aside to stop early by, ``(rows,)``; all False if there are none.

        Args:
            y: What the kind learns, ``(rows,)`` or ``(rows, parts)``.
            order: The time of each row, ``(rows,)``; None if the rows are in the order of time.
        """
        return np.zeros(len(y), dtype=bool)

    @abstractmethod
    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row. A row's prediction never depends on the other rows, to the bit.

        Args:
            X: Features, ``(rows, features)`` or ``(rows, steps, features)``, as ``fit`` takes them.

        Returns:
            Regression: values, ``(rows,)``. Binary: probability of class 1, ``(rows,)``. Multiclass: probabilities,
            ``(rows, classes)``. Multi-label: probabilities, ``(rows, labels)``. Anomaly: scores, ``(rows,)``, greater
            is more anomalous. Clustering: cluster numbers, ``(rows,)``. Forecast: values, ``(rows, steps)``.
        """

    def space(self, X: np.ndarray) -> np.ndarray | None:
        """The space in which a clustering measures its distances, ``(rows, dimensions)``; None for other tasks."""
        return None

    def importance(self) -> np.ndarray | None:
        """Feature importances as shares that sum to 1, ``(features,)``; None if the estimator has none of its own."""
        return None

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Additive contributions of each feature to each prediction.

        Args:
            X: Features, as ``predict`` takes them.
            outputs: The outputs to explain; None for all. One output stands for the value or for class 1.

        Returns:
            Contributions whose total is ``explained_output`` once their link is applied. A kind without an algorithm of
            its own has Shapley values in which an unknown feature counts as missing.
        """
        values, base = baseline_shapley(self.explained_output, X, seed=self.seed)
        return Contributions(values, base, METHOD, UNITS[self.task]).of_outputs(outputs)

    def explained_output(self, X: np.ndarray) -> np.ndarray:
        """What a row's contributions add up to, ``(rows, outputs)``: the prediction, unless a kind says otherwise."""
        return self.predict(X).reshape(len(X), -1)

    def __getstate__(self) -> dict[str, object]:
        """The attributes without what is computed when it is first asked for: a model may be sent to a worker."""
        return {name: value for name, value in self.__dict__.items() if name not in self._computed_names()}

    @classmethod
    def _computed_names(cls) -> set[str]:
        """The attributes that are computed from the fitted estimator when they are first asked for."""
        return {name for c in cls.__mro__ for name, value in vars(c).items() if isinstance(value, cached_property)}

    def _forget_computed(self) -> None:
        for name in self._computed_names():
            self.__dict__.pop(name, None)

    @abstractmethod
    def _save_estimator(self, folder: Path) -> None:
        """Write the library's own files, each named ``estimator*``."""

    @abstractmethod
    def _load_estimator(self, folder: Path, state: State) -> None:
        """Read what ``_save_estimator`` and ``_state`` kept."""

    def _state(self) -> State:
        """State that ``_load_estimator`` needs besides the estimator's own file."""
        return {}

    def save(self, folder: Path) -> None:
        """Write ``kind.json`` and the estimator's files into ``folder``. Nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_estimator(folder)
        described = {
            "task": self.task,
            "parameters": self.parameters,
            "seed": self.seed,
            "class_weight": self.class_weight,
            "threshold": self.threshold,
            "classes": self.classes,
            "outputs": self.outputs,
            "state": self._state(),
            "digests": {p.name: _digest(p) for p in sorted(folder.glob("estimator*"))},
        }
        (folder / "kind.json").write_text(json.dumps(described, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a fitted kind that ``save`` wrote.

        Raises:
            UntrustedModel: A file is not what ``save`` writes.
        """
        described = read_json(folder / "kind.json")
        try:
            kind = cls(
                described["task"],
                described["parameters"],
                seed=described["seed"],
                class_weight=described["class_weight"],
            )
            kind.threshold, kind.classes = described["threshold"], described["classes"]
            kind.outputs = described["outputs"]
            for name, digest in described["digests"].items():
                _check_whole(folder / Path(name).name, digest)
            kind._load_estimator(folder, described["state"])
        except (KeyError, TypeError, AttributeError, DeclarationError) as error:
            raise UntrustedModel(
                f"the model's files do not describe a {cls.__name__}: {error!r}",
                where=str(folder),
                remedy="load a folder that Model.save has written, or train the model again",
            ) from error
        return kind


def _digest(path: Path) -> str:
    return fingerprint_file(path)


def _check_whole(path: Path, digest: str) -> None:
    """Refuse a file that differs from what was saved: XGBoost's parser crashes the process on half a file."""
    if not path.is_file() or _digest(path) != digest:
        raise UntrustedModel(
            f"the model's {path.name} is {'not what was saved' if path.exists() else 'missing'}",
            where=str(path),
            remedy="fetch the model again; if that does not help, train it again",
        )


def read_json(path: Path) -> State:
    """Read a JSON object.

    Raises:
        UntrustedModel: The file is missing, is no JSON, or holds no object.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UntrustedModel(
            f"no readable {path.name}: {error}",
            where=str(path.parent),
            remedy="load a folder that Model.save has written",
        ) from error
    if not isinstance(data, dict):
        raise UntrustedModel(f"{path.name} holds no JSON object", where=str(path.parent))
    return data


def check(kind: str, tasks: frozenset[str], defaults: Parameters, task: str, parameters: Parameters) -> None:
    """Refuse a task or parameters that a kind does not take.

    Raises:
        DeclarationError: With all errors at once.
    """
    errors = [text for _, text in problems(kind, tasks, defaults, task, parameters)]
    if errors:
        raise DeclarationError(
            f"a model of kind {kind!r} cannot be made from this task and these parameters", errors=errors
        )


def problems(
    kind: str, tasks: frozenset[str], defaults: Parameters, task: str, parameters: Parameters
) -> list[Problem]:
    """Every error of a task and parameters: the field of the declaration, and a line of text."""
    found: list[Problem] = []
    if task not in tasks:
        found.append((("task",), f"kind {kind!r} cannot learn {task!r}; it learns {', '.join(sorted(tasks))}"))
    for name, value in parameters.items():
        if name not in defaults:
            text = f"kind {kind!r} has no parameter {name!r}. {did_you_mean(name, defaults)}"
            found.append((("parameters", name), text))
        elif not _fits(value, defaults[name]):
            text = f"parameter {name!r} of {kind!r} is {value!r}; it takes a value like {defaults[name]!r}"
            found.append((("parameters", name), text))
    return found


def _fits(value: object, default: object) -> bool:
    """Whether a value has the type of the default. A default of None takes any plain value, and null."""
    if default is None:
        return value is None or isinstance(value, bool | int | float | str)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default) | int | float) and not isinstance(value, bool)
