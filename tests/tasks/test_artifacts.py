"""What people see of a run."""

from __future__ import annotations

from infra.code import ROOT
from infra.job_records import (
    DriftReport,
    FeatureTableOutcome,
    JobError,
    MonitoringOutcome,
    Outcome,
    ScoringOutcome,
    TrainingOutcome,
)
from karat.declare import load_project
from karat.errors import TooFewRows
from karat.settings import Settings
from tasks.artifacts import (
    _FEATURES,
    _PREDICTIONS,
    _REPORTS,
    detail_columns,
    detail_rows,
    feature_rows,
    model_rows,
    prediction_rows,
    report_rows,
    short_rows,
)
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


def test_tables_of_features_predictions_and_reports_are_short_and_their_details_whole(settings: Settings) -> None:
    project = load_project("customers", settings.model_copy(update={"projects": ROOT / "projects"}))
    scope = Scope(settings, project, project.models)
    error = JobError.of(TooFewRows("only 3 rows", where="customers_dev.features.churn_features " * 3, remedy="ingest"))
    names = tuple(f"a_column_with_a_long_name_{n}" for n in range(9))
    report = DriftReport(
        check="dataset",
        summary="drift " * 30,
        columns=20,
        drifted=names,
        days="2026-11-01 to 2026-11-07",
        reference_rows=900,
        current_rows=100,
        model_version=3,
        report="p.html",
        run_id="r",
        experiment_id="1",
    )
    tables = {
        _FEATURES: feature_rows(
            [
                Outcome(name="churn_features", state="failed", error=error),
                FeatureTableOutcome(name="daily", state="done", rows=12, set_aside=3, warnings=("w" * 200,)),
            ]
        ),
        _PREDICTIONS: prediction_rows(
            [
                Outcome(name="churn", state="failed", error=error),
                ScoringOutcome(
                    name="fraud", state="done", summary="s" * 99, table="t" * 40, rows=9, unknown=2, degraded=1
                ),
            ]
        ),
        _REPORTS: report_rows(
            scope,
            [
                Outcome(name="churn", state="failed", error=error),
                MonitoringOutcome(name="fraud", state="done", reports=(report,)),
            ],
        ),
    }
    for columns, rows in tables.items():
        short = short_rows(rows, columns)
        assert max(len(str(value)) for row in short for value in row.values()) <= 60
        whole = detail_rows(rows, detail_columns(rows, columns, columns[:1]))
        shown = [few | more for few, more in zip(short, whole, strict=True)]
        assert shown == [{k: row.get(k) for k in one} for row, one in zip(rows, shown, strict=True)]  # nothing is lost
        assert all("ingest" in str(row.values()) for row in shown[:1])
    assert short_rows(tables[_PREDICTIONS], _PREDICTIONS)[1]["degraded"] == 1
    assert short_rows(tables[_REPORTS], _REPORTS)[1]["drifted"] == 9
    assert detail_columns([{"a": 1, "b": "x"}], ("a", "b"), ("a",)) == []
