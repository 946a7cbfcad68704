"""Names are made and mapped in one place."""

import pytest

from karat.errors import WrongCall
from karat.names import ModelName, ModelRef, TableName, catalog_of, project_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c.features.t", "c.features.t"),
        ("gold.t", "shop_dev.gold.t"),
        ("t", "shop_dev.features.t"),
    ],
)
def test_table_names_are_completed(text, expected):
    assert str(TableName.parse(text, catalog="shop_dev")) == expected


@pytest.mark.parametrize("text", ["", "a.b.c.d", "a..c", "a.b.c d", "a.b.c;drop"])
def test_what_is_no_table_name_is_refused(text):
    with pytest.raises(WrongCall, match="not a table name"):
        TableName.parse(text, catalog="shop_dev")


def test_a_name_without_a_catalog_says_how_to_give_one():
    with pytest.raises(WrongCall, match="FeatureEngineeringClient"):
        TableName.parse("t")


def test_catalogs_carry_their_environment():
    assert catalog_of("health_monitor", "prod") == "health_monitor_prod"
    assert project_of("health_monitor_prod") == "health_monitor"
    assert project_of("catalog") == "catalog"
    assert project_of("dev") == "dev"


@pytest.mark.parametrize(
    ("uri", "version", "alias"),
    [
        ("models:/c.features.m/Production", None, "champion"),
        ("models:/c.models.m@champion", None, "champion"),
        ("models:/c.models.m@Challenger", None, "challenger"),
        ("models:/c.models.m/Staging", None, "challenger"),
        ("models:/c.models.m/Archived", None, "archived"),
        ("models:/c.models.m/latest", None, "latest"),
        ("models:/c.models.m/3", 3, None),
        ("c.models.m", None, "champion"),
    ],
)
def test_model_uris_of_all_documents(uri, version, alias):
    ref = ModelRef.parse(uri)
    assert ref.model == ModelName("c", "m")
    assert (ref.version, ref.alias) == (version, alias)


def test_an_unknown_stage_is_refused():
    with pytest.raises(WrongCall, match="neither a version nor an alias"):
        ModelRef.parse("models:/c.models.m/Prodution")


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("churn", "c.models.churn", "churn"),
        ("features.churn", "c.models.churn", "churn"),  # as documents of Databricks write it
        ("team_a.churn", "c.team_a.churn", "team_a.churn"),
        ("other.team_b.churn", "other.team_b.churn", "team_b.churn"),
    ],
)
def test_models_keep_their_schema_apart(text, full, short):
    name = ModelName.parse(text, catalog="c")
    assert (str(name), name.short) == (full, short)
    assert ModelName.parse(str(name)) == name == ModelName.of_short(name.catalog, name.short)


@pytest.mark.parametrize("schema", ["gold", "predictions", "monitoring"])
def test_no_model_is_registered_among_tables(schema):
    with pytest.raises(WrongCall, match="holds tables"):
        ModelName.parse(f"{schema}.churn", catalog="c")


@pytest.mark.parametrize("version", ["\u00b2", "\u0663", "1e3", "-1", "99999999999999999999"])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(WrongCall, match="neither a version nor an alias"):
        ModelRef.parse(f"models:/c.models.m/{version}")
