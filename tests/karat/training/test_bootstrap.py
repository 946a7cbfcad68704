"""Metrics from sums: equal to scikit-learn's on the rows, their resamples equal to resampling rows by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import metrics as sk

from karat.declare.models import METRICS
from karat.training.bootstrap import resample, resampled_metric
from karat.training.clustering_metrics import resampled_clustering_metric
from karat.training.evaluation import evaluate

ROWS = 300


def drawn(task: str, seed: int = 0):
    random = np.random.default_rng(seed)
    signal = random.normal(size=ROWS)
    if task == "regression":
        y = (2 * signal + random.normal(size=ROWS)).round(1)
        return y, 1.8 * signal + random.normal(size=ROWS) / 2, ()
    if task == "multiclass":
        names = np.array(["a", "b", "c"])
        y = names[np.digitize(signal + random.normal(size=ROWS) / 2, [-0.5, 0.7])]
        chances = np.exp(-np.abs(signal[:, None] - [-1, 0, 1]))
        return y, (chances / chances.sum(axis=1, keepdims=True)).astype(np.float32), ("a", "b", "c")
    y = random.random(ROWS) < 1 / (1 + np.exp(2 - 2 * signal))
    # Rounded, so that scores tie.
    return y, (1 / (1 + np.exp(2 - signal - random.normal(size=ROWS)))).round(2), (False, True)


CASES = [(task, metric) for task in ("regression", "binary", "multiclass", "anomaly") for metric in METRICS[task]]


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_the_sums_give_the_metric_of_the_rows(task, metric):
    y, prediction, classes = drawn(task)
    found = resampled_metric(task, metric, y, prediction, threshold=0.4, classes=classes)
    expected = evaluate(task, y, prediction, threshold=0.4, classes=classes or None, only=metric)
    assert found is not None
    assert found.value() == pytest.approx(expected[metric], rel=1e-9)


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_a_resample_is_the_metric_of_the_rows_drawn(task, metric):
    """Each group's rows as often as the same draws say, handed to scikit-learn."""
    y, prediction, classes = drawn(task)
    groups = np.arange(ROWS) // 5
    found = resampled_metric(task, metric, y, prediction, threshold=0.4, classes=classes)
    values = resample([found], groups, resamples=4, seed=3)[:, 0]
    draws = np.random.default_rng(3).integers(0, 60, (4, 60), dtype=np.int32)
    for value, draw in zip(values, draws, strict=True):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in draw])
        expected = evaluate(task, y[rows], prediction[rows], threshold=0.4, classes=classes or None, only=metric)
        assert value == pytest.approx(expected[metric], rel=1e-9)


def test_several_parts_are_averaged_or_summed_up():
    random = np.random.default_rng(1)
    y, score = random.random((ROWS, 3)) < 0.3, random.random((ROWS, 3))
    found = resampled_metric("multilabel", "average_precision", y, score, threshold=0.5)
    assert found.value() == pytest.approx(sk.average_precision_score(y, score, average="macro"))
    f1 = resampled_metric("multilabel", "f1", y, score, threshold=0.5)
    assert f1.value() == pytest.approx(sk.f1_score(y, score >= 0.5, average="macro"))
    steps, forecast = random.normal(size=(ROWS, 4)) + np.arange(5, 9), random.normal(size=(ROWS, 4)) + 6
    r2 = resampled_metric("forecast", "r2", steps, forecast, threshold=0.5)
    assert r2.value() == pytest.approx(sk.r2_score(steps, forecast, multioutput="variance_weighted"))
    rmse = resampled_metric("forecast", "rmse", steps, forecast, threshold=0.5)
    assert rmse.value() == pytest.approx(sk.root_mean_squared_error(steps.ravel(), forecast.ravel()))
    assert resampled_metric("clustering", "silhouette", y, score, threshold=0.5) is None


@pytest.mark.parametrize("agree", [0.0, 0.6, 1.0])
def test_clusters_are_sums_too(agree):
    """Adjusted Rand index and silhouette as scikit-learn has them, of all rows and of rows drawn by hand."""
    random = np.random.default_rng(1)
    groups = random.integers(0, 4, ROWS)
    clusters = np.where(random.random(ROWS) < agree, groups, random.integers(0, 3, ROWS)).astype(float)
    space, names = random.normal(size=(ROWS, 2)) + groups[:, None], pl.Series(groups).cast(pl.String)
    found = resampled_clustering_metric("adjusted_rand", names, clusters, None)
    assert found.value() == pytest.approx(sk.adjusted_rand_score(groups, clusters), abs=1e-12)
    drawn = np.random.default_rng(3).integers(0, ROWS, (5, ROWS), dtype=np.int32)
    values = resample([found], np.arange(ROWS), resamples=5, seed=3)[:, 0]
    assert values == pytest.approx([sk.adjusted_rand_score(groups[d], clusters[d]) for d in drawn], abs=1e-12)
    wide = resampled_clustering_metric("silhouette", names, clusters, space)
    assert wide.value() == pytest.approx(sk.silhouette_score(space, clusters))
    some = resampled_clustering_metric("adjusted_rand", names.scatter(range(40), None), clusters, None)
    assert some.value() == pytest.approx(sk.adjusted_rand_score(groups[40:], clusters[40:]), abs=1e-12)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_many_places_are_cut_with_little_loss(metric):
    random = np.random.default_rng(2)
    y = random.random(40_000) < 0.3
    score = y + random.normal(size=40_000)
    found = resampled_metric("binary", metric, y, score, threshold=0.5)
    assert found.columns.shape[1] <= 2 * 4096
    exact = evaluate("anomaly", y, score, only=metric)[metric]
    assert found.value() == pytest.approx(exact, abs=1e-3)


def test_the_interval_is_scipys():
    """Rows drawn one by one: the paired percentile interval of the field's own library."""
    y, model, _ = drawn("regression")
    baseline = np.full(ROWS, y.mean())
    figures = [resampled_metric("regression", "rmse", y, p, threshold=0.5) for p in (model, baseline)]
    values = resample(figures, np.arange(ROWS), resamples=4000, seed=0)
    ours = np.percentile(values[:, 1] - values[:, 0], [2.5, 97.5])

    def gain(y, model, baseline, axis):
        model_error, baseline_error = (np.sqrt(((p - y) ** 2).mean(axis=axis)) for p in (model, baseline))
        return baseline_error - model_error

    known = stats.bootstrap(
        (y, model, baseline), gain, paired=True, n_resamples=4000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert ours == pytest.approx([known.low, known.high], rel=0.02)


def test_resamples_without_a_class_are_told():
    y = np.array([True, False, False, False])
    found = resampled_metric(
        "binary", "roc_auc", y, np.array([0.9, 0.1, 0.2, 0.3]), threshold=0.5, classes=(False, True)
    )
    values = resample([found], np.arange(4), resamples=200, seed=0)[:, 0]
    assert 0 < np.isnan(values).sum() < 200
    assert (values[np.isfinite(values)] == 1).all()
