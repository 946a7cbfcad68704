"""The contributions of a sample of test rows: what they are of, their plots, and where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.declare.models import ModelSpec
from karat.errors import MissingExtra
from karat.kinds import Model
from karat.training import contribution_sample
from karat.training.contribution_plot import save_contribution_plots
from karat.training.contribution_sample import FEWEST_ROWS, sample_contributions, with_contributions
from karat.training.fitted_evaluation import TrainingResult
from karat.training.train import train

ROWS = 600
LABELS = {
    "binary": {"expression": "y"},
    "multiclass": {"expression": "y"},
    "forecast": {"expression": "y", "steps": 2, "horizon": "1d"},
}


def trained(task: str, kind: str, **more: object) -> TrainingResult:
    random = np.random.default_rng(2)
    a, plan = random.normal(size=ROWS), random.choice(["tin", "gold"], ROWS)
    value = 2 * a + (plan == "gold") + random.normal(size=ROWS) * 0.5
    frame = pl.DataFrame(
        {"a": a, "plan": plan, "holes": np.where(random.random(ROWS) < 0.3, np.nan, random.normal(size=ROWS))}
    ).with_columns(pl.col("holes").fill_nan(None))
    labels = {
        "binary": pl.Series("y", value > 0),
        "multiclass": pl.Series("y", np.digitize(value, [-1, 1])),
        "clustering": None,
    }
    y = labels[task]
    spec = ModelSpec.model_validate(
        {
            "name": "plans",
            "description": "d",
            "task": task,
            "kind": kind,
            "lookups": ["t:*"],
            "minimum_rows": 100,
            **({"label": {"source": "g", "name": "y"} | LABELS[task]} if y is not None else {}),
            **more,
        }
    )
    split = pl.Series("split", ["train"] * 400 + ["test"] * 200)
    rows = frame if y is None else frame.with_columns(y)
    return train(spec, rows, features=frame.columns, label=None if y is None else "y", split=split)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("task", "kind", "unit", "outputs"),
    [
        ("binary", "logistic_regression", "probability", [""]),
        ("multiclass", "xgboost", "probability", ["0", "1", "2"]),
        ("clustering", "kmeans", "squared distance", [""]),
    ],
)
def test_it_explains_test_rows_and_is_drawn(tmp_path: Path, task: str, kind: str, unit: str, outputs: list) -> None:
    result = with_contributions(trained(task, kind))
    sample = result.contributions
    assert FEWEST_ROWS <= sample.rows <= sample.test_rows == 200
    assert (sample.unit, sample.outputs) == (unit, outputs)
    assert sample.values.shape == (sample.rows, len(outputs), 3)
    assert list(sample.mean_absolute.values()) == sorted(sample.mean_absolute.values(), reverse=True)
    assert set(sample.mean_absolute) == {"a", "plan", "holes"}
    if task != "clustering":
        assert next(iter(sample.mean_absolute)) == "a"
    files = save_contribution_plots(sample, tmp_path, title="plans")
    assert [f.name for f in files] == ["contributions.png", "contribution_dependence.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") and f.stat().st_size > 10_000 for f in files)


def test_a_model_without_explanations_has_none_and_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = trained("binary", "logistic_regression", explain=False)
    assert sample_contributions(result) is None
    missing = MissingExtra("'numba' is not installed", remedy="install it")

    def fail(*_: object) -> None:
        raise missing

    monkeypatch.setattr(Model, "contributions", fail)
    told = with_contributions(trained("binary", "logistic_regression"))
    assert told.contributions is None
    assert told.warnings[-1] == "no contributions: 'numba' is not installed; install it"


def test_a_slow_kind_is_explained_on_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contribution_sample, "SECONDS", 0.0)
    assert sample_contributions(trained("binary", "logistic_regression")).rows == FEWEST_ROWS
