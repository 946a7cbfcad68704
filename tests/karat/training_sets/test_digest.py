"""The digest is of the rows: of their values, order, names and types, and of nothing else."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.training_sets.digest import digest
from karat.training_sets.leakage_report import report_line

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
    assert digest(FRAME) == "2c11963702971b84bde20afa727e20be"


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
        FRAME.reverse(),
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


def test_an_empty_frame_has_a_digest() -> None:
    assert digest(FRAME.clear()) != digest(FRAME.clear().drop("key"))


def test_a_value_younger_than_its_row_is_counted() -> None:
    age = pl.Series([timedelta(days=2), timedelta(days=-1), None], dtype=pl.Duration("us"))
    statuses = pl.Series(["PRESENT", "PRESENT", "NOT_FOUND"])
    line = report_line("f", "t", pl.Series([1.0, 2.0, None]), statuses, age)
    assert (line["younger"], line["age_min"], line["present"], line["not_found"]) == (1, timedelta(days=-1), 2, 1)
    assert line["null_share"] == pytest.approx(1 / 3)
