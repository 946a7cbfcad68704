"""Gain report: a model's gain over its baseline, reference models and oracle, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Target for the share of the oracle's gain that a model attains.
MIN_ATTAINED = 0.7
#: Reference models for kinds that read sequences.
PERSISTENCE, LINEAR = "persistence", "linear"


#: Names of fields in reports that earlier versions of Karat wrote.
_EARLIER_NAMES = {
    "groups": "clusters",
    "drawn": "cluster_unit",
    "truth": "oracle_metrics",
    "truth_gain": "oracle_gain",
    "why": "shortfall",
}


@dataclass(frozen=True)
class ConfidenceInterval:
    """A value with its 95 % confidence interval; the ends are NaN if the rows allow none."""

    value: float
    low: float
    high: float

    @property
    def is_positive(self) -> bool:
        """Whether the whole interval lies above 0."""
        return bool(self.low > 0)


@dataclass(frozen=True)
class GainReport:
    """The model's gain on the test rows in ``metric``, with confidence intervals.

    Every gain counts in the metric's better direction, so more is better.

    Attributes:
        metric: The primary metric.
        gain: The model's gain over the baseline.
        clusters: Number of clusters that the bootstrap draws from.
        cluster_unit: What a cluster is, in the plural.
        oracle_metrics: Metrics of the oracle, which predicts by the planted truth.
        oracle_gain: The oracle's gain over the baseline.
        attained: ``gain`` as a share of ``oracle_gain``.
        reference_models: The model's gain over persistence and over a linear model; only for kinds that read sequences.
        intervals: Confidence intervals of the model's own metrics.
        shortfall: Which target is missed and why: a gain above 0, 70 % of the oracle's gain, a gain over each reference
            model. Empty if all are met.
    """

    metric: str
    gain: ConfidenceInterval
    clusters: int
    cluster_unit: str
    oracle_metrics: dict[str, float] = field(default_factory=dict)
    oracle_gain: ConfidenceInterval | None = None
    attained: ConfidenceInterval | None = None
    reference_models: dict[str, ConfidenceInterval] = field(default_factory=dict)
    intervals: dict[str, ConfidenceInterval] = field(default_factory=dict)
    shortfall: tuple[str, ...] = ()

    @property
    def meets_targets(self) -> bool:
        """Whether the gain is above 0, near the oracle's where there is one, and above 0 over each reference model."""
        near = self.oracle_gain is None or (self.attained is not None and self.attained.value >= MIN_ATTAINED)
        return self.gain.is_positive and near and all(over.value > 0 for over in self.reference_models.values())

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> GainReport:
        """Read what ``dataclasses.asdict`` made of a report, also under the names of earlier versions of Karat."""
        named = {_EARLIER_NAMES.get(name, name): value for name, value in record.items()}
        for name in ("gain", "oracle_gain", "attained"):
            named[name] = ConfidenceInterval(**named[name]) if named.get(name) else None
        for name in ("reference_models", "intervals"):
            named[name] = {key: ConfidenceInterval(**value) for key, value in named.get(name, {}).items()}
        return cls(**{**named, "shortfall": tuple(named.get("shortfall", ()))})

    def as_metrics(self) -> dict[str, float]:
        """Return the report under the names that are logged."""
        found = _interval_metrics(f"{self.metric}_gain", self.gain, whole=True)
        found |= {f"truth_{name}": value for name, value in self.oracle_metrics.items()}
        if self.attained is not None:
            found |= _interval_metrics("attained", self.attained, whole=True)
        for name, gain in self.reference_models.items():
            found |= _interval_metrics(f"{name}_gain", gain, whole=True)
        for name, interval in self.intervals.items():
            found |= _interval_metrics(name, interval, whole=False)
        return {name: value for name, value in found.items() if np.isfinite(value)}


def _interval_metrics(name: str, interval: ConfidenceInterval, *, whole: bool) -> dict[str, float]:
    ends = {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: interval.value, **ends} if whole else ends


#: Prefixes of what is logged of fairness, calibration, intervals, a project's own metrics and several seeds.
_REPORTED = ("fairness_", "calibration_", "interval_", "custom_", "seeds_", "resources_")


def is_gain_metric(name: str) -> bool:
    """Whether a logged metric is one of ``GainReport.as_metrics``, a reference model's, or a report's."""
    return name.startswith(("truth_", "attained", f"{PERSISTENCE}_", f"{LINEAR}_", *_REPORTED)) or name.endswith(
        ("_gain", "_low", "_high")
    )
