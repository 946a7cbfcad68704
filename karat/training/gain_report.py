"""What the test rows say of a model: how sure its gain is, and how far it comes towards the planted truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: The share of the way from the baseline to the truth that a model is asked for.
WANTED = 0.7
#: What every sequence kind is also held against, on the same rows.
PERSISTENCE, LINEAR = "persistence", "linear"


@dataclass(frozen=True)
class Interval:
    """A figure, a difference or a share, with the ends of its 95 % interval; NaN where the rows allow none."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies above 0."""
        return bool(self.low > 0)


@dataclass(frozen=True)
class GainReport:
    """The model's gain on the test rows in ``metric``, with confidence intervals.

    Every gain counts in the metric's better direction, so more is better.

    Attributes:
        gain: The model's gain over the baseline.
        truth_gain: The gain of the planted truth over the baseline.
        attained: ``gain`` as a share of ``truth_gain``.
        reference_models: The model's gain over persistence and over a linear model; only for kinds that read sequences.
        truth: The metrics of the planted truth.
        intervals: Confidence intervals of the model's own metrics.
        groups: The unit that the bootstrap resamples, in words.
        why: Why the gain is not clear of 0, why 70 % of the truth's gain is not reached, or which reference model is
            not beaten. Empty when all three hold.
    """

    metric: str
    gain: Interval
    groups: int
    drawn: str
    truth: dict[str, float] = field(default_factory=dict)
    truth_gain: Interval | None = None
    attained: Interval | None = None
    reference_models: dict[str, Interval] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    why: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is clear of its baseline, near the truth where there is one, and ahead of its rivals."""
        near = self.truth_gain is None or (self.attained is not None and self.attained.value >= WANTED)
        return self.gain.clear and near and all(rival.value > 0 for rival in self.reference_models.values())

    def as_metrics(self) -> dict[str, float]:
        """Under the names by which they are logged."""
        found = _ends(f"{self.metric}_gain", self.gain, whole=True)
        found |= {f"truth_{name}": value for name, value in self.truth.items()}
        if self.attained is not None:
            found |= _ends("attained", self.attained, whole=True)
        for rival, gain in self.reference_models.items():
            found |= _ends(f"{rival}_gain", gain, whole=True)
        for name, interval in self.intervals.items():
            found |= _ends(name, interval, whole=False)
        return {name: value for name, value in found.items() if np.isfinite(value)}


def _ends(name: str, interval: Interval, *, whole: bool) -> dict[str, float]:
    ends = {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: interval.value, **ends} if whole else ends


def is_judged(name: str) -> bool:
    """Whether a logged metric is one of ``GainReport.as_metrics``, or a rival's own."""
    return name.startswith(("truth_", "attained", f"{PERSISTENCE}_", f"{LINEAR}_")) or name.endswith(
        ("_gain", "_low", "_high")
    )
