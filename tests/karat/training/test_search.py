"""Search for parameters: what its trials learn and are compared on; it repeats, goes on and survives failures."""

from __future__ import annotations

import polars as pl
import pytest
from hyperopt.pyll.stochastic import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from karat.declare.models import ModelSpec
from karat.declare.search import SearchSpace
from karat.errors import DeclarationError, TrainingError
from karat.training.hyperopt_search import hyperopt_search, hyperopt_space, plain
from karat.training.search import SearchProblem, Trial, prepare_search, search_parameters, with_parameters
from karat.training.split import TEST, TRAIN, split_rows
from karat.training.train import train, unfitted_model
from tests.profiles import examples

ROWS = 400


def spec_of(**more: object) -> ModelSpec:
    """A boosted classifier whose depth and learning rate are searched."""
    return ModelSpec(
        name="leaver",
        description="Leaves",
        task="binary",
        kind="xgboost",
        label={"source": "people", "expression": "left", "name": "left"},
        lookups=[{"table": "people", "features": ["a", "b"]}],
        **{
            "parameters": {"n_estimators": 16},
            "search": {"max_depth": [1, 2, 4], "learning_rate": {"low": 0.01, "high": 0.5, "log": True}},
            "search_budget": {"trials": 8, "validation": 0.25},
            **more,
        },
    )


def frame_of() -> pl.DataFrame:
    """Four rows a day of forty people over a hundred days; the label is an interaction of two features."""
    draw = default_rng(7)
    a, b = draw.normal(size=ROWS), draw.normal(size=ROWS)
    days = pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 4, 10), eager=True)
    return pl.DataFrame(
        {
            "person": [f"p{i % 40}" for i in range(ROWS)],
            "day": [days[i // 4] for i in range(ROWS)],
            "a": a,
            "b": b,
            "left": a * b + 0.3 * draw.normal(size=ROWS) > 0,
        }
    )


def problem_of(spec: ModelSpec, frame: pl.DataFrame) -> SearchProblem:
    """The search of that declaration on these rows."""
    return prepare_search(
        spec,
        frame,
        unfitted_model(spec),
        features=["a", "b"],
        label="left",
        split=split_rows(frame, spec, time="day", entity=["person"]),
        time="day",
        entity=["person"],
    )


def test_the_test_rows_have_no_part_in_a_search() -> None:
    spec, frame = spec_of(), frame_of()
    split = split_rows(frame, spec, time="day", entity=["person"])
    garbled = frame.with_columns(pl.when(split == TEST).then(pl.lit(99.0)).otherwise("a").alias("a"))
    found = [search_parameters(problem_of(spec, f), spec.search_budget, hyperopt_search) for f in (frame, garbled)]
    assert [t.value for t in found[0].trials] == [t.value for t in found[1].trials]


@pytest.mark.parametrize("by", ["time", "entity"])
def test_validation_rows_are_set_apart_as_test_rows_are(by: str) -> None:
    spec, frame = spec_of(split={"by": by, "test": 0.2}), frame_of()
    learned = frame.filter(split_rows(frame, spec, time="day", entity=["person"]) == TRAIN)
    problem = problem_of(spec, frame)
    assert len(problem.rows.X) + len(problem.validation) == learned.height
    fitted = {tuple(row) for row in problem.rows.X}
    validated = learned.filter(pl.Series([(a, b) not in fitted for a, b in learned.select("a", "b").iter_rows()]))
    assert validated.height == len(problem.validation)
    rest = learned.join(validated, on=["person", "day", "a"], how="anti")
    if by == "time":
        assert rest["day"].max() < validated["day"].min()
    else:
        assert not set(rest["person"]) & set(validated["person"])


def test_a_search_finds_what_the_kinds_own_parameters_miss_and_repeats() -> None:
    spec = spec_of(search={"max_depth": [1, 6], "learning_rate": {"low": 0.01, "high": 0.5, "log": True}})
    problem = problem_of(spec, frame_of())
    first, second = (search_parameters(problem, spec.search_budget, hyperopt_search) for _ in range(2))
    assert [(t.parameters, t.value) for t in first.trials] == [(t.parameters, t.value) for t in second.trials]
    assert len(first.trials) == spec.search_budget.trials
    assert first.trials[0].parameters == {"max_depth": 6, "learning_rate": 0.1}, "the kind's own are tried first"
    assert first.best.value == max(t.value for t in first.trials)
    assert first.best.value > problem.fit_and_evaluate({"max_depth": 1, "learning_rate": 0.01})


def test_known_trials_are_not_run_again_and_the_rest_is_as_it_would_have_been() -> None:
    spec = spec_of()
    problem = problem_of(spec, frame_of())
    whole = search_parameters(problem, spec.search_budget, hyperopt_search)
    ran: list[Trial] = []
    rest = search_parameters(problem, spec.search_budget, hyperopt_search, known=whole.trials[:5], done=ran.append)
    assert [t.number for t in ran] == [5, 6, 7]
    assert [(t.parameters, t.value) for t in rest.trials] == [(t.parameters, t.value) for t in whole.trials]


def test_a_failing_trial_is_recorded_and_ends_nothing() -> None:
    spec = spec_of(search={"gamma": [0.0, -1.0]})  # XGBoost refuses a negative one
    found = search_parameters(problem_of(spec, frame_of()), spec.search_budget, hyperopt_search)
    failed = [t for t in found.trials if t.state == "failed"]
    assert 0 < len(failed) < len(found.trials)
    assert all(t.parameters == {"gamma": -1.0} and t.value is None and "min_split_loss" in t.error for t in failed)
    assert found.best.parameters == {"gamma": 0.0}


def test_a_search_in_which_nothing_can_be_learned_says_why() -> None:
    spec = spec_of(search={"gamma": [-1.0, -2.0]})
    with pytest.raises(TrainingError, match=r"none of 8 trials.*min_split_loss"):
        search_parameters(problem_of(spec, frame_of()), spec.search_budget, hyperopt_search)


def test_a_search_ends_with_its_minutes() -> None:
    spec = spec_of(search_budget={"trials": 5000, "minutes": 0.005})
    found = search_parameters(problem_of(spec, frame_of()), spec.search_budget, hyperopt_search)
    assert 0 < len(found.trials) < 5000


def test_too_few_rows_to_validate_on_are_refused() -> None:
    spec, frame = spec_of(split={"by": "entity"}), frame_of().with_columns(person=pl.lit("p1"))
    split = pl.Series([TRAIN] * frame.height)
    with pytest.raises(TrainingError, match="in a search"):
        prepare_search(
            spec,
            frame,
            unfitted_model(spec),
            features=["a", "b"],
            label="left",
            split=split,
            time=None,
            entity=["person"],
        )


def test_a_model_without_a_label_can_not_be_searched() -> None:
    with pytest.raises((DeclarationError, ValueError), match="no label that a search"):
        ModelSpec(
            name="groups",
            description="Groups",
            task="clustering",
            kind="kmeans",
            lookups=[{"table": "people"}],
            search={"n_clusters": [2, 3]},
        )


ENDS = st.tuples(st.integers(1, 50), st.integers(1, 50)).filter(lambda pair: pair[0] < pair[1])


@settings(max_examples=examples(40), deadline=None)
@given(ends=ENDS, whole=st.booleans(), log=st.booleans(), seed=st.integers(0, 2**31))
def test_every_suggestion_lies_in_the_space(ends: tuple[int, int], whole: bool, log: bool, seed: int) -> None:
    low, high = ends if whole else (ends[0] / 3, ends[1] / 3)
    space = SearchSpace(low=low, high=high, log=log)
    value = plain(sample(hyperopt_space({"p": space}), default_rng(seed)))["p"]
    assert space.contains(value)
    assert isinstance(value, int) is whole


def test_rungs_are_parts_of_the_declared_rounds() -> None:
    assert problem_of(spec_of(), frame_of()).rungs == (4, 8, 16)
    assert problem_of(spec_of(parameters={"n_estimators": 15}), frame_of()).rungs == ()
    searched = spec_of(parameters={}, search={"n_estimators": {"low": 10, "high": 50}})
    assert problem_of(searched, frame_of()).rungs == (), "rounds that differ between trials have no common rungs"


OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "calibration": {"calibration": "platt", "metric": "log_loss"},
    "selection": {
        "feature_selection": "permutation",
    },
    "threshold": {"threshold": {"maximize": "f1"}, "metric": "f1"},
    "reweighing": {"protected": ["group"], "fairness": {"mitigation": "reweigh"}},
    "group thresholds": {
        "protected": ["group"],
        "fairness": {"mitigation": "thresholds", "metric": "demographic_parity"},
        "metric": "accuracy",
    },
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_trial_is_fitted_and_judged_as_the_final_model_is(option: str) -> None:
    spec = spec_of(**OPTIONS[option])
    draw = default_rng(3)
    group = pl.Series("group", ["x" if value > 0 else "y" for value in draw.normal(size=ROWS)])
    frame = frame_of().with_columns(
        group, group.alias("karat_protected_group"), pl.Series("noise", draw.normal(size=ROWS))
    )
    features = ["a", "b", *({"selection": ["noise"], "group thresholds": ["group"]}.get(option, []))]
    split = split_rows(frame, spec, time="day", entity=["person"])
    problem = prepare_search(
        spec,
        frame,
        unfitted_model(spec),
        features=features,
        label="left",
        split=split,
        time="day",
        entity=["person"],
    )
    learned = frame.filter(split == TRAIN)
    inner = spec.model_copy(
        update={"seed": spec.seed + 1, "minimum_rows": 1, "split": spec.split.model_copy(update={"test": 0.25})}
    )
    parts = split_rows(learned, inner, time="day", entity=["person"])
    parameters = {"max_depth": 2, "learning_rate": 0.3}
    final = train(
        with_parameters(spec, parameters).model_copy(update={"minimum_rows": 1}),
        learned,
        features=features,
        label="left",
        split=parts,
        time="day",
        entity=["person"],
    )
    assert problem.fit_and_evaluate(parameters) == pytest.approx(final.metrics[spec.primary_metric], rel=1e-12)
    assert (problem.declared is None) is (option == "plain")


def test_a_threshold_is_not_chosen_in_trials_that_are_compared_without_it() -> None:
    """Its four fits more would change nothing of roc_auc."""
    assert problem_of(spec_of(threshold={"maximize": "f1"}), frame_of()).declared is None
