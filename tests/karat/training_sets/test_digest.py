"""The digest is of the rows: of their values, names and types, and of nothing else; the digests of shards add up."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.training_sets.digest import RowDigest, digest
from karat.training_sets.leakage_report import report_line
from tests.profiles import examples

FRAME = pl.DataFrame(
    {
        "key": ["a", "b", "ab", None, ""],
        "number": [1.5, None, float("nan"), -0.0, float("inf")],
        "count": [1, 2, None, 4, 5],
        "flag": [True, None, False, True, False],
        "day": [date(2024, 2, 29), None, date(1969, 1, 1), date(2024, 1, 1), date(2024, 1, 2)],
        "at": [datetime(2024, 1, 1, tzinfo=UTC)] * 4 + [None],
    }
)


def test_the_digest_of_a_known_frame_stays_what_it_is() -> None:
    """Stored digests are compared with those of later versions of the code."""
    assert digest(FRAME) == "b52eb5b2447df37161e260fa7c579b95"


def test_files_chunks_and_slices_do_not_matter(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet", row_group_size=2, compression="snappy")
    assert digest(pl.read_parquet(tmp_path / "a.parquet")) == digest(FRAME)
    assert digest(pl.DataFrame(pl.from_arrow(FRAME.to_arrow()))) == digest(FRAME)
    assert digest(pl.concat([FRAME.head(2), FRAME.slice(2)], rechunk=False)) == digest(FRAME)
    assert digest(pl.concat([FRAME, FRAME]).slice(5)) == digest(FRAME)


def test_equal_meanings_have_equal_digests() -> None:
    strange = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0]  # a NaN of another payload
    same = FRAME.with_columns(
        pl.Series("number", np.array([1.5, 0.0, strange, 0.0, np.inf])).set(
            pl.Series([False, True, False, False, False]), None
        ),
        pl.col("key").cast(pl.Categorical),
        pl.col("at").dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"),
    )
    assert digest(same) == digest(FRAME)


@pytest.mark.parametrize(
    "other",
    [
        FRAME.with_columns(pl.col("flag").reverse()),
        FRAME.rename({"key": "keys"}),
        FRAME.select(sorted(FRAME.columns)),
        FRAME.with_columns(pl.col("count").cast(pl.Float64)),
        FRAME.with_columns(pl.col("key").fill_null("")),
        FRAME.with_columns(pl.col("count").fill_null(0)),
        FRAME.with_columns(pl.col("number").fill_nan(None)),
        FRAME.with_columns(pl.Series("key", ["ab", "", "ab", None, ""])),  # the same letters, cut elsewhere
        FRAME.with_columns(pl.col("at") + timedelta(microseconds=1)),
        FRAME.head(4),
    ],
)
def test_anything_else_has_another(other: pl.DataFrame) -> None:
    assert digest(other) != digest(FRAME)


WIDE = FRAME.with_columns(
    pl.Series("steps", [[1.0, None], None, [None, 1.0], [np.nan, -0.0], [2.0, 3.0]], dtype=pl.Array(pl.Float64, 2)),
    pl.struct(a=pl.col("count"), b="flag").alias("parts"),
    pl.Series("ids", [[1], [], None, [1, 2], [3]]),
    pl.Series("raw", [b"a", b"", None, b"a\x00", b"0123456789"]),
    pl.Series("huge", [2**100, None, 1, 2, 3], dtype=pl.Int128),
    pl.Series("text", ["x" * n for n in (0, 7, 8, 9, 1000)]),
    pl.lit(None).alias("none"),
)  # fmt: skip


@given(order=st.permutations(range(5)), cuts=st.sets(st.integers(0, 5)), rows=st.integers(1, 9))
@settings(max_examples=examples(40), deadline=None)
def test_the_digests_of_any_shards_in_any_order_add_up(order: list[int], cuts: set[int], rows: int) -> None:
    frame = pl.concat([WIDE] * rows)
    turned = pl.concat([WIDE[order]] * rows)
    bounds = [0, *sorted(cuts), turned.height]
    shards = [RowDigest.of(turned.slice(a, b - a)) for a, b in pairwise(bounds)]
    assert str(sum(shards[1:], shards[0])) == digest(frame)
    assert sum(shards[1:], shards[0]).by_column == RowDigest.of(frame).by_column
    assert digest(frame.head(-1)) != digest(frame)


@cache
def digest_of_wide() -> RowDigest:
    return RowDigest.of(WIDE)


@pytest.mark.parametrize("column", WIDE.columns)
@pytest.mark.parametrize(("a", "b"), [(a, b) for a in range(5) for b in range(a)])
def test_one_other_value_gives_another_digest(column: str, a: int, b: int) -> None:
    values = WIDE[column].to_list()
    if repr(values[a]) == repr(values[b]):
        return
    other = WIDE.with_columns(pl.Series(column, [values[b] if n == a else v for n, v in enumerate(values)],
                                        dtype=WIDE.schema[column]))  # fmt: skip
    found, whole = RowDigest.of(other), digest_of_wide()
    assert str(found) != str(whole)
    assert {c for c, d in found.by_column.items() if d != whole.by_column[c]} == {column}


def test_whole_numbers_as_floats_and_pairs_of_equal_changes_do_not_cancel() -> None:
    """A sum of plain products would lose the low bits, which whole numbers as floats do not have."""
    number = np.arange(200.0)
    frames = (pl.DataFrame({"a": np.roll(number, n), "b": np.roll(number, m)}) for n in range(20) for m in range(20))
    digests = {digest(frame.sort("a", "b")): (frame["b"] - frame["a"]).round(9).sort().to_list() for frame in frames}
    assert len(digests) == 200 // 10 * 2 - 1


def test_an_empty_frame_has_a_digest() -> None:
    assert digest(FRAME.clear()) != digest(FRAME.clear().drop("key"))


def test_a_value_younger_than_its_row_is_counted() -> None:
    age = pl.Series([timedelta(days=2), timedelta(days=-1), None], dtype=pl.Duration("us"))
    statuses = pl.Series(["PRESENT", "PRESENT", "NOT_FOUND"])
    line = report_line("f", "t", pl.Series([1.0, 2.0, None]), statuses, age)
    assert (line["younger"], line["age_min"], line["present"], line["not_found"]) == (1, timedelta(days=-1), 2, 1)
    assert line["null_share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_first_columns_are_digested_with_the_whole(width: int) -> None:
    frame = pl.DataFrame({"a": range(40_000), "b": ["x", None, "y", "z"] * 10_000, "c": [0.5] * 40_000})
    assert RowDigest.of_both(frame, width) == (RowDigest.of(frame.select(frame.columns[:width])), RowDigest.of(frame))
