"""``on_fail="null"``: a wrong value becomes null, its row stays, and the original is kept."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from karat.declare import Column, FeatureTable, GoldTable, aggregate, between, is_in, matches, not_null, unique
from karat.quality import check, check_gold, ingest, quarantine_counts, quarantine_name, valid_rows
from tests.profiles import examples

COLUMNS = {
    "person": Column(dtype="int64"),
    "seen": Column(dtype="date"),
    "age": Column(dtype="float64"),
    "plan": Column(dtype="string"),
    "fee": Column(dtype="float64", minimum=0),
    "city": Column(dtype="string", nullable=False),
}
AGE = between("age", 0, 120, on_fail="null")


def people(*checks) -> GoldTable:
    return GoldTable(
        name="shops", description="people", key=("person",), event_time="seen", columns=COLUMNS, checks=checks
    )


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        ((between("person", 0, 5, on_fail="null"),), "it is part of the key"),
        ((is_in("seen", "2024-01-01", on_fail="null"),), "it is the event time"),
        ((is_in("city", "Bern", on_fail="null"),), "the column is not nullable"),
        ((AGE, not_null("age")), "the column is not nullable"),
        ((not_null("age", on_fail="null"),), "use between or is_in"),
        ((matches("age < fee", on_fail="null"),), "use between or is_in"),
        ((unique("plan", on_fail="null"),), "use between or is_in"),
    ],
)
def test_a_column_that_needs_its_value_is_refused(checks, why):
    with pytest.raises(ValidationError, match=why):
        people(*checks)


def test_a_share_of_rows_and_a_feature_table_are_refused():
    with pytest.raises(ValidationError, match="at_most is for checks that block or warn"):
        between("age", 0, 120, at_most=0.1, on_fail="null")
    with pytest.raises(ValidationError, match="into a gold table"):
        FeatureTable(
            name="f",
            description="f",
            source="shops",
            entity=("person",),
            time="seen",
            features=(aggregate("n_1d", "count", window="1d", description="n"),),
            checks=(between("n_1d", 0, 5, on_fail="null"),),
        )


@settings(max_examples=examples(30), deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-10, 200)),
            st.sampled_from([None, "basic", "pro", "gold"]),
            st.sampled_from([None, -1.0, 1.0]),
        ),
        max_size=12,
    )
)
def test_only_the_wrong_values_are_lost(rows):
    table = people(AGE, is_in("plan", "basic", "pro", on_fail="null"))
    frame = pl.DataFrame(
        {
            "person": range(len(rows)),
            "seen": ["2024-01-01"] * len(rows),
            "age": pl.Series([r[0] for r in rows], dtype=pl.Float64),
            "plan": pl.Series([r[1] for r in rows], dtype=pl.String),
            "fee": pl.Series([r[2] for r in rows], dtype=pl.Float64),
            "city": ["Bern"] * len(rows),
        }
    )
    done = check(frame, table)
    kept = {n: r for n, r in enumerate(rows) if r[2] != -1.0}
    ages = {n: a if a is not None and 0 <= a <= 120 else None for n, (a, _, _) in kept.items()}
    plans = {n: p if p in ("basic", "pro") else None for n, (_, p, _) in kept.items()}
    assert dict(done.good.select("person", "age").iter_rows()) == ages
    assert dict(done.good.select("person", "plan").iter_rows()) == plans
    lost = sum(ages[n] is None and r[0] is not None for n, r in kept.items())
    lost += sum(plans[n] is None and r[1] is not None for n, r in kept.items())
    assert done.nulled.height == lost
    assert set(done.nulled["row_number"]) <= set(kept)


@pytest.fixture
def shop(project):
    project.gold["shops"] = people(AGE, is_in("plan", "basic", "pro", on_fail="null"))
    return project


def test_ingest_keeps_the_row_and_the_original_value(lake, shop, csv):
    path = csv(
        "person,seen,age,plan,fee,city",
        "1,2024-01-01,999,gold,1,Bern",
        "2,2024-01-01,30,pro,1,Bern",
        "3,2024-01-01,999,pro,-1,Bern",
        "4,2024-01-01,old,pro,1,Bern",
    )
    done = ingest(shop, "shops", [path], lake)
    name = shop.gold_name("shops")
    nulled = {"set to null: above 120: age": 1, "set to null: not an allowed value: plan": 1}
    assert (done.rows, done.set_aside, done.nulled) == (2, 2, nulled)
    assert lake.read(name).sort("person").select("age", "plan").rows() == [(None, None), (30.0, "pro")]
    assert quarantine_counts(lake, quarantine_name(name)) == done.reasons | nulled
    beside = lake.read(quarantine_name(name)).filter(pl.col("reason").str.starts_with("set to null"))
    assert {json.loads(r)["age"] for r in beside["row"]} == {"999"}
    again = ingest(shop, "shops", [path], lake)
    assert (again.changed, again.nulled) == (False, nulled)
    assert check_gold(shop, "shops", lake, lake.version(name)).warnings == ()


def test_a_row_of_another_program_that_breaks_the_rule_is_not_read(lake, shop, csv):
    ingest(shop, "shops", [csv("person,seen,age,plan,fee,city", "1,2024-01-01,30,pro,1,Bern")], lake)
    name, keeps = shop.gold_name("shops"), valid_rows(shop.gold["shops"])
    row = lake.read(name).with_columns(pl.lit(2).cast(pl.Int64).alias("person"), pl.lit(999.0).alias("age"))
    lake.merge(name, row)
    assert keeps is not None
    assert lake.read(name).filter(keeps)["person"].to_list() == [1]
    (warning,) = check_gold(shop, "shops", lake, lake.version(name)).warnings
    assert "age is between 0 and 120: 1 of 2 fail" in warning
    assert "left out" in warning
