"""A model against its baseline, its rivals and the planted truth, on the same thousand draws of its test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER
from karat.kinds import Model
from karat.training.bootstrap import ResampledMetric, figure, resample
from karat.training.bootstrap_clusters import BootstrapClusters, bootstrap_clusters
from karat.training.clustering_metrics import figure_of_clusters
from karat.training.evaluation import evaluate, primary_metric
from karat.training.gain_report import GainReport, Interval
from karat.training.oracle import TRUTH, answers_of
from karat.training.shortfall import shortfall_reasons
from karat.training.train import TrainingResult

RESAMPLES = 1000
#: Of fewer groups of rows there is no interval.
LEAST_GROUPS = 5
LEVEL = 0.95
#: With more resamples than this share on which the metric has no value, an interval would be of the others alone.
_WITHOUT_VALUE = 0.1


def gain_significance(
    trained: TrainingResult, *, entity: Sequence[str] = (), time: str | None = None
) -> GainReport | None:
    """The gain over the baseline in the primary metric, with a paired bootstrap's 95 % percentile interval (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8.5 and 13): model, baseline, rivals and truth are
    scored on the same 1,000 draws of test rows. The rows of one ``entity`` are not independent, so whole entities are
    drawn (a cluster bootstrap: Field and Welsh, JRSS B 69, 2007); see ``groups_of`` for few entities.

    The truth is judged on the rows that have one, beside model and baseline on the same; planted anomalies have none.
    None where the rows do not allow the metric.
    """
    rows = trained.test_rows
    groups = bootstrap_clusters(rows, entity=entity, time=time, horizon=trained.spec.horizon_end)
    truth = None if trained.planted or TRUTH not in rows.columns else answers_of(trained, rows[TRUTH])
    known = np.zeros(len(trained.test_labels), dtype=bool) if truth is None else _known(truth)
    if truth is None or not known.any():
        found = _judged(trained, groups, None)
    elif known.all():
        found = _judged(trained, groups, truth)
    else:
        part = _judged(_only(trained, known), _numbered(groups, known), truth[known])
        found = _together(_judged(trained, groups, None), part)
    return found and replace(found, why=() if found.holds else tuple(shortfall_reasons(trained, found)))


@dataclass(frozen=True)
class _Drawn:
    """A metric of one answer: on every row once, and on each resample."""

    value: float
    drawn: np.ndarray

    def over(self, other: _Drawn, sign: int) -> Interval:
        return interval(sign * (self.value - other.value), sign * (self.drawn - other.drawn))


def _judged(trained: TrainingResult, groups: BootstrapClusters, truth: np.ndarray | None) -> GainReport | None:
    spec = trained.spec
    metric = primary_metric(spec, trained.metrics)
    answers = {"model": trained.test_predictions, "baseline": trained.baseline_predictions}
    answers |= {name: rival.prediction for name, rival in trained.reference_models.items()}
    if truth is not None and metric != "silhouette":  # which is of no label
        answers["truth"] = truth
    figures = {(name, metric): _figure(trained, metric, answer) for name, answer in answers.items()}
    if any(f is None for f in figures.values()):
        return None
    others = [m for m in trained.metrics if m != metric]
    figures |= {("model", m): _figure(trained, m, trained.test_predictions) for m in others}
    found = _resampled({key: f for key, f in figures.items() if f is not None}, groups, spec.seed)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    by = {name: found[name, metric] for name in answers}
    judged = GainReport(
        metric,
        by["model"].over(by["baseline"], sign),
        groups.number,
        groups.what,
        reference_models={name: by["model"].over(by[name], sign) for name in trained.reference_models},
        intervals={m: interval(f.value, f.drawn) for (name, m), f in found.items() if name == "model"},
    )
    if "truth" not in by:
        return judged
    best = by["truth"].over(by["baseline"], sign)
    # Where the truth itself can't be told from the baseline a share of its gain is noise over noise.
    attained = _share(by["model"], by["truth"], by["baseline"]) if best.clear else None
    return replace(judged, truth=_metrics(trained, answers["truth"]), truth_gain=best, attained=attained)


def _figure(trained: TrainingResult, metric: str, answer: np.ndarray) -> ResampledMetric | None:
    spec, model, y = trained.spec, trained.model, trained.test_labels
    if spec.task == "clustering":
        space = model.space(trained.test) if metric == "silhouette" and isinstance(model, Model) else None
        return figure_of_clusters(metric, y, np.asarray(answer), space)
    how = {"threshold": model.threshold, "classes": model.classes or ()}
    return figure(spec.task, metric, plain(y), np.asarray(answer), **how)


def _resampled(
    figures: dict[tuple[str, str], ResampledMetric], groups: BootstrapClusters, seed: int
) -> dict[tuple[str, str], _Drawn]:
    drawn = resample(list(figures.values()), groups.codes, resamples=RESAMPLES, seed=seed)
    if groups.number < LEAST_GROUPS:
        drawn[:] = np.nan  # draws of one or two groups are nearly all alike, and would pass for certainty
    return {key: _Drawn(f.of_all(), drawn[:, k]) for k, (key, f) in enumerate(figures.items())}


def _metrics(trained: TrainingResult, truth: np.ndarray) -> dict[str, float]:
    """The truth's own. A detector's threshold is of its scores, and says nothing about a probability."""
    model, task = trained.model, trained.spec.task
    threshold = 0.5 if task == "anomaly" else model.threshold
    found = evaluate(task, trained.test_labels, truth, threshold=threshold, classes=model.classes or None)
    return {name: value for name, value in found.items() if name in trained.metrics}


def interval(value: float, drawn: np.ndarray) -> Interval:
    """From the resamples' percentiles."""
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) * (1 - _WITHOUT_VALUE):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high))


def _share(model: _Drawn, truth: _Drawn, baseline: _Drawn) -> Interval:
    with np.errstate(all="ignore"):
        shares = (model.drawn - baseline.drawn) / (truth.drawn - baseline.drawn)
    return interval((model.value - baseline.value) / (truth.value - baseline.value), shares)


def _together(whole: GainReport | None, part: GainReport | None) -> GainReport | None:
    """The gain on all rows; what the truth says on those that have one."""
    if whole is None or part is None:
        return whole
    return replace(whole, truth=part.truth, truth_gain=part.truth_gain, attained=part.attained)


def _only(trained: TrainingResult, rows: np.ndarray) -> TrainingResult:
    return replace(
        trained,
        test=trained.test.filter(pl.Series(rows)),
        test_labels=trained.test_labels.filter(pl.Series(rows)),
        test_predictions=trained.test_predictions[rows],
        baseline_predictions=trained.baseline_predictions[rows],
        reference_models={
            name: replace(r, prediction=r.prediction[rows]) for name, r in trained.reference_models.items()
        },
    )


def _numbered(groups: BootstrapClusters, rows: np.ndarray) -> BootstrapClusters:
    left, codes = np.unique(groups.codes[rows], return_inverse=True)
    return BootstrapClusters(codes, len(left), groups.what)


def _known(truth: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(truth.reshape(len(truth), -1)).all(axis=1))


def plain(y: pl.Series) -> np.ndarray:
    """(n,), or (n, parts) for a struct; null is NaN in numbers."""
    return y.struct.unnest().to_numpy() if isinstance(y.dtype, pl.Struct) else y.to_numpy()
