"""Several seeds: how much a model's score depends on its random draws, where its gain is not clear of 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from karat.training.evaluation import is_better
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import GainReport


@dataclass(frozen=True)
class SeedReport:
    """The primary metric of the same model with several seeds, on the same rows.

    Attributes:
        metric: The primary metric.
        values: Its value for each seed, the declared one first.
        baseline: The baseline's value on the same rows.
    """

    metric: str
    values: tuple[float, ...]
    baseline: float | None

    @property
    def wins(self) -> int:
        """How many of the seeds beat the baseline."""
        if self.baseline is None:
            return 0
        return sum(is_better(self.metric, value, self.baseline) for value in self.values)

    def as_metrics(self) -> dict[str, float]:
        """Return the mean and the standard deviation under the names that are logged."""
        mean, deviation = float(np.mean(self.values)), float(np.std(self.values, ddof=1))
        return {f"seeds_{self.metric}_mean": mean, f"seeds_{self.metric}_std": deviation}


def try_seeds(
    trained: TrainingResult, gain: GainReport | None, seeds: int, again: Callable[[int], TrainingResult]
) -> SeedReport | None:
    """Fit a model with further seeds if its gain over the baseline is not clear of 0.

    Args:
        trained: The trained model.
        gain: Its gain; None where the rows allow none.
        seeds: Number of seeds in all.
        again: Fits and evaluates the model with a seed, on the same rows.

    Returns:
        The report; None for a clear gain, and for a model that draws nothing at random.
    """
    if gain is None or gain.gain.is_positive or seeds < 2:
        return None
    metric, first = gain.metric, trained.spec.seed
    values = [trained.metrics[metric]]
    for seed in range(first + 1, first + seeds):
        value = again(seed).metrics.get(metric)
        if value == values[0]:
            return None
        if value is not None:
            values.append(value)
    return SeedReport(metric, tuple(values), trained.baseline.get(metric)) if len(values) > 1 else None
