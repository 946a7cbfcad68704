"""Selection of the map that fits a file, if a call names none."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.quality.mapping import bind_map, has_column, referenced_columns
from karat.quality.maps import Map, load_map


def choose_map(project: Project, table: GoldTable, head: pl.DataFrame, path: Path) -> Map | None:
    """Select the map of the project that fits a file.

    Args:
        project: The project.
        table: The gold table.
        head: The file without its rows.
        path: The file.

    Returns:
        The map; None if the file has the contract's columns.

    Raises:
        WrongCall: Several maps fit.
        ColumnMissing: No map fits; the message says what the nearest one lacks.
    """
    own = [c for c in table.columns if c not in head.columns]
    if not own:
        return None
    maps = [load_map(p) for p in sorted((project.path / "maps").glob("*.y*ml"))]
    meant = [m for m in maps if m.table in (None, table.name) and set(m.columns) <= set(table.columns)]
    shares = sorted((_lacking_share(m, head), m.name, m) for m in meant if referenced_columns(m))
    fitting = [name for share, name, _ in shares if share == 0]
    if len(fitting) > 1:
        raise WrongCall(f"{len(fitting)} maps fit {path}: {', '.join(fitting)}", remedy="choose one with --map")
    if fitting:
        return shares[0][2]
    if shares and shares[0][0] < min(0.5, len(own) / len(table.columns)):
        bind_map(shares[0][2], head, str(path))  # raises and says what is missing
    near = did_you_mean(own[0], set(head.columns) - set(table.columns))
    raise ColumnMissing(
        f"the column {own[0]!r} of gold table {table.name!r} is missing, and no map of project {project.name!r} fits",
        where=str(path),
        remedy=f"{near} Choose a map with --map, or rename the file's columns",
    )


def _lacking_share(chosen: Map, head: pl.DataFrame) -> float:
    names = referenced_columns(chosen)
    return sum(not has_column(head.columns, c) for c in names) / len(names)
