"""``karat rebuild``: reproduces a model's training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.app import console, print_json
from infra.cli.score import check_out, reference, write_frame
from karat.lake import Lake
from karat.lifecycle import rebuild as rebuild_version
from karat.registry import open_registry
from karat.settings import Settings
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.rebuild_record import ErasedRows


def rebuild(
    model: Annotated[str, typer.Argument(help="project.model, or bare; @challenger or /3 may follow")],
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet to be written, by suffix")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Make a model's training set again, byte for byte.

    The stored spine is filled in from the Delta versions that the model pins; the digest of what comes out must be the
    one in the model. Example: `karat rebuild customers.churn --out churn.parquet`
    """
    if out is not None:
        check_out(out)
    settings = Settings()
    registry = open_registry(settings)
    version = registry.resolve(reference(model, registry, settings))
    lake = Lake(settings.lake, settings.environment)
    erased = ErasedRows.from_json(version.own_tags.erased)
    made = rebuild_version(lake, registry, version, FunctionLibrary(settings))
    if out is not None:
        write_frame(made.data, out)
    told = {
        "model": str(version.name),
        "version": version.version,
        "rows": made.data.height,
        "features": list(made.features),
        "label": made.label,
        "digest": made.digest,
        "erased_rows": made.erased_rows,
        "checked": erased is None or bool(erased.digest),
        "tables": {str(p.table): p.version for p in made.lookups},
        "out": str(out) if out else None,
    }
    if as_json:
        print_json(told)
        return
    known = "as in the model" if told["checked"] else "which nothing can be checked by"
    less = f"; {made.erased_rows} rows were erased since" if made.erased_rows else ""
    written = f", written to {out}" if out else ""
    console.print(
        f"{version.uri}: {made.data.height} rows, {len(made.features)} features, digest {made.digest} {known}{less}"
        f"{written}",
        highlight=False,
        soft_wrap=True,
    )
