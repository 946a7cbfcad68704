"""``karat quality``: the declared checks of a project with the newest result of each, and what was set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from infra.cli.app import console, print_json
from infra.cli.tables import Column, Wide, print_table
from karat.declare import Check, Project, load_project
from karat.errors import TableNotFound, did_you_mean
from karat.lake import Lake
from karat.names import TableName
from karat.quality import latest_results, quarantine_counts, quarantine_name, reading_checks
from karat.settings import Settings

_COLUMNS = (
    Column("check"),
    Column("on fail", whole=True, rank=2),
    Column("state", whole=True),
    Column("failed", number=True),
    Column("rows", number=True),
    Column("version", number=True, rank=1),
)
_ASIDE_COLUMNS = (
    Column("gold table"),
    Column("rows", number=True),
    Column("set aside by ingest, or a value set to null: reason"),
)
_COLORS = {"passed": "green", "warned": "yellow", "set_aside": "yellow", "blocked": "red"}


def quality(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    table: Annotated[str | None, typer.Option(help="only this gold or feature table")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    wide: Wide = False,
) -> None:
    """Show the checks of gold and feature tables, and what each found last.

    Checks are declared beside the tables; those that block keep a table as it was, those that set aside leave rows
    out. All results, back to the first, are rows of `monitoring.quality`. Below them: the rows that ingest set aside
    from each gold table, by reason; the rows themselves are in `gold.TABLE_set_aside`.

    Example:  `karat quality health_monitor --table fact_usage`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    known = {*loaded.gold, *loaded.tables}
    if table is not None and table not in known:
        raise TableNotFound(f"project {project!r} declares no table {table!r}", remedy=did_you_mean(table, known))
    lake = Lake(settings.lake, settings.environment)
    rows = [r for r in _rows(loaded, lake) if table in (None, r["name"])]
    aside = [r for r in _set_aside(loaded, lake) if table in (None, r["name"])]
    if as_json:
        print_json({"checks": rows, "set_aside": aside})
        return
    if rows:
        _show(rows, wide=wide)
    else:
        console.print("There are no checks. Declare some beside a table: checks=(not_null(...), between(...))")
    _show_set_aside(aside, wide=wide)


def _set_aside(project: Project, lake: Lake) -> Iterator[dict[str, Any]]:
    """One row for each gold table and reason, the most frequent reason first."""
    for gold in project.gold.values():
        beside = quarantine_name(project.gold_name(gold.name))
        for reason, count in quarantine_counts(lake, beside).items():
            yield {"name": gold.name, "table": str(beside), "reason": reason, "rows": count}


def _rows(project: Project, lake: Lake) -> Iterator[dict[str, Any]]:
    """One a check, in the order of the declarations, with its newest result if it was ever asked."""
    found = latest_results(lake, project.catalog).rows(named=True)
    results = {(r["table_name"], r["check_name"]): r for r in found}
    for name, table, check in _declared(project):
        result = results.get((str(table), check.name), {})
        yield {
            "name": name,
            "table": str(table),
            "check": check.name,
            "description": check.description,
            "on_fail": check.on_fail,
            "state": result.get("state"),
            "rows": result.get("rows"),
            "failed": result.get("failed"),
            "version": result.get("table_version"),
            "checked_at": result.get("checked_at"),
            "examples": [json.loads(e) for e in json.loads(result.get("examples", "[]"))],
        }


def _declared(project: Project) -> Iterator[tuple[str, TableName, Check]]:
    for gold in project.gold.values():
        yield from ((gold.name, project.gold_name(gold.name), c) for c in reading_checks(gold))
    for table in project.tables.values():
        yield from ((table.name, project.table_name(table.name), c) for c in table.declared_checks)


def _show(rows: list[dict[str, Any]], *, wide: bool) -> None:
    for table in dict.fromkeys(row["table"] for row in rows):
        cells = [_cells(row) for row in rows if row["table"] == table]
        print_table(console, _COLUMNS, cells, wide=wide, title=escape(table))
        console.print()
    for row in rows:
        told = [e for e in row["examples"] if row["state"] not in (None, "passed") or "left_out" in e]
        if told:
            examples = "; ".join(json.dumps(e) for e in told)
            console.print(f"{row['name']}, {row['check']}: {examples}", markup=False, highlight=False, soft_wrap=True)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = row["state"] or "not asked yet"
    standing = f"[{_COLORS.get(state, 'dim')}]{state.replace('_', ' ')}[/]"
    figures = ("" if row[k] is None else f"{row[k]:,}" for k in ("failed", "rows", "version"))
    return escape(row["check"]), row["on_fail"].replace("_", " "), standing, *figures


def _show_set_aside(rows: list[dict[str, Any]], *, wide: bool) -> None:
    if not rows:
        return
    cells = [(escape(row["name"]), f"{row['rows']:,}", escape(row["reason"])) for row in rows]
    print_table(console, _ASIDE_COLUMNS, cells, wide=wide)
    example = f'karat sql "SELECT * FROM {rows[0]["table"]} LIMIT 5"'
    console.print(f"To see such rows:\n  {example}", markup=False, highlight=False, soft_wrap=True)
