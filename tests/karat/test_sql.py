"""Columns that an expression reads: DuckDB's parse tree against DuckDB's binder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.sql import (
    column_references,
    columns_read,
    connect,
    has_subquery,
    is_column_name,
    missing_column,
    open_database,
    quote,
)
from tests import warm
from tests.waiting import wait_until

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
    with open_database() as connection:
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
    with open_database() as connection:
        connection.execute("CREATE TABLE t (a INT)")
        with pytest.raises(duckdb.Error) as caught:
            connection.sql("SELECT b FROM t")
    assert missing_column(caught.value) == "b"
    assert missing_column(ValueError("other")) is None


def test_a_connection_leaves_nothing_to_the_next_one():
    with connect() as connection:
        connection.register("gold", pl.DataFrame({"a": [1]}))
        assert connection.sql("SELECT a FROM gold").fetchall() == [(1,)]
        with connect() as other, pytest.raises(duckdb.Error, match="gold"):
            other.sql("SELECT a FROM gold")
    with connect() as connection, pytest.raises(duckdb.Error, match="gold"):
        connection.sql("SELECT a FROM gold")


def test_a_forked_process_asks_a_database_of_its_own(tmp_path):
    with connect(threads=2) as connection:
        connection.sql("SELECT 1")
    if not (pid := os.fork()):
        with connect(threads=2) as connection:
            (tmp_path / "said").write_text(str(connection.sql("SELECT sum(range) FROM range(300000)").fetchall()))
        os._exit(0)
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, seconds=30)
    assert (tmp_path / "said").read_text() == f"[({299999 * 150000},)]"


def test_the_folder_for_what_does_not_fit_into_memory_goes_with_the_process():
    asked = "SELECT current_setting('temp_directory')"
    code = f"from karat.sql import connect\nwith connect() as c: print(c.sql({asked!r}).fetchall()[0][0])"
    folder = warm.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert "karat-spill-" in folder
    assert not Path(folder).exists()
