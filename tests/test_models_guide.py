"""docs/models.md says what holds: every field and task of a declaration; its YAML loads, its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from karat.declare.models import BASELINES, METRICS, ModelSpec
from karat.registry import open_registry
from karat.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "models.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading's text, without its own first two lines."""
    table = re.search(r"(?:^\|.*\n)+", PAGE[PAGE.index(heading) :], flags=re.M)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def test_every_field_is_told() -> None:
    told = {name for row in rows_of("`karat check PROJECT`") for name in re.findall(r"`(\w+)`", row[0])}
    assert told | {"name", "domain"} == set(ModelSpec.model_fields)


def test_tasks_have_the_metrics_and_baselines_that_are_told() -> None:
    told = {row[0].strip("`"): row for row in rows_of("## Tasks")}
    assert set(told) == set(METRICS)
    for task, (_, _, metrics, baselines) in told.items():
        assert set(metrics.split(", ")) == set(METRICS[task])
        assert (
            metrics.split(", ")[0]
            == ModelSpec.model_validate(ANY | {"task": task} | LABELS.get(task, {})).primary_metric
        )
        assert tuple(baselines.split(", ")) == BASELINES[task]


ANY = {"description": "d", "kind": "k", "lookups": ["t:*"], "label": {"source": "g", "expression": "1"}}
LABELS = {
    "multilabel": {"label": {"source": "g", "expressions": {"a": "1"}}},
    "forecast": {"label": {"source": "g", "expression": "1", "steps": 2, "horizon": "1d"}},
}


def test_its_declarations_load() -> None:
    found = [ModelSpec.model_validate(yaml.safe_load(block)) for block in blocks("yaml")]
    assert [spec.task for spec in found] == ["binary"]


def test_its_python_makes_a_champion_with_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KARAT_HOME", str(tmp_path))
    monkeypatch.setenv("KARAT_PROJECTS", str(ROOT / "projects"))
    monkeypatch.setenv("KARAT_MLFLOW_PORT", "9")  # nobody listens there
    (block,) = blocks("python")
    exec(block, {"__name__": "guide"})
    out = capsys.readouterr().out
    registry = open_registry(Settings())
    version = registry.resolve("customers_dev.models.churn/latest")
    assert "roc_auc" in out.splitlines()[0]
    told = set(re.findall(r"`([\w.]+)`", PAGE[PAGE.index("## In MLflow") :]))
    for name in ("model_type", "target_column", "experiment_name", "karat.pins", "karat.metric", "karat.decision"):
        assert name in told
        assert name in version.tags, name
    assert {n for n in told if n.startswith("karat.")} - {"karat.why", "karat.stage"} <= set(version.tags)
    low, high = version.judged["roc_auc_low"], version.judged["roc_auc_high"]
    assert low < version.metrics["roc_auc"] < high
    for text in (
        "# customers_dev.models.churn",
        f"{low:.4g} to {high:.4g}",
        f"attains {version.judged['attained']:.0%}",
    ):
        assert text in out
