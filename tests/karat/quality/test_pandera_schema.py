"""The contract as a pandera schema: the same frames pass, and what breaks it is named by pandera."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl
import pytest

from karat.declare import Column, FeatureTable, GoldTable, aggregate, between, matches, not_null
from karat.quality.pandera_schema import pandera_schema

GOLD = GoldTable(
    name="orders",
    description="orders",
    key=("id",),
    columns={
        "id": Column(dtype="int64"),
        "amount": Column(dtype="float64", nullable=False, minimum=0, maximum=10),
        "country": Column(dtype="string", allowed=("DE", "FR")),
        "paid": Column(dtype="float64"),
    },
    checks=(matches("paid <= amount"), not_null("paid", at_most=0.5)),
)
GOOD = {"id": [1, 2], "amount": [0.0, 10.0], "country": ["DE", None], "paid": [None, 3.0]}


def test_what_keeps_the_contract_passes():
    frame = pl.DataFrame(GOOD)
    assert pandera_schema(GOLD).validate(frame, lazy=True).equals(frame)


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("id", [1, 1], "id"),
        ("id", [None, 1], "id"),
        ("amount", [-1.0, 0.0], "amount is between 0 and 10"),
        ("amount", [None, 0.0], "nullable"),
        ("amount", [1, 2], "Float64"),
        ("country", ["DE", "US"], "country is one of DE, FR"),
        ("paid", [1.0, None], "paid <= amount"),
    ],
)
def test_what_breaks_it_is_named(column, values, told):
    frame = pl.DataFrame(GOOD | {column: values})
    with pytest.raises((pa.errors.SchemaErrors, pa.errors.SchemaError), match=told):
        pandera_schema(GOLD).validate(frame, lazy=True)


def test_a_feature_table_has_its_features_and_checks():
    table = FeatureTable(
        name="spend",
        description="spend",
        source="orders",
        entity=("id",),
        features=(aggregate("total", "sum", "amount", description="all of it"),),
        checks=(between("total", 0, 5),),
    )
    schema = pandera_schema(table)
    schema.validate(pl.DataFrame({"id": [1, 2], "total": [1.0, None]}), lazy=True)
    with pytest.raises(pa.errors.SchemaErrors, match="total is between 0 and 5"):
        schema.validate(pl.DataFrame({"id": [1, 2], "total": [1.0, 9.0]}), lazy=True)
