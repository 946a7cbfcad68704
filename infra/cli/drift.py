"""``karat drift``: the newest drift and fairness reports of a project's champions."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape

from infra.cli.app import console, print_json
from infra.cli.tables import Column, print_table
from karat.declare import Project, load_project
from karat.errors import UnknownModel, did_you_mean
from karat.lake import Lake
from karat.monitoring import read_drift
from karat.settings import Settings

_COLUMNS = (
    Column("column"),
    Column("statistic", number=True),
    Column("threshold", number=True),
    Column("usual", number=True),
    Column("note"),
)


def drift(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    model: Annotated[str | None, typer.Option(help="only this model, with all of its columns")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Show what the newest reports of the champions found: features, predictions, groups of people.

    One line a model and check, and the columns that are over their threshold. All reports, back to the first, are rows
    of `monitoring.drift`; their pages are among the artifacts of the champion's run in MLflow.

    Example:  `karat drift health_monitor --model budget_forecaster`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    if model is not None and model not in loaded.models:
        remedy = did_you_mean(model, loaded.models)
        raise UnknownModel(f"project {project!r} has no model {model!r}", remedy=remedy)
    rows = _rows(loaded, settings, model)
    if as_json:
        print_json(rows.to_dicts())
    elif rows.is_empty():
        console.print(f"There is no report yet. karat run {project} ends with them; or: karat monitor {project}")
    else:
        _show(rows if model else rows.filter("drifted"), rows)


def show_reports(rows: pl.DataFrame) -> None:
    """Print each model's checks, and their columns with drift; ``rows`` are as the drift table has them."""
    named = rows.with_columns(pl.col("model_name").str.split(".").list.last())
    _show(named.filter("drifted"), named)


def _rows(project: Project, settings: Settings, model: str | None) -> pl.DataFrame:
    found = read_drift(Lake(settings.lake, settings.environment), project.catalog)
    short = pl.col("model_name").str.split(".").list.last()
    found = found.with_columns(short.alias("model_name"))
    return found if model is None else found.filter(pl.col("model_name") == model)


def _show(shown: pl.DataFrame, rows: pl.DataFrame) -> None:
    keys = ["model_name", "check_name"]
    for (name, check), part in sorted(rows.group_by(keys)):
        console.print(f"[bold]{name}[/], {check}, {part['day'][0]}: {escape(_said(part))}", highlight=False)
        if (own := shown.filter(model_name=name, check_name=check)).height:
            print_table(console, _COLUMNS, _cells(own))


def _said(part: pl.DataFrame) -> str:
    if part["statistic"].null_count() == part.height:
        return str(part["note"][0])
    days = f", {part['first_day'][0]} to {part['last_day'][0]}" if part["first_day"][0] else ""
    over = f"{part['drifted'].sum()} of {part.height} over their threshold"
    return f"{over} ({part['current_rows'][0]:,} rows{days}; {part['reference_rows'][0]:,} to compare with)"


def _cells(rows: pl.DataFrame) -> list[tuple[str, ...]]:
    cells = []
    for row in rows.sort("statistic", descending=True, nulls_last=True).to_dicts():
        figures = ("-" if row[c] is None else f"{row[c]:.3f}" for c in ("statistic", "threshold", "usual"))
        cells.append((escape(row["column_name"]), *figures, _colored(row)))
    return cells


def _colored(row: dict[str, Any]) -> str:
    note = escape(row["note"] or "")
    return f"[red]drifted[/] {note}" if row["drifted"] else note
