"""A project's sample: gold rows made by its generator and checked as any input is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from karat.clock import yesterday
from karat.declare import GoldTable, Project
from karat.errors import DeclarationError, IngestedRows, TableNotFound, did_you_mean
from karat.executors import Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Lake, Work
from karat.quality.contract_check import check, count_reasons
from karat.quality.gold_writer import write_gold
from karat.quality.ingest import IngestResult
from karat.quality.origin import GOLD_WORK, SAMPLE, has_rows, origin
from karat.quality.quarantine import RowsBeside


def write_sample(
    project: Project,
    lake: Lake,
    *,
    scale: float = 1.0,
    seed: int = 0,
    end: date | None = None,
    tables: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[IngestResult]:
    """Write a project's sample gold tables, each in one commit.

    The same generator, scale, seed and end again change nothing; others replace the sample.

    Args:
        project: The project.
        lake: The lake.
        scale: Size of the sample; 1 is the generator's default.
        seed: Random seed.
        end: Last day; yesterday (UTC) by default.
        tables: Tables to write; all by default.
        progress: Called for each table.

    Returns:
        The outcome of each table.

    Raises:
        IngestedRows: A table has ingested rows; nothing was written.
        DeclarationError: The project has no generator, or it omits a table.
        TableNotFound: The project has no such gold table.
    """
    wanted = _wanted(project, tables)
    _refuse_ingested(project, wanted, lake)
    last = end or yesterday()
    works = {t.name: Work(GOLD_WORK, _key(project, t, scale, seed, last)) for t in wanted}
    if all(lake.exists(n := project.gold_name(t)) and lake.commit_of(n, w) for t, w in works.items()):
        return [_unchanged(project, lake, t) for t in works]
    progress(0, len(wanted), "making the sample")
    frames = _frames(project, wanted, scale, seed, last)
    written = []
    for index, table in enumerate(wanted):
        progress(index, len(wanted), f"writing {project.gold_name(table.name)}")
        detail = {"origin": SAMPLE, "scale": scale, "seed": seed, "end": last.isoformat()}
        work = Work(GOLD_WORK, works[table.name].key, detail)
        written.append(_write(project, lake, table, frames[table.name], work))
    return written


def _wanted(project: Project, tables: Sequence[str] | None) -> list[GoldTable]:
    for name in tables or ():
        if name not in project.gold:
            raise TableNotFound(
                f"project {project.name!r} has no gold table {name!r}", remedy=did_you_mean(name, project.gold)
            )
    return [t for t in project.gold.values() if tables is None or t.name in tables]


def _refuse_ingested(project: Project, wanted: Sequence[GoldTable], lake: Lake) -> None:
    """Refuse to replace rows that are not a sample's, whoever wrote them."""
    for table in wanted:
        name = project.gold_name(table.name)
        if lake.exists(name) and origin(lake, name) != SAMPLE and has_rows(lake, name):
            raise IngestedRows(
                f"{name} holds ingested rows, which a sample would replace",
                where=str(lake.path(name)),
                remedy="run without the sample, or delete that folder to start again",
            )


def _declared_in(project: Project) -> str:
    return ", ".join(map(str, project.gold_files))


def _key(project: Project, table: GoldTable, scale: float, seed: int, end: date) -> str:
    """The work's key: another generator or contract makes other rows."""
    parts = [
        "".join(path.read_text() for path in project.gold_files),
        table.model_dump(mode="json", exclude={"description", "owner"}),
        scale,
        seed,
        end.isoformat(),
    ]
    return f"sample:{fingerprint(parts)}"


def _frames(
    project: Project, wanted: Sequence[GoldTable], scale: float, seed: int, end: date
) -> dict[str, pl.DataFrame]:
    if project.sample is None:
        raise DeclarationError(
            f"project {project.name!r} has no sample generator",
            where=_declared_in(project),
            remedy="define sample(scale, seed, end) in it, or ingest your own rows: karat ingest",
        )
    frames = project.sample(scale=scale, seed=seed, end=end, tables=[t.name for t in wanted])
    missing = [t.name for t in wanted if t.name not in frames]
    if missing:
        raise DeclarationError(
            f"sample() of project {project.name!r} makes no {', '.join(missing)}", where=_declared_in(project)
        )
    return frames


def _write(project: Project, lake: Lake, table: GoldTable, frame: pl.DataFrame, work: Work) -> IngestResult:
    name = project.gold_name(table.name)
    checked = check(frame, table)
    place = pl.format("row {}", pl.col("row_number") + 1).alias("place")
    columns = (pl.lit("sample").alias("source"), place, pl.col("reason"), pl.col("row"))
    aside, nulled = checked.aside.select(columns), checked.nulled.select(columns)
    commit, reasons = write_gold(lake, name, table, checked.good, RowsBeside(aside, nulled), work=work, replaces=True)
    nulls = count_reasons(nulled)
    return IngestResult(name, commit.version, checked.good.height, aside.height, reasons, commit.changed, nulled=nulls)


def _unchanged(project: Project, lake: Lake, table: str) -> IngestResult:
    name = project.gold_name(table)
    work = lake.last_work(name, GOLD_WORK)
    detail = work.detail if work else {}
    reasons = detail.get("reasons", {})
    rows, aside, nulled = detail.get("rows", 0), sum(reasons.values()), detail.get("nulled", {})
    return IngestResult(name, lake.version(name), rows, aside, reasons, changed=False, nulled=nulled)
