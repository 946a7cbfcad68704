"""A version is opened once; a table that was made again, or that went on, is never taken for the one before."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from karat.lake.version_cache import newest_version, opened_version


def write(folder: Path, *values: int) -> None:
    write_deltalake(folder, pl.DataFrame({"a": values}).to_arrow(), mode="append")


def rows(folder: Path, version: int) -> list[int]:
    return sorted(pl.scan_delta(opened_version(folder, version)).collect()["a"].to_list())


def test_each_version_is_opened_once(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    assert newest_version(tmp_path) == 1
    assert opened_version(tmp_path, 1) is opened_version(tmp_path, 1)
    assert (rows(tmp_path, 0), rows(tmp_path, 1)) == ([1], [1, 2])


def test_the_next_commit_is_seen_and_leaves_the_opened_one_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, 1)
    before = opened_version(tmp_path, 0)
    write(tmp_path, 2)
    assert newest_version(tmp_path) == 1
    assert before.version() == 0
    assert rows(tmp_path, 1) == [1, 2]


def test_a_table_that_was_made_again_is_another(tmp_path: Path) -> None:
    write(tmp_path / "t", 1)
    assert rows(tmp_path / "t", 0) == [1]
    shutil.rmtree(tmp_path / "t")
    assert newest_version(tmp_path / "t") is None
    write(tmp_path / "t", 7)
    assert rows(tmp_path / "t", 0) == [7]


def test_a_version_that_is_not_there_is_deltas_error_each_time(tmp_path: Path) -> None:
    write(tmp_path, 1)
    for _ in range(2):
        with pytest.raises(DeltaError):
            opened_version(tmp_path, 5)


def test_what_is_no_log_is_no_version(tmp_path: Path) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()
    (log / "_last_checkpoint").write_text("{}")
    (log / "00000000000000000003.checkpoint.parquet").write_bytes(b"")
    (log / "0000000000000000000x.json").write_text("")
    assert newest_version(tmp_path) is None
    assert newest_version(tmp_path / "nothing") is None
