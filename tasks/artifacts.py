"""What a run shows on Prefect's pages: tables of features and models, links to MLflow and Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from infra.job_records import Outcome
from tasks.scope import Scope


def show_features(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """The state of every table, and the statistics of its features."""
    rows = [
        {
            "table": o.name,
            "state": o.state,
            "version": o.reference.get("version"),
            "rows written": o.reference.get("rows"),
            "days": o.reference.get("days"),
            "set aside": o.reference.get("set_aside"),
            "warnings": "\n".join(o.reference.get("warnings", ())),
            "error": str(o.error or (o.said if o.state == "skipped" else "")),
        }
        for o in outcomes
    ]
    create_table_artifact(key=_key(scope, "feature-tables"), table=rows, description="Feature tables of this run")
    for outcome in outcomes:
        if statistics := outcome.reference.get("statistics"):
            create_table_artifact(
                key=_key(scope, outcome.name, "statistics"),
                table=[{k: _shown(v) for k, v in row.items()} for row in statistics],
                description=f"Features of {outcome.reference['table']}, Delta version {outcome.reference['version']}",
            )


def show_models(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """One row a model of what training or promotion left of it; a link to MLflow for each run."""
    rows = model_rows(scope, outcomes)
    create_table_artifact(key=_key(scope, "models"), table=rows, description="Models, on their test split")
    for row in rows:
        if row.get("mlflow"):
            create_link_artifact(
                key=_key(scope, str(row["model"]), "mlflow"),
                link=str(row["mlflow"]),
                link_text=f"{row['model']} in MLflow",
                description="Plots, parameters, training set and files of the run",
            )


def show_predictions(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """The prediction table of every model."""
    rows = [
        {
            "model": o.name,
            "state": o.state,
            "table": o.reference.get("table"),
            "version": o.reference.get("version"),
            "rows": o.reference.get("rows"),
            "model version": o.reference.get("model_version"),
            "error": str(o.error or ""),
        }
        for o in outcomes
    ]
    create_table_artifact(key=_key(scope, "predictions"), table=rows, description="Batch predictions of this run")


def show_reports(scope: Scope, outcomes: Sequence[Outcome]) -> None:
    """A row for each model and check, and a link to each page in MLflow."""
    found = [(o, report) for o in outcomes for report in o.reference.get("reports", [{}])]
    rows = [
        {
            "model": o.name,
            "state": o.state,
            "check": report.get("check"),
            "drifted": "\n".join(report.get("drifted", ())),
            "columns": report.get("columns"),
            "days": report.get("days"),
            "rows": report.get("current_rows"),
            "compared with": report.get("reference_rows"),
            "version": report.get("model_version"),
            "said": str(o.error or report.get("said") or o.said),
            "page": report_address(scope, report),
        }
        for o, report in found
    ]
    create_table_artifact(key=_key(scope, "reports"), table=rows, description="Reports of the champions")


def report_address(scope: Scope, report: Mapping[str, Any]) -> str:
    """The page in MLflow; "" where nothing was drawn."""
    if not report.get("report"):
        return ""
    run, path = report["run_id"], report["report"]
    return f"{scope.settings.mlflow_url}/#/experiments/{report['experiment_id']}/runs/{run}/artifacts/{path}"


def model_rows(scope: Scope, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Metrics and baseline on the same test rows, promoted or why not; in the project's order, whatever ended first."""
    of = {o.name: o for o in outcomes}
    return [_model_row(scope, of[m]) for m in scope.models if m in of]


def _model_row(scope: Scope, outcome: Outcome) -> dict[str, Any]:
    spec, known = scope.models[outcome.name], outcome.reference
    metric = known.get("metric") or spec.primary_metric
    return {
        "model": outcome.name,
        "kind": spec.kind,
        "state": outcome.state,
        "version": known.get("version"),
        "champion": known.get("champion_version"),
        "metric": metric,
        "value": _shown(known.get("metrics", {}).get(metric)),
        "baseline": _shown(known.get("baseline", {}).get(metric)),
        **_judged(known.get("judged", {}), metric),
        "why": str(outcome.error or known.get("reason", "") or (outcome.said if outcome.state == "skipped" else "")),
        "mlflow": run_address(scope, known),
    }


def _judged(judged: Mapping[str, float], metric: str) -> dict[str, str | float | None]:
    """How sure the gain is, what the planted truth would get and how far the model comes; None where nobody knows."""
    low, high = judged.get(f"{metric}_gain_low"), judged.get(f"{metric}_gain_high")
    attained = judged.get("attained")
    return {
        "gain": None if low is None or high is None else f"{low:.3g} to {high:.3g}",
        "truth": _shown(judged.get(f"truth_{metric}")),
        "attained": None if attained is None else f"{attained:.0%}",
    }


def run_address(scope: Scope, reference: Mapping[str, Any]) -> str:
    """The run's page, by its experiment; "" for a model without a run."""
    run, experiment = reference.get("run_id"), reference.get("experiment_id")
    return f"{scope.settings.mlflow_url}/#/experiments/{experiment}/runs/{run}" if run and experiment else ""


def _key(scope: Scope, *parts: str) -> str:
    """Prefect takes lower-case letters, digits and dashes."""
    return "-".join([scope.project.name, *parts]).replace("_", "-").lower()


def _shown(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
