"""``karat score``: batch predictions for a file of keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
import typer

from infra.cli.app import console
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import POLARS
from karat.errors import (
    DiskFull,
    NaiveTimestamp,
    SchemaMismatch,
    UnknownModel,
    UnreadableInput,
    WrongCall,
    did_you_mean,
    is_disk_full,
)
from karat.inference import predict
from karat.lake import Lake
from karat.names import ModelRef, catalog_of
from karat.quality.dialect import infer_format
from karat.quality.maps import Format
from karat.quality.sources import kind_of, read_source
from karat.quality.text_parsing import parse
from karat.quality.zones import zone_of_table
from karat.registry import LoadedModel, Registry, open_registry
from karat.settings import Settings
from karat.training_sets.functions import FunctionLibrary

_ARROW_TO_DECLARED = {"double": "float64", "date32[day]": "date", "timestamp[us, tz=UTC]": "timestamp"}
#: What a value of each type is called, and how a CSV file writes it.
_FORMS = {
    "float64": ("number", "numbers with a point, as in 1234.5"),
    "int64": ("whole number", "whole numbers without a point"),
    "bool": ("truth value", "true or false"),
    "date": ("day", "days as 2024-09-30"),
    "timestamp": ("time", "times as 2024-09-30T12:00:00Z"),
    "string": ("text", "texts"),
}
_SUFFIXES = (".csv", ".parquet")


def score(
    model: Annotated[str, typer.Argument(help="project.model, or bare; @challenger or /3 may follow")],
    keys: Annotated[Path, typer.Option(help="CSV, Parquet, JSON or Excel with the model's lookup keys")],
    out: Annotated[Path, typer.Option(help="CSV or Parquet to be written, by suffix")],
    missing: Annotated[
        Literal["raise", "null"], typer.Option(help="what becomes of a key that no feature table knows")
    ] = "raise",
    timezone: Annotated[
        str | None, typer.Option(help="what times without a zone mean; by default as for karat ingest")
    ] = None,
) -> None:
    """Score a file of keys with a model's champion.

    The rows stay as they are and in their order; prediction, model name, version, run and time come beside them. A
    column that bears a feature's name overrides the lookup. Times without a zone mean what they mean to `karat ingest`:
    of the zone that the map, the gold table or `project.yaml` names. Example:
    `karat score customers.churn --keys keys.csv --out scored.csv`
    """
    settings = Settings()
    _check_paths(keys, out)
    registry = open_registry(settings)
    loaded = registry.load(reference(model, registry, settings))
    given, projects = _read_keys(keys), ProjectCatalog(settings)
    added = predict(
        Lake(settings.lake, settings.environment),
        loaded,
        _typed(given, loaded, keys, timezone or _zone(loaded, projects)),
        missing=missing,
        library=FunctionLibrary(settings),
        projects=projects,
    )
    write_frame(given.hstack(added), out)
    console.print(
        f"{given.height} rows scored by {loaded.name} version {loaded.version}: {out}", highlight=False, soft_wrap=True
    )


def _check_paths(keys: Path, out: Path) -> None:
    if not keys.is_file():
        raise WrongCall(f"there is no file {keys}", where="--keys")
    check_out(out)


def _read_keys(path: Path) -> pl.DataFrame:
    """The rows of the file, read as ``karat ingest`` reads it. Raises UnreadableInput if a line is no row."""
    found = read_source(path, infer_format(path, Format()) if kind_of(path) == "csv" else Format())
    if found.unread.height:
        first = found.unread.row(0, named=True)
        raise UnreadableInput(
            f"{found.unread.height} lines of {path} are no rows: {first['place']}: {first['reason']}",
            remedy="correct them: each row of the file gets its prediction",
        )
    return found.rows


def _zone(loaded: LoadedModel, projects: ProjectCatalog) -> str | None:
    """The zone that naive times of the model's gold tables have; None if none is declared."""
    for lookup in loaded.lookups:
        project = projects.of(lookup.table)
        if project is not None and (
            zone := zone_of_table(project, project.gold[project.tables[lookup.table.table].source])
        ):
            return zone
    return None


def check_suffix(path: Path, option: str) -> None:
    """Raise WrongCall unless the path ends in .csv or .parquet."""
    if path.suffix not in _SUFFIXES:
        raise WrongCall(f"{path.name!r} is neither .csv nor .parquet", where=option, remedy="name it by its format")


def check_out(out: Path) -> None:
    """Raise WrongCall unless ``out`` names a CSV or Parquet file in an existing folder."""
    check_suffix(out, "--out")
    if not out.parent.is_dir():
        raise WrongCall(f"there is no folder {out.parent}", where="--out", remedy="make it first")


def reference(text: str, registry: Registry, settings: Settings) -> ModelRef:
    """Resolve the name of a model.

    Args:
        text: ``churn``, ``customers.churn`` or ``customers_dev.models.churn``, each with ``@alias`` or ``/version``.
        registry: Where bare names are looked up.
        settings: Name the environment.

    Returns:
        The full reference.

    Raises:
        UnknownModel: A bare name means no model, or several.
    """
    body = text.removeprefix("models:/")
    end = min((i for i in (body.find("@"), body.find("/")) if i >= 0), default=len(body))
    name, rest = body[:end], body[end:]
    parts = name.split(".")
    if len(parts) == 2:
        return ModelRef.parse(f"{catalog_of(parts[0], settings.environment)}.models.{parts[1]}{rest}")
    if len(parts) > 2:
        return ModelRef.parse(body)
    known = [m for m in registry.models() if m.catalog.endswith(f"_{settings.environment}")]
    found = [m for m in known if m.name == name]
    if len(found) != 1:
        several = f"it is in {', '.join(m.catalog for m in found)}" if found else ""
        raise UnknownModel(
            f"the name {name!r} means {'several models' if found else 'no model'}",
            where=several or registry.tracking_uri,
            remedy="write project.model"
            if found
            else did_you_mean(name, [m.name for m in known])
            or "no model is registered yet: karat run PROJECT trains some",
        )
    return ModelRef.parse(f"{found[0]}{rest}")


def _typed(given: pl.DataFrame, loaded: LoadedModel, path: Path, zone: str | None) -> pl.DataFrame:
    """A file's values in the types of the model's keys and features; a key such as 007 stays text where it is text."""
    types = {**loaded.metadata.feature_types} | {n: t for f in loaded.functions for n, t in f.types.items()}
    wanted = {n: t for n, t in types.items() if n in given.columns}
    keys = {column: _declared(lk.schema[key]) for lk in loaded.lookups for column, key in lk.keys.items()}
    # The time by which a lookup finds its row may be an hour, where that table's own is a day.
    times = {lk.time[0]: "timestamp" for lk in loaded.lookups if lk.time and not _are_days(given, lk.time[0])}
    days = {lk.time[0]: "date" for lk in loaded.lookups if lk.time and lk.time[0] not in times}
    known = days | times | keys | dict(loaded.metadata.spine_types)
    wanted |= {column: dtype for column, dtype in known.items() if column in given.columns}
    return given.with_columns(_cast(given[name], dtype, path, zone) for name, dtype in wanted.items())


def _are_days(given: pl.DataFrame, column: str) -> bool:
    """Whether a column holds days alone; True where the file has no such column."""
    if column not in given.columns or given[column].dtype == pl.Date:
        return True
    if given[column].dtype != pl.String:
        return False
    return bool(given[column].str.strip_chars().str.len_chars().le(len("2024-09-30")).all())


def _declared(arrow: str) -> str:
    return _ARROW_TO_DECLARED.get(arrow, arrow)


def _cast(column: pl.Series, dtype: str, path: Path, zone: str | None) -> pl.Series:
    """A column as ``karat ingest`` would read it; what has the type already stays."""
    if column.dtype == POLARS[dtype] or not _may_parse(column.dtype):
        return column
    try:
        parsed = parse(column, dtype, zone)
    except NaiveTimestamp as error:
        raise NaiveTimestamp(
            error.what, where=str(path), remedy="give the zone: --timezone Europe/Berlin, or timezone in project.yaml"
        ) from None
    bad = parsed.problem.is_not_null()
    if bad.any():
        row = bad.arg_max() or 0
        noun, form = _FORMS[dtype]
        raise SchemaMismatch(
            f"column {column.name!r} has {int(bad.sum())} of {len(column)} values that are no {noun}, the first is "
            f"{column[row]!r} in row {row + 1}: {parsed.problem[row]}",
            where=str(path),
            remedy=f"write {form}; leave a cell empty where nothing is known",
        )
    return parsed.values.alias(column.name)


def _may_parse(dtype: pl.DataType) -> bool:
    """Whether a file's type has to be read: texts, and times without a zone. Others are checked by the lookup."""
    return dtype == pl.String or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)


def write_frame(frame: pl.DataFrame | pl.LazyFrame, out: Path) -> None:
    """Write a frame atomically: to a temporary file beside ``out``, then rename it. A lazy one is streamed."""
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        if isinstance(frame, pl.LazyFrame):
            (frame.sink_csv if out.suffix == ".csv" else frame.sink_parquet)(part)
        elif out.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
        part.replace(out)
    except (OSError, pl.exceptions.PolarsError) as error:
        if is_disk_full(error):
            raise DiskFull("the disk is full", where=str(out), remedy="free some space, then run again") from error
        raise
    finally:
        part.unlink(missing_ok=True)
