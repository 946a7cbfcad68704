"""A user's files into a gold table: mapped, checked, and in one commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import NoRowsLeft, TableNotFound, did_you_mean
from karat.executors import Progress, silent
from karat.lake import Commit, Lake, Work
from karat.names import TableName
from karat.quality.aside import reasons_of, rows_aside
from karat.quality.check import Checked, check
from karat.quality.choose import choose_map
from karat.quality.mapping import Mapped, apply, bind
from karat.quality.maps import Format, Map, check_targets, find_map, load_map
from karat.quality.origin import GOLD_WORK, INGEST, SAMPLE, origin
from karat.quality.sources import digest_of, head_of, read_source
from karat.quality.write import write_gold


@dataclass(frozen=True)
class Ingested:
    """``rows`` kept the contract, ``set_aside`` did not, ``reasons`` counts why; ``changed`` False: all of it was
    there already. ``map`` is the map that was used, ``replaced_sample`` says that sample rows made way."""

    table: TableName
    version: int
    rows: int
    set_aside: int
    reasons: dict[str, int] = field(default_factory=dict)
    changed: bool = True
    map: str | None = None
    replaced_sample: bool = False


def ingest(
    project: Project,
    table: str,
    paths: Sequence[Path],
    lake: Lake,
    *,
    map_path: Path | None = None,
    timezone: str | None = None,
    progress: Progress = silent,
) -> Ingested:
    """Brings CSV files, Parquet files or Delta folders into a gold table, in one commit.

    Without ``map_path`` the columns must bear the contract's names, or exactly one map of the project must fit. Sample
    rows are replaced; rows that were ingested before are updated by key. Rows that break the contract go to
    ``TABLE_set_aside``. The same files, map and contract twice change nothing. What is wrong with a whole input raises
    before anything is written: TableNotFound, InputNotFound, UnreadableInput, ColumnMissing, DeclarationError (map),
    NaiveTimestamp (no zone from call, map, contract or project), SchemaMismatch, NoRowsLeft, DiskFull.
    """
    contract = _contract(project, table)
    name = project.gold_name(table)
    chosen = _map(project, contract, paths, map_path)
    zone = timezone or (chosen.timezone if chosen else None) or contract.timezone or _project_zone(project)
    work = Work(GOLD_WORK, _key(paths, chosen, contract, zone))
    done = lake.done(name, work) if lake.exists(name) else None
    if done:
        return _again(lake, name, done, chosen)
    checked, aside = _taken(paths, chosen, contract, zone, progress)
    if not checked.good.height:
        raise _no_rows(aside, paths, name)
    progress(len(paths), len(paths), f"writing {name}")
    used = chosen.name if chosen else None
    detail = {"origin": INGEST, "files": [str(p) for p in paths], "map": used}
    replaces = origin(lake, name) == SAMPLE
    commit, reasons = write_gold(
        lake, name, contract, checked.good, aside, work=Work(work.kind, work.key, detail), replaces=replaces
    )
    return Ingested(
        name,
        commit.version,
        checked.good.height,
        aside.height,
        reasons,
        commit.changed,
        used,
        replaces and commit.changed,
    )


def _contract(project: Project, table: str) -> GoldTable:
    if table not in project.gold:
        raise TableNotFound(
            f"project {project.name!r} has no gold table {table!r}", remedy=did_you_mean(table, project.gold)
        )
    return project.gold[table]


def _project_zone(project: Project) -> str | None:
    """The project's time zone speaks for its data only where project.yaml names one."""
    return project.spec.timezone if "timezone" in project.spec.model_fields_set else None


def _map(project: Project, contract: GoldTable, paths: Sequence[Path], given: Path | None) -> Map | None:
    """The map to use, bound to the columns of every file."""
    chosen = load_map(find_map(project, given)) if given is not None else None
    heads = [head_of(p, chosen.format if chosen else Format()) for p in paths]
    if chosen is None:
        chosen = choose_map(project, contract, heads, paths)
    if chosen is not None:
        check_targets(chosen, contract)
        for path in paths:
            bind(chosen, head_of(path, chosen.format), str(path))
    return chosen


def _key(paths: Sequence[Path], chosen: Map | None, contract: GoldTable, zone: str | None) -> str:
    parts = {
        "files": [digest_of(p) for p in paths],
        "map": chosen.model_dump(mode="json", exclude={"name", "description"}) if chosen else None,
        "contract": contract.model_dump(mode="json", exclude={"description", "owner"}),
        "timezone": zone,
    }
    return f"ingest:{hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()}"


def _again(lake: Lake, name: TableName, done: Commit, chosen: Map | None) -> Ingested:
    work = lake.last_work(name, GOLD_WORK)
    detail = work.detail if work else {}
    reasons = detail.get("reasons", {})
    return Ingested(
        name,
        done.version,
        detail.get("rows", done.rows),
        sum(reasons.values()),
        reasons,
        changed=False,
        map=chosen.name if chosen else None,
    )


def _taken(
    paths: Sequence[Path], chosen: Map | None, contract: GoldTable, zone: str | None, progress: Progress
) -> tuple[Checked, pl.DataFrame]:
    """Every file read and mapped, all rows checked together, so that a key is unique across the files."""
    mapped: list[Mapped] = []
    for index, path in enumerate(paths):
        progress(index, len(paths), f"reading {path.name}")
        source = read_source(path, chosen.format if chosen else Format())
        mapped.append(apply(chosen or _identity(contract), source, contract, zone))
    frame = pl.concat([m.frame for m in mapped], how="vertical_relaxed")
    checked = check(frame, contract, timezone=zone, problems=pl.concat([m.problem for m in mapped]))
    return checked, rows_aside(mapped, checked)


def _identity(contract: GoldTable) -> Map:
    return Map(columns={c: c for c in contract.columns})


def _no_rows(aside: pl.DataFrame, paths: Sequence[Path], name: TableName) -> NoRowsLeft:
    files = ", ".join(str(p) for p in paths)
    if not aside.height:
        return NoRowsLeft(f"{files}: there are no rows", where=str(name), remedy="nothing was written")
    reasons = "".join(f"\n    {n} x {r}" for r, n in reasons_of(aside).items())
    example = f"\n    for example {aside['place'][0]}: {aside['row'][0][:300]}"
    return NoRowsLeft(
        f"{files}: none of {aside.height} rows keeps the contract:{reasons}{example}",
        where=str(name),
        remedy="mend the file or its map; nothing was written",
    )
