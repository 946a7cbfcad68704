"""Which map is meant when a call names none: the one of the project that fits the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.quality.mapping import bind, has_column, references
from karat.quality.maps import Map, load_map


def choose_map(project: Project, table: GoldTable, heads: Sequence[pl.DataFrame], paths: Sequence[Path]) -> Map | None:
    """None where all files have the contract's columns, else the one map for this table whose columns they all have.

    Raises WrongCall where several fit; where none does, ColumnMissing that says what the nearest one lacks.
    """
    if all(set(table.columns) <= set(h.columns) for h in heads):
        return None
    maps = [load_map(p) for p in sorted((project.path / "maps").glob("*.y*ml"))]
    meant = [m for m in maps if m.table in (None, table.name) and set(m.columns) <= set(table.columns)]
    lacking = {m.name: _lacking(m, heads) for m in meant}
    fitting = [m for m in meant if not lacking[m.name] and references(m)]
    if len(fitting) > 1:
        raise WrongCall(
            f"{len(fitting)} maps fit these files: {', '.join(m.name for m in fitting)}", remedy="choose one with --map"
        )
    if fitting:
        return fitting[0]
    own = [c for c in table.columns if not all(c in h.columns for h in heads)]
    shares = [(len(lacking[m.name]) / len(references(m)), m.name, m) for m in meant if references(m)]
    share, _, nearest = min(shares, default=(1.0, "", None), key=lambda s: s[:2])
    if nearest is not None and share < min(0.5, len(own) / len(table.columns)):
        _say_what_it_lacks(nearest, heads, paths)
    raise _no_map(project, table, own[0], heads)


def _lacking(chosen: Map, heads: Sequence[pl.DataFrame]) -> list[str]:
    return [c for c in references(chosen) if not all(has_column(h.columns, c) for h in heads)]


def _say_what_it_lacks(chosen: Map, heads: Sequence[pl.DataFrame], paths: Sequence[Path]) -> None:
    for head, path in zip(heads, paths, strict=True):
        bind(chosen, head, str(path))


def _no_map(project: Project, table: GoldTable, column: str, heads: Sequence[pl.DataFrame]) -> ColumnMissing:
    head = next(h for h in heads if column not in h.columns)
    near = did_you_mean(column, set(head.columns) - set(table.columns))
    return ColumnMissing(
        f"the column {column!r} of gold table {table.name!r} is missing, and no map of project {project.name!r} fits",
        where=str(project.path / "maps"),
        remedy=f"{near} Name a map with --map, or rename the file's columns",
    )
