"""Declared feature functions: found, checked, named by the models that use them."""

import pytest

from karat.declare import load_functions, load_project
from karat.errors import DeclarationError
from tests.karat.declare.conftest import FEATURES, MODEL

FUNCTION = (
    FEATURES
    + """
from karat.declare import feature_function

def share(part: pl.Series, whole: pl.Series) -> pl.Series:
    return part / whole

day_share = feature_function("day_share", share, description="A day of the week")
"""
)
YAML = "models/sales/spend_forecaster.yaml"
USE = "functions:\n  - {function: day_share, inputs: {part: amount_1d, whole: amount_7d}}\n"


def test_a_model_uses_a_function_by_name(shop):
    shop.write("features/spend.py", FUNCTION)
    shop.write(YAML, MODEL + USE)
    project = load_project("shop", shop.settings)
    assert list(project.functions) == ["day_share"]
    (use,) = project.models["spend_forecaster"].functions
    assert use.output_name == "day_share"
    assert load_functions("shop", shop.settings)["day_share"].source_hash == project.functions["day_share"].source_hash


def test_functions_are_found_whatever_else_is_wrong(shop):
    shop.write("features/spend.py", FUNCTION)
    shop.write(YAML, "task: nothing\n")
    assert list(load_functions("shop", shop.settings)) == ["day_share"]
    shop.write("features/spend.py", FUNCTION + "1 / 0\n")
    with pytest.raises(DeclarationError, match="ZeroDivisionError"):
        load_functions("shop", shop.settings)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("{function: day_shar, inputs: {}}", "no feature function 'day_shar'. Did you mean 'day_share'"),
        ("{function: day_share, inputs: {prt: amount_1d, whole: amount_7d}}", "'prt'. Did you mean 'part'"),
        ("{function: day_share, inputs: {part: amount_1d}}", "do not bind whole"),
        ("{function: day_share, inputs: {part: amount_2d, whole: amount_7d}}", "no* column 'amount_2d'. Did you mean"),
        ("{function: day_share, inputs: {part: big, whole: amount_7d}}", "no* column 'big'"),  # not looked up
        ("{function: day_share, inputs: {part: amount_1d, whole: amount_7d}, output: day}", "'day' is a column"),
        ("{function: day_share, input: {}}", "unknown field. Did you mean 'inputs'"),
    ],
)  # fmt: skip
def test_wrong_uses_name_the_line_and_the_nearest(shop, use, says):
    shop.write("features/spend.py", FUNCTION)
    shop.write(YAML, f"{MODEL}functions:\n  - {use}\n")
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    assert any(says.replace("no* ", "a ") in e for e in caught.value.errors), caught.value.errors
    assert caught.value.errors[0].startswith("shop/models/sales/spend_forecaster.yaml:13: ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('other = feature_function("day_share", share, description="twice")', "declared twice"),
        ('other = feature_function("other", lambda part: part)', "with def"),
        ('other = feature_function("other", share, dtype="decimal")', "dtype"),
    ],
)
def test_wrong_declarations(shop, line, says):
    shop.write("features/spend.py", f"{FUNCTION}{line}\n")
    with pytest.raises(DeclarationError, match=says):
        load_project("shop", shop.settings)
