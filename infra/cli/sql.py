"""``karat sql``: SQL over the lake."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from infra.cli.app import console, errors, print_json
from infra.cli.tables import Column, print_table
from infra.impact import registry_if_any
from karat.catalogue.sql import run_query
from karat.catalogue.views import Views
from karat.declare import Project, load_project, project_names
from karat.errors import DeclarationError
from karat.lake import Lake
from karat.settings import Settings

#: Characters of a value that a table should have room for.
_SHOWN = 16
EXAMPLE = "SELECT model_name, version, count(*) FROM ml_predictions GROUP BY ALL"


def sql(
    text: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="one SELECT; - or none: standard input")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many rows; 100 where a table is shown")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated, with a header")] = False,
) -> None:
    """Asks the lake in SQL (DuckDB's dialect); nothing can be written.

    Tables are named `catalog.schema.table`, or by as much of that as is unique: `churn_features`. Views: `ml_features`,
    `ml_feature_values`, `ml_feature_statistics`, `ml_feature_freshness`, `ml_models`, `ml_experiments`,
    `ml_predictions`, `ml_monitoring`. Without a query on a terminal it lists what can be asked. Example:
    `karat sql "SELECT feature_name, null_rate FROM ml_features ORDER BY 2 DESC"`
    """
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    views = Views(lake, tuple(_projects(settings)), lambda: registry_if_any(settings))
    if text is None and sys.stdin.isatty():
        _list(lake, views)
        return
    asked = sys.stdin.read() if text in (None, "-") else text
    whole = as_json or as_csv
    rows = run_query(str(asked), views, limit=limit or (None if whole else 101))
    if as_json:
        print_json(rows.to_dicts())
    elif as_csv:
        sys.stdout.write(rows.write_csv())
    else:
        shown = rows if limit else rows.head(100)
        _show([str(c) for c in shown.columns], shown.rows())
        if shown.height < rows.height:
            errors.print("the first 100 rows; --limit N for more, --csv or --json for all")


def _projects(settings: Settings) -> list[Project]:
    """A broken project takes nothing away from the others' views."""
    found = []
    for name in project_names(settings):
        try:
            found.append(load_project(name, settings))
        except DeclarationError as error:
            errors.print(f"[yellow]{escape(error.what.splitlines()[0])}[/]: karat check {name}", highlight=False)
    return found


def _list(lake: Lake, views: Views) -> None:
    about = [(name, (getattr(views, name).__doc__ or "").strip().split("\n")[0]) for name in views.names]
    tables = [(str(name), lake.info(name).description) for name in lake.tables()]
    _print(["view or table", "what it holds"], [*about, *tables])
    console.print(f'Ask:  karat sql "{EXAMPLE}"', markup=False, highlight=False)


def _show(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    """As a table, or column below column where that would be too wide to be read."""
    longest = (max(len(str(v)) for v in (c, *(row[i] for row in rows))) for i, c in enumerate(columns))
    if rows and sum(min(length, _SHOWN) + 3 for length in longest) > console.width:
        for number, row in enumerate(rows, start=1):
            console.print(f"[bold]row {number}[/]", highlight=False)
            for column, value in zip(columns, row, strict=True):
                told = "" if value is None else str(value)
                console.print(f"  {column}: {told}", markup=False, highlight=False, soft_wrap=True)
    else:
        _print(columns, rows)


def _print(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    cells = [["" if v is None else escape(str(v)) for v in row] for row in rows]
    numbers = [_are_numbers([row[i] for row in rows]) for i in range(len(columns))]
    print_table(console, [Column(escape(c), number=n) for c, n in zip(columns, numbers, strict=True)], cells)


def _are_numbers(values: Sequence[object]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
