"""Selection of the map that fits a file, if a call names none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import ColumnMissing, DeclarationError, UnreadableInput, WrongCall, did_you_mean
from karat.quality.mapping import bind_map, missing_columns, referenced_columns
from karat.quality.maps import Format, Map, load_map
from karat.quality.sources import head_of


def choose_map(project: Project, table: GoldTable, path: Path, *, own: bool = True) -> Map | None:
    """Select the map of the project that fits a file.

    A map that names the table is used even if the file has the contract's names: it knows how the values are written.

    Args:
        project: The project.
        table: The gold table.
        path: The file.
        own: Whether the project's maps are considered.

    Returns:
        The map; None if the file has the contract's columns and no map of the table fits.

    Raises:
        WrongCall: Several maps fit.
        ColumnMissing: No map fits; the message says what the nearest one lacks.
        UnreadableInput: The file cannot be read in any map's format.
    """
    maps = [load_map(p) for p in sorted((project.path / "maps").glob("*.y*ml"))] if own else []
    meant = [m for m in maps if m.table in (None, table.name) and set(m.columns) <= set(table.columns)]
    heads, problem = _heads(path, [*meant, None])
    shares = sorted(
        ((_lacking_share(m, head), m.name, m, head) for m, head in heads if m and referenced_columns(m)),
        key=lambda found: found[:2],
    )
    plain = next((head for m, head in heads if m is None), None)
    lacking = [c for c in table.columns if plain is None or c not in plain.columns]
    fitting = [m for share, _, m, head in shares if share == 0 and _may_read(m, table, head, str(path), lacking)]
    if len(fitting) > 1:
        raise WrongCall(
            f"{len(fitting)} maps fit {path}: {', '.join(m.name for m in fitting)}",
            remedy="choose one with --map" + ("" if lacking else ", or none with --no-map"),
        )
    if fitting:
        return fitting[0]
    if not lacking:
        return None
    if plain is None and problem and not shares:
        raise problem
    if shares and shares[0][0] < min(0.5, len(lacking) / len(table.columns)):
        bind_map(shares[0][2], shares[0][3], str(path))  # raises and says what is missing
    if plain is None and problem:
        raise problem
    near = did_you_mean(lacking[0], set(plain.columns if plain is not None else ()) - set(table.columns))
    raise ColumnMissing(
        f"the column {lacking[0]!r} of gold table {table.name!r} is missing, and "
        + (f"no map of project {project.name!r} fits" if own else "no map is used"),
        where=str(path),
        remedy=f"{near} Choose a map with --map, or rename the file's columns",
    )


def _heads(
    path: Path, maps: Sequence[Map | None]
) -> tuple[list[tuple[Map | None, pl.DataFrame]], UnreadableInput | None]:
    """The file's columns as each map's format reads them, and the error of the plain format."""
    found: list[tuple[Map | None, pl.DataFrame]] = []
    problem = None
    read: dict[Format, pl.DataFrame | UnreadableInput] = {}
    for one in maps:
        form = one.format if one else Format()
        if form not in read:
            try:
                read[form] = head_of(path, form)
            except UnreadableInput as error:
                read[form] = error
        head = read[form]
        if isinstance(head, UnreadableInput):
            problem = head
        else:
            found.append((one, head))
    return found, problem


def _may_read(chosen: Map, table: GoldTable, head: pl.DataFrame, path: str, lacking: Sequence[str]) -> bool:
    """Where the file has the contract's names, only a map that names the table, and whose SQL fits the file's types."""
    if lacking:
        return True
    try:
        if chosen.table == table.name:
            bind_map(chosen, head, path)
    except DeclarationError:
        return False
    return chosen.table == table.name


def _lacking_share(chosen: Map, head: pl.DataFrame) -> float:
    names = referenced_columns(chosen)
    return len(missing_columns(head.columns, names)) / len(names)
