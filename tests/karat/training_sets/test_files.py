"""Training-set files: every row once in any number of shards, committed whole, and refused where they are damaged."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import ColumnMissing, DataError, SchemaMismatch, TableNotFound, WrongCall
from karat.training_sets import files as module
from karat.training_sets.files import (
    MANIFEST,
    PARTS,
    TrainingSetFiles,
    commit_files,
    open_files,
    stage_rows,
    staging_folder,
    write_training_set,
)
from karat.training_sets.training_set import TrainingSet
from tests.profiles import examples

ROWS = 101


def frame(rows: int = ROWS) -> pl.DataFrame:
    number = pl.int_range(rows, eager=True)
    return pl.DataFrame(
        {
            "customer": (number % 7).cast(pl.String),
            "day": pl.Series([None if n == 5 else n for n in range(rows)]).cast(pl.Date),
            "spent": number * 0.5,
            "steps": pl.Series([[n, None] for n in range(rows)], dtype=pl.Array(pl.Float64, 2)),
            "kind": (number % 3).cast(pl.String).cast(pl.Categorical),
            "label": (number % 2 == 0),
        }
    )


def training_set(data: pl.DataFrame) -> TrainingSet:
    return TrainingSet(
        features=("spent", "steps", "kind"), label="label", exclude_columns=("customer", "day"), lookups=(),
        functions=(), spine=data.select("customer", "day", "label"), data=data, report=pl.DataFrame(),
        pins={"spine": {"digest": "", "rows": data.height, "schema": {}}, "lookups": [], "sources": {}}, digest="d1",
    )  # fmt: skip


def parts(rows: int = ROWS) -> pl.Series:
    return pl.Series([PARTS[n * 4 // rows] for n in range(rows)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> TrainingSetFiles:
    """Several files, of several row groups each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROW_GROUP", 8)
        folder = tmp_path_factory.mktemp("files") / "set"
        return write_training_set(
            training_set(frame()), folder, split=parts(), time="day", entity=["customer"], rows_per_file=30
        )


def read(files: TrainingSetFiles, shard: int = 0, of: int = 1, **how: object) -> pl.DataFrame:
    batches = list(files.batches(shard, of, **how))  # type: ignore[arg-type]
    return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches, files.schema if "columns" not in how else None)))


def test_the_files_hold_what_was_written(written: TrainingSetFiles) -> None:
    assert open_files(written.folder) == written
    assert pickle.loads(pickle.dumps(written)) == written
    assert (written.rows, written.digest, written.time, written.entity) == (ROWS, "d1", "day", ("customer",))
    assert len(written.files) > 4
    data = frame().with_columns(pl.col("kind").cast(pl.String))
    assert read(written).equals(data)
    assert written.scan().collect().equals(data)
    for part in PARTS:
        of_part = data.filter(parts() == part)
        assert read(written, part=part).equals(of_part)
        assert written.scan(part).collect().equals(of_part)
        assert written.count(part) == of_part.height
    assert not list(written.folder.parent.glob(".*")), "the staging folder is gone"


@given(of=st.integers(1, 120), part=st.sampled_from([None, *PARTS]), batch_rows=st.integers(1, 200))
@settings(max_examples=examples(25), deadline=None)
def test_any_number_of_shards_gives_every_row_once(
    written: TrainingSetFiles, of: int, part: module.Part | None, batch_rows: int
) -> None:
    shards = [list(written.batches(k, of, part, ["label", "day"], batch_rows)) for k in range(of)]
    lengths = [sum(b.num_rows for b in shard) for shard in shards]
    assert max(lengths) - min(lengths) <= 1
    assert all(0 < b.num_rows <= batch_rows for shard in shards for b in shard)
    whole = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([b for shard in shards for b in shard])))
    wanted = frame() if part is None else frame().filter(parts() == part)
    assert whole.equals(wanted.select("label", "day"))


def test_a_shard_opens_no_other_file_than_its_own(written: TrainingSetFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, reader = [], module.pq.ParquetFile
    monkeypatch.setattr(module.pq, "ParquetFile", lambda path, **how: opened.append(path.name) or reader(path, **how))
    read(written, 0, 10, part="train")
    assert opened == [written.files[0].name]


def test_wrong_calls_say_what_there_is(written: TrainingSetFiles) -> None:
    for shard, of in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(WrongCall, match="shard"):
            next(written.batches(shard, of))
    with pytest.raises(WrongCall, match="tests"):
        next(written.batches(part="tests"))  # type: ignore[arg-type]
    with pytest.raises(ColumnMissing, match="spend") as error:
        next(written.batches(columns=["spend"]))
    assert "spent" in str(error.value)


def test_a_folder_without_its_manifest_is_no_training_set(written: TrainingSetFiles, tmp_path: Path) -> None:
    staging = staging_folder(tmp_path / "set", "work")
    staged = stage_rows(staging, "rows", frame(), parts())
    with pytest.raises(TableNotFound, match="interrupted"):
        open_files(tmp_path / "set")
    (staging / "left-by-a-killed-writer.parquet").write_bytes(b"half")
    made = commit_files(staging, replace(written, folder=tmp_path / "set", files=tuple(staged)))
    assert open_files(tmp_path / "set") == made
    assert {p.name for p in made.folder.iterdir()} == {MANIFEST, *(f.name for f in staged)}


def test_the_same_training_set_is_committed_once_and_another_is_refused(tmp_path: Path) -> None:
    data = training_set(frame())
    first = write_training_set(data, tmp_path / "set")
    assert first.count("train") == ROWS
    assert write_training_set(data, tmp_path / "set", rows_per_file=10) == first
    with pytest.raises(DataError, match="another training set, of digest d1"):
        write_training_set(replace(data, digest="d2"), tmp_path / "set")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    made = write_training_set(training_set(frame()), tmp_path / "set")
    path = made.folder / made.files[0].name
    frame(5).write_parquet(path)
    with pytest.raises(DataError, match=r"has 5 rows, and was written with 101"):
        read(made)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read(made)


def test_shards_of_other_columns_are_not_committed(tmp_path: Path, written: TrainingSetFiles) -> None:
    staging = staging_folder(tmp_path / "set", "work")
    staged = stage_rows(staging, "rows", frame().with_columns(pl.col("spent").cast(pl.Int64)), parts())
    with pytest.raises(SchemaMismatch, match="spent int64, not spent double"):
        commit_files(staging, replace(written, folder=tmp_path / "set", files=tuple(staged)))
