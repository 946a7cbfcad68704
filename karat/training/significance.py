"""Significance of a model's gain, by a paired bootstrap of model, baseline, reference models and oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER
from karat.kinds import Model
from karat.training.bootstrap import ResampledMetric, resample, resampled_metric
from karat.training.bootstrap_clusters import BootstrapClusters, bootstrap_clusters
from karat.training.clustering_metrics import resampled_clustering_metric
from karat.training.evaluation import evaluate, primary_metric
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import ConfidenceInterval, GainReport
from karat.training.oracle import ORACLE_COLUMN, oracle_array
from karat.training.shortfall import shortfall_reasons

RESAMPLES = 1000
#: Fewer clusters allow no confidence interval.
MIN_CLUSTERS = 5
LEVEL = 0.95
#: Greatest share of resamples on which the metric may be undefined; an interval would describe the others alone.
_MAX_UNDEFINED_SHARE = 0.1


def gain_significance(
    trained: TrainingResult, *, entity: Sequence[str] = (), time: str | None = None
) -> GainReport | None:
    """Compute the gain over the baseline in the primary metric, with 95 % confidence intervals.

    The paired bootstrap with percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters
    8.5 and 13) scores model, baseline, reference models and oracle on the same 1,000 draws of test rows. Rows of one
    entity
    are dependent, so it draws whole entities (cluster bootstrap: Field and Welsh, JRSS B 69, 2007);
    ``bootstrap_clusters``
    handles few entities. The oracle is scored on the rows that have one, against model and baseline on the same rows.

    Args:
        trained: The trained model.
        entity: The entity's columns.
        time: The time column.

    Returns:
        The gain report, or None if the rows do not allow the metric.
    """
    rows = trained.test_rows
    clusters = bootstrap_clusters(rows, entity=entity, time=time, horizon=trained.spec.horizon_end)
    oracle = (
        None if trained.planted or ORACLE_COLUMN not in rows.columns else oracle_array(trained, rows[ORACLE_COLUMN])
    )
    known = np.zeros(len(trained.test_labels), dtype=bool) if oracle is None else _has_oracle(oracle)
    if oracle is None or not known.any():
        report = _gain_report(trained, clusters, None)
    elif known.all():
        report = _gain_report(trained, clusters, oracle)
    else:
        part = _gain_report(_select_rows(trained, known), _select_clusters(clusters, known), oracle[known])
        report = _add_oracle(_gain_report(trained, clusters, None), part)
    return report and replace(
        report, shortfall=() if report.meets_targets else tuple(shortfall_reasons(trained, report))
    )


@dataclass(frozen=True)
class _BootstrapScore:
    """A metric of one prediction: on every row once, and on each resample."""

    value: float
    resampled: np.ndarray

    def gain_over(self, other: _BootstrapScore, sign: int) -> ConfidenceInterval:
        return percentile_interval(sign * (self.value - other.value), sign * (self.resampled - other.resampled))


def _gain_report(trained: TrainingResult, clusters: BootstrapClusters, oracle: np.ndarray | None) -> GainReport | None:
    """Measure the gains; over a baseline or persistence without a value in some rows, on the rows that have one."""
    whole, known = _measure_gain(trained, clusters, oracle), trained.baseline_known
    if whole is None:
        return None
    gains = dict(whole.reference_models)
    for name, reference in trained.reference_models.items():
        if reference.known is not None:
            alone = replace(trained, reference_models={name: reference}, metrics=_primary_alone(trained))
            part = _measure_on(alone, clusters, None, reference.known)
            gains |= part.reference_models if part else {}
    if known is None:
        return replace(whole, reference_models=gains)
    part = _measure_on(trained, clusters, oracle, known)
    return part and replace(part, intervals=whole.intervals, reference_models=gains)


def _measure_on(
    trained: TrainingResult, clusters: BootstrapClusters, oracle: np.ndarray | None, rows: np.ndarray
) -> GainReport | None:
    selected = None if oracle is None else oracle[rows]
    return _measure_gain(_select_rows(trained, rows), _select_clusters(clusters, rows), selected)


def _primary_alone(trained: TrainingResult) -> dict[str, float]:
    metric = primary_metric(trained.spec, trained.metrics)
    return {metric: trained.metrics[metric]}


def _measure_gain(trained: TrainingResult, clusters: BootstrapClusters, oracle: np.ndarray | None) -> GainReport | None:
    spec = trained.spec
    metric = primary_metric(spec, trained.metrics)
    answers = {"model": trained.test_predictions, "baseline": trained.baseline_predictions}
    answers |= {name: reference.prediction for name, reference in trained.reference_models.items()}
    if oracle is not None and metric != "silhouette":  # a silhouette reads no label
        answers["oracle"] = oracle
    metrics = {(name, metric): _resampled_metric(trained, metric, answer) for name, answer in answers.items()}
    if any(m is None for m in metrics.values()):
        return None
    others = [m for m in trained.metrics if m != metric]
    metrics |= {("model", m): _resampled_metric(trained, m, trained.test_predictions) for m in others}
    scores = _bootstrap_scores({key: m for key, m in metrics.items() if m is not None}, clusters, spec.seed)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    by = {name: scores[name, metric] for name in answers}
    report = GainReport(
        metric,
        by["model"].gain_over(by["baseline"], sign),
        clusters.number,
        clusters.unit,
        reference_models={name: by["model"].gain_over(by[name], sign) for name in trained.reference_models},
        intervals={m: percentile_interval(s.value, s.resampled) for (name, m), s in scores.items() if name == "model"},
    )
    if "oracle" not in by:
        return report
    best = by["oracle"].gain_over(by["baseline"], sign)
    # If the oracle's own gain is not significant, a share of it is noise over noise.
    attained = _attained_share(by["model"], by["oracle"], by["baseline"]) if best.is_positive else None
    return replace(
        report, oracle_metrics=_oracle_metrics(trained, answers["oracle"]), oracle_gain=best, attained=attained
    )


def _resampled_metric(trained: TrainingResult, metric: str, answer: np.ndarray) -> ResampledMetric | None:
    spec, model, y = trained.spec, trained.model, trained.test_labels
    if spec.task == "clustering":
        space = model.space(trained.test) if metric == "silhouette" and isinstance(model, Model) else None
        return resampled_clustering_metric(metric, y, np.asarray(answer), space)
    threshold, classes = trained.test_thresholds, model.classes or ()
    return resampled_metric(spec.task, metric, label_array(y), np.asarray(answer), threshold=threshold, classes=classes)


def _bootstrap_scores(
    metrics: dict[tuple[str, str], ResampledMetric], clusters: BootstrapClusters, seed: int
) -> dict[tuple[str, str], _BootstrapScore]:
    drawn = resample(list(metrics.values()), clusters.codes, resamples=RESAMPLES, seed=seed)
    if clusters.number < MIN_CLUSTERS:
        drawn[:] = np.nan  # resamples of one or two clusters are nearly equal, and would look like certainty
    return {key: _BootstrapScore(m.value(), drawn[:, k]) for k, (key, m) in enumerate(metrics.items())}


def _oracle_metrics(trained: TrainingResult, oracle: np.ndarray) -> dict[str, float]:
    """Evaluate the oracle; an anomaly model's threshold applies to its scores, not to a probability."""
    model, task = trained.model, trained.spec.task
    threshold = 0.5 if task == "anomaly" else model.threshold
    found = evaluate(task, trained.test_labels, oracle, threshold=threshold, classes=model.classes or None)
    return {name: value for name, value in found.items() if name in trained.metrics}


def percentile_interval(value: float, drawn: np.ndarray) -> ConfidenceInterval:
    """Return the 95 % percentile interval of resampled values; NaN if too many resamples have no value."""
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) * (1 - _MAX_UNDEFINED_SHARE):
        return ConfidenceInterval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return ConfidenceInterval(value, float(low), float(high))


def _attained_share(model: _BootstrapScore, oracle: _BootstrapScore, baseline: _BootstrapScore) -> ConfidenceInterval:
    with np.errstate(all="ignore"):
        shares = (model.resampled - baseline.resampled) / (oracle.resampled - baseline.resampled)
    return percentile_interval((model.value - baseline.value) / (oracle.value - baseline.value), shares)


def _add_oracle(whole: GainReport | None, part: GainReport | None) -> GainReport | None:
    """Add the oracle's results, computed on the rows that have one, to the report on all rows."""
    if whole is None or part is None:
        return whole
    return replace(whole, oracle_metrics=part.oracle_metrics, oracle_gain=part.oracle_gain, attained=part.attained)


def _select_rows(trained: TrainingResult, rows: np.ndarray) -> TrainingResult:
    return replace(
        trained,
        test=trained.test.filter(pl.Series(rows)),
        test_labels=trained.test_labels.filter(pl.Series(rows)),
        test_predictions=trained.test_predictions[rows],
        baseline_predictions=trained.baseline_predictions[rows],
        test_thresholds=_of_rows(trained.test_thresholds, rows),
        baseline_known=None if trained.baseline_known is None else trained.baseline_known[rows],
        reference_models={
            name: replace(r, prediction=r.prediction[rows], known=None if r.known is None else r.known[rows])
            for name, r in trained.reference_models.items()
        },
    )


def _of_rows(threshold: float | np.ndarray, rows: np.ndarray) -> float | np.ndarray:
    return threshold[rows] if isinstance(threshold, np.ndarray) else threshold


def _select_clusters(clusters: BootstrapClusters, rows: np.ndarray) -> BootstrapClusters:
    left, codes = np.unique(clusters.codes[rows], return_inverse=True)
    return BootstrapClusters(codes, len(left), clusters.unit)


def _has_oracle(oracle: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(oracle.reshape(len(oracle), -1)).all(axis=1))


def label_array(y: pl.Series) -> np.ndarray:
    """Return labels as ``(rows,)``, or ``(rows, parts)`` for a struct; null numbers are NaN."""
    return y.struct.unnest().to_numpy() if isinstance(y.dtype, pl.Struct) else y.to_numpy()
