"""Which map is meant when a call names none: the one of the project that fits the files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.quality.mapping import bind, has_column, references
from karat.quality.maps import Map, load_map


def choose_map(project: Project, table: GoldTable, head: pl.DataFrame, path: Path) -> Map | None:
    """None where the file (``head``: without its rows) has the contract's columns, else the one map of the project for
    this table whose columns it has.

    Raises WrongCall where several fit; where none does, ColumnMissing that says what the nearest one lacks.
    """
    own = [c for c in table.columns if c not in head.columns]
    if not own:
        return None
    maps = [load_map(p) for p in sorted((project.path / "maps").glob("*.y*ml"))]
    meant = [m for m in maps if m.table in (None, table.name) and set(m.columns) <= set(table.columns)]
    shares = sorted((_lacking_share(m, head), m.name, m) for m in meant if references(m))
    fitting = [name for share, name, _ in shares if share == 0]
    if len(fitting) > 1:
        raise WrongCall(f"{len(fitting)} maps fit {path}: {', '.join(fitting)}", remedy="choose one with --map")
    if fitting:
        return shares[0][2]
    if shares and shares[0][0] < min(0.5, len(own) / len(table.columns)):
        bind(shares[0][2], head, str(path))  # raises: it says what is missing
    near = did_you_mean(own[0], set(head.columns) - set(table.columns))
    raise ColumnMissing(
        f"the column {own[0]!r} of gold table {table.name!r} is missing, and no map of project {project.name!r} fits",
        where=str(path),
        remedy=f"{near} Name a map with --map, or rename the file's columns",
    )


def _lacking_share(chosen: Map, head: pl.DataFrame) -> float:
    names = references(chosen)
    return sum(not has_column(head.columns, c) for c in names) / len(names)
