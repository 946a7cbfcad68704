"""What every estimator kind offers."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from threadpoolctl import threadpool_limits

from karat.errors import DeclarationError, TrainingError, UntrustedModel, did_you_mean

#: ``report(iteration, metrics)``: called by kinds that learn in rounds, after each round.
Report = Callable[[int, dict[str, float]], None]


class Kind(ABC):
    """An estimator behind one interface for all tasks; subclasses live in one file each, named after the kind.

    ``tasks`` and ``defaults`` are written as literals, because declarations are checked against the text of the file
    without loading its library. ``defaults`` names every parameter that the kind takes.

    ``parameters`` are the given ones over the defaults. ``curve`` holds one list a part of the rows ("train",
    "validation") with the loss after each round, in ``curve_metric``; empty where a kind does not learn in rounds.
    ``threshold`` is set by a kind that learns its own decision threshold; ``classes`` is their number, 0 without, and
    ``outputs`` that of the label's parts, 0 where it is one value. ``sequences`` says that the kind reads sequences.
    """

    tasks: ClassVar[frozenset[str]]
    defaults: ClassVar[dict[str, Any]]
    sequences: ClassVar[bool] = False

    def __init__(
        self, task: str, parameters: dict[str, Any] | None = None, *, seed: int = 0, class_weight: str | None = None
    ) -> None:
        """Raises DeclarationError for a task or a parameter that the kind does not take."""
        check(type(self).__module__.rpartition(".")[2], self.tasks, self.defaults, task, parameters or {})
        self.task, self.seed, self.class_weight = task, seed, class_weight
        self.parameters: dict[str, Any] = {**self.defaults, **(parameters or {})}
        self.curve: dict[str, list[float]] = {}
        self.curve_metric = ""
        self.threshold: float | None = None
        self.classes = self.outputs = 0
        self.order: np.ndarray | None = None

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None = None,
        order: np.ndarray | None = None,
    ) -> None:
        """Learns from ``X`` (n, f) float64, NaN where missing, categories as codes 0..k-1; a kind that reads sequences
        from (n, steps, f), oldest first, where there are any.

        ``y`` (n,): values for a regression, class codes 0..k-1 for a classification, None for an anomaly detector or a
        clustering; (n, L): 0 and 1 of each label of a multi-label model, the steps of a forecast. ``order`` (n,): when
        each row was, ascending in time; the rows are in that order themselves where it is None.
        Rows used to stop early are taken from these rows. It uses ``n_jobs`` threads, 1 by default: models are
        trained side by side, and threads that wait for a taken core make a fit many times slower. Raises TrainingError
        with what the library says.
        """
        self.classes = int(y.max()) + 1 if y is not None and self.task in ("binary", "multiclass") else 0
        self.outputs = y.shape[1] if y is not None and y.ndim == 2 else 0
        self.order = order
        try:
            # -1 is scikit-learn's word for every core.
            with threadpool_limits(limits=max(self.parameters["n_jobs"], 0) or None):
                self._fit(X, y, names=names, categorical=categorical, report=report)
        except ValueError as error:  # what the libraries say of a parameter's value, or of the data
            raise TrainingError(
                f"{type(self).__name__} could not be trained: {str(error).partition('Stack trace')[0].strip()}",
                remedy="look at the model's parameters: "
                + ", ".join(f"{k}={v!r}" for k, v in self.parameters.items() if v != self.defaults[k]),
            ) from error
        finally:
            self.order = None

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
        """What ``fit`` says; ``X`` is not to be changed."""

    @abstractmethod
    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n, f) -> regression (n,) value; binary (n,) probability of class 1; multiclass (n, k) probabilities;
        multilabel (n, L) probabilities; anomaly (n,) score, greater is more anomalous; clustering (n,) the cluster's
        number; forecast (n, N) values. A row's answer never depends on the other rows, to the bit."""

    def space(self, X: np.ndarray) -> np.ndarray | None:
        """(n, f) -> (n, d): where a clustering measures its distances; None for other tasks."""
        return None

    def importance(self) -> np.ndarray | None:
        """(f,) shares that sum to 1, or None where the estimator has no importance of its own."""
        return None

    def contributions(self, X: np.ndarray) -> tuple[np.ndarray, str] | None:
        """For one row ``X`` (1, f): what each feature adds, as (outputs, f + 1) whose last column is the base, and the
        unit in which a line of it adds up to the prediction: "value", "log-odds" or "margin". One output stands for
        the value or for class 1. None where this is not exact, or takes much longer than the prediction."""
        return None

    @abstractmethod
    def _save_estimator(self, folder: Path) -> None: ...

    @abstractmethod
    def _load_estimator(self, folder: Path, state: dict[str, Any]) -> None: ...

    def _state(self) -> dict[str, Any]:
        """What ``_load_estimator`` needs besides the estimator's own file, as JSON."""
        return {}

    def save(self, folder: Path) -> None:
        """Writes ``kind.json`` and the estimator's file into ``folder``; no pickle."""
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
        """Raises UntrustedModel where a file is not what ``save`` writes."""
        described = read_json(folder / "kind.json")
        try:
            kind = cls(
                described["task"],
                described["parameters"],
                seed=described["seed"],
                class_weight=described["class_weight"],
            )
            kind.threshold, kind.classes = described["threshold"], described["classes"]
            kind.outputs = described.get("outputs", 0)  # models of before had one
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
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _check_whole(path: Path, digest: str) -> None:
    """Libraries crash the process on half a file (XGBoost's parser does), so a broken one must not reach them."""
    if not path.is_file() or _digest(path) != digest:
        raise UntrustedModel(
            f"the model's {path.name} is {'not what was saved' if path.exists() else 'missing'}",
            where=str(path),
            remedy="fetch the model again; if that doesn't help, train it again",
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from ``path``. Raises UntrustedModel where it is missing or something else."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UntrustedModel(
            f"no readable {path.name}: {error}",
            where=str(path.parent),
            remedy="load a folder that Model.save has written",
        ) from error
    if not isinstance(data, dict):
        raise UntrustedModel(f"{path.name} holds no object", where=str(path.parent))
    return data


def check(kind: str, tasks: frozenset[str], defaults: dict[str, Any], task: str, parameters: dict[str, Any]) -> None:
    """Raises DeclarationError, all its errors at once."""
    errors = [text for _, text in problems(kind, tasks, defaults, task, parameters)]
    if errors:
        raise DeclarationError(f"a model of kind {kind!r} can't be made so", errors=errors)


def problems(
    kind: str, tasks: frozenset[str], defaults: dict[str, Any], task: str, parameters: dict[str, Any]
) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong: the field of the declaration, and a line of text."""
    found: list[tuple[tuple[str, ...], str]] = []
    if task not in tasks:
        found.append((("task",), f"kind {kind!r} does no {task!r}; it does {', '.join(sorted(tasks))}"))
    for name, value in parameters.items():
        if name not in defaults:
            text = f"kind {kind!r} has no parameter {name!r}. {did_you_mean(name, defaults)}"
            found.append((("parameters", name), text))
        elif not _fits(value, defaults[name]):
            text = f"parameter {name!r} of {kind!r} is {value!r}, but wants a value like {defaults[name]!r}"
            found.append((("parameters", name), text))
    return found


def _fits(value: Any, default: Any) -> bool:
    """Numbers for numbers, text for text, a switch for a switch; a default of None takes any plain value, and null."""
    if default is None:
        return value is None or isinstance(value, bool | int | float | str)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default) | int | float) and not isinstance(value, bool)
