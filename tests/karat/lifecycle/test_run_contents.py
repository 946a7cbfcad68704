"""What a version's run holds besides metrics: the log of the training, the card as a page, data, and descriptions."""

from __future__ import annotations

import json
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from threading import Barrier

import mlflow.data
import polars as pl
import pytest

from karat.declare import ModelSpec, Project
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.card_page import card_page
from karat.lifecycle.model_context import ModelContext
from karat.registry import ModelVersion, Registry
from karat.training.training_log import TrainingLog


@pytest.fixture
def made(shop_features: Project, lake: Lake, registry: Registry) -> tuple[ModelVersion, Path]:
    """A version of a model that learns in rounds, and the folder of its run's artifacts."""
    more = {"kind": "xgboost", "parameters": {"n_estimators": 5}, "intended_use": "The shop calls who may leave"}
    spec = ModelSpec.model_validate(shop_features.models["leaver"].model_dump() | more)
    version = make_candidate(ModelContext(shop_features, spec, lake, registry), commit="abc").version
    folder = registry.connection.local(registry.client.get_run(version.run_id).info.artifact_uri)
    assert folder is not None
    return version, folder


class _Page(HTMLParser):
    """Titles of the sections, and the tags that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def test_a_run_holds_log_page_data_and_descriptions(made: tuple[ModelVersion, Path], registry: Registry) -> None:
    version, folder = made
    run = registry.client.get_run(version.run_id)

    log = (folder / "training.log").read_text()
    rounds = [line for line in log.splitlines() if " round " in line]
    assert len(rounds) == 5
    curve = registry.client.get_metric_history(version.run_id, "curve_train")
    assert [m.step for m in curve] == list(range(5))
    assert all(f"train {m.value:.6g}" in line for m, line in zip(curve, rounds, strict=True))
    assert version.own_tags.digest in log
    assert "refit on all rows" in log

    page = _Page((folder / "model_card.html").read_text())
    assert page.open == []
    wanted = {"Intended use", "Data", "Calibration", "Fairness", "Limits", "Training", "Plots"}
    assert wanted <= set(page.titles)
    card = (folder / "model_card.md").read_text()
    assert "The shop calls who may leave" in card
    assert "Not declared: write `limits`" in card
    assert "| owner | " in card

    tags = run.data.tags
    assert tags["mlflow.source.name"] == "karat run shop --models leaver"
    assert tags["mlflow.source.git.commit"] == "abc"
    experiment = registry.client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"] == "Trainings of leaver: Whether a member leaves"


def test_the_inputs_of_a_run_say_what_was_read(made: tuple[ModelVersion, Path], registry: Registry) -> None:
    version, _ = made
    spine, *tables = registry.client.get_run(version.run_id).inputs.dataset_inputs
    assert spine.dataset.digest == (version.own_tags.digest or "")[:36]
    columns = {c["name"]: c["type"] for c in json.loads(spine.dataset.schema)["mlflow_colspec"]}
    assert columns["age"] in ("long", "double")
    assert columns["city"] == "string"
    read = {json.loads(t.dataset.source)["delta_table_name"]: t.dataset.source for t in tables}
    assert {name.rpartition(".")[2] for name in read} == set(version.own_tags.pins or {})
    assert all(json.loads(t.dataset.schema)["mlflow_colspec"] for t in tables)


def test_the_training_sets_address_is_its_file(made: tuple[ModelVersion, Path], registry: Registry) -> None:
    version, _ = made
    spine, *_ = registry.client.get_run(version.run_id).inputs.dataset_inputs
    file = registry.connection.local(mlflow.data.get_source(spine.dataset).uri)
    assert file is not None
    assert pl.read_parquet(file).height == json.loads(spine.dataset.profile)["num_rows"]


def test_a_log_hears_what_libraries_warn_of_in_its_own_time() -> None:
    log = TrainingLog()
    with pytest.warns(UserWarning, match="did not converge"), log.listening():
        warnings.warn("did not\nconverge".replace("\n", " "), UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", UserWarning, stacklevel=1)
    assert len(log.lines) == 1
    assert log.lines[0].endswith("UserWarning: did not converge")


def test_trainings_side_by_side_hear_their_own_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", lambda *shown, **more: None)
    logs, together = [TrainingLog(), TrainingLog()], Barrier(2, timeout=60)
    before = warnings.showwarning

    def train(number: int) -> None:
        with logs[number].listening():
            together.wait()
            warnings.showwarning(UserWarning(f"of {number}"), UserWarning, "file", 1)
            logging.getLogger("library").warning("line of %d", number)
            together.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, range(2)))
    for number, log in enumerate(logs):
        assert [line.partition(" ")[2] for line in log.lines] == [
            f"UserWarning: of {number}",
            f"WARNING library: line of {number}",
        ]
    assert warnings.showwarning is before


def test_a_page_shows_html_of_a_description_as_text(tmp_path: Path) -> None:
    page = card_page("# model\n\n<script>alert(1)</script>\n\n## Data\n\n| a |\n|---|\n| <b>x</b> |\n", [])
    assert "<script>" not in page
    assert "<b>" not in page
    assert _Page(page).titles == ["Data"]
