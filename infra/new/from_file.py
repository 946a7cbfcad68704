"""A draft of a project from a user's file: its gold contract, and the map to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from infra.new.columns import InferredColumn, columns_of
from infra.new.drafts import File, check_name
from infra.new.features import IDS
from infra.new.render import call, literal, render
from karat.errors import ColumnMissing, UnreadableInput, WrongCall, did_you_mean
from karat.quality.maps import Format
from karat.quality.sources import read_source

ENCODINGS = ("utf-8", "latin-1")


def contract_of(
    path: Path,
    project: str,
    table: str,
    *,
    key: Sequence[str] = (),
    time: str | None = None,
    entity: str | None = None,
    owner: str,
) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """``gold.py`` and ``maps/TABLE.yaml``, and what was taken where the call left it open.

    ``key``, ``time`` and ``entity`` are columns as gold or as the file names them. Raises InputNotFound,
    UnreadableInput, ColumnMissing with the nearest name, WrongCall where nothing tells the rows apart.
    """
    check_name(table, "gold table")
    rows, encoding = _read(path)
    found = {column.name: column for column in columns_of(rows)}
    chosen = [column.told for column in found.values() if column.told]
    keys = [_named(found, name, path) for name in key]
    if not keys:
        keys = [_first_unique(found, path)]
        chosen.append(f"key {keys[0]}: no two rows are alike in it (--key names others)")
    whose = _named(found, entity, path) if entity else next((n for n in found if n not in keys and n.endswith(IDS)), "")
    times = [n for n, column in found.items() if column.dtype in ("date", "timestamp")]
    when = _named(found, time, path) if time else (times[0] if times and whose else None)
    if when and not time:
        chosen.append(f"event time {when} (--time names another)")
    text = render(
        "contract.py",
        project=project,
        file=path.name,
        table=table,
        description=f"One row each, as {path.name} has them",
        owner=owner,
        key=f"({', '.join(literal(k) for k in keys)}{',' if len(keys) == 1 else ''})",
        time=when,
        columns=[_line(column, must=column.name in (whose, when)) for column in found.values()],
    )
    files = (
        File("gold.py", text, f"gold table {table}: the contract of its {len(found)} columns"),
        File(f"maps/{table}.yaml", _map(path, table, found, encoding), f"how the columns of {path.name} become those"),
    )
    return files, tuple(chosen)


def _read(path: Path) -> tuple[pl.DataFrame, str]:
    """The rows, and the encoding in which they can be read."""
    for encoding in ENCODINGS[:-1]:
        try:
            return read_source(path, Format(encoding=encoding)).rows, encoding
        except UnreadableInput as error:
            if "not written in" not in error.what:
                raise
    return read_source(path, Format(encoding=ENCODINGS[-1])).rows, ENCODINGS[-1]


def _named(found: dict[str, InferredColumn], name: str, path: Path) -> str:
    """A column's name in gold, whichever of both is given."""
    names = {column.source: column.name for column in found.values()} | {n: n for n in found}
    if name not in names:
        raise ColumnMissing(f"there is no column {name!r}", where=str(path), remedy=did_you_mean(name, names))
    return names[name]


def _first_unique(found: dict[str, InferredColumn], path: Path) -> str:
    fit = (column for column in found.values() if column.dtype in ("string", "int64") and column.unique)
    if (first := next(fit, None)) is None:
        raise WrongCall(
            "no single column tells the rows apart",
            where=str(path),
            remedy=f"name those that do together: --key {','.join(list(found)[:2])}",
        )
    return first.name


def _line(column: InferredColumn, *, must: bool) -> str:
    must_have = ("nullable=False",) if must else ()
    told = f"description={literal(column.source)}"
    return call(f"{literal(column.name)}: Column", f'dtype="{column.dtype}"', *must_have, told, indent=8)


def _map(path: Path, table: str, found: dict[str, InferredColumn], encoding: str) -> str:
    columns: dict[str, Any] = {n: {"sql": c.sql} if c.sql else c.source for n, c in found.items()}
    return render(
        "map.yaml",
        description=f"Files such as {path.name}",
        table=table,
        format={} if encoding == ENCODINGS[0] else {"encoding": encoding},
        columns=columns,
    )
