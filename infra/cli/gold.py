"""``karat sample``, ``karat ingest`` and ``karat tables``: gold tables in, and the tables of the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.cli.app import console, errors, print_json
from infra.cli.tables import Column, Wide, print_table
from karat.declare import load_project
from karat.errors import WrongCall
from karat.lake import Lake
from karat.names import TableName
from karat.quality import IngestResult, origin, quarantine_name, write_sample
from karat.quality import ingest as bring_in
from karat.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]

_COLUMNS = (
    Column("table", whole=True),
    Column("version", number=True),
    Column("rows", number=True),
    Column("key", rank=1),
    Column("time", rank=2),
    Column("origin", rank=3),
    Column("owner", rank=4),
    Column("changed", whole=True, rank=5),
)

_REASON_COLUMNS = (Column("rows", number=True), Column("reason"))
_WRITTEN_COLUMNS = (
    Column("gold table", whole=True),
    Column("version", number=True),
    Column("rows", number=True),
    Column("set aside", number=True),
    Column("result"),
)


def sample(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    scale: Annotated[float, typer.Option(min=0.0001, help="1 is the documented size; 0.01 is quick")] = 1.0,
    seed: Annotated[int, typer.Option(help="another seed, another world of the same kind")] = 0,
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the last day of the data; yesterday (UTC) by default")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the project's sample gold tables.

    The rows come from the generator in the project's `gold.py`. The same scale, seed and end twice change nothing;
    others replace the sample. Rows that you have ingested are never replaced.

    Example:  `karat sample health_monitor --scale 0.1 --seed 7`
    """
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    last = end.date() if end else None
    with task_progress() as tell:
        done = write_sample(load_project(project, settings), lake, scale=scale, seed=seed, end=last, progress=tell)
    if as_json:
        print_json([_as_json(d) for d in done])
        return
    _show(done)


def ingest(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    table: Annotated[str, typer.Argument(help="one of the project's gold tables")],
    paths: Annotated[list[Path], typer.Argument(help="CSV, JSON, Parquet or Excel files, or folders of Delta tables")],
    *,
    map_path: Annotated[
        Path | None, typer.Option("--map", help="a map: a path, or a name in the project's maps folder")
    ] = None,
    no_map: Annotated[
        bool, typer.Option("--no-map", help="take the columns as they are, though a map of the project fits")
    ] = False,
    timezone: Annotated[str | None, typer.Option(help="what times without a zone mean, as in Europe/Berlin")] = None,
    as_json: Json = False,
) -> None:
    """Bring CSV, JSON, Parquet, Excel or Delta into a gold table; .gz, .zst, .bz2, .xz and .zip are unpacked.

    Columns are renamed and computed by a map, every row is checked against the table's contract, and rows that break
    it are set aside with their reason in `gold.TABLE_set_aside`. Sample rows are replaced; rows that were ingested
    before are updated by key; the same files twice change nothing. Without `--map` the one map of the project that
    fits is used; if none fits, or with `--no-map`, the columns must bear the contract's names.

    Example:  `karat ingest customers customers Telco-Customer-Churn.csv --map telco`
    """
    if no_map and map_path is not None:
        raise WrongCall("--map and --no-map are opposites", remedy="give one of them")
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    loaded = load_project(project, settings)
    with task_progress() as tell:
        done = bring_in(
            loaded, table, paths, lake, map_path=map_path, own_maps=not no_map, timezone=timezone, progress=tell
        )
    if as_json:
        print_json(_as_json(done))
        return
    if map_path is None and done.map:
        console.print(f"No map was named; what fits was used: [bold]{done.map}[/]")
    _show([done])


def tables(
    project: Annotated[str | None, typer.Argument(help="only this project's tables; all by default")] = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """List the tables of the lake with key, time column, version and rows.

    `--wide` also shows owner and time of the last change. Example:  `karat tables customers --wide`
    """
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    catalog = load_project(project, settings).catalog if project else None
    found = [_described(lake, name) for name in lake.tables(catalog)]
    if as_json:
        print_json(found)
        return
    if not found:
        name = project or "PROJECT"
        console.print(
            f"There is no table yet. Make gold tables with: karat sample {name}, or from your own files with: "
            f"karat ingest {name} TABLE FILE",
            highlight=False,
        )
        return
    print_table(console, _COLUMNS, [_cells(row) for row in found], wide=wide)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (", ".join(row["primary_key"]), row["timeseries"], row["origin"], row["owner"], row["changed"])
    return escape(row["name"]), str(row["version"]), f"{row['rows']:,}", *(escape(text or "") for text in texts)


def _described(lake: Lake, name: TableName) -> dict[str, Any]:
    info = lake.info(name)
    return {
        "name": str(name),
        "version": info.version,
        "rows": lake.count(name),
        "primary_key": list(info.primary_key),
        "timeseries": info.timeseries,
        "origin": origin(lake, name) if name.schema == "gold" else None,
        "owner": info.owner,
        "description": info.description,
        "changed": f"{lake.changed_at(name):%Y-%m-%d %H:%M}",
        "path": str(info.path),
    }


@contextmanager
def task_progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error, gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # Where nobody watches, Rich would leave an empty line.
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("reading declarations", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def _as_json(done: IngestResult) -> dict[str, Any]:
    return {
        "table": str(done.table),
        "version": done.version,
        "rows": done.rows,
        "set_aside": done.set_aside,
        "reasons": done.reasons,
        "nulled": done.nulled,
        "short": done.short,
        "changed": done.changed,
        "map": done.map,
        "replaced_sample": done.replaced_sample,
    }


def _show(done: list[IngestResult]) -> None:
    rows = []
    for one in done:
        aside = f"[yellow]{one.set_aside:,}[/]" if one.set_aside else "0"
        rows.append((escape(str(one.table)), str(one.version), f"{one.rows:,}", aside, _happened(one)))
    print_table(console, _WRITTEN_COLUMNS, rows)
    for one in done:
        if one.short:
            console.print(
                f"{one.short:,} lines have fewer fields than the header; the missing ones are null.", highlight=False
            )
        if one.reasons or one.nulled:
            _show_reasons(one)


def _happened(one: IngestResult) -> str:
    if not one.changed:
        return "was there already; nothing changed"
    return "written in place of the sample" if one.replaced_sample else "written"


def _show_reasons(one: IngestResult) -> None:
    what = "set aside, and values set to null," if one.nulled else "set aside"
    console.print(f"{what} in {quarantine_name(one.table)}:", highlight=False, soft_wrap=True)
    counted = (one.reasons | one.nulled).items()
    print_table(console, _REASON_COLUMNS, [(f"{count:,}", escape(reason)) for reason, count in counted])
