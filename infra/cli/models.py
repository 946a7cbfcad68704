"""``karat models``: what is declared and registered, and how good it is."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from infra.cli.app import console, errors, print_json
from karat.declare import ModelSpec, Project, load_project, project_names
from karat.declare.models import DEFAULT_METRIC, HIGHER_IS_BETTER
from karat.errors import DeclarationError
from karat.names import ModelName, project_of
from karat.registry import Standing, open_registry
from karat.settings import ENVIRONMENTS, Settings


def models(
    project: Annotated[str | None, typer.Argument(help="a folder under projects/; all of them by default")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """List models with champion, challenger, metrics and baseline.

    The figures are those of the champion, or of the newest version where there is none, on its test split. Example:
    `karat models health_monitor`
    """
    settings = Settings()
    declared = _declared(settings, project)
    standing = {s.model: s for s in open_registry(settings).standing() if _here(s.model, settings, project)}
    names = sorted({*declared, *standing}, key=lambda n: (n.catalog, n.name))
    rows = [_row(name, declared.get(name), standing.get(name)) for name in names]
    if as_json:
        print_json(rows)
        return
    for name in dict.fromkeys(row["project"] for row in rows):
        console.print(_table(name, [row for row in rows if row["project"] == name]))


def _declared(settings: Settings, only: str | None) -> dict[ModelName, ModelSpec]:
    """Of every project that can be read; one that is named must be."""
    found: list[Project] = []
    for name in (only,) if only else project_names(settings):
        try:
            found.append(load_project(name, settings))
        except DeclarationError as error:
            if only:
                raise
            errors.print(f"[yellow]{escape(error.what.splitlines()[0])}[/]: karat check {name}", highlight=False)
    return {p.model_name(m): spec for p in found for m, spec in p.models.items()}


def _here(name: ModelName, settings: Settings, only: str | None) -> bool:
    """Of this environment (a catalog that names none belongs to all), and of the project asked for."""
    environment = name.catalog.rpartition("_")[2]
    same = environment not in ENVIRONMENTS or environment == settings.environment
    return same and only in (None, project_of(name.catalog))


def _row(name: ModelName, spec: ModelSpec | None, standing: Standing | None) -> dict[str, Any]:
    champion = standing.champion if standing else None
    challenger = standing.challenger if standing else None
    shown = champion or challenger or (standing.newest if standing else None)
    tags = shown.tags if shown else {}
    return {
        "name": name.name,
        "project": project_of(name.catalog),
        "domain": spec.domain if spec else tags.get("karat.domain", ""),
        "task": spec.task if spec else tags.get("karat.task"),
        "kind": spec.kind if spec else tags.get("karat.kind"),
        "champion_version": champion.version if champion else None,
        "challenger_version": challenger.version if challenger else None,
        "metric": spec.primary_metric if spec else DEFAULT_METRIC.get(tags.get("karat.task", "")),
        "metrics": shown.metrics if shown else {},
        "baseline": shown.baseline if shown else {},
        "origin": tags.get("karat.origin"),
        "reason": tags.get("karat.decision"),
    }


def _table(project: str, rows: list[dict[str, Any]]) -> Table:
    """Narrow enough for 80 columns; ``--json`` has the rest."""
    out = Table(title=f"{project}, on the test split", title_justify="left", box=SIMPLE, pad_edge=False)
    out.add_column("model", no_wrap=True)
    out.add_column("champion")
    out.add_column("metric", no_wrap=True)
    for column in ("value", "baseline"):
        out.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        out.add_row(row["name"], _standing(row), row["metric"] or "-", *_figures(row))
    return out


def _standing(row: dict[str, Any]) -> str:
    champion, challenger = row["champion_version"], row["challenger_version"]
    waits = f" ({challenger} waits)" if challenger else ""
    return f"{champion or '-'}{waits}"


def _figures(row: dict[str, Any]) -> tuple[str, str]:
    """The primary metric, green where it is better than the baseline."""
    metric = row["metric"]
    value, baseline = row["metrics"].get(metric), row["baseline"].get(metric)
    if value is None:
        return "-", "-"
    if baseline is None:
        return f"{value:.4g}", "-"
    better = value > baseline if HIGHER_IS_BETTER.get(metric, True) else value < baseline
    return f"[{'green' if better else 'red'}]{value:.4g}[/]", f"{baseline:.4g}"
