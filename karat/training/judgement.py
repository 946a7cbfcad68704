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
class Judgement:
    """What the test rows say of ``metric``.

    ``gain`` is the model's over the baseline in the metric's better direction (more is better), ``truth_gain`` that of
    the planted truth, ``attained`` the first as a share of the second; ``rivals`` the model's gain over persistence and
    over a linear model, of kinds that read sequences. ``truth`` are the truth's metrics; ``intervals`` are of the
    model's own metrics, as they are. ``groups`` were drawn as one. ``why`` says in words why the gain is not clear of
    0, 70 % of the truth's is not reached or a rival is not beaten; empty where all holds.
    """

    metric: str
    gain: Interval
    groups: int
    drawn: str
    truth: dict[str, float] = field(default_factory=dict)
    truth_gain: Interval | None = None
    attained: Interval | None = None
    rivals: dict[str, Interval] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    why: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is clear of its baseline, near the truth where there is one, and ahead of its rivals."""
        near = self.truth_gain is None or (self.attained is not None and self.attained.value >= WANTED)
        return self.gain.clear and near and all(rival.value > 0 for rival in self.rivals.values())

    def as_metrics(self) -> dict[str, float]:
        """Under the names by which they are logged."""
        found = _ends(f"{self.metric}_gain", self.gain, whole=True)
        found |= {f"truth_{name}": value for name, value in self.truth.items()}
        if self.attained is not None:
            found |= _ends("attained", self.attained, whole=True)
        for rival, gain in self.rivals.items():
            found |= _ends(f"{rival}_gain", gain, whole=True)
        for name, interval in self.intervals.items():
            found |= _ends(name, interval, whole=False)
        return {name: value for name, value in found.items() if np.isfinite(value)}


def _ends(name: str, interval: Interval, *, whole: bool) -> dict[str, float]:
    ends = {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: interval.value, **ends} if whole else ends


def is_judged(name: str) -> bool:
    """Whether a logged metric is one of ``Judgement.as_metrics``, or a rival's own."""
    return name.startswith(("truth_", "attained", f"{PERSISTENCE}_", f"{LINEAR}_")) or name.endswith(
        ("_gain", "_low", "_high")
    )
