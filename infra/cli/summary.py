"""The summary at the end of ``karat run``: models with their metrics, and addresses."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from infra.cli.example_request import example_call
from infra.cli.tables import Column, print_table
from infra.prefect_api import Prefect, Run
from karat.declare import Project
from karat.declare.models import HIGHER_IS_BETTER
from karat.settings import Settings

_COLUMNS = (
    Column("model", whole=True),
    Column("kind", rank=3),
    Column("metric", whole=True),
    Column("value", number=True),
    Column("baseline", number=True),
    Column("gain, 95 %", number=True, rank=1),
    Column("truth", number=True, rank=5),
    Column("attained", number=True, rank=4),
    Column("version", number=True, rank=2),
    Column("champion", number=True),
    Column("state"),
)


def models_of(api: Prefect, run: Run, project: str) -> list[dict[str, Any]]:
    """Return the run's table of models with their details; empty if the run did not come so far."""
    key = f"{project}-models".replace("_", "-").lower()
    details = {row["model"]: row for row in api.table(run.id, f"{key}-details") or ()}
    return [row | details.get(row["model"], {}) for row in api.table(run.id, key) or ()]


def show_models(
    console: Console, rows: list[dict[str, Any]], project: Project, *, ended_well: bool, wide: bool = False
) -> None:
    """Print the models of a run, why one of them is no champion, and what to do about it.

    Args:
        console: Where to print.
        rows: The models, as ``models_of`` returns them.
        project: The project that was run.
        ended_well: Whether the run completed; a failed one says why by itself.
        wide: Whether to print every column.
    """
    if rows:
        print_table(console, _COLUMNS, [_cells(row) for row in rows], wide=wide, title="Models, on their test split")
    for line in _next_steps(rows, project, ended_well=ended_well):
        console.print(line, markup=False, highlight=False)


def _next_steps(rows: list[dict[str, Any]], project: Project, *, ended_well: bool) -> list[str]:
    """Why models have no champion, a line each, and a command to go on with; empty if each has one."""
    name = project.name
    if not project.models:
        return [f"{name} declares no model yet: karat new model NAME --project {name}"]
    if not rows:
        return [f"No model was trained. Train all of them with: karat run {name} --train always"] if ended_well else []
    without = [row for row in rows if row.get("champion") is None]
    lines = [line for row in without for line in _why(row)]
    trained = [row["model"] for row in without if row.get("version") is not None]
    untrained = [row["model"] for row in without if row.get("version") is None]
    if trained:
        lines.append(f"A candidate's metrics and gates: karat models {name} {trained[0]}")
    if untrained:
        lines.append(f"Try a model on a sample, within seconds: karat try {name} {untrained[0]}")
    return lines


def _why(row: dict[str, Any]) -> list[str]:
    """The first line of the reason, and the remedy of an error."""
    lines = [f"{row['model']}: {str(row['why']).strip().splitlines()[0]}"] if row.get("why") else []
    return [*lines, f"  {row['remedy']}"] if row.get("remedy") else lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    standing = (_cell(row, c) for c in ("version", "champion", "state"))
    return *(_cell(row, c) for c in ("model", "kind", "metric")), *_figures(row), *standing


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    """The value, green where it is better than the baseline; how sure the gain is, and what the truth would get."""
    value, baseline = row.get("value"), row.get("baseline")
    rest = (_cell(row, "gain"), _cell(row, "truth"), _cell(row, "attained"))
    if value is None or baseline is None:
        return (_cell(row, "value"), _cell(row, "baseline"), *rest)
    better = value > baseline if HIGHER_IS_BETTER.get(row["metric"], True) else value < baseline
    return (f"[{'green' if better else 'red'}]{value:.4g}[/]", f"{baseline:.4g}", *rest)


def _cell(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    return "-" if value is None else escape(str(value))


def addresses(settings: Settings, api: Prefect, run: Run, project: Project, models: tuple[str, ...]) -> str:
    """Pages to look at, and a request to try; a line each."""
    lines = {
        "run": api.address(run.id),
        "models": f"{settings.mlflow_url}/#/models",
        "jobs": f"{settings.ray_dashboard_url}/#/jobs",
        "HTTP": f"{settings.serve_url}/docs",
        "try": example_call(settings, project, models),
    }
    return "\n".join(f"{name:<8}{text}" for name, text in lines.items() if text)
