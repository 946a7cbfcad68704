"""Streams of rows that are left out in places: any shards are the used rows, in their order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.executors import LocalExecutor
from karat.kinds import Encoder
from karat.training import row_stream as module
from karat.training.fit_files import write_learned_rows
from karat.training.row_stream import RowSource, RowStream
from karat.training_sets import files as files_module
from karat.training_sets.files import TrainingSetFiles
from tests.profiles import examples

ROWS = 400


class ThreeWorkers(LocalExecutor):
    """Runs three shards one after the other."""

    workers = 3


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    draw = np.random.default_rng(0)
    texts = draw.choice(["a", "b", "c", "d", "e"], ROWS, p=[0.5, 0.3, 0.18, 0.01, 0.01])
    return pl.DataFrame(
        {
            "id": draw.permutation(ROWS),
            "text": pl.Series(texts).replace("c", None),
            "value": draw.normal(size=ROWS),
            "steps": pl.Series(draw.normal(size=(ROWS, 3)), dtype=pl.Array(pl.Float64, 3)),
            "y": draw.random(ROWS) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def files(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> TrainingSetFiles:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "ROW_GROUP", 37)
        return write_learned_rows(tmp_path_factory.mktemp("set") / "rows", frame.drop("y"), frame["y"], key="rows")


def source_of(files: TrainingSetFiles) -> RowSource:
    return RowSource(files, ("text", "value"), "y", ("id",), ("id",), None, ThreeWorkers())


@settings(max_examples=examples(60), deadline=None)
@given(bits=st.binary(min_size=ROWS // 8, max_size=ROWS // 8), workers=st.integers(1, 9))
def test_the_shards_of_any_number_of_workers_are_the_used_rows(
    files: TrainingSetFiles, frame: pl.DataFrame, bits: bytes, workers: int
) -> None:
    used = np.unpackbits(np.frombuffer(bits, dtype=np.uint8)).astype(bool)
    wanted = frame.filter(used)
    stream = RowStream(files, "train", wanted.height, np.packbits(used))
    shards = [[pl.DataFrame(pl.from_arrow(b)) for b in stream.batches(k, workers)] for k in range(workers)]
    lengths = [sum(part.height for part in shard) for shard in shards]
    assert lengths == [wanted.height * (k + 1) // workers - wanted.height * k // workers for k in range(workers)]
    read = [part for shard in shards for part in shard]
    assert pl.concat(read or [frame.clear()]).equals(wanted)
    known = [pl.DataFrame(pl.from_arrow(b)) for b in stream.batches(columns=["value", "id"])]
    assert pl.concat(known or [wanted.select("value", "id")]).equals(wanted.select("value", "id"))


@settings(max_examples=examples(20), deadline=None)
@given(rest=st.integers(0, 6), chunk=st.integers(1, 500))
def test_an_encoder_of_shards_is_that_of_all_rows(
    files: TrainingSetFiles, frame: pl.DataFrame, rest: int, chunk: int
) -> None:
    source = source_of(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROW_GROUP", chunk)
        read = source.read("train", lambda rows: rows["id"] % 7 != rest)
    chosen = frame.filter(pl.col("id") % 7 != rest)
    assert read.label.equals(chosen["y"])
    assert read.place is not None
    assert chosen["id"].to_numpy()[read.place].tolist() == sorted(chosen["id"].to_list())
    for columns, sequences in ((["text", "value"], False), (["steps", "text"], True)):
        found = source.statistics(read.stream, columns, sequences=sequences).encoder()
        whole = Encoder.fit(chosen.select(columns), sequences=sequences)
        assert (found, found.warnings) == (whole, whole.warnings)
    assert source.width == 2


def test_too_many_rows_keep_the_order_of_the_files(files: TrainingSetFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ORDERED_ROWS", ROWS - 1)
    assert source_of(files).read("train", None).place is None
