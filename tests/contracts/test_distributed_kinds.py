"""One suite over every kind that several workers can fit: they end with the model of one process."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.kinds import Model, WorkerPlace, facts, load_kind, names
from karat.training.sharded_fit import fit_shard, load_fitted
from tests.contracts.test_kinds import CASES, SMALL
from tests.contracts.together import KeptCheckpoints, Killed, describe, fit_in_processes, fit_in_threads

KINDS = [name for name in names() if facts(name).communicator]
SEVERAL = [(kind, task) for kind, task in CASES if kind in KINDS]
IN_THREADS = [case for case in SEVERAL if facts(case[0]).communicator != "torch"]
IN_PROCESSES = [case for case in SEVERAL if facts(case[0]).communicator == "torch"]
#: What has no random draws that differ between workers: one process and several draw rows and units apart.
EXACT = {
    "xgboost": {"n_estimators": 20, "max_depth": 3},
    "lightgbm": {"num_boost_round": 20, "feature_fraction": 1.0, "bagging_fraction": 1.0, "num_leaves": 7},
    "lstm": SMALL["lstm"] | {"dropout": 0.0},
    "gru": SMALL["gru"] | {"dropout": 0.0},
}
#: Sums of several workers differ in their last bits, and 32 bits are what they are made in. LightGBM begins with the
#: mean of its workers' means.
CLOSE = {"xgboost": 1e-5, "lightgbm": 1e-3, "torch": 1e-3}


@cache
def rows(kind: str) -> tuple[pl.DataFrame, np.ndarray]:
    """Features with few values, each in many rows, and what the labels come from: quantiles are estimates."""
    count = 400 if facts(kind).communicator == "torch" else 4000
    draw = np.random.default_rng(3)
    signal = draw.normal(size=count).round().clip(-2, 2)
    X = pl.DataFrame(
        {
            "signal": signal,
            "holes": np.where(draw.random(count) < 0.3, np.nan, draw.integers(0, 4, count)),
            "count": draw.integers(0, 9, count),
            "flag": draw.random(count) < 0.3,
            "place": draw.choice(["north", "south", "west"], count),
            "constant": np.full(count, 3),
        }
    )
    return X, 2 * signal + 1.5 * (X["place"] == "south").to_numpy() + X["flag"].to_numpy() + draw.normal(size=count)


def frame(kind: str) -> pl.DataFrame:
    return rows(kind)[0]


def labels(kind: str, task: str) -> pl.Series:
    value = rows(kind)[1]
    if task == "regression":
        return pl.Series("y", value)
    if task == "binary":
        return pl.Series("y", value > 1.0)
    if task == "multiclass":
        return pl.Series("y", np.array(["low", "middle", "high"])[np.digitize(value, [-0.5, 1.5])])
    if task == "multilabel":
        return pl.DataFrame({"high": value > 1.0, "low": value < -0.5}).to_struct("y")
    return pl.DataFrame({f"step_{i + 1}": value * (1 - i / 4) for i in range(3)}).to_struct("y")


def one_process(kind: str, task: str, **more) -> Model:
    return Model(kind, task, EXACT[kind] | more).fit(frame(kind), labels(kind, task))


def assert_the_same_model(one: Model, several: Model, folder: Path) -> None:
    """The same predictions and curves, and files of the same form that the same code loads."""
    X = frame(one.kind_name)
    close = CLOSE[facts(one.kind_name).communicator]
    np.testing.assert_allclose(several.predict(X), one.predict(X), rtol=close, atol=close)
    assert several.kind.curve.keys() == one.kind.curve.keys()
    for part in set(one.kind.curve) - ({"train"} if one.kind_name == "lightgbm" else set()):
        np.testing.assert_allclose(several.kind.curve[part], one.kind.curve[part], rtol=close, atol=close)
    one.save(folder / "one")
    several.save(folder / "several")
    described = [json.loads((folder / name / "kind.json").read_text()) for name in ("one", "several")]
    for each in described:
        each.pop("digests")
    assert described[0] == described[1]
    assert {p.name for p in (folder / "one").iterdir()} == {p.name for p in (folder / "several").iterdir()}
    loaded = Model.load(folder / "several")
    np.testing.assert_array_equal(loaded.predict(X), several.predict(X))


@pytest.mark.parametrize("kind", KINDS)
def test_its_facts_are_those_of_its_class(kind):
    cls = load_kind(kind)
    assert (facts(kind).communicator, facts(kind).gpu) == (cls.communicator, cls.gpu)
    assert kind in EXACT


@pytest.mark.parametrize(("kind", "task"), IN_THREADS, ids=[f"{k}-{t}" for k, t in IN_THREADS])
def test_two_threads_fit_the_model_of_one_process(kind, task, tmp_path):
    # LightGBM draws validation rows for each label of a multi-label model in one process, and once for all in several.
    more = {"early_stopping_rounds": 0} if (kind, task) == ("lightgbm", "multilabel") else {}
    fit = describe(Model(kind, task, EXACT[kind] | more), frame(kind), labels(kind, task))
    several = fit_in_threads(fit, tmp_path / "fit")
    assert_the_same_model(one_process(kind, task, **more), several, tmp_path)


@pytest.fixture(scope="module")
def by_processes(tmp_path_factory) -> dict[str, Model]:
    fits = {
        f"{kind}-{task}": describe(Model(kind, task, EXACT[kind]), frame(kind), labels(kind, task))
        for kind, task in IN_PROCESSES
    }
    return fit_in_processes(fits, tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize(("kind", "task"), IN_PROCESSES, ids=[f"{k}-{t}" for k, t in IN_PROCESSES])
def test_two_processes_fit_the_model_of_one(kind, task, by_processes, tmp_path):
    assert_the_same_model(one_process(kind, task), by_processes[f"{kind}-{task}"], tmp_path)


@pytest.mark.parametrize("stops", [False, True], ids=["every round", "early stopping"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_fit_goes_on_from_its_checkpoint_to_the_same_model(kind, stops, tmp_path):
    task = "regression"
    rounds = facts(kind).rounds_parameter
    own = "patience" if facts(kind).communicator == "torch" else "early_stopping_rounds"
    learned = {"learning_rate": 0.05} if own == "patience" else {"learning_rate": 0.5}
    more = {rounds: 30 if own == "early_stopping_rounds" else 8, own: 3 if stops else 0, **learned}

    def fit(folder: Path, killed_after: int = 0) -> Model:
        described = describe(Model(kind, task, EXACT[kind] | more), frame(kind), labels(kind, task))
        kept = KeptCheckpoints(folder, 0, rounds=(1, 2), killed_after=killed_after)
        fit_shard(described, WorkerPlace(0, 1), kept)
        return load_fitted(described.model, folder / "fitted")

    whole = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", killed_after=2)
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {"round_00001", "round_00002"}
    resumed = fit(tmp_path / "killed")
    assert resumed.kind.curve == whole.kind.curve
    np.testing.assert_array_equal(resumed.predict(frame(kind)), whole.predict(frame(kind)))
