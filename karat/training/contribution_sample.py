"""Contributions of a seeded sample of test rows: what the features add to the predictions as a whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from karat.errors import ExplanationFailed, MissingExtra
from karat.kinds import Contributions, Model

if TYPE_CHECKING:  # the result holds the sample
    from karat.training.fitted_evaluation import TrainingResult

#: Fewest and most rows of a sample, and the seconds that end it between the two: some kinds take 50 ms a row.
FEWEST_ROWS, MOST_ROWS, SECONDS = 20, 500, 0.5
_BLOCK = 20


@dataclass(frozen=True)
class ContributionSample:
    """Contributions of some test rows.

    Attributes:
        names: Feature names.
        outputs: What each output is: a class, a label or a step; one empty name for a single output.
        values: Contributions, ``(rows, outputs, features)``.
        inputs: Encoded features, of a sequence the newest step, ``(rows, features)``.
        categories: Text feature -> its categories in the order of their codes.
        unit: The unit of the contributions.
        method: How they were computed.
        test_rows: Number of test rows of which these are a sample.
    """

    names: list[str]
    outputs: list[str]
    values: np.ndarray = field(repr=False)
    inputs: np.ndarray = field(repr=False)
    categories: dict[str, tuple[str, ...]] = field(repr=False)
    unit: str
    method: str
    test_rows: int

    @property
    def rows(self) -> int:
        """Number of rows of the sample."""
        return len(self.values)

    @property
    def mean_absolute(self) -> dict[str, float]:
        """Feature -> mean absolute contribution over rows and outputs, the greatest first."""
        mean = np.abs(self.values).mean(axis=(0, 1)).tolist()
        return dict(sorted(zip(self.names, mean, strict=True), key=lambda item: (-item[1], item[0])))


def sample_contributions(trained: TrainingResult) -> ContributionSample | None:
    """Explain a seeded sample of the test rows, as many as ``SECONDS`` allow.

    Args:
        trained: The trained model.

    Returns:
        The sample; None if the model is declared without explanations, or is no model of Karat's own.

    Raises:
        ExplanationFailed: Contributions do not add up to their predictions.
        MissingExtra: A library is not installed.
    """
    model = trained.model
    if not trained.spec.explain or not isinstance(model, Model) or not trained.test.height:
        return None
    order = np.random.default_rng(trained.spec.seed).permutation(trained.test.height)[:MOST_ROWS]
    X = model.encoder.encode(trained.test[order])
    found: list[Contributions] = []
    began = time.perf_counter()
    for start in range(0, len(X), _BLOCK):
        if start >= FEWEST_ROWS and time.perf_counter() - began > SECONDS:
            break
        found.append(model.contributions(X[start : start + _BLOCK]))
    values = np.concatenate([each.values for each in found])
    several = model.parts or (list(map(str, model.classes)) if model.task == "multiclass" else [])
    return ContributionSample(
        names=model.feature_names,
        outputs=several or [""],
        values=values,
        inputs=(X if X.ndim == 2 else X[:, -1])[: len(values)],
        categories={c.name: c.categories for c in model.encoder.columns if c.dtype == "string"},
        unit=found[0].unit,
        method=found[0].method,
        test_rows=trained.rows["test"],
    )


def with_contributions(trained: TrainingResult) -> TrainingResult:
    """The same result with a contribution sample, or with a warning that says why there is none."""
    try:
        return replace(trained, contributions=sample_contributions(trained))
    except (ExplanationFailed, MissingExtra) as error:
        return replace(trained, warnings=[*trained.warnings, f"no contributions: {error.what}; {error.remedy}"])
