"""Several broken files in one project: every error is told at once, with file, line and nearest name, and only once."""

from __future__ import annotations

import pytest

from karat.declare import load_project
from karat.errors import DeclarationError
from tests.karat.declare.conftest import FEATURES, GOLD, MODEL

YAML = "models/sales/spend_forecaster.yaml"


def told(shop) -> list[tuple[str, int, str]]:
    """(file, line, text) of each error."""
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    places = [error.split(": ", 1) for error in caught.value.errors]
    return sorted((at.rpartition(":")[0].removeprefix("shop/"), int(at.rpartition(":")[2]), t) for at, t in places)


def line(text: str, part: str) -> int:
    return next(n for n, row in enumerate(text.splitlines(), 1) if part in row)


def test_several_broken_files_are_told_together(shop):
    gold = GOLD.replace('key=("order_id",)', 'key=("ordr_id",)').replace("event_time=", "event_tim=")
    features = FEATURES.replace('"sum", "amount", window="1d"', '"summ", "amount", window="1d"')
    features = features.replace('"sum", "amount", window="7d"', '"sum", "amount", windw="7d"')
    features = features.replace('pl.col("amount_1d")', 'pl.colu("amount_1d")').replace("from_sql(", "from_sqll(")
    features = features.replace(", from_sqll(", ", from_sql(")
    shop.write("gold.py", gold)
    shop.write("features/spend.py", features)
    shop.write("features/other.py", 'from karat.declare import FeatureTabel\n\nx = FeatureTabel(name="x")\ny = 1 / 0\n')
    shop.write(YAML, MODEL + "thresold: 0.3\n")
    shop.write("models/sales/second.yaml", MODEL.replace("kind: gradient_boosting", "kind: gradient_bosting"))
    shop.write("project.yaml", "description: A shop\nowner: a\ntimezone: Europe/Berln\nmod: master\n")
    assert [(file, at) for file, at, _ in told(shop)] == [
        ("features/other.py", 1),
        ("features/other.py", 4),
        ("features/spend.py", line(features, "summ")),
        ("features/spend.py", line(features, "windw")),
        ("features/spend.py", line(features, "colu")),
        ("features/spend.py", line(features, "from_sqll")),
        ("gold.py", line(gold, "GoldTable(")),
        ("models/sales/second.yaml", 4),
        (YAML, 12),
        ("project.yaml", 3),
        ("project.yaml", 4),
    ]
    texts = " ".join(text for _, _, text in told(shop))
    for name in ("FeatureTable", "window", "col", "from_sql", "event_time", "gradient_boosting", "threshold", "mode"):
        assert f"Did you mean '{name}'" in texts, name
    assert "'sum'" in texts  # of a list of allowed values Pydantic gives them all


def test_what_can_be_read_is_checked_whatever_else_can_not(shop):
    shop.write("gold/returns.py", "from karat.declare import GoldTable\n\nreturns = GoldTable(name='returns')\n")
    shop.write("features/broken.py", "broken = (\n")
    model = MODEL.replace("amount_7d]", "amount_77d]").replace("source: orders", "source: returns")
    shop.write(YAML, model + "spine: broken\nprotected: [custmer_id]\n")
    shop.write("features/late.py", FEATURES.replace("spend", "late").replace("customer_id", "custmer_id"))
    found = told(shop)
    assert [(file, at) for file, at, _ in found] == [
        ("features/broken.py", 1),
        ("features/late.py", line(FEATURES, "customer_id")),
        ("gold/returns.py", 3),
        ("gold/returns.py", 3),
        ("gold/returns.py", 3),
        (YAML, 11),
        (YAML, 13),
    ]
    assert "Did you mean 'customer_id'" in found[1][2]
    assert {text for file, _, text in found if file == "gold/returns.py"} == {
        f"{field}: Field required" for field in ("description", "key", "columns")
    }
    # Neither the gold table 'returns' nor the feature table 'broken' is said not to be there: they may be.
    assert not any("there is no" in text for _, _, text in found)


@pytest.mark.parametrize("folder", ["karat_projects.shop.gold.", "."])
def test_what_follows_from_another_error_is_left_out(shop, folder):
    (shop.folder / "gold.py").unlink()
    shop.write("gold/_shared.py", "NAMES = {'orders': 'Orders'}\nDESCRIPTION = NAMES['order']\n")
    gold = GOLD.replace('description="Orders"', "description=DESCRIPTION")
    shop.write("gold/orders.py", f"from {folder}_shared import DESCRIPTION\n{gold}")
    assert told(shop) == [("gold/_shared.py", 2, "KeyError: 'order'")]
    shop.write("gold/_shared.py", "DESCRIPTION = 'Orders'\n")
    shop.write("gold/orders.py", f"from {folder}_shraed import DESCRIPTION\n{gold}")
    ((file, at, text),) = told(shop)
    assert (file, at) == ("gold/orders.py", 1)
    assert "Did you mean '_shared'" in text


def test_all_that_is_wrong_with_one_table(shop):
    wrong = FEATURES.replace('"amount_7d", "sum", "amount", window="7d"', '"amount_1d", "sum", "amount"')
    shop.write("features/spend.py", wrong)
    assert [text.partition(" of 'spend'")[0] for _, _, text in told(shop)] == [
        "feature 'amount_1d'",
        "feature 'amount_1d'",
    ]


def test_a_field_that_stands_twice_and_an_environment_of_another_name(shop):
    shop.write(YAML, MODEL + "seed: 1\nthreshold: 0.3\nseed: 2\n")
    shop.write(
        "project.yaml",
        "description: A\nowner: b\nschedules:\n  features: every night\nenvironments:\n"
        "  prd: {approval: manual}\n  prod: {aproval: manual}\n",
    )
    assert [(file, at, text.partition(". ")[2]) for file, at, text in told(shop)] == [
        (YAML, 14, "Write it once."),
        ("project.yaml", 4, ""),
        ("project.yaml", 6, "Did you mean 'prod'?"),
        ("project.yaml", 7, "Did you mean 'approval'?"),
    ]
