"""``karat run`` and ``karat runs``."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from infra.cli.app import console, errors, print_json
from infra.cli.follow import Follower
from infra.cli.summary import addresses, models_of, show_models
from infra.cli.tables import Column, Wide, print_table
from infra.expression_check import refuse_mistakes
from infra.impact import refuse_breaking
from infra.local.platform import register
from infra.local.supervisor import Supervisor
from infra.prefect_api import Prefect, Run
from infra.services import require_mlflow, require_prefect, require_ray, require_worker
from karat.declare import load_project
from karat.errors import NotFound
from karat.lake import Lake
from karat.settings import Settings

FLOW = "master-orchestrator"
_RUN_COLUMNS = (
    Column("run", whole=True),
    Column("flow", rank=1),
    Column("project"),
    Column("state"),
    Column("started", whole=True),
    Column("seconds", number=True, rank=2),
)


def run(  # noqa: PLR0917 - Typer takes options by position
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    domain: Annotated[str | None, typer.Option(help="only the models of this domain")] = None,
    models: Annotated[str | None, typer.Option(help="only these models: A,B")] = None,
    full: Annotated[bool, typer.Option("--full", help="recompute every day of the features")] = False,
    train: Annotated[
        Literal["when-due", "always", "never"],
        typer.Option(help="when-due: on the project's day, and models without a valid champion"),
    ] = "when-due",
    search: Annotated[
        Literal["when-due", "always", "never"],
        typer.Option(help="parameters: when-due: of models whose declaration has not been searched yet"),
    ] = "when-due",
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="also where features that a champion reads have changed")
    ] = False,
    wide: Wide = False,
) -> None:
    """Runs a project: features, training, promotion, batch inference, serving; follows it to its end.

    Sample gold is made where there is none. A run that would give another meaning to features that a champion reads is
    refused before anything is done; with `--allow-breaking` these models are trained anew. Exit status 1 if the run
    failed, 2 for an unknown project or model, an expression that gold can't answer, or a refused change.
    """
    settings = Settings()
    loaded = load_project(project, settings)
    chosen = loaded.select(
        domain=domain, models=tuple(m.strip() for m in models.split(",") if m.strip()) if models else ()
    )
    refuse_mistakes(loaded, chosen)
    if not allow_breaking:
        tables = loaded.tables_of(chosen) if chosen else tuple(loaded.tables)
        refuse_breaking(loaded, tables, Lake(settings.lake, settings.environment), settings)
    for required in (require_prefect, require_worker, require_ray, require_mlflow):
        required(settings)
    api = Prefect(settings)
    parameters: dict[str, Any] = {"project": project, "domain": domain, "models": list(chosen) if models else None}
    parameters |= {"full": full, "train": train, "search": search, "allow_breaking": allow_breaking}
    started = _started(api, settings, project, parameters)
    console.print(f"{FLOW}/{project} started: {api.address(started.id)}", highlight=False, soft_wrap=True)
    ended = _followed(api, started)
    completed = ended.state_type == "COMPLETED"
    show_models(console, models_of(api, ended, project), loaded, ended_well=completed, wide=wide)
    if not completed:
        _say_why(api, ended, settings)
        sys.exit(1)
    where = addresses(settings, api, ended, loaded, tuple(chosen))
    console.print(where, markup=False, highlight=False, soft_wrap=True)


def _started(api: Prefect, settings: Settings, project: str, parameters: dict[str, Any]) -> Run:
    """The run; a project that is new since the platform came up is made known to it before."""
    try:
        return api.start(FLOW, project, f"master-{project}", parameters)
    except NotFound:
        if not Supervisor(settings).up_to_date():  # a platform of other settings would not find the project either
            raise
        console.print(f"{project} is new to the platform: registering its deployments")
        register(settings)
        return api.start(FLOW, project, f"master-{project}", parameters)


def _followed(api: Prefect, started: Run) -> Run:
    """Ctrl-C leaves the run to the platform, or cancels it where a person says so."""
    try:
        return Follower(api, console).follow(started)
    except KeyboardInterrupt:
        if sys.stdin.isatty() and typer.confirm("\nCancel the run, too? Otherwise it goes on", default=False):
            api.cancel(started.id)
            errors.print("cancelled: its jobs are being stopped")
        else:
            errors.print(f"the run goes on: {api.address(started.id)}", soft_wrap=True)
        sys.exit(130)


def _say_why(api: Prefect, ended: Run, settings: Settings) -> None:
    errors.print(f"[bold red]{escape(ended.state_name or 'Failed')}[/]: {escape(ended.message)}", highlight=False)
    errors.print(f"log: {api.address(ended.id)}  jobs: {settings.ray_dashboard_url}/#/jobs", soft_wrap=True)


def runs(
    limit: Annotated[int, typer.Option(min=1, max=200, help="how many")] = 20,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    wide: Wide = False,
) -> None:
    """Lists the latest runs of all flows, the newest first."""
    settings = Settings()
    api = Prefect(settings)
    found = api.recent(limit)
    names = api.flow_names(sorted({r.flow_id for r in found}))
    rows = [_row(api, r, names) for r in found]
    if json:
        print_json(rows)
        return
    if not rows:
        console.print("There is no run yet. Start one with: karat run PROJECT")
        return
    keys = ("name", "flow", "project", "state", "started", "seconds")
    cells = [[escape("" if row[k] is None else str(row[k])) for k in keys] for row in rows]
    print_table(console, _RUN_COLUMNS, cells, wide=wide, title="Runs")


def _row(api: Prefect, run: Run, names: dict[str, str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "flow": names.get(run.flow_id, ""),
        "project": run.parameters.get("project"),
        "parameters": run.parameters,
        "state": run.state_name,
        "message": run.message,
        "started": f"{run.start_time.astimezone():%Y-%m-%d %H:%M:%S}" if run.start_time else None,
        "seconds": round(run.total_run_time, 1),
        "address": api.address(run.id),
    }
