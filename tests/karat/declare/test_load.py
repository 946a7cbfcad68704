"""A project is loaded by path; all its errors are told at once, with file, line and the nearest name."""

from datetime import timedelta

import pytest

from karat.declare import DeclaredModel, load_project, project_names
from karat.errors import DeclarationError, UnknownModel, UnknownProject
from karat.training_sets.lookups import declared_lookups
from tests.karat.declare.conftest import FEATURES, GOLD, MODEL


def test_a_sound_project_loads(shop):
    project = load_project("shop", shop.settings)
    assert project.catalog == "shop_dev"
    assert list(project.models) == ["spend_forecaster"]
    assert project.models["spend_forecaster"].domain == "sales"
    assert project.tables["spend"].primary_key == ("customer_id", "day")
    assert project.tables_of(project.models) == ("spend",)
    assert project_names(shop.settings) == ("shop",)


def test_an_unknown_project_names_the_nearest(shop):
    with pytest.raises(UnknownProject, match="Did you mean 'shop'"):
        load_project("shopp", shop.settings)


def test_unknown_models_and_domains_name_the_nearest(shop):
    project = load_project("shop", shop.settings)
    with pytest.raises(UnknownModel, match="Did you mean 'spend_forecaster'"):
        project.select(models=("spend_forecast",))
    with pytest.raises(UnknownModel, match="Did you mean 'sales'"):
        project.select(domain="sale")


def test_all_errors_come_at_once_each_with_its_line(shop):
    shop.write(
        "models/sales/spend_forecaster.yaml",
        MODEL.replace("amount_7d]", "amount_77d]").replace("source: orders", "source: order"),
    )
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    assert len(caught.value.errors) == 2
    label, feature = caught.value.errors
    assert label.startswith("shop/models/sales/spend_forecaster.yaml:6:")
    assert "Did you mean 'orders'" in label
    assert feature.startswith("shop/models/sales/spend_forecaster.yaml:11:")
    assert "no feature 'amount_77d'" in feature
    assert "Did you mean 'amount_7d'" in feature


LOOKUP = "table: spend\n    features: [amount_1d, amount_7d]"
YAML, AT = "models/sales/spend_forecaster.yaml", "shop/models/sales/spend_forecaster.yaml"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("models/sales/spend_forecaster.yaml", MODEL + "thresold: 0.3\n", "Did you mean 'threshold'"),
        ("models/sales/spend_forecaster.yaml", MODEL + "metric: auc\n", "'auc' is not a metric"),
        ("models/sales/spend_forecaster.yaml", MODEL.replace("horizon: 7d", "offset: 0d"), "label needs a horizon"),
        ("models/sales/spend_forecaster.yaml", MODEL.replace("7d\nl", "7d\n  offset: 0d\nl"), "overlaps its features"),
        ("models/sales/spend_forecaster.yaml", MODEL.replace("horizon: 7d", "horizon: week"), "not a duration"),
        ("models/sales/spend_forecaster.yaml", "description: [", "spend_forecaster.yaml:1"),
        ("models/sales/spend_forecaster.yaml", MODEL.replace("table: spend", "table: spent"), "Did you mean 'spend'"),
        (YAML, MODEL.replace("gradient_boosting", "gradient_bosting"), f"{AT}:4: kind: there is no kind"),
        (
            YAML,
            MODEL.replace("task: regression", "task: anomaly"),
            f"{AT}:3: task: kind 'gradient_boosting' cannot learn",
        ),
        (YAML, MODEL + "parameters:\n  max_iter: 9\n  max_depht: 3\n", f"{AT}:14: parameters.max_depht: kind"),
        (YAML, MODEL + "parameters: {max_iter: many}\n", "is 'many'; it takes a value like 200"),
        (YAML, MODEL + "metric: roc_auc\n", "a regression model has no 'roc_auc'; it has rmse"),
        (YAML, MODEL + "baseline: {strategy: prior}\n", "a regression model has no baseline 'prior'"),
        (
            "models/sales/spend_forecaster.yaml",
            MODEL + "baseline: {strategy: feature, feature: share_1d}\n",
            "the lookups bring no feature 'share_1d'",
        ),
        (YAML, MODEL + "search:\n  max_iter: [50, 100]\n  max_dept: [2]\n", f"{AT}:14: search.max_dept: kind"),
        (YAML, MODEL + "search:\n  max_dept: [2]\n", "Did you mean 'max_depth'"),
        (YAML, MODEL + "search: {max_iter: [9, many]}\n", "'max_iter' of 'gradient_boosting' is 'many'"),
        (YAML, MODEL + "search:\n  max_iter: {low: 9, high: 2}\n", f"{AT}:13: search.max_iter: low must be less"),
        (YAML, MODEL + "search: {learning_rate: {low: 0, high: 1, log: true}}\n", "with log, low must be more than 0"),
        (YAML, MODEL + "search: {max_iter: {low: 9, hig: 12}}\n", "Did you mean 'high'"),
        (YAML, MODEL + "search: {max_iter: 9}\n", "9 leaves nothing to choose"),
        (YAML, MODEL + "distributed: ray_train\n", f"{AT}:12: distributed: one process fits a model of kind 'grad"),
        (YAML, MODEL + "distributed: {gpu: true}\n", f"{AT}:12: distributed: a model of kind 'gradient_boosting' is"),
        (YAML, MODEL + "distributed: {backend: never, workers: 2}\n", "with 'never' one process fits the model"),
        (YAML, MODEL + "distributed: spark\n", "distributed.backend: Input should be 'auto', 'never', 'ray_train'"),
        (YAML, MODEL + "parameters: {max_iter: 9}\nsearch: {max_iter: [9, 12]}\n", f"{AT}:13: search.max_iter: 'max"),
        (YAML, MODEL + "truth:\n  source: order\n  expression: x\n", f"{AT}:13: there is no gold table 'order'"),
        (YAML, MODEL + "truth: {source: orders, expression: amount}\n", "is not declared with truth=True"),
        (YAML, MODEL + "truth: {source: orders}\n", "a truth has an expression, or expressions by name"),
        (YAML, MODEL + "truth: {source: orders, expresion: x}\n", "Did you mean 'expression'"),
        (YAML, MODEL + "protected:\n  - amount_1d\n  - customer\n", f"{AT}:14: no table that the model looks up"),
        (YAML, MODEL + "protected: [customer]\n", "Did you mean 'customer_id'"),
        (YAML, MODEL + "risk_levels: {low: 0, high: 0.5}\n", f"{AT}:12: risk_levels: a regression model has no"),
        (YAML, MODEL + "gates:\n  floors:\n    auc: 0.5\n", f"{AT}:14: gates.floors.auc: 'auc' is not a metric"),
        (YAML, MODEL + "minimum_rows: 0\n", f"{AT}:12: minimum_rows"),
        (YAML, MODEL.replace(LOOKUP, "spent:*"), "Did you mean 'spend'"),
        (YAML, MODEL + "    default_values: {amount_9d: 0}\n", f"{AT}:12: the lookup takes no feature 'amount_9d'"),
        (YAML, MODEL + "    default_values: {amount_1d: none}\n", "'amount_1d' is float64, and 'none' is not"),
        (YAML, MODEL + "    lookback_window: a while\n", "not a duration"),
        (YAML, MODEL + "    sequence_length: 3\n    default_values: {amount_1d: 0}\n", "takes no default_values"),
        (YAML, MODEL + "missing_features: {share: 2}\n", "missing_features.share"),
        (
            YAML,
            MODEL.replace("- table: spend\n    features: [amount_1d, amount_7d]", "- spend:amount_8d"),
            "'amount_7d'",
        ),
        (YAML, MODEL.replace("table: spend", "table: spend:*"), "names features, and 'features' does too"),
        ("project.yaml", "description: A\nowner: b\ntimezone: Europe/Berln\n", "project.yaml:3: timezone"),
        ("project.yaml", "description: A\n", "owner: Field required"),
        (
            "project.yaml",
            "description: A\nowner: b\nfeature_sets:\n  money: [spent]\n",
            "shop/project.yaml:4: feature_sets.money: there is no feature table 'spent'. Did you mean 'spend'",
        ),
        ("gold/notes.py", "VALUE = 3\n", "declares no GoldTable"),
        ("gold.py", GOLD.replace('event_time="day"', 'event_time="date"'), "has no column 'date'"),
        ("gold.py", GOLD.replace('event_time="day"', 'cluster_by=("user",)'), "has no column 'user'"),
        ("gold.py", "import nothing_of_the_kind\n", "gold.py:1: ModuleNotFoundError"),
        ("gold.py", "x = (\n", "gold.py:1: SyntaxError"),
        ("features/spend.py", FEATURES.replace('window="7d"', 'window="36h"'), "not a whole number of grains"),
        ("features/spend.py", FEATURES.replace("share_1d", "amount_1d"), "declared twice"),
        ("features/spend.py", FEATURES.replace('("customer_id",)', '("customer",)'), "Did you mean 'customer_id'"),
        ("features/spend.py", FEATURES.replace('source="orders"', 'source="order"'), "Did you mean 'orders'"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(shop, name, text, message):
    shop.write(name, text)
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    assert any(message in error for error in caught.value.errors), caught.value.errors


def test_gold_files_share_what_a_file_with_an_underscore_holds(shop):
    (shop.folder / "gold.py").unlink()
    shop.write("gold/_world.py", "DESCRIPTION = 'One'\n")
    text = GOLD.replace('description="Orders"', "description=DESCRIPTION")
    shop.write("gold/orders.py", f"from karat_projects.shop.gold._world import DESCRIPTION\n{text}")
    assert load_project("shop", shop.settings).gold["orders"].description == "One"
    shop.write("gold/_world.py", "DESCRIPTION = 'Another one'\n")
    assert load_project("shop", shop.settings).gold["orders"].description == "Another one"


def test_an_environment_overrides_field_by_field(shop):
    shop.write(
        "project.yaml",
        "description: A\nowner: b\nschedules: {features: '0 1 * * *'}\n"
        "environments: {prod: {approval: manual, schedules: {training: '0 5 * * 0'}}}\n",
    )
    assert load_project("shop", shop.settings).spec.approval == "automatic"
    prod = load_project("shop", shop.settings.model_copy(update={"environment": "prod"}))
    assert prod.catalog == "shop_prod"
    assert prod.spec.approval == "manual"
    assert (prod.spec.schedules.features, prod.spec.schedules.training) == ("0 1 * * *", "0 5 * * 0")


def test_references_are_short_for_lookups(shop):
    listed = MODEL.replace(
        "  - table: spend\n    features: [amount_1d, amount_7d]", "  - spend:amount_1d\n  - table: spend:*"
    )
    shop.write(YAML, listed)
    first, second = load_project("shop", shop.settings).models["spend_forecaster"].lookups
    assert (first.table, first.features) == ("spend", ("amount_1d",))
    assert (second.table, second.features) == ("spend", "*")


def test_a_lookup_says_how_old_its_rows_may_be_and_what_stands_in(shop):
    shop.write(YAML, MODEL + "    lookback_window: 2d\n    default_values: {amount_1d: 0}\n")
    project = load_project("shop", shop.settings)
    (lookup,) = declared_lookups(DeclaredModel(project, project.models["spend_forecaster"]))
    assert lookup.lookback_window == timedelta(days=2)
    assert lookup.default_values == {"amount_1d": 0}


def test_errors_of_one_file_come_at_once_whatever_their_sort(shop):
    """Unknown fields, types, fields that contradict each other, a parameter, names that are not there."""
    wrong = MODEL.replace("source: orders", "source: order").replace("amount_7d]", "amount_77d]")
    shop.write(YAML, wrong + "thresold: 1\nseed: x\nmetric: auc\nparameters: {max_depht: 1}\nprotected: [custmer_id]\n")
    shop.write("models/sales/other.yaml", MODEL + "risk_levels: {low: 0.1}\n")
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    told = sorted((e.partition(": ")[0].rpartition("/")[2], e.partition(": ")[2][:24]) for e in caught.value.errors)
    assert told == [
        ("other.yaml:12", "risk_levels: a regressio"),
        ("other.yaml:12", "risk_levels: the levels'"),
        ("spend_forecaster.yaml:12", "thresold: unknown field."),
        ("spend_forecaster.yaml:13", "seed: Input should be a "),
        ("spend_forecaster.yaml:14", "metric: 'auc' is not a m"),
    ]
    shop.write(YAML, wrong + "thresold: 1\nparameters:\n  max_depht: 1\nprotected: [custmer_id]\n")
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    lines = sorted(e.partition(": ")[0] for e in caught.value.errors if "spend_forecaster" in e)
    assert lines == [f"{AT}:{line}" for line in (11, 12, 14, 15, 6)]


def test_texts_in_a_sequence_are_named_with_what_leaves_them_out(shop):
    shop.write("features/spend.py", FEATURES.replace('from_sql("big"', TEXT + 'from_sql("big"'))
    model = MODEL.replace("gradient_boosting", "gru").replace("features: [amount_1d, amount_7d]", "sequence_length: 3")
    shop.write(YAML, model + "    exclude: [amount_7d]\n")
    with pytest.raises(DeclarationError) as caught:
        load_project("shop", shop.settings)
    (error,) = caught.value.errors
    assert f"{AT}:11: a sequence holds numbers only, and size are none" in error
    assert "exclude: [amount_7d, size]" in error
    shop.write(YAML, model + "    exclude: [amount_7d, size]\n")
    assert load_project("shop", shop.settings).models["spend_forecaster"].lookups[0].sequence_length == 3


TEXT = """from_sql("size", "'big'", description="A text", dtype="string"),
        """


def test_a_kind_that_reads_sequences_reads_24_steps_where_no_length_is_named(shop):
    text = MODEL.replace("kind: gradient_boosting", "kind: lstm")
    for more, length in (("", 24), ("parameters: {sequence_length: 48}\n", 48)):
        shop.write(YAML, text + more)
        (lookup,) = load_project("shop", shop.settings).models["spend_forecaster"].lookups
        assert lookup.sequence_length == length
    shop.write(YAML, text.replace(LOOKUP, LOOKUP + "\n    sequence_length: 7\n    step: 1d"))
    (lookup,) = load_project("shop", shop.settings).models["spend_forecaster"].lookups
    assert lookup.sequence_length == 7
    shop.write(YAML, text.replace(LOOKUP, LOOKUP + "\n    step: 2d"))
    (lookup,) = load_project("shop", shop.settings).models["spend_forecaster"].lookups
    assert (lookup.sequence_length, lookup.step) == (24, timedelta(days=2))


def test_a_forecast_that_names_no_steps_is_of_the_next_window(shop):
    text = MODEL.replace("kind: gradient_boosting", "kind: lstm").replace("task: regression", "task: forecast")
    for more, steps in (("", 1), ("\n  steps: 3", 3)):
        shop.write(YAML, text.replace("horizon: 7d", f"horizon: 7d{more}"))
        label = load_project("shop", shop.settings).models["spend_forecaster"].label
        assert label is not None
        assert label.steps == steps
