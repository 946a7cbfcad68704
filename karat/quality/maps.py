"""Maps: how a file's columns become those of a gold table. ``karat.quality`` describes the format."""

from __future__ import annotations

import codecs
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import Field, ValidationError, field_validator

from karat.declare import Declaration, GoldTable, Project
from karat.errors import DeclarationError, InputNotFound, did_you_mean


class Expression(Declaration):
    """A target column as a DuckDB SQL expression over the file's columns."""

    sql: str


class Format(Declaration):
    """The format of a CSV file, or the sheet of an Excel file.

    The delimiter is detected in the rows if it is not declared; ``whitespace`` means any number of blanks. ``skip`` are
    lines before the header. Without a ``header`` the columns are called ``names``, else ``column_1``, ``column_2``.
    Several ``header_rows`` are names of groups above names of columns. ``escape`` stands before a quote within quotes;
    by default the quote is doubled. ``sheet`` is by default the first one with rows.
    """

    delimiter: str | None = Field(None, min_length=1, pattern="^(.|\\t|whitespace)$")
    encoding: str = "utf-8"
    quote: str = Field('"', max_length=1)
    escape: str = Field("", max_length=1)
    null_values: tuple[str, ...] = ("",)
    sheet: str | None = None
    skip: int = Field(0, ge=0)
    header: bool = True
    header_rows: int = Field(1, ge=1, le=5)
    names: tuple[str, ...] = ()

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"there is no encoding {encoding!r}: utf-8, latin-1 and utf-16 are common") from None
        return encoding


class Map(Declaration):
    """A map; ``name`` is the file's name without its suffix."""

    name: str = ""
    description: str = ""
    table: str | None = None
    timezone: str | None = None
    format: Format = Format()
    where: str | None = None
    columns: dict[str, str | Expression]

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        try:
            return ZoneInfo(zone).key if zone else zone
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r}: write it as in Europe/Berlin") from None


def load_map(path: Path) -> Map:
    """Read a map.

    Args:
        path: The YAML file.

    Returns:
        The map.

    Raises:
        InputNotFound: The file does not exist.
        DeclarationError: The map is invalid; the message lists all errors.
    """
    if not path.is_file():
        raise InputNotFound(
            f"there is no map {path}", remedy="write it; karat/quality/__init__.py describes the format"
        )
    try:
        data = yaml.safe_load(path.read_text())
        if not isinstance(data, dict):
            raise DeclarationError(f"the map {path.name} is not a YAML mapping", where=str(path))
        return Map.model_validate({**data, "name": path.stem})
    except yaml.YAMLError as error:
        raise DeclarationError(f"the map {path.name} is not YAML: {error}", where=str(path)) from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise DeclarationError(
            f"the map {path.name} has {len(problems)} errors", where=str(path), errors=problems
        ) from None


def find_map(project: Project, given: Path) -> Path:
    """Find the map that a call names.

    Args:
        project: The project.
        given: A path, or the name of one of the project's maps, with or without suffix.

    Returns:
        The map's path.

    Raises:
        InputNotFound: There is no such map; the message names the nearest.
    """
    folder = project.path / "maps"
    for path in (given, folder / given, folder / f"{given}.yaml", folder / f"{given}.yml"):
        if path.is_file():
            return path
    known = [p.stem for p in folder.glob("*.y*ml")]
    raise InputNotFound(
        f"there is no map {str(given)!r}", where=str(folder), remedy=did_you_mean(given.name, known) or "write it"
    )


def check_targets(chosen: Map, table: GoldTable) -> None:
    """Check that a map's targets are columns of the contract, and that every required column is a target.

    Args:
        chosen: The map.
        table: The gold table.

    Raises:
        DeclarationError: The map does not fit the contract; the message lists all errors.
    """
    errors = [
        f"columns.{c}: gold table {table.name!r} has no such column. {did_you_mean(c, table.columns)}"
        for c in chosen.columns
        if c not in table.columns
    ]
    if chosen.table not in (None, table.name):
        errors.append(f"table: it is for {chosen.table!r}, not for {table.name!r}")
    errors += [
        f"columns: {name!r} must have values, and the map does not define it"
        for name, column in table.columns.items()
        if name not in chosen.columns and (name in table.key or not column.nullable)
    ]
    if errors:
        raise DeclarationError(
            f"the map {chosen.name!r} does not fit gold table {table.name!r}", remedy="correct the map", errors=errors
        )
