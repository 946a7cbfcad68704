"""Keys as bytes: nothing collides, order is kept, only lossless coercion."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karat.errors import LookupKeyMismatch, SchemaMismatch
from karat.online import KeyCodec, coerce_key

CODEC = KeyCodec(["s", "i", "d", "t"], ["string", "int64", "date", "timestamp"])
KEYS = st.tuples(
    st.text(max_size=40),
    st.integers(-(2**63), 2**63 - 1),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
)


@given(KEYS, KEYS)
def test_encoding_keeps_order_and_comes_back(one, other) -> None:
    assert CODEC.decode(CODEC.encode(one)) == one
    as_bytes = [(k[0].encode(), *k[1:]) for k in (one, other)]  # strings sort by code point, as UTF-8 does
    assert (CODEC.encode(one) < CODEC.encode(other)) == (as_bytes[0] < as_bytes[1])


@given(st.lists(st.text(max_size=6), min_size=2, max_size=2), st.lists(st.text(max_size=6), min_size=2, max_size=2))
def test_strings_never_run_into_each_other(one, other) -> None:
    codec = KeyCodec(["a", "b"], ["string", "string"])
    assert (codec.encode(one) == codec.encode(other)) == (one == other)


def test_a_number_is_not_its_text() -> None:
    assert KeyCodec(["a"], ["int64"]).encode([7]) != KeyCodec(["a"], ["string"]).encode(["7"])


def test_long_keys_fit_lmdb_and_stay_apart() -> None:
    codec = KeyCodec(["a"], ["string"])
    keys = [codec.encode(["x" * 5000 + str(i)]) for i in range(100)]
    assert len(set(keys)) == 100
    assert max(map(len, keys)) <= 500
    assert codec.decode(keys[0]) is None


def test_a_float_is_no_key() -> None:
    with pytest.raises(SchemaMismatch, match="float64"):
        KeyCodec(["a"], ["float64"])


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (7, "int64", 7),
        ("7", "int64", 7),
        ("-7", "int64", -7),
        (7.0, "int64", 7),
        (7, "string", "7"),
        ("x", "string", "x"),
        ("2026-02-28", "date", date(2026, 2, 28)),
        (datetime(2026, 2, 28, tzinfo=UTC), "date", date(2026, 2, 28)),
        ("2026-02-28T01:00:00+01:00", "timestamp", datetime(2026, 2, 28, tzinfo=UTC)),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "timestamp", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_lossless_coercion(value, dtype, expected) -> None:
    assert coerce_key(value, dtype, "k") == expected


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (7.5, "int64"),
        ("07", "int64"),
        ("x", "int64"),
        ("²", "int64"),
        (True, "int64"),
        (2**63, "int64"),
        (float("inf"), "int64"),
        (1.5, "string"),
        (True, "string"),
        ([1], "string"),
        ("yesterday", "date"),
        (datetime(2026, 2, 28, 1, tzinfo=UTC), "date"),
        ("2026-02-28T01:00:00", "timestamp"),
        (None, "string"),
    ],
)
def test_lossy_coercion_is_refused(value, dtype) -> None:
    with pytest.raises(LookupKeyMismatch, match="key column k"):
        coerce_key(value, dtype, "k")
