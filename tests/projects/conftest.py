"""The real projects on a lake of their own: gold in, features computed, models trained, without any server."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import UNSUPERVISED
from karat.features import compute_frame, compute_table
from karat.features.schema import feature_schema
from karat.lake import Lake
from karat.quality import awaited_gold, check, write_sample
from karat.settings import Settings
from karat.training.fitted_evaluation import TrainingResult
from karat.training.split import split_rows
from karat.training.train import train
from karat.training_sets.labels import label_spine
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.training_set import create_training_set

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
#: An ordinary day: the test rows of its models hold an end of month.
END = date(2026, 11, 20)


@dataclass(frozen=True)
class Bench:
    """A project on a lake."""

    project: Project
    lake: Lake

    def features(self, tables: Collection[str] = ()) -> None:
        """Of ``tables``, or of all whose gold is there."""
        awaited = awaited_gold(self.project, self.lake)
        ready = [name for name, table in self.project.tables.items() if table.source not in awaited]
        for table in tables or ready:
            compute_table(self.project, table, self.lake)

    def write_whole(self, frames: Mapping[str, pl.DataFrame], tables: Collection[str]) -> None:
        """These gold rows, and all rows of the feature tables over them, each in one file: a small sample has a few
        rows a day, and a file for each of them takes longer than what is tested."""
        project = self.project
        for name, frame in frames.items():
            gold = project.gold[name]
            parts = {"primary_key": gold.key, "timeseries": gold.event_time, "properties": {"origin": "sample"}}
            self.lake.create(project.gold_name(name), gold.schema, partition_by=(), **parts)
            self.lake.append(project.gold_name(name), check(frame, gold).good)
        for name in tables:
            table = project.tables[name]
            source = project.gold[table.source]
            rows = compute_frame(table, self.gold(table.source), source=source)
            parts = {"primary_key": table.primary_key, "timeseries": table.time, "event_id": table.event_id}
            more = {"grain": table.stored_grain, "lag": table.publication_lag} if table.time else {}
            schema = feature_schema(table, source)
            self.lake.create(project.table_name(name), schema, partition_by=(), **parts, **more)
            self.lake.append(project.table_name(name), rows)

    def table(self, name: str) -> pl.DataFrame:
        return self.lake.read(self.project.table_name(name))

    def gold(self, name: str) -> pl.DataFrame:
        return self.lake.read(self.project.gold_name(name))

    def train(self, model: str) -> TrainingResult:
        """What ``make_candidate`` does, short of the registry."""
        project, spec = self.project, self.project.models[model]
        table = project.tables[spec.spine_table]
        spine = label_spine(DeclaredModel(project, spec), self.lake)
        training_set = create_training_set(
            self.lake,
            spine,
            declared_lookups(DeclaredModel(project, spec)),
            spec.target,
            exclude_columns=list(DeclaredModel(project, spec).spine_columns),
        )
        alone = spec.task in UNSUPERVISED
        judged = spec.target is not None and training_set.data[spec.target].null_count() < training_set.data.height
        return train(
            spec,
            training_set.data,
            features=training_set.features,
            label=None if alone else spec.target,
            split=split_rows(training_set.data, spec, time=table.time, entity=table.entity),
            evaluation_label=spec.target if alone and judged else None,
        )


def _bench(name: str, home: Path) -> Bench:
    settings = Settings(home=home, projects=ROOT / "projects")
    return Bench(load_project(name, settings), Lake(settings.lake, settings.environment))


@pytest.fixture(scope="session")
def health_monitor() -> Project:
    return load_project("health_monitor", Settings(projects=ROOT / "projects"))


@pytest.fixture(scope="session")
def customers() -> Project:
    return load_project("customers", Settings(projects=ROOT / "projects"))


@pytest.fixture(scope="session")
def hydroponics() -> Project:
    return load_project("hydroponics", Settings(projects=ROOT / "projects"))


@pytest.fixture(scope="session")
def healthcare() -> Project:
    return load_project("healthcare", Settings(projects=ROOT / "projects"))


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bench]:
    """``sampled(project, seed, end, tables, scale)``: these feature tables (all, by default) and the sample gold that
    they and the models on them need; made once for each call's values."""
    made: dict[tuple[object, ...], Bench] = {}

    def make(name: str, seed: int = 0, end: date = END, tables: tuple[str, ...] = (), *, scale: float = 1.0) -> Bench:
        key = (name, seed, end, tables, scale)
        if key not in made:
            bench = _bench(name, tmp_path_factory.mktemp(name))
            gold = bench.project.gold_of(tables or bench.project.tables)
            write_sample(bench.project, bench.lake, scale=scale, seed=seed, end=end, tables=gold)
            bench.features(tables)
            made[key] = bench
        return made[key]

    return make


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """``empty(project)``: the project on an empty lake, another one each time."""
    return lambda name: _bench(name, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs. Without it a test is skipped, but in CI it fails."""
    if not SHARED.is_dir():
        message = f"the real inputs are not at {SHARED}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED
