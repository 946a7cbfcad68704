"""Columns that an expression reads: DuckDB's parse tree against DuckDB's binder."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.sql import column_references, columns_read, connect, has_subquery, is_column_name, missing_column, quote

COLUMNS = ("amount", "Day", "na me", 'quo"te', "select", "x", "struct_column")
#: Expressions over one column ``{}``, in which names also stand in texts, comments and lambdas.
FORMS = (
    "{}",
    "coalesce({}, {})",
    "CASE WHEN {} IS NULL THEN 'amount' ELSE 'Day' END",
    "{} /* x and amount */",
    "list_transform([1], lambda x: x + 1)[1] + length({}::VARCHAR)",
    "({} IN ('x', 'select'))",
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(FORMS), st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_the_columns_read_are_those_that_the_binder_needs(parts):
    expressions, used = [], set()
    for form, columns in parts:
        for column in columns:
            expressions.append(form.replace("{}", quote(column).swapcase()))
            used.add(column)
    assert set(columns_read(expressions, COLUMNS)) == used
    with connect() as connection:
        for kept in (COLUMNS, tuple(used)):
            connection.execute(f"CREATE OR REPLACE TABLE t ({', '.join(f'{quote(c)} VARCHAR' for c in kept)})")
            connection.sql(f"SELECT {', '.join(expressions)} FROM t")


def test_a_column_of_a_struct_and_of_a_table_is_found():
    assert columns_read(["t.amount + struct_column.x"], COLUMNS) == ("amount", "struct_column")
    assert columns_read(["STRUCT_COLUMN.amount"], ["struct_column"]) == ("struct_column",)


def test_a_star_and_what_cannot_be_parsed_read_every_column():
    assert columns_read(["count(*)"], COLUMNS) == ()
    assert columns_read(["max(COLUMNS(*))"], COLUMNS) == COLUMNS
    assert columns_read(["amount +"], COLUMNS) == COLUMNS
    assert columns_read([None], COLUMNS) == ()


def test_references_keep_their_order_and_leave_out_lambda_parameters():
    assert column_references("b + list_sum(list_transform(a, lambda x: x + c))") == (("b",), ("a",), ("c",))
    assert column_references("a + (SELECT max(inside) FROM t)") == (("a",), ("inside",))
    assert column_references("a + (SELECT max(inside) FROM t)", subqueries=False) == (("a",),)
    assert column_references("a + ") is None


def test_a_subquery_is_seen_and_its_word_in_a_text_is_not():
    assert has_subquery("a + (SELECT 1)")
    assert not has_subquery("a || '(SELECT 1)'")
    assert not has_subquery("a +")


@pytest.mark.parametrize(("text", "plain"), [("amount", True), (" a_1 ", True), ("true", False), ("a b", False)])
def test_a_column_name_needs_no_parser(text, plain):
    assert is_column_name(text) is plain


def test_the_missing_column_of_a_binder_error():
    with connect() as connection:
        connection.execute("CREATE TABLE t (a INT)")
        with pytest.raises(duckdb.Error) as caught:
            connection.sql("SELECT b FROM t")
    assert missing_column(caught.value) == "b"
    assert missing_column(ValueError("other")) is None
