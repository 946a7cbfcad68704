"""``karat rebuild``: reproduces a model's training set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.app import console, print_json
from infra.cli.score import check_out, reference, write_frame
from karat.declare import load_project
from karat.declare.models import ModelSpec
from karat.lake import Lake
from karat.lifecycle import ModelContext
from karat.lifecycle import rebuild as rebuild_version
from karat.lifecycle.version_training_set import rebuild_files
from karat.registry import ModelVersion, Registry, open_registry
from karat.settings import Settings
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.rebuild_record import ErasedRows
from karat.training_sets.sharded_build import FileTrainingSet
from karat.training_sets.training_set import TrainingSet


def rebuild(
    model: Annotated[str, typer.Argument(help="project.model, or bare; @challenger or /3 may follow")],
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet to be written, by suffix")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Make a model's training set again, byte for byte.

    The stored spine is filled in from the Delta versions that the model pins; the digest of what comes out must be the
    one in the model. Above KARAT_TRAINING_FILES_ABOVE rows it is made and written in blocks of entities: memory holds
    one of them. Example: `karat rebuild customers.churn --out churn.parquet`
    """
    if out is not None:
        check_out(out)
    settings = Settings()
    registry = open_registry(settings)
    version = registry.resolve(reference(model, registry, settings))
    erased = ErasedRows.from_json(version.own_tags.erased)
    metadata = registry.metadata(version)
    large = metadata.declaration is not None and metadata.pins["spine"]["rows"] > settings.training_files_above
    made = _in_blocks(registry, version, settings, out) if large else _at_once(registry, version, settings, out)
    told = {
        "model": str(version.name),
        "version": version.version,
        "rows": made.rows,
        "features": list(made.features),
        "label": made.label,
        "digest": made.digest,
        "erased_rows": metadata.pins["spine"]["rows"] - made.rows,
        "checked": erased is None or bool(erased.digest),
        "tables": {str(p.table): p.version for p in made.lookups},
        "out": str(out) if out else None,
    }
    if as_json:
        print_json(told)
        return
    known = "as in the model" if told["checked"] else "which nothing can be checked by"
    less = f"; {told['erased_rows']} rows were erased since" if told["erased_rows"] else ""
    written = f", written to {out}" if out else ""
    console.print(
        f"{version.uri}: {made.rows} rows, {len(made.features)} features, digest {made.digest} {known}{less}{written}",
        highlight=False,
        soft_wrap=True,
    )


def _at_once(registry: Registry, version: ModelVersion, settings: Settings, out: Path | None) -> TrainingSet:
    """Reproduce a training set in memory, and write it."""
    made = rebuild_version(Lake(settings.lake, settings.environment), registry, version, FunctionLibrary(settings))
    if out is not None:
        write_frame(made.data, out)
    return made


def _in_blocks(registry: Registry, version: ModelVersion, settings: Settings, out: Path | None) -> FileTrainingSet:
    """Reproduce a large training set in blocks, in files that are deleted afterwards, and stream them into one."""
    metadata, lake = registry.metadata(version), Lake(settings.lake, settings.environment)
    project = load_project(str(metadata.project), settings)
    context = ModelContext(project, ModelSpec.model_validate(metadata.declaration), lake, registry)
    with tempfile.TemporaryDirectory(prefix="karat-rebuild-", dir=out.parent if out else lake.root) as folder:
        made = rebuild_files(context, version, Path(folder) / "set")
        if out is not None:
            write_frame(made.files.scan(), out)
    return made
