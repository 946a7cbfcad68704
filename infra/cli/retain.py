"""``karat retain``: removes old table versions that no live model needs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from infra.cli.app import console, print_json
from infra.cli.tables import Column, Wide, print_table
from karat.declare import load_project
from karat.declare.base import format_duration, parse_duration
from karat.errors import WrongCall
from karat.lake import Lake
from karat.lifecycle import RetentionResult
from karat.lifecycle import retain as retain_tables
from karat.registry import open_registry
from karat.settings import Settings

_COLUMNS = (
    Column("table", whole=True),
    Column("files", number=True),
    Column("MiB", number=True),
    Column("pinned versions", number=True, rank=1),
    Column("unreadable versions", number=True, rank=2),
)


def retain(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    keep: Annotated[str, typer.Option(help="every version of the last 30d, 12w, ... stays")] = "30d",
    apply: Annotated[bool, typer.Option("--apply", help="remove the files; without it they are only listed")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    wide: Wide = False,
) -> None:
    """List (or, with --apply, remove) the files of old table versions that nothing needs.

    What stays: every version that was the newest one in the time to keep, and every version that a live model pins,
    so that its training set comes back. A model version is live that has an alias, ever was champion, was logged by a
    user, or is younger than the time to keep. Example: `karat retain health_monitor --keep 30d`
    """
    settings = Settings()
    try:
        span = parse_duration(keep)
    except ValueError as error:
        raise WrongCall(str(error), where="--keep") from error
    catalog = load_project(project, settings).catalog
    lake = Lake(settings.lake, settings.environment)
    found = retain_tables(lake, open_registry(settings), catalog, keep=span, dry_run=not apply)  # type: ignore[arg-type]
    if as_json:
        print_json(_told(found, applied=apply))
        return
    if not found.tables:
        console.print(f"{catalog} has no table yet. Make gold tables with: karat sample {project}", highlight=False)
        return
    total = sum(t.bytes for t in found.tables) / 2**20
    title = f"{total:,.1f} MiB {'removed' if apply else 'could be removed'}"
    print_table(console, _COLUMNS, _cells(found), wide=wide, title=title)
    if not apply and any(t.files for t in found.tables):
        console.print(f"nothing was removed: karat retain {project} --keep {format_duration(span)} --apply")  # type: ignore[arg-type]
    elif not apply:
        console.print(f"Nothing is to be removed: no version is older than {format_duration(span)} and without use")  # type: ignore[arg-type]


def _told(found: RetentionResult, *, applied: bool) -> dict[str, object]:
    return {
        "applied": applied,
        "released": [v.uri for v in found.pins.released],
        "tables": [
            {
                "table": str(t.table),
                "files": t.files,
                "bytes": t.bytes,
                "left_behind": t.left_behind,
                "pinned": {str(v): models for v, models in found.pins.tables.get(t.table, {}).items()},
                "lost": list(t.lost),
            }
            for t in found.tables
        ],
    }


def _cells(found: RetentionResult) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    for t in found.tables:
        pinned = str(len(found.pins.tables.get(t.table, {})))
        cells.append((escape(str(t.table)), str(t.files), f"{t.bytes / 2**20:,.1f}", pinned, str(len(t.lost))))
    return cells
