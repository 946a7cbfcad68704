"""Rows that are in the order of their key are seen as such; all others are not."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.lake.sort_order import is_strictly_increasing
from tests.profiles import examples

keys = st.tuples(st.integers(-2, 2), st.sampled_from(["", "a", "ab", "é", "z"]))


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(keys, max_size=6))
def test_as_python_has_it(rows: list[tuple[int, str]]) -> None:
    schema = {"number": pl.Int64, "text": pl.String}
    for order in (rows, sorted(rows), sorted(set(rows))):
        frame = pl.DataFrame(order, schema=schema, orient="row")
        assert is_strictly_increasing(frame, ["number", "text"]) == (order == sorted(set(order)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)], True),
        ([1, None, 3], False),
        ([None], False),
        ([1.0, 2.0], False),
        ([b"a", b"b"], False),
    ],
)
def test_of_other_types(values: list[object], expected: bool) -> None:
    assert is_strictly_increasing(pl.DataFrame({"key": values}), ["key"]) is expected


def test_without_a_key_nothing_is_in_order() -> None:
    assert not is_strictly_increasing(pl.DataFrame({"a": [1]}), [])
