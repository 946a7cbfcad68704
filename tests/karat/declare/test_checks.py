"""A check that a table can't keep is an error of its declaration, with its file and what to write instead."""

from __future__ import annotations

import pytest

from karat.declare import load_project
from karat.errors import DeclarationError
from tests.karat.declare.conftest import FEATURES, GOLD


def loaded(shop, *, gold: str = "", features: str = ""):
    imports = "from karat.declare import between, fresh, is_in, matches, not_null, unique, volume\n"
    shop.write("gold.py", imports + GOLD.replace("    columns={", f"    checks=({gold}),\n    columns={{"))
    text = FEATURES.replace("    features=(", f"    checks=({features}),\n    features=(")
    shop.write("features/spend.py", imports + text)
    return load_project("shop", shop.settings)


def test_defaults(shop):
    project = loaded(
        shop,
        gold='is_in("customer_id", "a"), not_null("amount", at_most=0.1),'
        ' fresh("2d"), volume(low=1), unique("amount"),',
        features='between("amount_1d", 0), fresh("1d"), volume(low=1), matches("amount_7d >= amount_1d"),',
    )
    gold = {c.name: c.on_fail for c in project.gold["orders"].declared_checks}
    assert list(gold.values()) == ["set_aside", "block", "warn", "block", "block"]
    features = [c.on_fail for c in project.tables["spend"].declared_checks]
    assert features == ["block", "warn", "block", "block"]


def test_checks_give_no_value_another_meaning(shop):
    plain = loaded(shop).tables["spend"].definition_hash
    assert loaded(shop, features='between("amount_1d", 0),').tables["spend"].definition_hash == plain


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ('not_null("amonut")', "reads 'amonut', which is no column. Did you mean 'amount'?"),
        ('between("customer_id", 0, 1)', "'customer_id' is string, and a range is of numbers"),
        ('between("amount", 1, 0)', "is empty: 1 is above 0"),
        ('between("amount")', "has no end"),
        ('is_in("amount", "1")', "float64"),
        ('is_in("customer_id")', "at least 1 item"),
        ('matches("amount >")', "is not a condition in Polars' SQL"),
        ('matches("amount + 1")', "a condition is true or false"),
        ('matches("amount > max(amount)")', "looks at more than its own row"),
        ('matches("amnt > 1")', "Did you mean 'amount'?"),
        ('matches("customer_id > 1")', "customer_id > 1"),
        ('not_null("amount", at_most=1.5)', "less than 1"),
        ('not_null("amount", at_most=0.5, on_fail="set_aside")', "every row that breaks it"),
        ('not_null("amount", on_fail="stop")', "'block', 'warn', 'set_aside' or 'null'"),
        ('unique("customer_id", on_fail="set_aside")', "it can block or warn"),
        ('fresh("soon")', "'soon' is not a duration"),
        ("volume(5, 1)", "5 is above 1"),
        ("volume(gaps=True)", "says nothing"),
        ('between("amount", 0), between("amount", 0)', "declared twice"),
        ('not_null("customer_id")', "declared twice"),  # by its column
        ("42", "gold.py"),
    ],
)
def test_a_check_that_gold_can_not_keep(shop, check, message):
    with pytest.raises(DeclarationError) as caught:
        loaded(shop, gold=f"{check},")
    (error, *_) = caught.value.errors
    assert error.startswith("shop/gold.py:")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ('not_null("amount_1")', "Did you mean 'amount_1d'?"),
        ('between("big", 0, 1)', "'big' is bool"),
        ('between("customer_id", 0, 1)', "'customer_id' is string"),
        ("matches(\"amount_1d LIKE 'x'\")", "amount_1d LIKE 'x'"),
    ],
)
def test_a_check_that_features_can_not_keep(shop, check, message):
    with pytest.raises(DeclarationError) as caught:
        loaded(shop, features=f"{check},")
    assert "shop/features" in str(caught.value)
    assert message in str(caught.value)


def test_tables_without_time_have_no_days(shop):
    text = GOLD.replace('    event_time="day",\n', "")
    for check in ('fresh("1d")', "volume(fall=0.5)", "volume()"):
        imports = "from karat.declare import fresh, volume\n"
        shop.write("gold.py", imports + text.replace("    columns={", f"    checks=({check},),\n    columns={{"))
        with pytest.raises(DeclarationError, match="without a time"):
            load_project("shop", shop.settings)


def test_a_columns_range_is_checked_as_any_other(shop):
    shop.write("gold.py", GOLD.replace('Column(dtype="date", nullable=False)', 'Column(dtype="date", minimum=1)'))
    with pytest.raises(DeclarationError, match="'day' is date, and a range is of numbers"):
        load_project("shop", shop.settings)
