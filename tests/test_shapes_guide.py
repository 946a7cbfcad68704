"""docs/shapes.md is followed word by word, in this process: its files are made, its edits done, its commands typed.

Each of its sections is a shape of data. What it makes is trained, registered and asked for in every way that there is:
training set, `score_batch`, `/v1/predict` by the whole key, as of the row's moment and by the entity alone.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from starlette.testclient import TestClient

from infra.cli.app import main
from karat.declare import Project, load_project
from karat.declare.project_catalog import ProjectCatalog
from karat.features import compute_table
from karat.inference import score_batch
from karat.inference.predictor import Predictor
from karat.lake import Lake
from karat.lifecycle.candidate import training_run
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.version_entry import version_entry
from karat.names import ModelRef
from karat.online import open_store, publish_table
from karat.registry import Registry
from karat.settings import Settings
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.labels import label_spine
from serve.api.app import make_app
from serve.api.loaded_model import LoadedVersion
from tests.contracts.test_parity import One
from tests.test_csv_guide import _compare, _typed

PAGE = Path(__file__).parents[1] / "docs" / "shapes.md"
#: Rows of a model that are asked for over HTTP.
ASKED = 6


class Block(NamedTuple):
    """A fenced block of the page; ``file`` is what stands behind the language."""

    language: str
    file: str
    text: str


def sections() -> dict[str, list[Block]]:
    """The blocks of each section that types commands; those before the first section are under ""."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.M)
    named = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    found = {}
    for title, text in named.items():
        fenced = re.findall(r"^```(\w*) ?(\S*)\n(.*?)^```$", text, flags=re.M | re.S)
        if blocks := [Block(*one) for one in fenced if one[0] in ("python", "diff", "console")]:
            found[title] = blocks
    return found


SHAPES = [title for title in sections() if title]


@dataclass
class Reader:
    """Somebody who reads the page from its beginning, in a folder of their own."""

    folder: Path
    registry: Registry
    edited: int = 0
    #: Shape -> its model, as (project, model); and what `karat try` said of it.
    models: dict[str, tuple[str, str]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(home=self.folder / "home", projects=self.folder / "projects")

    def reach(self, title: str) -> None:
        """Follow the page up to the end of a section."""
        for name, blocks in sections().items():
            if name not in self.said:
                self.said[name] = ""
                for block in blocks:
                    self._follow(name, block)
            if name == title:
                return

    def _follow(self, title: str, block: Block) -> None:
        if block.language == "python":
            exec(compile(block.text, PAGE.name, "exec"), {})
        elif block.language == "diff":
            self._edit(block)
        else:
            for command, shown in _typed(block.text):
                words = shlex.split(command)[1:]
                said = self._type(words, command)
                _compare(shown, said, command)
                if words[0] == "try":
                    self.models[title], self.said[title] = (words[1], words[2]), said

    def _edit(self, block: Block) -> None:
        lines = block.text.splitlines()
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != gone) for gone in "+-")
        path = self.folder / block.file
        assert path.read_text().count(before) == 1, f"{block.file} has no lines\n{before}"
        path.write_text(path.read_text().replace(before, after))
        self.edited += sum(line[:1] in "+-" for line in lines)

    def _type(self, words: list[str], command: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main(words)
        assert not stop.value.code, f"{command}\n{out.getvalue()}{err.getvalue()}"
        return out.getvalue()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(empty_database, folder / "mlflow.db")
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("KARAT_HOME", str(folder / "home"))
        patch.setenv("KARAT_PROJECTS", str(folder / "projects"))
        patch.setattr("infra.cli.app.console.width", 120, raising=False)
        yield Reader(folder, registry)


@pytest.mark.parametrize("title", SHAPES)
def test_every_shape_gets_from_its_file_to_a_judged_model(reader: Reader, title: str) -> None:
    reader.reach(title)
    assert "rows: better than the baseline" in reader.said[title], reader.said[title]
    assert reader.edited < 10


def test_the_page_has_every_shape() -> None:
    assert len(SHAPES) == 6


@dataclass(frozen=True)
class Asked:
    """A registered version of a shape's model, its tables published, and an HTTP endpoint that has it loaded."""

    project: Project
    context: ModelContext
    data: pl.DataFrame
    inputs: list[str]
    uri: str
    http: TestClient

    @property
    def keys(self) -> list[str]:
        return [c for c in self.context.spine_columns if c in self.data.columns]

    def predict(self, keys: dict[str, Any], as_of: datetime | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"keys": {k: v.isoformat() if isinstance(v, date) else v for k, v in keys.items()}}
        if as_of is not None:
            body["as_of_date"] = as_of.isoformat()
        answer = self.http.post("/v1/predict/one", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def asked(reader: Reader, title: str) -> Iterator[Asked]:
    """What a run does with the shape's model: features, publishing, training, a version in the registry."""
    folder, (name, model) = reader.settings, reader.models[title]
    project, lake = load_project(name, folder), Lake(folder.lake, folder.environment)
    spec = project.models[model]
    if spec.kind in {"gru", "lstm"}:  # how well it learns is tested above
        spec = spec.model_copy(update={"parameters": {**spec.parameters, "epochs": 1}})
    context = ModelContext(project, spec, lake, reader.registry)
    store = open_store(folder)
    for lookup in context.spec.lookups:
        compute_table(project, lookup.table, lake)
        table, length = project.table_name(lookup.table), lookup.sequence_length
        publish_table(lake, store, table, projects=ProjectCatalog(None, project), sequence_length=length)
    training_set = declared_training_set(context, lake, label_spine(context, lake))
    run = training_run(context, lake, training_set)
    entry = replace(version_entry(context, run, definition=title, commit=""), draw=lambda folder: [])
    version = reader.registry.log(entry)
    loaded = reader.registry.load(ModelRef.parse(f"models:/{version.name}/{version.version}"))
    predictor = Predictor(loaded, store, lake, projects=ProjectCatalog(None, project))
    served = LoadedVersion(version, predictor, True, datetime.now(UTC))
    features = list(training_set.features)
    uri = f"models:/{version.name}/{version.version}"
    with TestClient(make_app(One(folder, served))) as http:  # type: ignore[arg-type]
        yield Asked(project, context, training_set.data, features, uri, http)
    store.close()


@pytest.mark.parametrize("title", SHAPES)
def test_every_way_of_asking_gives_one_answer(reader: Reader, title: str) -> None:
    reader.reach(title)
    with asked(reader, title) as shape:
        spine, lake, registry = shape.context.spine, shape.context.lake, shape.context.registry
        time_column = spine.time
        order = [c for c in shape.keys if c in (time_column, spine.event_id)]
        data = shape.data.sort([*order, *spine.entity])
        trained = registry.load(ModelRef.parse(shape.uri)).model.predict(data.select(shape.inputs))
        scored = score_batch(lake, registry, shape.uri, data.select(shape.keys))
        outputs = scored["probability"] if "probability" in scored.columns else scored["prediction"]
        assert outputs.to_list() == pytest.approx(trained.tolist(), rel=1e-9)
        # The rows that only one event has the moment of: "as of" gives the newest.
        alone = data.with_columns(at=pl.int_range(pl.len()), score=outputs)
        if time_column:
            alone = alone.filter(pl.len().over([*spine.entity, time_column]) == 1)
        rows = alone.gather(sorted({round(i * (alone.height - 1) / (ASKED - 1)) for i in range(ASKED)}))
        for row in rows.to_dicts():
            whole = shape.predict({k: row[k] for k in shape.keys})
            assert whole["predicted_value"] == pytest.approx(row["score"], rel=1e-9), (title, row)
            if time_column:
                past = shape.predict({k: row[k] for k in spine.entity}, as_of=known_at(row[time_column]))
                assert past["predicted_value"] == pytest.approx(row["score"], rel=1e-9), (title, row)
                assert past["feature_statuses"] == whole["feature_statuses"]
        newest = lake.read(shape.project.table_name(spine.name)).sort([*order, *spine.entity]).tail(1)
        score = score_batch(lake, registry, shape.uri, newest.select(shape.keys))[outputs.name].item()
        by_entity = shape.predict(newest.select(spine.entity).row(0, named=True))
        assert by_entity["predicted_value"] == pytest.approx(score, rel=1e-9)


def known_at(moment: date | datetime) -> datetime:
    """When a row is the newest one known: an event at once, a day when it is over."""
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), UTC) + timedelta(days=1)
