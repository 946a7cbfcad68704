"""Champion or not: baseline, floors, margin on the same rows, void samples, approval, and doing it twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from karat.declare import ModelSpec, Project
from karat.errors import ModelNotFound, NoChampion
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote, valid_champion, void_reason
from karat.lifecycle.consistency_gate import record_consistency
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.promotion_gates import missed_floors
from karat.lifecycle.version_comparison import relative_gain
from karat.names import ModelName
from karat.registry import ModelVersion, Registry
from ray_jobs.steps.model_work import ModelWork
from ray_jobs.steps.train import version_outcome

LEAVER = ModelName("shop_dev", "leaver")


def changed(project: Project, **update: object) -> ModelSpec:
    return project.models["leaver"].model_copy(update=update)


def gates(spec: ModelSpec, **update: object) -> ModelSpec:
    return spec.model_copy(update={"gates": spec.gates.model_copy(update=update)})


def only(spec: ModelSpec, *features: str) -> ModelSpec:
    lookup = spec.lookups[0].model_copy(update={"features": features})
    return spec.model_copy(update={"lookups": (lookup,)})


@pytest.fixture
def spec(shop_features: Project) -> ModelSpec:
    return shop_features.models["leaver"]


def stands(registry: Registry) -> dict[str, int | None]:
    found = {a: registry.by_alias(LEAVER, a) for a in ("champion", "challenger", "archived")}
    return {alias: version.version if version else None for alias, version in found.items()}


def test_the_first_version_that_beats_its_baseline_is_champion(shop_features, lake, registry, spec) -> None:
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    decision = promote(ModelContext(shop_features, spec, lake, registry), made.version.version)
    assert decision.promoted
    assert "beats the baseline" in decision.reason
    assert (decision.champion_version, decision.champion_metrics) == (1, None)
    assert stands(registry) == {"champion": 1, "challenger": None, "archived": None}
    champion = registry.champion(LEAVER)
    assert champion.tags["karat.stage"] == "champion"
    assert champion.tags["karat.champion.reason"] == decision.reason


def test_one_that_does_not_is_refused_and_says_why(shop_features, lake, registry, spec) -> None:
    poor = only(spec, "city")
    made = make_candidate(ModelContext(shop_features, poor, lake, registry))
    worse = {**made.version.metrics, "roc_auc": 0.49}
    registry.client.log_metric(made.version.run_id, "roc_auc", 0.49)
    decision = promote(ModelContext(shop_features, poor, lake, registry), 1)
    assert not decision.promoted
    assert "roc_auc 0.49 does not beat its baseline of 0.5" in decision.reason
    assert "under its floor of 0.6" in decision.reason
    assert decision.candidate_metrics["roc_auc"] == worse["roc_auc"]
    assert stands(registry) == {"champion": None, "challenger": 1, "archived": None}
    assert registry.version(LEAVER, 1).tags["karat.decision"].startswith("refused: roc_auc")


def test_a_later_one_must_win_by_the_margin_on_the_same_rows(shop_features, lake, registry, spec) -> None:
    poor = gates(only(spec, "city"), floors={})
    make_candidate(ModelContext(shop_features, poor, lake, registry))
    assert "is not clear of 0" in promote(ModelContext(shop_features, poor, lake, registry), 1).reason
    for own in ("roc_auc", "roc_auc_gain_low"):  # its own figures do not count against a rival
        registry.client.log_metric(registry.version(LEAVER, 1).run_id, own, 0.99)
    assert promote(ModelContext(shop_features, poor, lake, registry), 1).promoted
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    decision = promote(ModelContext(shop_features, spec, lake, registry), 2)
    assert decision.promoted, decision.reason
    assert decision.champion_metrics["roc_auc"] < 0.6 < decision.candidate_metrics["roc_auc"]
    assert "on the same" in decision.reason
    assert stands(registry) == {"champion": 2, "challenger": None, "archived": 1}
    old = registry.version(LEAVER, 1)
    assert (old.tags["karat.stage"], old.tags["karat.archived.reason"]) == ("archived", "version 2 replaced it")


def test_other_gates_are_another_decision(shop_features, lake, registry, spec) -> None:
    high, low = gates(spec, floors={"roc_auc": 0.999}), gates(spec, floors={"roc_auc": 0.6})
    made = make_candidate(ModelContext(shop_features, high, lake, registry)).version
    assert undecided(shop_features, high, lake, registry, made)
    assert not promote(ModelContext(shop_features, high, lake, registry)).promoted
    made = registry.version(LEAVER, made.version)
    assert not undecided(shop_features, high, lake, registry, made)
    assert undecided(shop_features, low, lake, registry, made)


def undecided(project: Project, spec: ModelSpec, lake: Lake, registry: Registry, version: ModelVersion) -> bool:
    """Whether a run that trains nothing new has this version judged."""
    work = ModelWork(ModelContext(project, spec, lake, registry), parameters={}, commit="")
    return version_outcome(work, version, None).undecided


def test_a_small_gain_is_not_enough(shop_features, lake, registry, spec) -> None:
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    promote(ModelContext(shop_features, spec, lake, registry), 1)
    same = spec.model_copy(update={"seed": 1, "split": spec.split.model_copy(update={"test": 0.5})})
    make_candidate(ModelContext(shop_features, same, lake, registry))
    decision = promote(ModelContext(shop_features, same, lake, registry), 2)
    assert not decision.promoted
    assert "margin 2.00%" in decision.reason
    assert decision.champion_version == 1
    assert stands(registry) == {"champion": 1, "challenger": 2, "archived": None}
    # gates are no part of what is learned
    assert not make_candidate(ModelContext(shop_features, gates(same, margin=0.0), lake, registry)).retrained


def test_both_are_scored_with_lookups_of_their_own(shop_features, lake, registry, spec) -> None:
    """The champion reads another column than the candidate, at the candidate's pinned version of the table."""
    make_candidate(ModelContext(shop_features, only(spec, "age"), lake, registry))
    promote(ModelContext(shop_features, gates(only(spec, "age"), floors={}), lake, registry), 1)
    city = gates(only(spec, "city"), floors={})
    make_candidate(ModelContext(shop_features, city, lake, registry))
    name = shop_features.table_name("people_features")
    lake.overwrite(name, lake.read(name).with_columns(age=pl.lit(None, dtype=pl.Int64)))
    decision = promote(ModelContext(shop_features, city, lake, registry), 2)
    assert not decision.promoted
    assert decision.champion_metrics["roc_auc"] > 0.8  # the ages as they were when the candidate was trained


def test_features_of_another_meaning_void_a_champion_that_reads_them(shop_features, lake, registry, spec) -> None:
    make_candidate(ModelContext(shop_features, only(spec, "age"), lake, registry))
    promote(ModelContext(shop_features, gates(only(spec, "age"), floors={}), lake, registry), 1)

    def redefined(feature: str):
        table = shop_features.tables["people_features"]
        other = [
            f.model_copy(update={"where": "customer <> 'nobody'"} if f.name == feature else {}) for f in table.features
        ]
        changed = table.model_copy(update={"features": tuple(other)})
        return replace(shop_features, tables=shop_features.tables | {"people_features": changed})

    champion = registry.champion(LEAVER)
    assert void_reason(ModelContext(redefined("city"), spec, lake, registry), champion) == ""
    assert "people_features.age" in void_reason(ModelContext(redefined("age"), spec, lake, registry), champion)
    assert valid_champion(ModelContext(redefined("age"), spec, lake, registry)) is None


def test_real_data_void_the_champion_of_a_sample(shop_features, lake, registry, spec) -> None:
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    promote(ModelContext(shop_features, spec, lake, registry), 1)
    assert valid_champion(ModelContext(shop_features, spec, lake, registry)).version == 1
    gold = shop_features.gold_name("members")
    rows = lake.read(gold).with_columns(age=pl.col("age") + 1)
    lake.create(
        gold, shop_features.gold["members"].schema, primary_key=["customer"], properties={"karat.origin": "ingest"}
    )
    lake.overwrite(gold, rows)
    assert "members" in void_reason(ModelContext(shop_features, spec, lake, registry), registry.champion(LEAVER))
    assert valid_champion(ModelContext(shop_features, spec, lake, registry)) is None
    compute_table(shop_features, "people_features", lake)
    again = make_candidate(ModelContext(shop_features, spec, lake, registry))
    assert (again.version.version, again.version.own_tags.origin, made.version.own_tags.origin) == (
        2,
        "ingest",
        "sample",
    )
    # A sample's version that comes late is void itself and takes nobody's place.
    decision = promote(ModelContext(shop_features, spec, lake, registry), 2)
    assert decision.promoted
    assert "is void: it was trained on sample data" in decision.reason
    assert decision.champion_metrics is None
    assert stands(registry) == {"champion": 2, "challenger": None, "archived": 1}
    late = promote(ModelContext(shop_features, spec, lake, registry), 1)
    assert not late.promoted
    assert "void itself" in late.reason
    assert stands(registry)["champion"] == 2


def test_deciding_twice_changes_nothing(shop_features, lake, registry, spec) -> None:
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    first = promote(ModelContext(shop_features, spec, lake, registry), 1)
    tags = registry.version(LEAVER, 1).tags
    second = promote(ModelContext(shop_features, spec, lake, registry), 1)
    assert (second.promoted, second.reason) == (True, first.reason)
    assert registry.version(LEAVER, 1).tags == tags


def test_manual_approval_waits_for_a_person(shop_features, lake, registry, spec) -> None:
    project = replace(shop_features, spec=shop_features.spec.model_copy(update={"approval": "manual"}))
    make_candidate(ModelContext(project, spec, lake, registry))
    waiting = promote(ModelContext(project, spec, lake, registry), 1)
    assert not waiting.promoted
    assert "waits for approval" in waiting.reason
    assert stands(registry) == {"champion": None, "challenger": 1, "archived": None}
    assert promote(ModelContext(project, spec, lake, registry), 1, approved=True).promoted


def test_a_champion_that_cannot_be_scored_any_more_stands_in_nobodys_way(shop_features, lake, registry, spec) -> None:
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    promote(ModelContext(shop_features, spec, lake, registry), 1)
    metadata = registry.connection.local(registry.client.get_model_version_download_uri(str(LEAVER), "1"))
    path = metadata / "data" / "karat" / "karat.json"
    path.write_text(path.read_text().replace("people_features", "gone_features"))
    seeded = spec.model_copy(update={"seed": 7})
    make_candidate(ModelContext(shop_features, seeded, lake, registry))
    decision = promote(ModelContext(shop_features, seeded, lake, registry), 2)
    assert decision.promoted
    assert "can no longer be scored" in decision.reason


def test_models_and_versions_that_are_not_there(shop_features, lake, registry, spec) -> None:
    with pytest.raises(ModelNotFound, match="no challenger"):
        promote(ModelContext(shop_features, spec, lake, registry))
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    with pytest.raises(ModelNotFound, match="has no version 9"):
        promote(ModelContext(shop_features, spec, lake, registry), 9)
    with pytest.raises(ModelNotFound, match=r"Did you mean 'shop_dev\.models\.leaver'"):
        registry.load("shop_dev.models.leever")
    with pytest.raises(NoChampion, match="has no champion"):
        registry.load("shop_dev.models.leaver")
    assert registry.load("models:/shop_dev.models.leaver/latest").version == 1
    assert registry.load("models:/shop_dev.features.leaver/Staging").version == 1  # the documents' spellings


@pytest.mark.parametrize(
    ("metric", "value", "than", "expected"),
    [
        ("roc_auc", 0.88, 0.8, 0.1),
        ("roc_auc", 0.72, 0.8, -0.1),
        ("rmse", 9.0, 10.0, 0.1),
        ("rmse", 11.0, 10.0, -0.1),
        ("r2", 0.1, -0.1, 2.0),
        ("mae", 0.0, 0.0, 0.0),
        ("mae", 1.0, 0.0, float("-inf")),
        ("r2", 0.1, 0.0, float("inf")),
    ],
)
def test_gain_is_relative_in_the_better_direction(metric: str, value: float, than: float, expected: float) -> None:
    assert relative_gain(metric, value, than) == pytest.approx(expected)


def test_floors_are_ceilings_where_less_is_better(spec) -> None:
    limits = gates(spec, floors={"roc_auc": 0.8, "log_loss": 0.5, "recall": 0.1})
    missed = missed_floors(limits, {"roc_auc": 0.7, "log_loss": 0.6})
    assert [m.split(" ")[0] for m in missed] == ["roc_auc", "log_loss", "recall"]
    assert missed_floors(limits, {"roc_auc": 0.8, "log_loss": 0.5, "recall": 0.1}) == []


def test_features_served_otherwise_than_offline_are_a_reason(shop_features, lake, registry, spec) -> None:
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    found = pl.DataFrame(
        {
            "model_name": [str(LEAVER)],
            "checked_at": [datetime(2026, 11, 20, tzinfo=UTC)],
            "feature": ["age"],
            "rows": [200],
            "mismatches": [3],
            "share": [0.015],
        }
    )
    record_consistency(lake, LEAVER, found)
    decision = promote(ModelContext(shop_features, gates(spec, consistency=0.01), lake, registry), made.version.version)
    assert not decision.promoted
    assert "age was served otherwise than the offline store says for 1.50% of 200 predictions" in decision.reason
    assert promote(
        ModelContext(shop_features, gates(spec, consistency=0.02), lake, registry), made.version.version
    ).promoted
