"""A user's fitted estimator (scikit-learn or XGBoost) behind the interface of a model, saved without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from karat.errors import SignatureError, UntrustedModel
from karat.extras import optional_imports
from karat.kinds import Encoder, Model
from karat.kinds._skops import skops_io

#: scikit-learn's own types that skops does not trust by itself: data of fitted estimators, none of which runs code.
TRUSTED = (
    "numpy.dtype",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
_XGBOOST = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "Booster")
_FILE, _DESCRIBED = {"sklearn": "estimator.skops", "xgboost": "estimator.ubj"}, "estimator.json"


class Estimator:
    """A fitted estimator and the features that it reads, in order; it answers like ``kinds.Model``."""

    threshold: float

    def __init__(self, estimator: Any, encoder: Encoder, *, threshold: float | None = None) -> None:
        """Raises UntrustedModel for a library whose files could run code, SignatureError for other features."""
        self.estimator, self.encoder = estimator, encoder
        self.flavor = _flavor(estimator)
        self.task, self.classes = _task(estimator)
        self._check_features()
        decides_at = -float(getattr(estimator, "offset_", -0.5)) if self.task == "anomaly" else 0.5
        self.threshold = decides_at if threshold is None else threshold

    def _check_features(self) -> None:
        """The estimator was fitted on these features, in this order, as far as it remembers."""
        named = getattr(self.estimator, "feature_names_in_", None)
        if self.flavor == "xgboost" and named is None:
            named = getattr(self.estimator, "feature_names", None)
        count = getattr(self.estimator, "n_features_in_", None)
        if named is not None and list(named) != self.feature_names:
            raise SignatureError(
                "the estimator was fitted on other features than the training set has, or in another order",
                where=f"estimator: {', '.join(named)}; training set: {', '.join(self.feature_names)}",
                remedy="fit on training_set.load_df() without the label; put what is no feature in exclude_columns",
            )
        if count is not None and count != len(self.feature_names):
            raise SignatureError(
                f"the estimator was fitted on {count} features, the training set has {len(self.feature_names)}",
                where=f"training set: {', '.join(self.feature_names)}",
                remedy="fit on training_set.load_df() without the label; put what is no feature in exclude_columns",
            )

    @property
    def feature_names(self) -> list[str]:
        """The inputs, in order."""
        return self.encoder.names

    @property
    def feature_types(self) -> dict[str, str]:
        """Input -> declared type."""
        return {c.name: c.dtype for c in self.encoder.columns}

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Predict as ``kinds.Model.predict`` does.

        Args:
            frame: Rows with the inputs, ``(rows, features)``.

        Returns:
            Values ``(rows,)``, probabilities of the second class ``(rows,)``, of all classes ``(rows, classes)``, or
                anomaly
            scores ``(rows,)``.
        """
        X = self._inputs(frame)
        if frame.is_empty():  # libraries refuse to predict no rows
            return np.empty((0, len(self.classes)) if self.task == "multiclass" else (0,))
        if self.flavor == "xgboost" and type(self.estimator).__name__ == "Booster":
            return np.asarray(self.estimator.inplace_predict(X), dtype=np.float64)
        if self.task == "anomaly":
            return -np.asarray(self.estimator.score_samples(X), dtype=np.float64)
        if self.task == "regression":
            return np.asarray(self.estimator.predict(X), dtype=np.float64).reshape(-1)
        if not hasattr(self.estimator, "predict_proba"):
            made: np.ndarray = (
                (np.asarray(self.estimator.predict(X))[:, None] == np.array(self.classes))
                .astype(np.float64)[:, slice(1, 2) if self.task == "binary" else slice(None)]
                .squeeze(axis=1 if self.task == "binary" else ())
            )
            return made
        chances = np.asarray(self.estimator.predict_proba(X), dtype=np.float64)
        return chances[:, 1] if self.task == "binary" else chances

    def _inputs(self, frame: pl.DataFrame) -> pd.DataFrame | np.ndarray:
        """Pandas if the estimator knows names or reads text, else a float64 matrix."""
        self.encoder.encode(frame.head(0))  # raises SignatureError for a column that is missing or of another type
        columns = [pl.col(c.name).cast(pl.String if c.dtype == "string" else pl.Float64) for c in self.encoder.columns]
        chosen = frame.select(columns)
        if hasattr(self.estimator, "feature_names_in_") or any(self.encoder.categorical):
            return chosen.to_pandas()
        return chosen.fill_null(float("nan")).to_numpy()

    def predict_row(self, values: Sequence[Any]) -> np.ndarray:
        """Predict a single row.

        Args:
            values: Plain values in the order of ``feature_names``.

        Returns:
            What ``predict`` gives for a frame of this row.
        """
        types: dict[str, pl.DataType | type[pl.DataType]] = {
            "string": pl.String,
            "bool": pl.Boolean,
            "date": pl.Date,
            "timestamp": pl.Datetime("us", "UTC"),
        }
        columns = self.encoder.columns
        row = {
            c.name: pl.Series([v], dtype=types.get(c.dtype, pl.Float64)) for c, v in zip(columns, values, strict=True)
        }
        return self.predict(pl.DataFrame(row))

    def thresholds(self, frame: pl.DataFrame) -> float:
        """Return the threshold: an estimator of a user has one for all rows."""
        return self.threshold

    def row_threshold(self, values: Sequence[object]) -> float:
        """Return the threshold of one row."""
        return self.threshold

    def outputs(self, prediction: np.ndarray, threshold: float | np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the output columns of a prediction."""
        return Model.outputs(self, prediction, threshold)  # type: ignore[arg-type]  # reads task, classes and threshold alone

    def importance(self) -> dict[str, float] | None:
        """Return feature -> importance, as the estimator measured it; None if it has none."""
        shares = getattr(self.estimator, "feature_importances_", None)
        return None if shares is None else dict(zip(self.feature_names, map(float, shares), strict=True))

    def save(self, folder: Path) -> None:
        """Write the estimator's files.

        Raises:
            UntrustedModel: the estimator holds types that a load would refuse.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE[self.flavor]
        if self.flavor == "xgboost":
            self.estimator.save_model(path)
        else:
            try:
                skops_io().dump(self.estimator, path)
            except skops_io().exceptions.UnsupportedTypeException as error:
                raise _refused(self.estimator, str(error)) from error
            _check_trusted(path)
        described = {
            "class": type(self.estimator).__name__,
            "flavor": self.flavor,
            "threshold": self.threshold,
            "columns": self.encoder.to_json(),
        }
        (folder / _DESCRIBED).write_text(json.dumps(described, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Estimator:
        """Read an estimator's files, without running foreign code.

        Raises:
            UntrustedModel: the files hold types that are not on the trusted list.
        """
        described = json.loads((folder / _DESCRIBED).read_text())
        path = folder / _FILE[described["flavor"]]
        encoder = Encoder.from_json(described["columns"])
        if described["flavor"] == "xgboost":
            if described["class"] not in _XGBOOST:
                raise UntrustedModel(f"{described['class']!r} is no estimator of XGBoost", where=str(folder))
            with optional_imports():
                estimator = getattr(import_module("xgboost"), described["class"])()
            estimator.load_model(path)
        else:
            _check_trusted(path)
            estimator = skops_io().load(path, trusted=list(TRUSTED))
        return cls(estimator, encoder, threshold=described["threshold"])


def _flavor(estimator: object) -> str:
    root = type(estimator).__module__.partition(".")[0]
    if root == "xgboost" and type(estimator).__name__ in _XGBOOST:
        return "xgboost"
    if root == "sklearn":
        return "sklearn"
    raise _refused(estimator, f"it is a {type(estimator).__module__}.{type(estimator).__name__}")


def _refused(estimator: object, why: str) -> UntrustedModel:
    return UntrustedModel(
        f"a {type(estimator).__name__} cannot be saved without pickle: {why}",
        where="log_model(model=...)",
        remedy="give a scikit-learn or XGBoost estimator, or a karat.kinds.Model",
    )


def _check_trusted(path: Path) -> None:
    others = sorted(set(skops_io().get_untrusted_types(file=path)) - set(TRUSTED))
    if others:
        raise UntrustedModel(
            f"the model's file holds types that are not on the trusted list: {', '.join(others)}",
            where=str(path),
            remedy="use scikit-learn's own estimators; a class or function of your own would run at loading",
        )


def _task(estimator: Any) -> tuple[str, list[Any]]:
    """The task and, for a classifier, the classes as plain values."""
    if type(estimator).__name__ == "Booster":
        objective = json.loads(estimator.save_config())["learner"]["objective"]["name"]
        if objective.startswith("multi:"):
            raise _refused(estimator, "a Booster of several classes does not keep their names; give an XGBClassifier")
        return ("binary", [0, 1]) if objective.startswith("binary:") else ("regression", [])
    if is_outlier_detector(estimator):
        return "anomaly", []
    if is_classifier(estimator):
        classes = np.asarray(estimator.classes_).tolist()
        return ("binary" if len(classes) == 2 else "multiclass"), classes
    if is_regressor(estimator):
        return "regression", []
    raise _refused(estimator, "it is neither a classifier nor a regressor nor an outlier detector")
