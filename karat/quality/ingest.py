"""A user's files into a gold table: mapped, checked, and in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from karat.declare import GoldTable, Project
from karat.errors import NoRowsLeft, TableNotFound, did_you_mean
from karat.executors import Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Commit, Lake, Work
from karat.lake.conform import check_zone
from karat.names import TableName
from karat.quality.contract_check import Judged, conclude, judge, reasons_of
from karat.quality.gold_writer import write_gold
from karat.quality.map_selection import choose_map
from karat.quality.mapping import MappedRows, apply, bind
from karat.quality.maps import Format, Map, check_targets, find_map, load_map
from karat.quality.origin import GOLD_WORK, INGEST, SAMPLE, create_gold, origin
from karat.quality.quarantine import rows_aside
from karat.quality.sources import digest_of, head_of, read_source


@dataclass(frozen=True)
class Input:
    """One file, the map that reads it (None: it has the contract's columns), and what its naive times mean."""

    path: Path
    map: Map | None
    timezone: str | None


@dataclass(frozen=True)
class IngestResult:
    """``rows`` kept the contract, ``set_aside`` did not, ``reasons`` counts why; ``changed`` False: all of it was
    there already. ``map`` is the map that was used (maps, with commas); ``replaced_sample``: sample rows made way."""

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
) -> IngestResult:
    """Brings CSV files, Parquet files or Delta folders into a gold table, in one commit.

    Without ``map_path`` a file's columns must bear the contract's names, or exactly one map of the project must fit
    it. Sample rows are replaced; rows that were ingested before are updated by key. Rows that break the contract go to
    ``TABLE_set_aside``. The same files, map and contract twice change nothing. What is wrong with a whole input raises
    before anything is written: TableNotFound, InputNotFound, UnreadableInput, ColumnMissing, DeclarationError (map),
    NaiveTimestamp (no zone from call, map, contract or project), SchemaMismatch, NoRowsLeft, DiskFull.
    """
    check_zone(timezone)
    contract = _contract(project, table)
    name = project.gold_name(table)
    inputs = [_input(project, contract, path, map_path, timezone) for path in paths]
    used = ", ".join(dict.fromkeys(i.map.name for i in inputs if i.map)) or None
    work = Work(GOLD_WORK, _key(inputs, contract))
    done = lake.commit_of(name, work) if lake.exists(name) else None
    if done:
        create_gold(lake, name, contract, INGEST)  # in case the run that wrote the rows did not come so far
        return _again(lake, name, done, used)
    good, aside = _taken(inputs, contract, progress)
    if not good.height:
        raise _no_rows(aside, paths, name)
    progress(len(paths), len(paths), f"writing {name}")
    detail = {"origin": INGEST, "files": [str(p) for p in paths], "map": used}
    work = Work(work.kind, work.key, detail)
    replaces = origin(lake, name) == SAMPLE
    commit, reasons = write_gold(lake, name, contract, good, aside, work=work, replaces=replaces)
    replaced = replaces and commit.changed
    return IngestResult(name, commit.version, good.height, aside.height, reasons, commit.changed, used, replaced)


def _contract(project: Project, table: str) -> GoldTable:
    if table not in project.gold:
        raise TableNotFound(
            f"project {project.name!r} has no gold table {table!r}", remedy=did_you_mean(table, project.gold)
        )
    return project.gold[table]


def _project_zone(project: Project) -> str | None:
    """The project's time zone speaks for its data only where project.yaml names one."""
    return project.spec.timezone if "timezone" in project.spec.model_fields_set else None


def _input(project: Project, contract: GoldTable, path: Path, given: Path | None, timezone: str | None) -> Input:
    """The file with the map that is meant for it, which is bound to its columns before any row is read."""
    chosen = load_map(find_map(project, given)) if given is not None else None
    head = head_of(path, chosen.format if chosen else Format())
    if chosen is None:
        chosen = choose_map(project, contract, head, path)
    if chosen is not None:
        check_targets(chosen, contract)
        bind(chosen, head_of(path, chosen.format), str(path))
    zone = timezone or (chosen.timezone if chosen else None) or contract.timezone or _project_zone(project)
    return Input(path, chosen, zone)


def _key(inputs: Sequence[Input], contract: GoldTable) -> str:
    parts = {
        "files": [digest_of(i.path) for i in inputs],
        "maps": [i.map.model_dump(mode="json", exclude={"name", "description"}) if i.map else None for i in inputs],
        "timezones": [i.timezone for i in inputs],
        "contract": contract.model_dump(mode="json", exclude={"description", "owner"}),
    }
    return f"ingest:{fingerprint(parts)}"


def _again(lake: Lake, name: TableName, done: Commit, used: str | None) -> IngestResult:
    work = lake.last_work(name, GOLD_WORK)
    detail = work.detail if work else {}
    reasons = detail.get("reasons", {})
    rows = detail.get("rows", done.rows)
    return IngestResult(name, lake.version(name), rows, sum(reasons.values()), reasons, changed=False, map=used)


def _taken(inputs: Sequence[Input], contract: GoldTable, progress: Progress) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that keep the contract, a key unique across the files, and those set aside."""
    mapped: list[MappedRows] = []
    judged: list[Judged] = []
    for index, one in enumerate(inputs):
        progress(index, len(inputs), f"reading {one.path.name}")
        chosen = one.map or Map(columns={c: c for c in contract.columns})
        part = apply(chosen, read_source(one.path, chosen.format), contract, one.timezone)
        mapped.append(part)
        judged.append(judge(part.frame, contract, timezone=one.timezone, problems=part.problem))
    good, reasons = conclude(judged, contract)
    return good, rows_aside(mapped, reasons)


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
