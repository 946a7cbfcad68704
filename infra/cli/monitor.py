"""``karat monitor``: runs the checks of a project's champions now, without a platform."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer
from rich.markup import escape

from infra.cli.app import console, errors, print_json
from infra.cli.drift import show_reports
from karat.clock import utc_now
from karat.declare import load_project
from karat.errors import NoChampion, PartlyFailed
from karat.lake import Lake
from karat.lifecycle import ModelContext
from karat.monitoring import checks_of, write_drift
from karat.monitoring.drift_check import check_champion
from karat.monitoring.drift_table import POLARS_SCHEMA
from karat.registry import open_registry
from karat.settings import Settings


def monitor(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    models: Annotated[str | None, typer.Option(help="only these models: A,B")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """Check the champions now: drift of features and predictions, fairness of models with protected groups.

    It writes the same rows of `monitoring.drift` and the same pages as the nightly run, and prints what it found. A
    repeat on the same day replaces them. It needs no platform. Exit status 1 if a check failed; drift is no failure.

    Example:  `karat monitor customers --models churn`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    chosen = loaded.select(models=tuple(m.strip() for m in models.split(",") if m.strip()) if models else ())
    lake, registry = Lake(settings.lake, settings.environment), open_registry(settings)
    found, failed = [], []
    for name, spec in chosen.items():
        context = ModelContext(loaded, spec, lake, registry)
        try:
            checked = check_champion(context, checks=checks_of(spec), day=utc_now().date())
        except NoChampion:
            errors.print(f"{name}: no champion yet: karat run {project} --models {name}", highlight=False)
            continue
        found += [one.rows for one in checked.results if one.rows.height]
        failed += [f"{name}, {check}: {error}" for check, error in checked.failed.items()]
    rows = pl.concat(found) if found else pl.DataFrame(schema=POLARS_SCHEMA)
    rows = rows.with_columns(pl.lit(utc_now(), dtype=POLARS_SCHEMA["checked_at"]).alias("checked_at"))
    write_drift(lake, loaded.catalog, rows)
    if as_json:
        print_json(rows.to_dicts())
    elif rows.height:
        show_reports(rows)
    else:
        console.print(f"Nothing was checked: {project} has no champion. karat run {escape(project)} trains some")
    if failed:
        raise PartlyFailed("\n".join(failed), where=project, remedy="mend the cause, then: karat monitor " + project)
