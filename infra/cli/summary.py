"""The summary at the end of ``karat run``: models with their metrics, and addresses."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from rich.markup import escape
from rich.table import Table

from infra.prefect_api import Prefect, Run
from karat.declare import DeclaredModel, Project
from karat.declare.models import HIGHER_IS_BETTER
from karat.lake import Lake
from karat.names import TableName
from karat.settings import Settings

_NUMBERS = ("value", "baseline", "gain, 95 %", "truth", "attained", "version", "champion")


def models_table(api: Prefect, run: Run, project: str) -> Table | None:
    """The run's table of models; None where it did not come so far."""
    rows = api.table(run.id, f"{project}-models".replace("_", "-"))
    if not rows:
        return None
    table = Table(title="Models, on their test split", title_justify="left")
    for column in ("model", "kind", "metric", *_NUMBERS, "state"):
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(_cell(row, c) for c in ("model", "kind", "metric")), *_figures(row), *_standing(row))
    return table


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    """The value, green where it is better than the baseline; how sure the gain is, and what the truth would get."""
    value, baseline = row.get("value"), row.get("baseline")
    rest = (_cell(row, "gain"), _cell(row, "truth"), _cell(row, "attained"))
    if value is None or baseline is None:
        return (_cell(row, "value"), _cell(row, "baseline"), *rest)
    better = value > baseline if HIGHER_IS_BETTER.get(row["metric"], True) else value < baseline
    return (f"[{'green' if better else 'red'}]{value:.4g}[/]", f"{baseline:.4g}", *rest)


def _standing(row: dict[str, Any]) -> tuple[str, str, str]:
    state = _cell(row, "state")
    if row.get("champion") is None and row.get("why"):
        state = f"{state}: {escape(str(row['why']).splitlines()[0])}"
    return _cell(row, "version"), _cell(row, "champion"), state


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
        "try": _example(settings, project, models),
    }
    return "\n".join(f"{name:<8}{text}" for name, text in lines.items() if text)


def _example(settings: Settings, project: Project, models: tuple[str, ...]) -> str:
    """A prediction for the newest row that there is: by its key alone, an event by its time.

    It gives the value that batch scoring has for that row.
    """
    lake = Lake(settings.lake, settings.environment)
    online = [m for m in models if project.models[m].online and lake.exists(_spine(project, m))]
    if not online:
        return ""
    spec = project.models[online[0]]
    model = DeclaredModel(project, spec)
    table = model.spine
    order = [c for c in (table.time, table.event_id) if c]
    left_out = [table.event_id] if table.event_id else order  # the time alone names the last event of that time
    keys = [c for c in model.spine_columns if c not in left_out]
    scan = lake.scan(_spine(project, spec.name)).select(list(dict.fromkeys([*keys, *order])))
    rows = (scan.top_k(1, by=order) if order else scan.head(1)).collect().to_dicts()
    if not rows:
        return ""
    address = f"{settings.serve_url}/v1/predict/{project.name}.{spec.name}"
    request = {"keys": {k: rows[0][k] for k in keys}}
    body = json.dumps(request, default=lambda v: v.isoformat() if isinstance(v, date) else str(v))
    return f"curl -s {address} -H 'content-type: application/json' -d '{body}'"


def _spine(project: Project, model: str) -> TableName:
    return project.table_name(project.models[model].spine_table)
