"""Ingestion: a user's files into a gold table, mapped and checked, in one commit."""

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
from karat.quality.contract_check import CheckedRows, check_rows, count_reasons, kept_nulls, resolve_duplicates
from karat.quality.gold_writer import write_gold
from karat.quality.map_selection import choose_map
from karat.quality.mapping import MappedRows, apply_map, bind_map
from karat.quality.maps import Map, check_targets, find_map, load_map
from karat.quality.origin import GOLD_WORK, INGEST, SAMPLE, create_gold, origin
from karat.quality.quarantine import RowsBeside, original_rows, quarantined_rows
from karat.quality.sources import digest_of, head_of, read_source
from karat.quality.zones import zone_of_map


@dataclass(frozen=True)
class Input:
    """One file to ingest.

    Attributes:
        path: The file.
        map: The map that reads it; None if it has the contract's columns.
        timezone: IANA zone of naive times.
    """

    path: Path
    map: Map | None
    timezone: str | None


@dataclass(frozen=True)
class IngestResult:
    """The outcome of an ingestion.

    Attributes:
        table: The gold table.
        version: Its version.
        rows: Rows that keep the contract.
        set_aside: Rows that break it.
        reasons: How many rows were set aside for each reason.
        changed: Whether anything was written.
        map: The map that was used; several are separated by commas.
        replaced_sample: Whether the rows replaced a sample.
        nulled: In how many kept rows a value was set to null, for each reason.
        short: How many lines had fewer fields than the header; the missing ones are null.
    """

    table: TableName
    version: int
    rows: int
    set_aside: int
    reasons: dict[str, int] = field(default_factory=dict)
    changed: bool = True
    map: str | None = None
    replaced_sample: bool = False
    nulled: dict[str, int] = field(default_factory=dict)
    short: int = 0


def ingest(
    project: Project,
    table: str,
    paths: Sequence[Path],
    lake: Lake,
    *,
    map_path: Path | None = None,
    own_maps: bool = True,
    timezone: str | None = None,
    progress: Progress = silent,
) -> IngestResult:
    """Ingest files (CSV, Parquet, JSON, Excel) or Delta folders into a gold table, in one commit.

    Sample rows are replaced; rows ingested before are updated by key. Rows that break the contract go to
    ``TABLE_set_aside``; so does a copy of each row of which a rule set a value to null. The same files, map and
    contract again change nothing. Errors of a whole input are raised before anything is written.

    Args:
        project: The project.
        table: The gold table.
        paths: The files.
        lake: The lake.
        map_path: A map; by default the one of the project that fits the files, else they have the contract's columns.
        own_maps: Whether the project's maps are looked at if ``map_path`` names none.
        timezone: IANA zone of naive times; by default the map's, the contract's or the project's.
        progress: Called after each file.

    Returns:
        The outcome.

    Raises:
        TableNotFound: The project has no such gold table.
        InputNotFound: A file does not exist.
        UnreadableInput: A file cannot be read.
        ColumnMissing: A file lacks a column.
        DeclarationError: The map is invalid.
        NaiveTimestamp: Times have no zone, and none is declared.
        SchemaMismatch: A column's type means something else.
        NoRowsLeft: Every row breaks the contract.
        DiskFull: The volume is full.
    """
    check_zone(timezone)
    contract = _contract(project, table)
    name = project.gold_name(table)
    inputs = [_input(project, contract, path, map_path, timezone, own=own_maps) for path in paths]
    used = ", ".join(dict.fromkeys(i.map.name for i in inputs if i.map)) or None
    work = Work(GOLD_WORK, _key(inputs, contract))
    done = lake.commit_of(name, work) if lake.exists(name) else None
    if done:
        create_gold(lake, name, contract, INGEST)  # in case the run that wrote the rows was killed before
        return _unchanged(lake, name, done, used)
    good, beside, short = _read_inputs(inputs, contract, progress)
    if not good.height:
        raise _no_rows(beside.aside, paths, name)
    progress(len(paths), len(paths), f"writing {name}")
    detail = {"origin": INGEST, "files": [str(p) for p in paths], "map": used, "short": short}
    work = Work(work.kind, work.key, detail)
    replaces = origin(lake, name) == SAMPLE
    commit, reasons = write_gold(lake, name, contract, good, beside, work=work, replaces=replaces)
    replaced, nulled = replaces and commit.changed, count_reasons(beside.nulled)
    rows, aside = good.height, beside.aside.height
    return IngestResult(name, commit.version, rows, aside, reasons, commit.changed, used, replaced, nulled, short)


def _contract(project: Project, table: str) -> GoldTable:
    if table not in project.gold:
        raise TableNotFound(
            f"project {project.name!r} has no gold table {table!r}", remedy=did_you_mean(table, project.gold)
        )
    return project.gold[table]


def _input(
    project: Project, contract: GoldTable, path: Path, given: Path | None, timezone: str | None, *, own: bool
) -> Input:
    """The file with its map, which is bound to the file's columns before any row is read."""
    if given is not None:
        chosen: Map | None = load_map(find_map(project, given))
    else:
        chosen = choose_map(project, contract, path, own=own)
    if chosen is not None:
        check_targets(chosen, contract)
        bind_map(chosen, head_of(path, chosen.format), str(path))
    return Input(path, chosen, timezone or zone_of_map(project, contract, chosen))


def _key(inputs: Sequence[Input], contract: GoldTable) -> str:
    parts = {
        "files": [digest_of(i.path) for i in inputs],
        "maps": [i.map.model_dump(mode="json", exclude={"name", "description"}) if i.map else None for i in inputs],
        "timezones": [i.timezone for i in inputs],
        "contract": contract.model_dump(mode="json", exclude={"description", "owner"}),
    }
    return f"ingest:{fingerprint(parts)}"


def _unchanged(lake: Lake, name: TableName, done: Commit, used: str | None) -> IngestResult:
    work = lake.last_work(name, GOLD_WORK)
    detail = work.detail if work else {}
    reasons = detail.get("reasons", {})
    rows = detail.get("rows", done.rows)
    nulled, short = detail.get("nulled", {}), detail.get("short", 0)
    version, aside = lake.version(name), sum(reasons.values())
    return IngestResult(name, version, rows, aside, reasons, changed=False, map=used, nulled=nulled, short=short)


def _read_inputs(
    inputs: Sequence[Input], contract: GoldTable, progress: Progress
) -> tuple[pl.DataFrame, RowsBeside, int]:
    """The rows that keep the contract, with a key unique across the files, those beside them, and the short lines."""
    mapped: list[MappedRows] = []
    checked: list[CheckedRows] = []
    for index, one in enumerate(inputs):
        progress(index, len(inputs), f"reading {one.path.name}")
        chosen = one.map or Map(columns={c: c for c in contract.columns})
        part = apply_map(chosen, read_source(one.path, chosen.format), contract, one.timezone)
        mapped.append(part)
        checked.append(check_rows(part.frame, contract, timezone=one.timezone, problems=part.problem))
    good, reasons = resolve_duplicates(checked, contract)
    aside = quarantined_rows(mapped, reasons)
    nulled = [
        original_rows(part, why)
        for part, rows, reason in zip(mapped, checked, reasons, strict=True)
        for why in kept_nulls(rows, reason)
    ]
    return good, RowsBeside(aside, pl.concat([aside.clear(), *nulled])), sum(len(part.source.short) for part in mapped)


def _no_rows(aside: pl.DataFrame, paths: Sequence[Path], name: TableName) -> NoRowsLeft:
    files = ", ".join(str(p) for p in paths)
    if not aside.height:
        return NoRowsLeft(f"{files}: no rows", where=str(name), remedy="nothing was written")
    reasons = "".join(f"\n    {n} x {r}" for r, n in count_reasons(aside).items())
    example = f"\n    for example {aside['place'][0]}: {aside['row'][0][:300]}"
    return NoRowsLeft(
        f"{files}: none of {aside.height} rows keeps the contract of the gold table:{reasons}{example}",
        where=str(name),
        remedy="correct the file or its map; nothing was written",
    )
