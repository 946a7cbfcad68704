"""Artifacts of a run in Prefect: tables of features, models, predictions and reports, with links to MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prefect.artifacts import create_link_artifact, create_table_artifact

from infra.job_records import (
    DriftReport,
    FeatureTableOutcome,
    ModelOutcome,
    MonitoringOutcome,
    Outcome,
    PredictionTableOutcome,
    ScoringOutcome,
)
from tasks.scope import Scope

#: What a cell of Prefect's tables may hold.
Cell = object
#: What the table of models shows; ``why`` in brief.
_SHORT_COLUMNS = ("model", "state", "version", "champion", "metric", "value", "baseline", "gain", "why")
#: What the table of a run's details shows beside it; ``why`` in full.
_DETAIL_COLUMNS = ("model", "kind", "truth", "attained", "why", "remedy", "mlflow")
#: What the tables of features, predictions and reports show; what is long or seldom read has a table of its own.
_FEATURES = ("table", "state", "version", "rows written", "days", "set aside", "why")
_PREDICTIONS = ("model", "state", "version", "rows", "without", "degraded", "model version", "why")
_REPORTS = ("model", "check", "state", "drifted", "columns", "days", "result")
#: The longest text in a cell of a table that is not one of details.
_BRIEF = 60
_NO_TABLE = FeatureTableOutcome(name="", state="failed")
_NO_VERSION = ModelOutcome(name="", state="failed")
_NO_PREDICTIONS = PredictionTableOutcome(name="", state="failed")


def show_features(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """Show the state of every feature table and the statistics of its features."""
    _show(scope, "feature-tables", feature_rows(outcomes), _FEATURES, "Feature tables of this run")
    for outcome in outcomes:
        if isinstance(outcome, FeatureTableOutcome) and outcome.statistics:
            create_table_artifact(
                key=_key(scope, outcome.name, "statistics"),
                table=[{k: _rounded(v) for k, v in row.items()} for row in outcome.statistics],
                description=f"Features of {outcome.table}, Delta version {outcome.version}",
            )


def feature_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Cell]]:
    """Return one row per feature table: what was written, what was set aside, and why not more."""
    pairs = ((o, o if isinstance(o, FeatureTableOutcome) else _NO_TABLE) for o in outcomes)
    return [
        {
            "table": o.name,
            "state": o.state,
            "version": f.version,
            "rows written": f.rows,
            "days": f.days,
            "set aside": f.set_aside,
            "why": str(o.error or (o.summary if o.state == "skipped" else "\n".join(o.warnings))),
            "warnings": "\n".join(o.warnings),
            "remedy": o.error.remedy if o.error else "",
        }
        for o, f in pairs
    ]


def show_models(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """Show one row per model with the result of training or promotion, and link each run in MLflow.

    Prefect gives each column the width of its longest cell, so what is long or seldom read has a table of its own.
    """
    rows = model_rows(scope, outcomes)
    create_table_artifact(key=_key(scope, "models"), table=short_rows(rows), description="Models, on their test split")
    create_table_artifact(
        key=_key(scope, "models-details"),
        table=detail_rows(rows),
        description="Models: kind, truth, reasons in full, MLflow",
    )
    for row in rows:
        if row.get("mlflow"):
            create_link_artifact(
                key=_key(scope, str(row["model"]), "mlflow"),
                link=str(row["mlflow"]),
                link_text=f"{row['model']} in MLflow",
                description="Plots, parameters, training set and files of the run",
            )


def show_predictions(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """Show the prediction table of every model."""
    _show(scope, "predictions", prediction_rows(outcomes), _PREDICTIONS, "Batch predictions of this run")


def prediction_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Cell]]:
    """Return one row per prediction table: its rows, those without a prediction, and those that are degraded."""
    rows: list[dict[str, Cell]] = []
    for outcome in outcomes:
        table = outcome if isinstance(outcome, PredictionTableOutcome) else _NO_PREDICTIONS
        scored = table if isinstance(table, ScoringOutcome) else None
        rows.append(
            {
                "model": outcome.name,
                "state": outcome.state,
                "version": table.version,
                "rows": table.rows,
                "without": scored.unknown if scored else None,
                "degraded": scored.degraded if scored else None,
                "model version": scored.model_version if scored else None,
                "why": str(outcome.error or (outcome.summary if outcome.state == "skipped" else "")),
                "table": table.table,
                "summary": outcome.summary,
                "remedy": outcome.error.remedy if outcome.error else "",
            }
        )
    return rows


def show_reports(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """Show a row for each model and check, with a link to its page in MLflow."""
    rows = report_rows(scope, outcomes)
    _show(scope, "reports", rows, _REPORTS, "Drift and fairness of the champions", head=("model", "check"))


def report_rows(scope: Scope, outcomes: Sequence[Outcome]) -> list[dict[str, Cell]]:
    """Return one row per model and check: how many columns drifted, which, and the page."""
    return [row for outcome in outcomes for row in _report_rows(scope, outcome)]


def _report_rows(scope: Scope, outcome: Outcome) -> list[dict[str, Cell]]:
    head: dict[str, Cell] = {"model": outcome.name, "state": outcome.state}
    remedy = outcome.error.remedy if outcome.error else ""
    reports = outcome.reports if isinstance(outcome, MonitoringOutcome) else ()
    if not reports:
        return [head | {"check": None, "result": str(outcome.error or outcome.summary), "remedy": remedy}]
    return [
        head
        | {
            "check": report.check,
            "drifted": len(report.drifted),
            "columns": report.columns,
            "days": report.days,
            "result": str(outcome.error or report.summary),
            "drifted columns": "\n".join(report.drifted),
            "rows": report.current_rows,
            "reference rows": report.reference_rows,
            "model version": report.model_version,
            "remedy": remedy,
            "page": report_address(scope, report),
        }
        for report in reports
    ]


def report_address(scope: Scope, report: DriftReport) -> str:
    """Return the address of the page in MLflow; "" if nothing was drawn."""
    if not report.report:
        return ""
    base = f"{scope.settings.mlflow_url}/#/experiments/{report.experiment_id}"
    return f"{base}/runs/{report.run_id}/artifacts/{report.report}"


def model_rows(scope: Scope, outcomes: Sequence[Outcome]) -> list[dict[str, Cell]]:
    """Return one row per model in the project's order: metric and baseline on the same test rows, and the decision."""
    of = {o.name: o for o in outcomes}
    return [_model_row(scope, of[m]) for m in scope.models if m in of]


def short_rows(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str] = _SHORT_COLUMNS) -> list[dict[str, Cell]]:
    """Return what a table shows of its rows, of ``model_rows`` by default: no link, and a reason in brief."""
    return [{c: _brief(row.get(c)) for c in columns} for row in rows]


def detail_rows(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str] = _DETAIL_COLUMNS) -> list[dict[str, Cell]]:
    """Return what stands beside it; of ``model_rows`` kind, truth, the whole reason and the page in MLflow."""
    return [{c: row.get(c) for c in columns} for row in rows]


def detail_columns(rows: Sequence[Mapping[str, Cell]], short: Sequence[str], head: Sequence[str]) -> list[str]:
    """Return the columns of the table of details: ``head``, and what the short table lacks or cuts."""
    named = dict.fromkeys(c for row in rows for c in row)
    lacks = [c for c in named if c not in short and any(row.get(c) not in (None, "") for row in rows)]
    cut = [c for c in short if c not in head and any(_brief(row.get(c)) != row.get(c) for row in rows)]
    return [*head, *cut, *lacks] if cut or lacks else []


def _show(
    scope: Scope,
    name: str,
    rows: Sequence[Mapping[str, Cell]],
    short: Sequence[str],
    about: str,
    *,
    head: Sequence[str] = (),
) -> None:
    """Make the table, and one of its details where there are any. ``head`` is its first column by default.

    Prefect gives each column the width of its longest cell.
    """
    create_table_artifact(key=_key(scope, name), table=short_rows(rows, short), description=about)
    if columns := detail_columns(rows, short, head or short[:1]):
        details = detail_rows(rows, columns)
        create_table_artifact(key=_key(scope, name, "details"), table=details, description=f"{about}: details")


def _model_row(scope: Scope, outcome: Outcome) -> dict[str, Cell]:
    spec = scope.models[outcome.name]
    found = outcome if isinstance(outcome, ModelOutcome) else _NO_VERSION
    metric = found.metric or spec.primary_metric
    return {
        "model": outcome.name,
        "kind": spec.kind,
        "state": outcome.state,
        "version": found.version,
        "champion": found.champion_version,
        "metric": metric,
        "value": _rounded(found.metrics.get(metric)),
        "baseline": _rounded(found.baseline.get(metric)),
        **_gain_cells(found.judged, metric),
        "why": str(outcome.error or found.reason or (outcome.summary if outcome.state == "skipped" else "")),
        "remedy": outcome.error.remedy if outcome.error else "",
        "mlflow": run_address(scope, found),
    }


def _gain_cells(judged: Mapping[str, float], metric: str) -> dict[str, Cell]:
    """The gain's confidence interval, the oracle's metric and the share of it attained; None if unknown."""
    low, high = judged.get(f"{metric}_gain_low"), judged.get(f"{metric}_gain_high")
    attained = judged.get("attained")
    return {
        "gain": None if low is None or high is None else f"{low:.3g} to {high:.3g}",
        "truth": _rounded(judged.get(f"truth_{metric}")),
        "attained": None if attained is None else f"{attained:.0%}",
    }


def run_address(scope: Scope, outcome: ModelOutcome) -> str:
    """Return the address of the run in MLflow; "" for a model without a run."""
    run, experiment = outcome.run_id, outcome.experiment_id
    return f"{scope.settings.mlflow_url}/#/experiments/{experiment}/runs/{run}" if run and experiment else ""


def _key(scope: Scope, *parts: str) -> str:
    """An artifact's key: Prefect allows lower-case letters, digits and dashes."""
    return "-".join([scope.project.name, *parts]).replace("_", "-").lower()


def _brief(value: Cell) -> Cell:
    """A text's first line, and its beginning if that is long; any other value as it is."""
    if not isinstance(value, str):
        return value
    line = value.strip().partition("\n")[0]
    return line if len(line) <= _BRIEF else f"{line[: _BRIEF - 1]}…"


def _rounded(value: Cell) -> Cell:
    """A cell's number with four decimals; None if it is not finite."""
    if not isinstance(value, float):
        return value
    return round(value, 4) if math.isfinite(value) else None
