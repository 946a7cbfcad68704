"""Shortfall reasons: why a model misses a target of its gain report, as sentences with numbers from the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import LINEAR, MIN_ATTAINED, PERSISTENCE, GainReport

#: With fewer test rows of the rarer class, each of them moves a ranking.
MIN_RARE_ROWS = 50
#: An oracle that gains less than this share of the possible gain leaves little to learn.
MIN_ORACLE_SHARE = 0.2
#: Means of training and test labels may differ by this many standard deviations.
MAX_LABEL_SHIFT = 0.25
_REFERENCE_NAMES = {PERSISTENCE: "persistence", LINEAR: "a linear model of the same values"}


def shortfall_reasons(trained: TrainingResult, report: GainReport) -> Iterator[str]:
    """Yield one sentence per reason: first the missed targets, then what the numbers show about them."""
    yield from _unmet_targets(report)
    reasons = [
        *_oracle_reasons(trained, report),
        *_rare_label_reasons(trained),
        *_overfitting_reasons(trained, report),
        *_label_shift_reasons(trained),
    ]
    unbeaten = not all(over.value > 0 for over in report.reference_models.values())
    yield from reasons or ([] if unbeaten else ["The numbers show no reason: check the features and the kind"])


def _unmet_targets(report: GainReport) -> Iterator[str]:
    gain, metric = report.gain, report.metric
    clusters = f"{report.clusters} {report.cluster_unit} of the test rows"
    if not np.isfinite(gain.low):
        yield (
            f"The gain in {metric} over the baseline has no confidence interval: too many resamples of the {clusters} "
            "lack a class"
        )
    elif not gain.is_positive:
        yield (
            f"The gain in {metric} over the baseline is not significant: its 95 % interval is {gain.low:.4g} to "
            f"{gain.high:.4g}. {clusters} can't show a gain of less than {gain.value - gain.low:.4g}"
        )
    attained = report.attained
    if attained is not None and attained.value < MIN_ATTAINED:
        within = attained.high >= MIN_ATTAINED
        yield (
            f"It attains {attained.value:.0%} of the oracle's gain; the target is {MIN_ATTAINED:.0%} (95 % interval "
            f"{attained.low:.0%} to {attained.high:.0%}{', which includes the target' if within else ''})"
        )
    for name, over in report.reference_models.items():
        if not over.value > 0:
            yield (
                f"It is no better than {_REFERENCE_NAMES[name]} on the same rows: its gain in {metric} is "
                f"{over.value:.4g} (95 % interval {over.low:.4g} to {over.high:.4g})"
            )


def _oracle_reasons(trained: TrainingResult, report: GainReport) -> Iterator[str]:
    """Yield what the oracle shows about the part of the label that can be predicted."""
    best = report.oracle_gain
    if best is None:
        return
    metric = report.metric
    oracle = report.oracle_metrics.get(metric, float("nan"))
    scores = f"{metric} {oracle:.4g} against the baseline's {trained.baseline[metric]:.4g}"
    if best.high < 0 or report.gain.low > best.high:
        yield f"The oracle scores worse than possible: {scores}. Check the truth's expression"
        return
    share = _oracle_share(trained, report)
    little = share is not None and share < MIN_ORACLE_SHARE
    rest = f", {share:.0%} of the gain of a perfect prediction. The rest of the label is noise" if little else ""
    if not best.is_positive:
        yield (
            f"The oracle itself is not significantly better than the baseline on these rows: {scores}, 95 % interval "
            f"of its gain {best.low:.4g} to {best.high:.4g}{rest}"
        )
    elif little:
        yield f"The oracle itself scores close to the baseline: {scores}{rest}"


def _oracle_share(trained: TrainingResult, report: GainReport) -> float | None:
    """Return the oracle's gain as a share of a perfect prediction's gain."""
    assert report.oracle_gain is not None
    best = 1.0 if HIGHER_IS_BETTER[report.metric] else 0.0
    possible = abs(best - trained.baseline[report.metric])
    return report.oracle_gain.value / possible if possible else None


def _rare_label_reasons(trained: TrainingResult) -> Iterator[str]:
    task, labels = trained.spec.task, trained.test_labels
    if task == "multilabel":
        for name in labels.struct.fields:
            number = int((labels.struct.field(name) == 1).sum())
            if min(number, len(labels) - number) < MIN_RARE_ROWS:
                yield f"Only {number} of {len(labels)} test rows have the label {name!r}"
    elif task in ("binary", "multiclass", "anomaly"):
        label, number = labels.value_counts(sort=True).row(-1)
        if number < MIN_RARE_ROWS:
            yield f"Only {number} of {len(labels)} test rows have the rarest label {label!r}"


def _overfitting_reasons(trained: TrainingResult, report: GainReport) -> Iterator[str]:
    """Yield a reason if the test rows lose more than half of the training rows' gain."""
    metric = report.metric
    known, test = trained.train_metrics.get(metric), trained.metrics.get(metric)
    base = trained.baseline.get(metric)
    if known is None or test is None or base is None:
        return
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    if sign * (known - base) > 0 and sign * (test - base) < 0.5 * sign * (known - base):
        yield f"It overfits: {metric} {known:.4g} on the training rows, {test:.4g} on the test rows"


def _label_shift_reasons(trained: TrainingResult) -> Iterator[str]:
    """Yield a reason if the labels of test and training rows differ in the mean."""
    task, before = trained.spec.task, trained.learned_labels
    if before is None or task not in ("binary", "regression"):
        return
    learned, test = (_label_numbers(trained, y) for y in (before, trained.test_labels))
    if abs(test.mean() - learned.mean()) > MAX_LABEL_SHIFT * learned.std():
        what = "The share of positives" if task == "binary" else "The mean label"
        yield f"{what} is {learned.mean():.4g} in the training rows and {test.mean():.4g} in the test rows"


def _label_numbers(trained: TrainingResult, y: pl.Series) -> np.ndarray:
    found = (y == trained.model.classes[1]) if trained.spec.task == "binary" else y
    return found.cast(pl.Float64).to_numpy()
