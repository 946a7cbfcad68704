"""A version's search: made once per declaration, gone on with after a kill, and told in registry, card and table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from karat.declare import Project
from karat.declare.models import ModelSpec
from karat.declare.search import SearchBudget
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext
from karat.names import TableName
from karat.registry import Registry
from karat.training.hyperopt_search import hyperopt_search
from karat.training.search import SearchProblem, Trial

TRIALS = TableName("shop_dev", "monitoring", "search_trials")


class Killed(BaseException):
    """The process ends."""


@pytest.fixture
def context(shop_features: Project, lake: Lake, registry: Registry) -> ModelContext:
    """The model ``next_week`` of the shop, its regularisation searched."""
    declared = shop_features.models["next_week"].model_dump() | {
        "kind": "linear_regression",
        "parameters": {},
        "search": {"alpha": {"low": 0.001, "high": 1000.0, "log": True}},
        "search_budget": {"trials": 6},
    }
    return ModelContext(shop_features, ModelSpec.model_validate(declared), lake, registry)


def killed_after(count: int) -> Callable[..., None]:
    """A searcher whose process is killed after so many trials."""

    def searcher(
        problem: SearchProblem, budget: SearchBudget, *, known: Sequence[Trial], done: Callable[[Trial], None]
    ) -> None:
        left = count

        def counted(trial: Trial) -> None:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            done(trial)

        hyperopt_search(problem, budget, known=known, done=counted)

    return searcher


@pytest.mark.usefixtures("pictures")
def test_a_version_tells_of_its_search(context: ModelContext) -> None:
    made = make_candidate(context, searcher=hyperopt_search)
    registry = context.registry
    search = registry.metadata(made.version).search
    best = max(search["trials"], key=lambda t: -t["value"])
    assert search["parameters"] == best["parameters"]
    run = registry.client.get_run(made.version.run_id)
    assert float(run.data.params["alpha"]) == best["parameters"]["alpha"]
    children = registry.client.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'", order_by=["attributes.start_time"]
    )
    assert sorted(c.data.metrics["rmse"] for c in children) == sorted(t["value"] for t in search["trials"])
    assert {c.info.status for c in children} == {"FINISHED"}
    card = registry.card(made.version)
    assert "## Search" in card
    assert f"trial {best['number']}" in card
    folder = registry.connection.local(run.info.artifact_uri) / "plots"
    assert (folder / "search.png").stat().st_size > 20_000
    table = context.lake.read(TRIALS)
    assert table["value"].sort().to_list() == sorted(t["value"] for t in search["trials"])
    assert table["model_name"].unique().to_list() == ["shop_dev.models.next_week"]


def test_a_killed_search_goes_on_and_ends_as_if_nothing_had_been(context: ModelContext, registry: Registry) -> None:
    with pytest.raises(Killed):
        make_candidate(context, searcher=killed_after(3))
    assert registry.versions(context.name) == []
    stored = context.lake.read(TRIALS).sort("trial")
    assert stored["trial"].to_list() == [0, 1, 2]
    made = make_candidate(context, searcher=hyperopt_search)
    after = context.lake.read(TRIALS).sort("trial")
    assert after["trial"].to_list() == [0, 1, 2, 3, 4, 5]
    assert after["ended_at"].head(3).to_list() == stored["ended_at"].to_list(), "no finished trial was run again"
    context.lake.drop(TRIALS)
    again = make_candidate(context, searcher=hyperopt_search, force=True)
    undisturbed = registry.metadata(again.version).search
    assert registry.metadata(made.version).search["parameters"] == undisturbed["parameters"]


def test_the_same_declaration_is_searched_once(context: ModelContext, registry: Registry) -> None:
    """A training on new data takes the parameters that were found; ``always`` searches again, ``never`` takes none."""
    first = make_candidate(context, searcher=hyperopt_search)
    found = registry.metadata(first.version).search["parameters"]
    newer = make_candidate(context, searcher=killed_after(0), force=True)
    kept = registry.metadata(newer.version).search
    assert (kept["parameters"], kept["version"]) == (found, first.version.version)
    assert "found by the search of version 1" in registry.card(newer.version)
    same = make_candidate(context, searcher=killed_after(0), search="always")
    assert not same.retrained, "the version of these data was searched"
    unsearched = make_candidate(context, searcher=killed_after(0), search="never", force=True)
    assert registry.metadata(unsearched.version).search is None


def test_always_searches_where_the_version_of_these_data_did_not(context: ModelContext, registry: Registry) -> None:
    assert make_candidate(context).retrained
    assert not make_candidate(context, searcher=hyperopt_search).retrained
    searched = make_candidate(context, searcher=hyperopt_search, search="always")
    assert searched.retrained
    assert "trials" in registry.metadata(searched.version).search


def test_the_search_says_how_far_it_is(context: ModelContext) -> None:
    told: list[tuple[int, int, str]] = []
    make_candidate(context, searcher=hyperopt_search, progress=lambda *line: told.append(line))
    trials = [line for line in told if "search" in line[2]]
    assert [line[:2] for line in trials] == [(k, 6) for k in range(1, 7)]
    assert all("best rmse" in line[2] for line in trials)
