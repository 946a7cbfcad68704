"""``karat up``, ``down`` and ``status``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.cli.app import console, errors, print_json
from infra.cli.tables import Column, print_table
from infra.local.platform import down as stop
from infra.local.platform import up as start
from infra.local.platform_parts import parts
from infra.local.status import PlatformStatus
from infra.local.status import status as look
from karat.settings import Settings

_STARTED_COLUMNS = (Column("part", whole=True), Column("address"))
_COLUMNS = (
    Column("part", whole=True),
    Column("state"),
    Column("pid", number=True, rank=2),
    Column("up for", number=True, rank=1),
    Column("address"),
)


def up() -> None:
    """Starts what does not run yet of Ray, MLflow, Prefect and Serve, and waits until each answers.

    Safe to call at any time: it repairs what is broken and leaves alone what is sound. State is kept in `.karat/`, or
    in `KARAT_HOME`; settings such as `KARAT_PREFECT_PORT` move the ports.
    """
    settings = Settings()
    with _bar() as bar:
        task = bar.add_task("looking at what runs")
        started = start(
            settings, lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
        )
    title = "The platform runs" if started.fresh else "The platform runs already"
    rows = [(escape(part.title), escape(part.address)) for part in parts(settings).values() if part.address]
    print_table(console, _STARTED_COLUMNS, rows, title=title)
    console.print(f"{len(started.deployments)} deployments are registered with Prefect.")
    if settings.auth == "on":
        console.print("Each page asks for its login: karat open prefect, mlflow or ray shows it.")
    else:
        console.print("No page asks for a login: KARAT_AUTH is off.")
    for problem in started.problems:
        errors.print(f"[yellow]not registered:[/] {problem}", soft_wrap=True)


def down() -> None:
    """Stops the local platform, with whatever it runs; leaves no process behind, and all data in place.

    Runs that are under way are cancelled first, with their jobs, and named. Scheduled ones wait.
    """
    with _bar() as bar:
        task = bar.add_task("looking at what runs")
        stopped = stop(
            Settings(), lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
        )
    for run in stopped.cancelled:
        console.print(f"Cancelled: {run}", highlight=False, soft_wrap=True)
    if stopped.left:
        console.print(f"Cut off: {stopped.left}", highlight=False, soft_wrap=True)
    console.print(f"{stopped.processes} processes were ended." if stopped.processes else "Nothing was running.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON on standard output.")] = False,
) -> None:
    """Says whether every part answers, and whether versions, schedules, databases, nodes and disk are sound.

    It looks at the processes and ports themselves: a part that runs is shown, even where nobody watches it any more,
    and so is a stranger on one of the platform's ports. Exits with 1 when something is not sound.
    """
    found = look(Settings())
    if as_json:
        print_json(found.model_dump())
    else:
        _show(found)
    if not found.sound:
        raise typer.Exit(1)


def _show(found: PlatformStatus) -> None:
    if found.auth == "off":
        console.print("[yellow]KARAT_AUTH is off:[/] whoever reaches a port of this machine can run code as you.")
    if not found.running:
        console.print(f"Nothing runs for {found.home}; start it with: karat up", soft_wrap=True)
    else:
        print_table(console, _COLUMNS, _cells(found), title=f"Platform of {escape(str(found.home))}")
    silent = [f"{part.title}: {part.problem} (log: {part.log})" for part in found.parts if part.problem]
    for problem in [*found.problems, *(silent if found.running else ())]:
        console.print(f"- {problem}", markup=False, soft_wrap=True)
    for check in found.checks:
        console.print(f"{check.name}: {'[red]not sound[/]' if check.problems else '[green]sound[/]'}")
        for problem in check.problems:
            console.print(f"- {problem}", markup=False, soft_wrap=True)


def _cells(found: PlatformStatus) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    for part in found.parts:
        uptime = str(timedelta(seconds=int(part.uptime_seconds))) if part.uptime_seconds is not None else ""
        state = f"[red]silent ({part.state})[/]" if part.problem else f"[green]{part.state}[/]"
        cells.append((escape(part.title), state, str(part.pid or ""), uptime, escape(part.address)))
    return cells


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(20),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,  # where nobody watches, Rich would leave an empty line
    )
