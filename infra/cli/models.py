"""``karat models``: the models with champion, metrics and baseline; or one model card."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from infra.cli.app import console, errors, print_json
from infra.cli.card import show_card
from infra.cli.tables import Column, Wide, print_table
from karat.declare import ModelSpec, Project, load_project, project_names
from karat.declare.models import DEFAULT_METRIC, HIGHER_IS_BETTER
from karat.errors import DeclarationError
from karat.names import ModelName, project_of
from karat.registry import ModelStatus, VersionTags, open_registry
from karat.settings import ENVIRONMENTS, Settings

_COLUMNS = (
    Column("model", whole=True),
    Column("champion", whole=True),
    Column("metric", whole=True),
    Column("value", number=True),
    Column("baseline", number=True),
    Column("attained", number=True, rank=1),
    Column("task", whole=True, rank=2),
    Column("kind", whole=True, rank=3),
    Column("domain", rank=4),
    Column("origin", rank=5),
)


def models(
    project: Annotated[str | None, typer.Argument(help="a folder under projects/; all of them by default")] = None,
    model: Annotated[str | None, typer.Argument(help="one of its models: its card")] = None,
    version: Annotated[int | None, typer.Option(help="of the card; by default the champion, else the newest")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    wide: Wide = False,
) -> None:
    """List models with champion, challenger, metrics and baseline; or print the card of one.

    The figures are those of the champion, or of the newest version where there is none, on its test split;
    `attained` is how far it comes from the baseline to what a sample's planted truth would score. Examples:
    `karat models health_monitor`, `karat models customers churn`
    """
    settings = Settings()
    if project is not None and model is not None:
        show_card(settings, project, model, version, as_json=as_json)
        return
    declared = _declared(settings, project)
    standing = {s.model: s for s in open_registry(settings).statuses() if _here(s.model, settings, project)}
    names = sorted({*declared, *standing}, key=lambda n: (n.catalog, n.name))
    rows = [_row(name, declared.get(name), standing.get(name)) for name in names]
    if as_json:
        print_json(rows)
        return
    for name in dict.fromkeys(row["project"] for row in rows):
        cells = [_cells(row) for row in rows if row["project"] == name]
        print_table(console, _COLUMNS, cells, wide=wide, title=f"{name}, on the test split")
        console.print()
    if hint := _next_step(rows, project):
        console.print(hint, highlight=False, markup=False)


def _next_step(rows: list[dict[str, Any]], project: str | None) -> str:
    """What to do where there is no model, or a project has no champion; "" where each has one."""
    if not rows and project:
        return f"{project} declares no model yet: karat new model NAME --project {project}"
    if not rows:
        return "There is no model yet. Begin a project with: karat new project NAME"
    lines = []
    for name in dict.fromkeys(row["project"] for row in rows):
        own = [row for row in rows if row["project"] == name]
        waiting = [row["name"] for row in own if row["challenger_version"] or row["metrics"]]
        if any(row["champion_version"] for row in own):
            continue
        if waiting:
            lines.append(f"No model of {name} is champion. Why: karat models {name} {waiting[0]}")
        else:
            lines.append(f"No model of {name} is trained. Train them with: karat run {name}")
    return "\n".join(lines)


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


def _row(name: ModelName, spec: ModelSpec | None, standing: ModelStatus | None) -> dict[str, Any]:
    champion = standing.champion if standing else None
    challenger = standing.challenger if standing else None
    shown = champion or challenger or (standing.newest if standing else None)
    tags = shown.own_tags if shown else VersionTags()
    return {
        "name": name.short,
        "project": project_of(name.catalog),
        "domain": spec.domain if spec else tags.domain or "",
        "task": spec.task if spec else tags.task,
        "kind": spec.kind if spec else tags.kind,
        "champion_version": champion.version if champion else None,
        "challenger_version": challenger.version if challenger else None,
        "metric": spec.primary_metric if spec else DEFAULT_METRIC.get(tags.task or ""),
        "metrics": shown.metrics if shown else {},
        "baseline": shown.baseline if shown else {},
        "judged": shown.judged if shown else {},
        "origin": tags.origin,
        "reason": str(tags.decision) if tags.decision else None,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    more = (escape(str(row[key] or "-")) for key in ("task", "kind", "domain", "origin"))
    return escape(row["name"]), _standing(row), row["metric"] or "-", *_figures(row), *more


def _standing(row: dict[str, Any]) -> str:
    champion, challenger = row["champion_version"], row["challenger_version"]
    waits = f" ({challenger} waits)" if challenger else ""
    return f"{champion or '-'}{waits}"


def _figures(row: dict[str, Any]) -> tuple[str, str, str]:
    """The primary metric, green where it is clearly better than the baseline, yellow where that may be chance."""
    metric = row["metric"]
    value, baseline = row["metrics"].get(metric), row["baseline"].get(metric)
    if value is None:
        return "-", "-", "-"
    if baseline is None:
        return f"{value:.4g}", "-", "-"
    better = value > baseline if HIGHER_IS_BETTER.get(metric, True) else value < baseline
    sure = row["judged"].get(f"{metric}_gain_low", 1.0) > 0
    colour = ("green" if sure else "yellow") if better else "red"
    attained = row["judged"].get("attained")
    return f"[{colour}]{value:.4g}[/]", f"{baseline:.4g}", "-" if attained is None else f"{attained:.0%}"
