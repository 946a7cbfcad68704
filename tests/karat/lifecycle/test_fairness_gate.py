"""Fairness at training: a planted bias blocks promotion, and without it the same model passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from karat.declare import ModelSpec, Project
from karat.declare.fairness import Fairness
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote, valid_champion
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.records import Decision
from karat.names import ModelName
from karat.registry import Registry, VersionTags
from tests.karat.conftest import write_table

LEAVER = ModelName("shop_dev", "leaver")
FAIR = {"protected": ("city",)}


def members(*, biased: bool) -> pl.DataFrame:
    """Who leaves follows from the age; with the bias, the ages of one city were not written down as they are."""
    random = np.random.default_rng(3)
    n = 3000
    age, city = random.integers(18, 80, n), random.choice(["Bern", "Genf"], n)
    leaves = random.random(n) < 1 / (1 + np.exp((age - 45) / 5))
    wrong = np.array([biased]) & (city == "Genf")
    told = np.where(wrong, random.integers(44, 80, n), age)
    customer = [f"c{i:04d}" for i in range(n)]
    return pl.DataFrame({"customer": customer, "city": city, "age": told, "left": np.where(leaves, "Yes", "No")})


def given(project: Project, lake: Lake, *, biased: bool) -> None:
    write_table(project, lake, "members", members(biased=biased), "sample")
    compute_table(project, "people_features", lake)


@pytest.fixture
def spec(shop: Project) -> ModelSpec:
    """Leavers by their age alone."""
    lookup = shop.models["leaver"].lookups[0].model_copy(update={"features": ("age",)})
    return shop.models["leaver"].model_copy(update={"lookups": (lookup,), **FAIR})


def decided(project: Project, spec: ModelSpec, lake: Lake, registry: Registry, *, force: bool = False) -> Decision:
    context = ModelContext(project, spec, lake, registry)
    made = make_candidate(context, force=force)
    return promote(context, made.version.version)


def test_a_planted_bias_blocks_promotion_and_without_it_the_model_passes(
    shop: Project, lake: Lake, registry: Registry, spec: ModelSpec
) -> None:
    given(shop, lake, biased=True)
    refused = decided(shop, spec, lake, registry)
    assert not refused.promoted
    # No other gate fails.
    assert refused.reason.startswith("the true positive rate differs by")
    assert "between groups of city" in refused.reason
    assert "; " not in refused.reason
    version = registry.version(LEAVER, refused.version)
    card = registry.card(version)
    assert "## Fairness" in card
    assert "**over the limit**" in card
    assert version.judged["fairness_city_true_positive_rate_gap"] > 0.3
    assert not any(name.startswith("fairness") for name in version.metrics)
    given(shop, lake, biased=False)
    passed = decided(shop, spec, lake, registry)
    assert passed.promoted, passed.reason
    assert "**over the limit**" not in registry.card(registry.version(LEAVER, passed.version))


def test_the_limit_of_project_and_model_decides_again_without_training(
    shop: Project, lake: Lake, registry: Registry, spec: ModelSpec
) -> None:
    given(shop, lake, biased=True)
    assert not decided(shop, spec, lake, registry).promoted
    lenient = replace(shop, spec=shop.spec.model_copy(update={"fairness": Fairness(max_gap=0.9)}))
    context, own = (ModelContext(p, spec, lake, registry) for p in (shop, lenient))
    assert context.gates_hash != own.gates_hash
    assert context.definition_hash == own.definition_hash
    strict = spec.model_copy(update={"fairness": Fairness(max_gap=0.1)})
    assert not decided(lenient, strict, lake, registry).promoted
    decision = decided(lenient, spec, lake, registry)
    assert decision.promoted, decision.reason
    assert decision.version == 1


@pytest.mark.parametrize("method", ["reweigh", "thresholds"])
def test_a_mitigation_makes_the_biased_model_pass(
    shop: Project, lake: Lake, registry: Registry, spec: ModelSpec, method: str
) -> None:
    """The city decides how likely a member is to leave; the groups' rates differ although the ages are right."""
    frame = members(biased=False)
    random = np.random.default_rng(5)
    more = frame.with_columns(
        left=pl.when((pl.col("city") == "Genf") & pl.Series(random.random(frame.height) < 0.6))
        .then(pl.lit("Yes"))
        .otherwise("left")
    )
    write_table(shop, lake, "members", more, "sample")
    compute_table(shop, "people_features", lake)
    lookup = spec.lookups[0].model_copy(update={"features": ("age", "city")})
    reading = spec.model_copy(update={"lookups": (lookup,)})
    assert "differs" in decided(shop, reading, lake, registry).reason
    fairness = Fairness(metric="demographic_parity", mitigation=method)
    mitigated = reading.model_copy(update={"fairness": fairness})
    decision = decided(shop, mitigated, lake, registry)
    assert decision.promoted, decision.reason
    version = registry.version(LEAVER, decision.version)
    assert "**Mitigation**" in registry.card(version)
    grouped = registry.load(version).model.group_thresholds
    assert (grouped is not None) == (method == "thresholds")


def test_a_champion_from_before_is_measured_and_does_not_stay(
    shop: Project, lake: Lake, registry: Registry, spec: ModelSpec
) -> None:
    """Promoted when nothing was protected: the next candidate's rows show its gap, and it is champion no more."""
    given(shop, lake, biased=True)
    open_ = spec.model_copy(update={"protected": ()})
    assert decided(shop, open_, lake, registry).promoted
    context = ModelContext(shop, spec, lake, registry)
    assert valid_champion(context) is not None
    refused = decided(shop, spec, lake, registry)
    assert not refused.promoted
    assert (refused.version, refused.champion_version) == (2, None)
    assert registry.champion(LEAVER) is None
    archived = registry.version(LEAVER, 1)
    assert archived.tags["karat.archived.reason"].startswith("void: the true positive rate differs by")


def test_a_version_whose_groups_were_never_compared_is_refused(
    shop: Project, lake: Lake, registry: Registry, spec: ModelSpec
) -> None:
    given(shop, lake, biased=False)
    context = ModelContext(shop, spec, lake, registry)
    version = make_candidate(context).version
    registry.tag(version, VersionTags(fairness={}))
    assert promote(context, version.version).reason == "its groups by city were never compared: train it again"
