"""``karat score``: batch predictions for a file of keys."""

from __future__ import annotations

import os
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
import typer

from infra.cli.app import console
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import POLARS
from karat.errors import DiskFull, SchemaMismatch, UnknownModel, WrongCall, did_you_mean, is_disk_full
from karat.inference import predict
from karat.lake import Lake
from karat.names import ModelRef, catalog_of
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
    keys: Annotated[Path, typer.Option(help="CSV or Parquet with the model's lookup keys, by suffix")],
    out: Annotated[Path, typer.Option(help="CSV or Parquet to be written, by suffix")],
    missing: Annotated[
        Literal["raise", "null"], typer.Option(help="what becomes of a key that no feature table knows")
    ] = "raise",
) -> None:
    """Score a file of keys with a model's champion.

    The rows stay as they are and in their order; prediction, model name, version, run and time come beside them. A
    column that bears a feature's name overrides the lookup. Example:
    `karat score customers.churn --keys keys.csv --out scored.csv`
    """
    settings = Settings()
    _check_paths(keys, out)
    registry = open_registry(settings)
    loaded = registry.load(reference(model, registry, settings))
    given = pl.read_parquet(keys) if keys.suffix == ".parquet" else pl.read_csv(keys, infer_schema=False)
    typed = _typed(given, loaded, keys) if keys.suffix == ".csv" else given
    added = predict(
        Lake(settings.lake, settings.environment),
        loaded,
        typed,
        missing=missing,
        library=FunctionLibrary(settings),
        projects=ProjectCatalog(settings),
    )
    write_frame(given.hstack(added), out)
    console.print(
        f"{given.height} rows scored by {loaded.name} version {loaded.version}: {out}", highlight=False, soft_wrap=True
    )


def _check_paths(keys: Path, out: Path) -> None:
    check_suffix(keys, "--keys")
    if not keys.is_file():
        raise WrongCall(f"there is no file {keys}", where="--keys")
    check_out(out)


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


def _typed(given: pl.DataFrame, loaded: LoadedModel, path: Path) -> pl.DataFrame:
    """A CSV's text in the types of the model's keys and features; a key such as 007 stays text where it is text."""
    types = {**loaded.metadata.feature_types} | {n: t for f in loaded.functions for n, t in f.types.items()}
    wanted = {n: t for n, t in types.items() if n in given.columns}
    keys = {column: _declared(lk.schema[key]) for lk in loaded.lookups for column, key in lk.keys.items()}
    # The time by which a lookup finds its row may be an hour, where that table's own is a day.
    times = {lk.time[0]: "timestamp" for lk in loaded.lookups if lk.time and not _are_days(given, lk.time[0])}
    days = {lk.time[0]: "date" for lk in loaded.lookups if lk.time and lk.time[0] not in times}
    known = days | times | keys | dict(loaded.metadata.spine_types)
    wanted |= {column: dtype for column, dtype in known.items() if column in given.columns}
    return given.with_columns(_cast(given[name], dtype, path) for name, dtype in wanted.items())


def _are_days(given: pl.DataFrame, column: str) -> bool:
    """Whether a CSV column holds days alone; True where the file has no such column."""
    return column not in given.columns or bool(
        given[column].str.strip_chars().str.len_chars().le(len("2024-09-30")).all()
    )


def _declared(arrow: str) -> str:
    return _ARROW_TO_DECLARED.get(arrow, arrow)


def _cast(column: pl.Series, dtype: str, path: Path) -> pl.Series:
    target = POLARS[dtype]
    if dtype == "bool":
        cast = column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    elif dtype == "timestamp":
        cast = _moments(column)
    elif dtype == "date":  # a time at midnight is its day
        found = _moments(column)
        cast = found.set(found.dt.time() != time(0), None).dt.date()
    else:
        cast = column.cast(target, strict=False)
    bad = column.is_not_null() & cast.is_null()
    if bad.any():
        row = bad.arg_max() or 0
        noun, form = _FORMS[dtype]
        raise SchemaMismatch(
            f"column {column.name!r} has {int(bad.sum())} of {len(column)} values that are no {noun}, the first is "
            f"{column[row]!r} in row {row + 1}",
            where=str(path),
            remedy=f"write {form}; leave a cell empty where nothing is known",
        )
    return cast


def _moments(column: pl.Series) -> pl.Series:
    """Read ISO times; one without a zone is UTC, and a date is its midnight."""
    text = pl.col("text").str.strip_chars()
    plain = text.str.replace("T", " ", literal=True)
    readings = [text.str.to_datetime("%+", time_unit="us", strict=False).dt.convert_time_zone("UTC")]
    for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"):
        readings.append(plain.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC"))
    readings.append(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us", "UTC")))
    return column.alias("text").to_frame().select(pl.coalesce(readings).alias(column.name)).to_series()


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
