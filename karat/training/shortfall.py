"""Why a model is not clearly better than its baseline, or stays far from the truth: what the figures say, in words.

Every sentence states figures of the rows; none guesses at a cause that they do not show.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER
from karat.training.gain_report import LINEAR, PERSISTENCE, WANTED, GainReport
from karat.training.train import TrainingResult

#: Fewer test rows of the rarer class than this, and a ranking moves with each of them.
FEW = 50
#: A truth that gains less than this share of what could be gained over the baseline.
NEAR = 0.2
#: Mean labels further apart than this many standard deviations.
SHIFTED = 0.25
_RIVALS = {PERSISTENCE: "persistence", LINEAR: "a linear model of the same values"}


def shortfall_reasons(trained: TrainingResult, found: GainReport) -> Iterator[str]:
    """One sentence each. The first ones say what does not hold, the others what the figures show about it."""
    yield from _what(found)
    shown = [*_noise(trained, found), *_few(trained), *_by_heart(trained, found), *_shifted(trained)]
    lost = not all(rival.value > 0 for rival in found.reference_models.values())
    yield from shown or ([] if lost else ["No reason shows in the figures: look at the features and the kind"])


def _what(found: GainReport) -> Iterator[str]:
    gain, metric = found.gain, found.metric
    of = f"{found.groups} {found.drawn} of the test"
    if not np.isfinite(gain.low):
        yield f"The gain in {metric} over the baseline has no interval: too many draws of the {of} lack a class"
    elif not gain.clear:
        yield (
            f"The 95 % interval of the gain in {metric} over the baseline, {gain.low:.4g} to {gain.high:.4g}, is not "
            f"clear of 0; it rests on {of}, on which a gain of less than {gain.value - gain.low:.4g} can't be told"
        )
    attained = found.attained
    if attained is not None and attained.value < WANTED:
        within = attained.high >= WANTED
        yield (
            f"It attains {attained.value:.0%} of the truth's gain, not {WANTED:.0%} (95 % interval {attained.low:.0%} "
            f"to {attained.high:.0%}{', which holds it' if within else ''})"
        )
    for rival, over in found.reference_models.items():
        if not over.value > 0:
            yield (
                f"It is no better than {_RIVALS[rival]} on the same rows: its gain in {metric} is {over.value:.4g} "
                f"(95 % interval {over.low:.4g} to {over.high:.4g})"
            )


def _noise(trained: TrainingResult, found: GainReport) -> Iterator[str]:
    """The planted truth says what of the label anybody could know."""
    best = found.truth_gain
    if best is None:
        return
    metric = found.metric
    scores = f"{found.truth.get(metric, float('nan')):.4g} against the baseline's {trained.baseline[metric]:.4g}"
    if best.high < 0 or found.gain.low > best.high:
        yield f"The planted truth scores worse than it can: {metric} {scores}. Look at the truth's expression"
        return
    share = _of_possible(trained, found)
    little = share is not None and share < NEAR
    rest = f", {share:.0%} of the way to a perfect score. The rest of the label is noise to everybody" if little else ""
    if not best.clear:
        yield (
            f"The planted truth itself is not clear of the baseline on these rows: {metric} {scores}, interval of its "
            f"gain {best.low:.4g} to {best.high:.4g}{rest}"
        )
    elif little:
        yield f"The planted truth itself scores close to the baseline: {metric} {scores}{rest}"


def _of_possible(trained: TrainingResult, found: GainReport) -> float | None:
    """The truth's gain as a share of what a perfect answer would gain."""
    assert found.truth_gain is not None
    best = 1.0 if HIGHER_IS_BETTER[found.metric] else 0.0
    possible = abs(best - trained.baseline[found.metric])
    return found.truth_gain.value / possible if possible else None


def _few(trained: TrainingResult) -> Iterator[str]:
    task, labels = trained.spec.task, trained.test_labels
    if task == "multilabel":
        for name in labels.struct.fields:
            number = int((labels.struct.field(name) == 1).sum())
            if min(number, len(labels) - number) < FEW:
                yield f"Only {number} of {len(labels)} test rows have the label {name!r}"
    elif task in ("binary", "multiclass", "anomaly"):
        label, number = labels.value_counts(sort=True).row(-1)
        if number < FEW:
            yield f"Only {number} of {len(labels)} test rows have the rarest label {label!r}"


def _by_heart(trained: TrainingResult, found: GainReport) -> Iterator[str]:
    """Much better on the rows that it learned from: more than half of that gain is gone on the test rows."""
    metric = found.metric
    known, test = trained.train_metrics.get(metric), trained.metrics.get(metric)
    base = trained.baseline.get(metric)
    if known is None or test is None or base is None:
        return
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    if sign * (known - base) > 0 and sign * (test - base) < 0.5 * sign * (known - base):
        yield f"It learned by heart: {metric} {known:.4g} on the rows it learned from, {test:.4g} on the test rows"


def _shifted(trained: TrainingResult) -> Iterator[str]:
    """The labels of the test rows are others than those of the rows learned from."""
    task, before = trained.spec.task, trained.learned_labels
    if before is None or task not in ("binary", "regression"):
        return
    learned, test = (_numbers(trained, y) for y in (before, trained.test_labels))
    if abs(test.mean() - learned.mean()) > SHIFTED * learned.std():
        what = "The share of positives" if task == "binary" else "The mean label"
        yield f"{what} is {learned.mean():.4g} in the rows learned from and {test.mean():.4g} in the test rows"


def _numbers(trained: TrainingResult, y: pl.Series) -> np.ndarray:
    found = (y == trained.model.classes[1]) if trained.spec.task == "binary" else y
    return found.cast(pl.Float64).to_numpy()
