"""Expressions that are bound together have the types that each has alone, and a wrong one is still named."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import DeclarationError
from karat.features.expressions import ExpressionPlace, Relation
from tests.profiles import examples

PLACE = ExpressionPlace("spend", "one")
ROWS = pl.DataFrame({"amount": [1.5], "count": [2], "what": ["x"], "order": [True]})
SOUND = ["amount", '"count"', "amount * 2", "what", "upper(what)", '"order"', "amount > 1", "amount -- a comment"]
WRONG = ["sum(amount)", "amout", "lag(amount) OVER ()", "(SELECT 1)", "amount +", "__karat_0"]


def relation(name: str) -> Relation:
    connection = duckdb.connect()
    connection.register(name, ROWS)
    return Relation(connection, name, ROWS.schema)


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.sampled_from([*SOUND, *WRONG]), max_size=12), st.integers(0, 10**9))
def test_together_they_are_as_each_alone(expressions: list[str], number: int) -> None:
    together, alone = relation(f"together_{number}"), relation(f"alone_{number}")
    together.bind_together(expressions)
    for sql in expressions:
        if sql in WRONG:
            with pytest.raises(DeclarationError):
                together.check(sql, PLACE)
        else:
            assert together.check(sql, PLACE) == alone.check(sql, PLACE)


def test_many_expressions_are_bound_in_few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    bound = Relation._bound
    monkeypatch.setattr(Relation, "_bound", lambda self, sql: asked.append(len(sql)) or bound(self, sql))
    gold, many = relation("many"), [f"amount + {i}" for i in range(450)]
    gold.bind_together(many)
    assert {gold.check(sql, PLACE) for sql in many} == {"DOUBLE"}
    assert asked == [200, 200, 50]
