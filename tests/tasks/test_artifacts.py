"""What people see of a run."""

from __future__ import annotations

from infra.code import ROOT
from infra.job_records import JobError, Outcome, TrainingOutcome
from karat.declare import load_project
from karat.errors import TooFewRows
from karat.settings import Settings
from tasks.artifacts import detail_rows, model_rows, short_rows
from tasks.scope import Scope


def test_models_are_shown_in_the_projects_order_whichever_ended_first(settings: Settings) -> None:
    settings = settings.model_copy(update={"projects": ROOT / "projects"})
    project = load_project("customers", settings)
    scope = Scope(settings, project, project.models)
    figures = {"metrics": {"roc_auc": 0.9}, "baseline": {"roc_auc": 0.5}, "metric": "roc_auc"}
    done = TrainingOutcome(name="fraud", state="done", version=2, **figures)
    failed = Outcome(name="churn", state="failed", error=JobError.of(TooFewRows("only 3 rows")))
    churn, fraud = model_rows(scope, [done, failed])
    assert (churn["model"], churn["state"], churn["version"]) == ("churn", "failed", None)
    assert "only 3 rows" in churn["why"]
    assert (fraud["model"], fraud["value"], fraud["baseline"]) == ("fraud", 0.9, 0.5)


def test_the_table_of_models_has_short_cells_and_its_details_the_whole_reason(settings: Settings) -> None:
    settings = settings.model_copy(update={"projects": ROOT / "projects"})
    project = load_project("customers", settings)
    scope = Scope(settings, project, project.models)
    error = TooFewRows("only 3 rows", where="customers_dev.features.churn_features " * 3, remedy="ingest more")
    rows = model_rows(
        scope,
        [
            Outcome(name="churn", state="failed", error=JobError.of(error)),
            TrainingOutcome(name="fraud", state="done", version=2, run_id="a" * 32, experiment_id="7"),
        ],
    )
    short = short_rows(rows)
    assert [row["model"] for row in short] == ["churn", "fraud"]
    assert max(len(str(value)) for row in short for value in row.values()) <= 60
    assert sum(len(str(value)) for value in short[1].values()) < 60
    assert str(short[0]["why"]).startswith("TooFewRows: only 3 rows")
    churn, fraud = detail_rows(rows)
    assert churn["remedy"] == "ingest more"
    assert str(fraud["mlflow"]).endswith(f"/experiments/7/runs/{'a' * 32}")
