"""What a batch table may say; every error names its place and the nearest name."""

from __future__ import annotations

import pytest

from karat.declare import load_project
from karat.errors import DeclarationError
from tests.karat.declare.conftest import FEATURES, MODEL, PROJECT_YAML

NEXT = "spend_forecaster.prediction"
LATER = (
    MODEL.replace("task: regression", "task: binary")
    .replace("sum(amount)", "sum(amount) > 9")
    .replace("gradient_boosting", "logistic_regression")
)
OTHER = """
other = FeatureTable(
    name="other",
    description="Who",
    source="orders",
    entity=("customer_id",),
    features=(aggregate("most", "max", "amount", description="Most"),),
)
"""
WHO = """
description: Who spends
task: binary
kind: logistic_regression
label: {source: orders, expression: max(amount) > 50}
lookups: [other]
"""


@pytest.fixture
def wide(shop):
    """The shop with a second model of the same key and one of another."""
    shop.write("features/other.py", FEATURES.partition("spend =")[0] + OTHER)
    shop.write("models/sales/big_week.yaml", LATER)
    shop.write("models/who.yaml", WHO)
    return shop


def declare(shop, text: str):
    shop.write("project.yaml", f"{PROJECT_YAML}batch_tables:\n  side: {{description: A, {text}}}\n")
    return load_project("shop", shop.settings)


def test_it_names_the_models_that_it_is_of(wide):
    project = declare(
        wide,
        f"features: spend, columns: {{next: {NEXT}, chance: big_week.probability}}, averages: {{mean: [next, chance]}}",
    )
    table = project.spec.batch_tables["side"]
    assert table.models == ("spend_forecaster", "big_week")
    assert table.own_columns[:3] == ("next", "chance", "mean")
    assert project.batch_tables_of(["big_week"]) == ("side",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("columns: {}", "columns: Dictionary should have at least 1 item"),
        ("columns: {next: spend_forecaster}", "'spend_forecaster' is no MODEL.COLUMN"),
        ("columns: {next: spend_forecastr.prediction}", "no model 'spend_forecastr'. Did you mean 'spend_forecaster'"),
        ("columns: {c: big_week.probabilty}", "have no column 'probabilty'. Did you mean 'probability'"),
        (f"columns: {{next: {NEXT}, chance: spend_forecaster.probability}}", "have no column 'probability'"),
        (f"columns: {{next: {NEXT}}}, averages: {{mean: [next]}}", "an average is of two columns or more"),
        (f"columns: {{next: {NEXT}}}, averages: {{mean: [next, nxt]}}", "no column 'nxt' under 'columns'"),
        (
            f"columns: {{next: {NEXT}, c: big_week.prediction}}, averages: {{mean: [next, c]}}",
            "big_week.prediction is no number",
        ),
        (f"columns: {{next: {NEXT}, who: who.probability}}", "its rows have the key customer_id, those before it"),
        (f"features: spnd, columns: {{next: {NEXT}}}", "no feature table 'spnd'. Did you mean 'spend'"),
        (f"features: other, columns: {{next: {NEXT}}}", "'other' has the key customer_id, not customer_id, day"),
        (f"features: spend, columns: {{big: {NEXT}}}", "two of its columns are called 'big'"),
        (f"columns: {{inference_timestamp: {NEXT}}}", "two of its columns are called 'inference_timestamp'"),
    ],
)
def test_what_does_not_hold_is_told_with_its_line(wide, text, expected):
    with pytest.raises(DeclarationError) as caught:
        declare(wide, text)
    (error,) = caught.value.errors
    assert error.startswith("shop/project.yaml:")
    assert expected in error


def test_it_has_no_models_name_and_its_models_replace(wide):
    wide.write("models/sales/side.yaml", MODEL)
    wide.write("models/sales/big_week.yaml", LATER + "scope: {write: append}\n")
    with pytest.raises(DeclarationError) as caught:
        declare(wide, f"columns: {{next: {NEXT}, chance: big_week.probability}}")
    told = "\n".join(caught.value.errors)
    assert "the model 'side' has a prediction table of that name" in told
    assert "'big_week' appends batch to batch" in told
