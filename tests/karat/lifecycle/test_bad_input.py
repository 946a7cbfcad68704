"""Bad input, from declaration and gold to the registry: refused before anything is learned or logged, each with what,
where and what to do; or told, where a model can be made of it all the same."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from karat.declare import ModelSpec, Project
from karat.errors import EmptyTrainingSet, KaratError, LabelNotFound, TooFewRows, UnusableLabel
from karat.features import compute_table
from karat.inference.predictions import score_model
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry

OVER = {"source": "orders", "horizon": "7d", "default": 0}
#: A change of the declaration (of ``next_week``, or of ``leaver``), the error, what it says, where, and the remedy.
REFUSED = [
    ("next_week", {"label": {**OVER, "expression": "sum(ammount)"}}, LabelNotFound, "cannot be computed",
     "label.expression 'sum(ammount)'", "Did you mean 'amount'?"),
    ("next_week", {"label": {**OVER, "expression": "sum(amount)", "columns": {"customer": "buyer"}}}, LabelNotFound,
     "is joined by 'buyer'", "label.columns", "Known: "),
    ("next_week", {"label": {**OVER, "expression": "sum(null::double)", "default": None}}, UnusableLabel,
     "is null in all", "label.expression", "label.default"),
    ("next_week", {"label": {**OVER, "expression": "sum(amount) / 0.0"}}, UnusableLabel,
     "is infinite in", "label.expression", "nullif"),
    ("next_week", {"label": {**OVER, "expression": "'nan'::double", "default": None}}, UnusableLabel,
     "is null in all", "label.expression", "correct the expression"),
    ("next_week", {"label": {**OVER, "expression": "4.0", "default": 4}}, UnusableLabel,
     "has a single value, 4", "label.expression", "expression"),
    ("next_week", {"label": {**OVER, "expression": "sum(amount)", "horizon": "90d"}}, EmptyTrainingSet,
     "no row of 'spend_features' has a label yet", "gold ends on", "shorten label.horizon"),
    ("next_week", {"minimum_rows": 100_000}, TooFewRows,
     "fewer than its minimum of 100000", "minimum_rows", "lower 'minimum_rows'"),
    ("leaver", {"minimum_rows": 1000}, TooFewRows, "has 600 training and test", "minimum_rows", "collect more rows"),
    ("leaver", {"label": {"name": "leaves", "source": "members", "expression": "age > 500"}}, UnusableLabel,
     "has a single value, False", "label.expression 'age > 500'", "check the label's expression"),
    ("leaver", {"task": "multilabel", "kind": "xgboost", "metric": None, "gates": {},
                "label": {"name": "leaves", "source": "members",
                          "expressions": {"old": "(age > 60)::int", "older": "(age > 500)::int"}}},
     UnusableLabel, "the label 'older' of", "label.expression", "leave this label out"),
]  # fmt: skip


def changed(project: Project, model: str, change: dict[str, object]) -> ModelSpec:
    return ModelSpec.model_validate({**project.models[model].model_dump(), **change})


def test_it_is_refused_before_anything_is_logged(shop_features: Project, lake: Lake, registry: Registry) -> None:
    assert shop_features.models["next_week"].minimum_rows == 1000  # unless it says otherwise
    for model, change, error, what, where, remedy in REFUSED:
        spec = changed(shop_features, model, change)
        with pytest.raises(error) as caught:
            make_candidate(ModelContext(shop_features, spec, lake, registry))
        told: KaratError = caught.value
        assert type(told) is error
        assert what in told.what, told
        assert where in told.where, told
        assert remedy in told.remedy, told
    assert registry.models() == []


def test_what_is_odd_is_told_and_a_model_made(shop_gold: Project, lake: Lake, registry: Registry) -> None:
    """Gold without a day, a column that is constant, NaN and infinity, a text that only the test rows have."""
    name = shop_gold.gold_name("orders")
    lake.overwrite(name, lake.read(name).filter(pl.col("day") != date(2026, 1, 20)))
    for table in shop_gold.tables:
        compute_table(shop_gold, table, lake)
    spend, people = (shop_gold.table_name(t) for t in ("spend_features", "people_features"))
    row = pl.int_range(pl.len())
    odd = pl.when(row % 40 == 1).then(float("inf")).when(row % 40 == 2).then(float("nan")).otherwise("spent_7d")
    lake.overwrite(spend, lake.read(spend).with_columns(spent_7d=odd, orders_7d=pl.lit(3)))
    made = make_candidate(ModelContext(shop_gold, shop_gold.models["next_week"], lake, registry))
    told = "\n".join(made.warnings)
    assert "gold table 'orders' has no rows on 1 of 60 days (2026-01-20)" in told
    assert "feature 'orders_7d' is constant: 3 in every row" in told
    assert "feature 'spent_7d' is infinite in " in told
    assert "feature 'orders_7d' is constant" in registry.card(made.version)
    assert made.metrics["rmse"] < made.baseline["rmse"]
    # By entity, the members of the test side live elsewhere.
    spec = shop_gold.models["leaver"]
    spine = registry.spine(make_candidate(ModelContext(shop_gold, spec, lake, registry)).version)
    test = spine.filter(pl.col("karat_split") == "test")["customer"]
    moved = pl.when(pl.col("customer").is_in(test.implode())).then(pl.lit("Chur")).otherwise("city")
    lake.overwrite(people, lake.read(people).with_columns(city=moved))
    made = make_candidate(ModelContext(shop_gold, spec, lake, registry))
    assert any(f"'city' has values in {len(test)} of {len(test)} test rows" in w for w in made.warnings)
    assert promote(ModelContext(shop_gold, spec, lake, registry), made.version).promoted
    scored = score_model(ModelContext(shop_gold, spec, lake, registry))
    assert scored.rows == 600
    assert lake.read(scored.table)["probability"].is_finite().all()
