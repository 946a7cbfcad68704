"""The hash of a definition changes with its meaning, and only with it."""

import polars as pl
import pytest
from pydantic import ValidationError

from karat.declare import FeatureTable, aggregate, from_polars, from_python, from_sql


def table(*features, **more):
    return FeatureTable(
        **{"name": "t", "description": "d", "source": "s", "entity": ("e",), "time": "day", "features": features} | more
    )


def twice(x):
    return x * 2


def thrice(x):
    return x * 3


BASE = aggregate("a", "sum", "x", window="7d", description="one")


@pytest.mark.parametrize(
    "other",
    [
        aggregate("a", "mean", "x", window="7d", description="one"),
        aggregate("a", "sum", "y", window="7d", description="one"),
        aggregate("a", "sum", "x", window="8d", description="one"),
        aggregate("a", "sum", "x", window="7d", description="one", where="x > 0"),
        aggregate("b", "sum", "x", window="7d", description="one"),
    ],
)
def test_a_changed_meaning_changes_the_hash(other):
    assert table(BASE).definition_hash != table(other).definition_hash


def test_words_about_a_feature_do_not_change_the_hash():
    reworded = BASE.model_copy(update={"description": "two", "deprecated": "use b"})
    assert table(BASE).definition_hash == table(reworded, owner="somebody", description="other").definition_hash


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (from_python("b", twice, ("a",), description=""), from_python("b", thrice, ("a",), description="")),
        (from_polars("b", pl.col("a") + 1, description=""), from_polars("b", pl.col("a") + 2, description="")),
        (from_sql("b", "a + 1", description=""), from_sql("b", "a + 2", description="")),
    ],
)
def test_a_changed_body_changes_the_hash(one, two):
    assert table(BASE, one).definition_hash != table(BASE, two).definition_hash


def test_only_what_a_feature_is_derived_from_is_part_of_its_meaning():
    def meanings(window):
        narrow = aggregate("cost_7d", "sum", "x", window=window, description="")
        wide = aggregate("list_cost_7d", "sum", "y", window="7d", description="")
        one = from_sql("rate", 'list_cost_7d / "cost_7d"', description="")
        other = from_sql("level", "LIST_COST_7D + 1", description="")
        return table(narrow, wide, one, other).meanings

    before, after = meanings("7d"), meanings("8d")
    assert {name for name in before if before[name] != after[name]} == {"cost_7d", "rate"}


def test_the_widest_window_is_the_lookback():
    wide = aggregate("w", "count", window="30d", description="")
    assert table(BASE, wide).lookback.days == 30


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ((aggregate("a", "sum", "x", description=""),), "needs a window"),
        ((BASE, from_python("b", twice, ("c",), description="")), "no feature before it"),
        ((aggregate("e", "sum", "x", window="1d", description=""),), "is a key column"),
    ],
)
def test_what_cannot_be_kept_is_refused(features, message):
    with pytest.raises(ValidationError, match=message):
        table(*features)


def test_a_window_without_time_is_refused():
    with pytest.raises(ValidationError, match="has no time"):
        table(BASE, time=None)
