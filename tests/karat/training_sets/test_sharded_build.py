"""Training sets in blocks of entities: the rows, split, labels and digest of one process, for any number of shards."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import Split
from karat.errors import CodeMismatch, EmptyTrainingSet, LabelNotFound, UnusableLabel
from karat.lake import Lake
from karat.training.split import split_rows, split_rule
from karat.training_sets import shard_lake, sharded_build
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.files import DataFile, stage_rows
from karat.training_sets.labels import label_spine
from karat.training_sets.row_sample import sample_training_set
from karat.training_sets.sharded_build import FileTrainingSet, build_training_set
from karat.training_sets.training_set import TrainingSet
from tests import warm
from tests.profiles import examples

MODELS = ("next_week", "leaver", "odd_days")


class Backwards:
    """An executor that works from the last item to the first."""

    workers = 3

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        for index, item in reversed(list(enumerate(items))):
            yield index, function(item)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few rows, and no table that is too small to be cut."""
    monkeypatch.setattr(shard_lake, "BLOCK_ROWS", 200)
    monkeypatch.setattr(shard_lake, "CHUNK_ROWS", 700)
    monkeypatch.setattr(sharded_build, "_SMALL", 0)


def build(model: DeclaredModel, lake: Lake, folder: Path, **how: Any) -> FileTrainingSet:
    rule = partial(split_rule, model.spec, time=model.spine.time, entity=model.spine.entity)
    return build_training_set(model, lake, folder, rule, **how)


def in_memory(model: DeclaredModel, lake: Lake) -> tuple[TrainingSet, pl.Series]:
    made = declared_training_set(model, lake, label_spine(model, lake))
    return made, split_rows(made.data, model.spec, time=model.spine.time, entity=model.spine.entity)


def assert_same(made: FileTrainingSet, whole: TrainingSet, parts: pl.Series, key: tuple[str, ...]) -> None:
    assert (made.digest, made.pins) == (whole.digest, whole.pins)
    assert (made.features, made.label) == (whole.features, whole.label)
    assert made.report.drop("age_median").equals(whole.report.drop("age_median"))
    rows = sample_training_set(made, key)
    assert rows.data.equals(whole.data)
    assert rows.parts.equals(parts.cast(pl.String), check_names=False)
    assert rows.spine.equals(whole.spine)
    assert not rows.sampled


@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_shards_gives_the_rows_of_one_process(
    name: str, shop_features: Project, lake: Lake, tmp_path: Path, small_blocks: None
) -> None:
    model = DeclaredModel(shop_features, shop_features.models[name])
    whole, parts = in_memory(model, lake)
    made = [build(model, lake, tmp_path / f"{n}" / "set", shards=n, executor=Backwards()) for n in (1, 7)]
    assert len(made[0].files.files) > 5
    for each in made:
        assert_same(each, whole, parts, model.spine.primary_key)
        assert [f.name for f in (tmp_path / "1").iterdir()] == ["set"], "nothing is left beside the files"
        assert each.files.scan().collect().equals(made[0].files.scan().collect()), "the files are the same"


@profile(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(MODELS),
    rows=st.integers(150, 3000),
    chunk=st.integers(300, 2000),
    small=st.sampled_from([0, 10**6]),
    shards=st.integers(1, 9),
    split=st.fixed_dictionaries({"by": st.sampled_from(["entity", "time"]), "test": st.floats(0.05, 0.6)}),
    seed=st.integers(0, 9),
)
def test_blocks_of_any_size_give_the_rows_of_one_process(
    shop_features: Project, lake: Lake, tmp_path_factory: pytest.TempPathFactory, *, name: str, rows: int, chunk: int,
    small: int, shards: int, split: dict[str, Any], seed: int,
) -> None:  # fmt: skip
    spec = shop_features.models[name]
    how = Split(**(split | {"by": "entity"} if name == "leaver" else split))
    model = DeclaredModel(shop_features, spec.model_copy(update={"split": how, "seed": seed}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_lake, "BLOCK_ROWS", rows)
        patch.setattr(shard_lake, "CHUNK_ROWS", chunk)
        patch.setattr(sharded_build, "_SMALL", small)
        whole, parts = in_memory(model, lake)
        made = build(model, lake, tmp_path_factory.mktemp("any") / "set", shards=shards)
    assert_same(made, whole, parts, model.spine.primary_key)


#: Builds the training set of ``next_week`` in blocks of given sizes, and dies when it joins the third.
KILLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from karat.declare import load_project
from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake
from karat.settings import Settings
from karat.training.split import split_rule
from karat.training_sets import shard_lake, sharded_build

projects, lake, folder = map(Path, sys.argv[1:4])
shard_lake.BLOCK_ROWS, shard_lake.CHUNK_ROWS, sharded_build._SMALL = map(int, sys.argv[4:])
project = load_project("shop", Settings(projects=projects))
model, real, calls = DeclaredModel(project, project.models["next_week"]), sharded_build._join_block, []

def dies(block):
    calls.append(block)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(block)

sharded_build._join_block = dies
rule = partial(split_rule, model.spec, time=model.spine.time, entity=model.spine.entity)
sharded_build.build_training_set(model, Lake(lake, project.environment), folder, rule)
"""


def test_a_killed_build_goes_on_with_the_blocks_that_are_not_whole(
    shop_features: Project, lake: Lake, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeclaredModel(shop_features, shop_features.models["next_week"])
    folder = tmp_path / "sets" / "set"
    sizes = [shard_lake.BLOCK_ROWS, shard_lake.CHUNK_ROWS, sharded_build._SMALL]
    program = [sys.executable, "-c", KILLED, shop_features.path.parent, lake.root, folder, *sizes]
    assert warm.run(program, cwd=tmp_path, capture_output=True).returncode == -signal.SIGKILL
    (left,) = folder.parent.iterdir()
    finished = sorted(p.stem for p in (left / "files" / "blocks").glob("*.json"))
    assert finished == ["00000", "00001"]
    damaged = next((left / "files").glob("rows-00001-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    joined: list[str] = []

    def stage(staging: Path, name: str, rows: pl.DataFrame, parts: pl.Series) -> list[DataFile]:
        joined.append(name)
        return stage_rows(staging, name, rows, parts)

    monkeypatch.setattr(sharded_build, "stage_rows", stage)
    monkeypatch.setattr(sharded_build, "label_keys", None)  # all blocks are labelled
    monkeypatch.setattr(shard_lake, "write_arrow", None)  # and all tables are cut
    made = build(model, lake, folder)
    blocks = {file.name.rpartition("-")[0] for file in made.files.files}
    assert set(joined) == blocks - {"rows-00000"}, "the first is whole, the second was damaged"
    assert [p.name for p in folder.parent.iterdir()] == ["set"], "nothing is left beside the files"
    assert_same(made, *in_memory(model, lake), model.spine.primary_key)


def test_a_finished_build_is_not_made_again(
    shop_features: Project, lake: Lake, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeclaredModel(shop_features, shop_features.models["next_week"])
    folder = tmp_path / "sets" / "set"
    made = build(model, lake, folder)
    with monkeypatch.context() as patch:
        patch.setattr(sharded_build, "cut_tables", None)
        again = build(model, lake, folder)
    assert (again.files, again.pins, again.columns, again.functions) == (
        made.files, made.pins, made.columns, made.functions
    )  # fmt: skip
    assert again.report.equals(made.report)
    other = replace(model, spec=model.spec.model_copy(update={"seed": 5}))
    monkeypatch.setattr(sharded_build, "cut_tables", None)
    with pytest.raises(TypeError):
        build(other, lake, folder)


def test_what_another_build_has_left_is_deleted(
    shop_features: Project, lake: Lake, tmp_path: Path, small_blocks: None
) -> None:
    model = DeclaredModel(shop_features, shop_features.models["next_week"])
    left = tmp_path / ".set-build-0a1b2c3d"
    (left / "files").mkdir(parents=True)
    (left / "files" / "rows-00000-train.parquet").write_bytes(b"half")
    made = build(model, lake, tmp_path / "set")
    assert not left.exists()
    assert_same(made, *in_memory(model, lake), model.spine.primary_key)


WRONG = [
    ({"horizon": timedelta(days=3650)}, EmptyTrainingSet, "no horizon"),
    ({"expression": "sum(null::double)", "default": None}, UnusableLabel, "null in all"),
    ({"expression": "sum(ammount)"}, LabelNotFound, "amount"),
]


@pytest.mark.parametrize(("label", "error", "text"), WRONG)
def test_what_is_wrong_is_told_as_by_one_process(
    *, label: dict[str, Any], error: type[Exception], text: str, shop_features: Project, lake: Lake, tmp_path: Path,
    small_blocks: None,
) -> None:  # fmt: skip
    spec = shop_features.models["next_week"]
    assert spec.label is not None
    model = DeclaredModel(shop_features, spec.model_copy(update={"label": spec.label.model_copy(update=label)}))
    with pytest.raises(error, match=text) as of_blocks:
        build(model, lake, tmp_path / "set")
    with pytest.raises(error) as of_one:
        label_spine(model, lake)
    assert str(of_blocks.value) == str(of_one.value)
    assert list(tmp_path.glob("*set*")) == []


def test_an_empty_table_is_told_as_by_one_process(shop_features: Project, lake: Lake, tmp_path: Path) -> None:
    model = DeclaredModel(shop_features, shop_features.models["next_week"])
    people = shop_features.table_name("people_features")
    lake.overwrite(people, lake.read(people).head(0))
    with pytest.raises(EmptyTrainingSet, match="people_features") as of_blocks:
        build(model, lake, tmp_path / "set")
    with pytest.raises(EmptyTrainingSet) as of_one:
        declared_training_set(model, lake, label_spine(model, lake))
    assert of_blocks.value.what == of_one.value.what


def test_a_worker_of_other_code_is_refused(
    shop_features: Project, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeclaredModel(shop_features, shop_features.models["leaver"])
    real = sharded_build._label_shard
    monkeypatch.setattr(
        sharded_build, "_label_shard", lambda blocks: real([replace(b, definition="other") for b in blocks])
    )
    with pytest.raises(CodeMismatch, match="leaver"):
        build(model, lake, tmp_path / "set")


def test_a_large_part_is_sampled_and_says_so(
    shop_features: Project, lake: Lake, tmp_path: Path, small_blocks: None
) -> None:
    model = DeclaredModel(shop_features, shop_features.models["next_week"])
    made = build(model, lake, tmp_path / "set")
    train = made.files.count("train")
    width = len(made.files.schema)
    rows = sample_training_set(made, model.spine.primary_key, train_cells=width * (train // 2), test_rows=50)
    assert rows.sampled["train"][1] == train
    assert train // 4 < rows.sampled["train"][0] <= train // 2
    assert rows.sampled["test"][0] <= 50
    assert (rows.rows, rows.digest) == (made.rows, made.digest)
    assert rows.data.n_unique() == rows.data.height == len(rows.parts)
    whole = sample_training_set(made, model.spine.primary_key)
    assert whole.data.join(rows.data, on=list(model.spine.primary_key), how="semi").height == rows.data.height
    assert [note.partition(" of ")[0] for note in rows.notes(streamed=False)] == [
        f"the model was fitted on {rows.sampled['train'][0]}",
        "plots, importance, the bootstrap and the gain are",
    ]
