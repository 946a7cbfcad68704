"""How sure a gain is, what the truth would have got, and what is said where that is not enough."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from karat.declare import ModelSpec
from karat.errors import DeclarationError, TooFewRows, UnusableLabel
from karat.training.bootstrap_clusters import bootstrap_clusters
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import GainReport
from karat.training.oracle import ORACLE_COLUMN, check_oracle_classes
from karat.training.significance import gain_significance
from karat.training.train import train

SPLIT = ["train", "test"]


def world(task: str, *, entities: int = 400, days: int = 5, use: float = 1.0, noise: float = 1.0, seed: int = 0):
    """``use``: how well the feature shows the latent state; ``noise``: what nobody knows."""
    random = np.random.default_rng(seed)
    n = entities * days
    entity, day = np.repeat(np.arange(entities), days), np.tile(np.arange(days), entities)
    state = random.normal(size=entities)[entity] + random.normal(size=n) / 2
    chance = 1 / (1 + np.exp(-state / noise))
    return pl.DataFrame(
        {
            "entity": entity,
            "day": pl.Series([date(2026, 1, 1) + timedelta(days=int(d)) for d in day]),
            "shown": use * state + random.normal(size=n) * 0.7,
            "other": random.normal(size=n),
            "regression": state + noise * random.normal(size=n),
            "binary": random.random(n) < chance,
            ORACLE_COLUMN: state if task == "regression" else chance,
        }
    )


def judged(frame: pl.DataFrame, task: str = "regression", **more) -> tuple[TrainingResult, GainReport]:
    kind = "linear_regression" if task == "regression" else "logistic_regression"
    spec = ModelSpec(
        **{"name": "m", "description": "d", "task": task, "kind": kind, "label": {"source": "g", "expression": "1"}}
        | {"lookups": [{"table": "t"}], "minimum_rows": 50}
        | more
    )
    split = pl.Series("split", ["test" if e % 3 == 0 else "train" for e in frame["entity"]])
    trained = train(spec, frame, features=["shown", "other"], label=task, split=split)
    found = gain_significance(trained, entity=["entity"], time="day")
    assert found is not None
    return trained, found


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_a_good_model_is_clear_of_its_baseline_and_near_the_truth(task):
    trained, found = judged(world(task), task)
    metric = trained.spec.primary_metric
    assert found.gain.value == pytest.approx(abs(trained.metrics[metric] - trained.baseline[metric]))
    assert 0 < found.gain.low < found.gain.value < found.gain.high
    assert found.gain.is_positive
    assert found.attained is not None
    assert found.oracle_gain is not None
    assert found.attained.value == pytest.approx(found.gain.value / found.oracle_gain.value)
    assert 0.6 < found.attained.low < found.attained.value < 1
    assert found.shortfall == ()
    logged = found.as_metrics()
    assert {f"{metric}_gain", f"{metric}_gain_low", f"{metric}_gain_high", f"truth_{metric}", "attained"} <= set(logged)
    assert logged[f"truth_{metric}"] == found.oracle_metrics[metric]


def test_entities_are_drawn_whole():
    """A hundred copies of each row tell no more than one: by row the interval would be ten times as narrow."""
    once = world("regression", entities=150, days=1)
    copies = pl.concat([once] * 100)
    (_, one), (_, many) = judged(once), judged(copies)
    assert (many.clusters, many.cluster_unit) == (50, "entities")
    assert many.gain.high - many.gain.low == pytest.approx(one.gain.high - one.gain.low, rel=0.2)
    trained, _ = judged(copies)
    by_row = gain_significance(trained)
    assert by_row is not None
    assert by_row.cluster_unit == "rows"
    assert (many.gain.high - many.gain.low) > 5 * (by_row.gain.high - by_row.gain.low)


def test_few_entities_are_cut_into_stretches_of_the_labels_length():
    rows = world("regression", entities=4, days=60)
    found = bootstrap_clusters(rows, entity=["entity"], time="day", horizon=timedelta(days=7))
    assert (found.number, found.unit) == (4 * 9, "stretches of 7 days of an entity")
    firsts = (
        rows.with_columns(group=pl.Series(found.codes)).group_by("group").agg(pl.col("day").max() - pl.col("day").min())
    )
    assert firsts["day"].max() == timedelta(days=6)
    assert bootstrap_clusters(rows, entity=["entity"], time=None, horizon=timedelta(0)).number == 4
    assert bootstrap_clusters(rows, entity=[], time=None, horizon=timedelta(0)).number == rows.height


def test_a_handful_of_entities_is_too_few_for_an_interval():
    spec = spec_of("regression", "linear_regression")
    frame = world("regression", entities=12, days=100)
    split = pl.Series("split", ["test" if e < 4 else "train" for e in frame["entity"]])
    trained = train(spec, frame, features=["shown", "other"], label="regression", split=split)
    found = gain_significance(trained, entity=["entity"])
    assert found is not None
    assert found.clusters == 4
    assert np.isnan([found.gain.low, found.gain.high]).all()
    assert not found.gain.is_positive
    assert f"{spec.primary_metric}_gain_low" not in found.as_metrics()


def test_a_gain_that_may_be_chance_says_so():
    _, found = judged(world("regression", entities=60, use=0.02))
    assert not found.gain.is_positive
    assert "20 entities of the test rows can't show a gain" in found.shortfall[0]
    assert "It attains" in found.shortfall[1]


def test_a_label_of_noise_is_found_by_its_truth():
    _, found = judged(world("binary", noise=40.0), "binary")
    assert not found.gain.is_positive
    told = " ".join(found.shortfall)
    assert "The oracle itself" in told
    assert "is noise" in told


def test_a_truth_that_is_worse_than_the_model_is_no_excuse():
    frame = world("regression").with_columns((-pl.col(ORACLE_COLUMN)).alias(ORACLE_COLUMN))
    _, found = judged(frame)
    assert found.gain.is_positive
    assert found.attained is None
    assert "Check the truth's expression" in " ".join(found.shortfall)
    assert "noise" not in " ".join(found.shortfall)


def test_few_positives_and_shifted_labels_are_counted():
    frame = world("binary", entities=300, use=0.0)
    rare = frame.with_columns(binary=pl.col("binary") & (pl.int_range(pl.len()) % 40 == 0))
    trained, found = judged(rare, "binary")
    positives = int(trained.test_labels.sum())
    assert any(
        f"Only {positives} of {trained.rows['test']} test rows have the rarest label True" in w for w in found.shortfall
    )
    moved = frame.with_columns(binary=pl.col("binary") | ((pl.col("entity") % 3 == 0) & (pl.col("entity") % 2 == 0)))
    _, found = judged(moved, "binary")
    assert any(w.startswith("The share of positives is") for w in found.shortfall)


def test_what_it_learned_by_heart_is_told():
    frame = world("regression", entities=90, use=0.0)
    parameters = {"max_iter": 300, "min_samples_leaf": 1, "learning_rate": 0.3, "early_stopping": False}
    _, found = judged(frame, kind="gradient_boosting", parameters=parameters)
    assert any(w.startswith("It overfits: rmse") for w in found.shortfall)


def test_the_truth_is_asked_only_where_it_says_something():
    frame = world("regression")
    half = frame.with_columns(pl.when(pl.col("entity") % 2 == 0).then(ORACLE_COLUMN).alias(ORACLE_COLUMN))
    (_, whole), (_, part) = judged(frame), judged(half)
    assert part.gain == whole.gain
    assert part.attained is not None
    assert 0.5 < part.attained.value < 1
    _, without = judged(frame.drop(ORACLE_COLUMN))
    assert (without.oracle_metrics, without.attained, without.gain) == ({}, None, whole.gain)


def test_the_same_rows_give_the_same_interval():
    assert judged(world("binary"), "binary")[1] == judged(world("binary"), "binary")[1]
    assert judged(world("binary"), "binary", seed=1)[1].gain != judged(world("binary"), "binary")[1].gain


def spec_of(task: str, kind: str, **more) -> ModelSpec:
    fields = {"name": "m", "description": "d", "task": task, "kind": kind, "minimum_rows": 50}
    return ModelSpec(**fields | {"label": {"source": "g", "expression": "1"}, "lookups": [{"table": "t"}]} | more)


def judge_by_entity(
    spec: ModelSpec, frame: pl.DataFrame, label: str | None, **more
) -> tuple[TrainingResult, GainReport]:
    split = pl.Series("split", ["test" if e % 3 == 0 else "train" for e in frame["entity"]])
    trained = train(spec, frame, features=["shown", "other"], label=label, split=split, **more)
    found = gain_significance(trained, entity=["entity"], time="day")
    assert found is not None
    return trained, found


def test_several_labels_are_judged_together_and_find_their_truths_by_name():
    frame, random = world("regression", seed=2), np.random.default_rng(2)
    chances = {name: 1 / (1 + np.exp(-2 * frame[ORACLE_COLUMN].to_numpy() + k)) for k, name in enumerate("abc")}
    labels = pl.DataFrame({n: (random.random(frame.height) < chance) * 1.0 for n, chance in chances.items()})
    turned = np.stack([chances[name] for name in "cba"], axis=1)
    frame = frame.with_columns(labels.to_struct("labels"), pl.Series(ORACLE_COLUMN, turned.tolist()))
    own = spec_of(
        "multilabel",
        "random_forest",
        label={"source": "g", "expressions": dict.fromkeys("abc", "1")},
        truth={"source": "g", "expressions": dict.fromkeys("cba", "1")},
        parameters={"n_estimators": 30, "min_samples_leaf": 20},
    )
    trained, found = judge_by_entity(own, frame, "labels")
    assert found.gain.value == pytest.approx(trained.metrics["roc_auc"] - trained.baseline["roc_auc"], abs=1e-3)
    assert found.gain.is_positive
    assert found.attained is not None
    assert 0.6 < found.attained.low < found.attained.value < 1
    assert set(found.intervals) == set(trained.metrics)
    for name, value in trained.metrics.items():
        assert found.intervals[name].low < value < found.intervals[name].high


def test_classes_find_their_truth_by_name():
    frame, random = world("binary", seed=4), np.random.default_rng(4)
    chance, names = frame[ORACLE_COLUMN].to_numpy(), ("zulu", "alpha", "mike")
    shares = np.stack([0.7 * chance, np.full(len(chance), 0.3), 0.7 * (1 - chance)], axis=1)
    drawn = (random.random(len(chance))[:, None] > shares.cumsum(axis=1)).sum(axis=1)
    frame = frame.with_columns(pl.Series("named", np.array(names)[drawn]), pl.Series(ORACLE_COLUMN, shares.tolist()))
    own = spec_of("multiclass", "logistic_regression", truth={"source": "g", "expressions": dict.fromkeys(names, "1")})
    _, found = judge_by_entity(own, frame, "named")
    assert found.gain.is_positive
    assert found.attained is not None
    assert 0.6 < found.attained.value < 1
    check_oracle_classes(own, frame["named"])
    fewer = spec_of(
        "multiclass", "logistic_regression", truth={"source": "g", "expressions": {"zulu": "1", "mik": "1"}}
    )
    with pytest.raises(DeclarationError, match="no expression for the class 'alpha'"):
        check_oracle_classes(fewer, frame["named"])
    with pytest.raises(DeclarationError, match=r"'mike'[^D]*Did you mean 'mik'"):
        check_oracle_classes(fewer, frame["named"].filter(frame["named"] != "alpha"))


@pytest.mark.parametrize("known", [True, False])
def test_a_detector_is_judged_on_known_or_on_planted_anomalies(known):
    frame, random = world("regression", seed=5), np.random.default_rng(5)
    odd = random.random(frame.height) < 0.05
    moved = frame["shown"].to_numpy() + 6 * odd * random.normal(size=frame.height)
    frame = frame.with_columns(
        pl.Series("shown", moved), pl.Series("odd", odd), pl.Series(ORACLE_COLUMN, odd * 0.8 + 0.1)
    )
    own = spec_of("anomaly", "isolation_forest", parameters={"n_estimators": 50})
    trained, found = judge_by_entity(own, frame, None, evaluation_label="odd" if known else None)
    assert trained.planted is not known
    assert found.metric == "average_precision"
    assert found.gain.value == pytest.approx(
        trained.metrics["average_precision"] - trained.baseline["average_precision"]
    )
    assert found.gain.is_positive
    assert (found.attained is None) is not known or found.oracle_metrics


@pytest.mark.parametrize("known", [True, False])
def test_a_clustering_is_judged_by_its_groups_or_by_its_silhouette(known):
    frame, random = world("regression", entities=300, days=2, seed=6), np.random.default_rng(6)
    group = random.integers(0, 3, 300)[frame["entity"].to_numpy()]
    frame = frame.with_columns(
        shown=pl.Series(2.5 * group + random.normal(size=frame.height)), group=pl.Series(group).cast(pl.String)
    )
    more = {} if known else {"label": None}
    own = spec_of("clustering", "kmeans", parameters={"n_clusters": 3, "n_init": 2}, **more)
    frame = frame.drop(ORACLE_COLUMN)
    trained, found = judge_by_entity(own, frame, None, evaluation_label="group" if known else None)
    assert found.metric == ("adjusted_rand" if known else "silhouette")
    assert found.gain.value == pytest.approx(trained.metrics[found.metric] - trained.baseline[found.metric])
    assert found.gain.is_positive
    assert f"{found.metric}_gain_low" in found.as_metrics()


@pytest.mark.parametrize("somewhere", [True, False], ids=["among the others", "nowhere"])
def test_a_clustering_whose_test_rows_have_no_known_group_is_judged_by_its_silhouette(somewhere):
    frame, random = world("regression", entities=300, days=2, seed=6), np.random.default_rng(6)
    group = random.integers(0, 3, 300)[frame["entity"].to_numpy()]
    frame = frame.with_columns(shown=pl.Series(2.5 * group + random.normal(size=frame.height)), group=pl.Series(group))
    told = pl.when((pl.col("entity") % 3 != 0) & somewhere).then("group")
    frame = frame.with_columns(group=told).drop(ORACLE_COLUMN)
    own = spec_of("clustering", "kmeans", parameters={"n_clusters": 3, "n_init": 2})
    trained, found = judge_by_entity(own, frame, None, evaluation_label="group")
    assert found.metric == "silhouette"
    assert found.gain.is_positive
    assert trained.rows["test"] == 200
    assert "the label 'group' names no group among the test rows; the model was evaluated by its silhouette" in (
        trained.warnings
    )
    with pytest.raises(UnusableLabel, match="names no group among its 200 test rows"):
        judge_by_entity(own.model_copy(update={"metric": "adjusted_rand"}), frame, None, evaluation_label="group")
    with pytest.raises(TooFewRows, match="no test rows"):
        judge_by_entity(own, frame.with_columns(entity=pl.lit(1)), None, evaluation_label="group")


def test_clusters_that_are_drawn_at_random_gain_nothing():
    frame, random = world("regression", entities=300, days=2, seed=6), np.random.default_rng(6)
    frame = frame.drop(ORACLE_COLUMN).with_columns(group=pl.Series(random.integers(0, 3, frame.height)))
    own = spec_of("clustering", "kmeans", parameters={"n_clusters": 3, "n_init": 2})
    _, found = judge_by_entity(own, frame, None, evaluation_label="group")
    assert not found.gain.is_positive
    assert "The gain in adjusted_rand over the baseline is not significant" in found.shortfall[0]
