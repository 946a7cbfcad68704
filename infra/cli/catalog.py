"""``karat features`` and ``karat check``: the declared features, and the errors of declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape

from infra.cli.app import console, errors, print_json
from infra.cli.tables import Column, Wide, print_table
from infra.expression_check import mistakes
from infra.impact import broken_champions, may_have_models, registry_if_any
from karat.catalogue import page as pages
from karat.catalogue.features import CatalogueRow, Importance, catalogue_rows, champion_importance
from karat.declare import Project, load_project, project_names
from karat.errors import (
    DeclarationError,
    PlatformError,
    StoreError,
    TableNotFound,
    did_you_mean,
)
from karat.features import daily_statistics
from karat.lake import Lake
from karat.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]

_COLUMNS = (
    Column("feature", whole=True),
    Column("type", rank=3),
    Column("window", whole=True, rank=4),
    Column("description"),
    Column("nulls", number=True, rank=1),
    Column("min", number=True, rank=5),
    Column("mean", number=True, rank=2),
    Column("max", number=True, rank=5),
)


def features(
    project: Annotated[str | None, typer.Argument(help="a folder under projects/; all of them by default")] = None,
    table: Annotated[str | None, typer.Option(help="only this feature table")] = None,
    *,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="write a page to search and sort, with the course by day")] = None,
    markdown: Annotated[Path | None, typer.Option(help="write the declared part as a page")] = None,
    wide: Wide = False,
) -> None:
    """List features with type, source, window and statistics.

    The statistics are those of the feature tables as they stand now; features that have not been computed yet have
    none. `--html` and `--json` add version, freshness, and the importance in each champion. Example:
    `karat features health_monitor --table cost_features`
    """
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    names = (project,) if project else project_names(settings)
    loaded = [p for p in (_loaded(n, settings, strict=project is not None) for n in names) if p]
    known = {t: p for p in loaded for t in p.tables}
    if table is not None and table not in known:
        raise TableNotFound(f"no project declares the feature table {table!r}", remedy=did_you_mean(table, known))
    if markdown is not None:
        markdown.write_text(pages.markdown(loaded))
        console.print(f"written: {markdown}", highlight=False, soft_wrap=True)
        return
    shares = _importance(settings, loaded) if html or as_json else {}
    tables = [(p, t) for p in loaded for t in p.tables.values() if table in (None, t.name)]
    rows = [row for p, t in tables for row in catalogue_rows(p, t, lake, shares)]
    if as_json:
        print_json(rows)
    elif html is not None:
        days = [daily_statistics(lake, p.catalog) for p in loaded]
        html.write_text(pages.html(rows, pl.concat(days), title=f"Features of {', '.join(p.name for p in loaded)}"))
        console.print(f"written: {html}", highlight=False, soft_wrap=True)
    else:
        for name, group in _grouped(rows):
            cells = [_cells(row) for row in group]
            print_table(console, _COLUMNS, cells, wide=wide, title=f"{name}, from {group[0]['source']}")
            console.print(_standing(group[0]), style="italic", markup=False, highlight=False)
            console.print()
        if not rows:
            console.print(_first_step(project), highlight=False, markup=False)


def _importance(settings: Settings, projects: Sequence[Project]) -> Importance:
    try:
        opened = registry_if_any(settings)
        return champion_importance(opened, [p.catalog for p in projects]) if opened else {}
    except (PlatformError, StoreError) as error:
        errors.print(f"[yellow]without importance[/]: {escape(error.what)} ({error.where})", highlight=False)
        return {}


def _loaded(name: str, settings: Settings, *, strict: bool) -> Project | None:
    """A broken project stops the list only if it was asked for; else it is told on the side."""
    try:
        return load_project(name, settings)
    except DeclarationError as error:
        if strict:
            raise
        errors.print(f"[yellow]{escape(error.what.splitlines()[0])}[/]: karat check {name}", highlight=False)
        return None


def _grouped(rows: list[CatalogueRow]) -> Iterator[tuple[str, list[CatalogueRow]]]:
    for name in dict.fromkeys(r["table"] for r in rows):
        yield name, [r for r in rows if r["table"] == name]


def _first_step(project: str | None) -> str:
    """What to do where no feature is declared."""
    if project is None:
        return "There is no project yet. Begin one with: karat new project NAME"
    return f"{project} declares no feature table yet: karat new features NAME --project {project}"


def _cells(row: CatalogueRow) -> tuple[str, ...]:
    figures = row["statistics"] or {}
    shown = [_number(figures.get(k)) for k in ("min", "mean", "max")]
    share = figures.get("null_rate")
    told = f"{row['description']} (deprecated: {row['deprecated']})" if row["deprecated"] else row["description"]
    cells = (escape(row["feature"]), escape(row["type"]), row["window"] or "", escape(told))
    return (*cells, "" if share is None else f"{share:.1%}", *shown)


def _standing(row: CatalogueRow) -> str:
    """What the table stands for, below it."""
    if row["table_version"] is None:
        return f"not computed yet: {row['stale_because']}; owner {row['owner']}"
    last = f", days to {row['last_day']}" if row["last_day"] else ""
    fresh = "up to date" if row["fresh"] else f"stale: {row['stale_because']}"
    return f"version {row['table_version']} of {row['updated_at']:%Y-%m-%d %H:%M}{last}; {fresh}; owner {row['owner']}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def check(
    project: Annotated[str | None, typer.Argument(help="a folder under projects/; all of them by default")] = None,
    as_json: Json = False,
) -> None:
    """Show all errors of a project's declarations at once, and which champions a change would break.

    Exit status 2 if there is an error. Example:  `karat check health_monitor`
    """
    settings = Settings()
    names = (project,) if project else project_names(settings)
    found = [_checked(name, settings) for name in names]
    if as_json:
        print_json(found)
    else:
        for one in found:
            _tell(one)
    if any(one["errors"] for one in found):
        sys.exit(2)


def _checked(name: str, settings: Settings) -> dict[str, Any]:
    out: dict[str, Any] = {"project": name, "errors": [], "broken_champions": []}
    try:
        project = load_project(name, settings)
    except DeclarationError as error:
        return out | {"errors": list(error.errors)}
    wrong = list(mistakes(project))
    counts = {"gold": len(project.gold), "features": len(project.tables), "models": len(project.models)}
    broken = broken_champions(project, settings) if may_have_models(settings) else []
    return out | counts | {"errors": wrong, "broken_champions": broken}


def _tell(found: dict[str, Any]) -> None:
    name, wrong = found["project"], found["errors"]
    if wrong:
        errors.print(f"[bold red]{name}[/]: {len(wrong)} error{'s' if len(wrong) != 1 else ''}")
        for line in wrong:
            errors.print(f"  - {line}", markup=False, highlight=False, soft_wrap=True)
        return
    console.print(
        f"[green]{name}[/]: {_some(found['gold'], 'gold table')}, {_some(found['features'], 'feature table')}, "
        f"{_some(found['models'], 'model')}: sound",
        highlight=False,
    )
    for line in found["broken_champions"]:
        console.print(f"  - {line}", markup=False, highlight=False, soft_wrap=True, style="yellow")


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
