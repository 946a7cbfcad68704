"""Feature tables from gold, then what changed in them into the online store; with `sample`, gold tables that they need
and that do not exist are sampled first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from itertools import chain
from typing import Any

from infra.impact import refuse_breaking
from infra.job_records import Outcome
from karat.declare.project_catalog import ProjectCatalog
from karat.features import MaterializationResult, compute_table, statistics
from karat.names import TableName
from karat.online import open_store, publish_table
from karat.quality import origin, write_sample
from ray_jobs.executor import RayExecutor
from ray_jobs.missing_gold import waiting
from ray_jobs.order import heaviest_first
from ray_jobs.program import Job, attempt, conclude, logged, main

log = logging.getLogger("karat.jobs.features")


def work(job: Job) -> Iterator[Outcome]:
    tables = job.parameters["tables"]
    if not job.parameters.get("allow_breaking"):
        refuse_breaking(job.project, tables, job.lake, job.settings)
    if job.parameters.get("sample"):
        sample_missing(job)
    left_out = waiting(job, {t: [job.project.tables[t].source] for t in tables})
    # Most tables are one shard: one after the other they would leave all cores but one idle. Ray has no more tasks at a
    # time than CPUs; a table that waits for its turn there costs nothing here.
    ordered = heaviest_first(job, {t: gold_of(job, t) for t in tables})
    with ThreadPoolExecutor(2 * RayExecutor().workers) as pool:
        begun = [pool.submit(attempt, t, renew, job, t) for t in ordered if t not in left_out]
        computed = (future.result() for future in as_completed(begun))
        for done, outcome in enumerate(chain(left_out.values(), computed), start=1):
            conclude(outcome, done, len(tables))
            yield outcome


def gold_of(job: Job, table: str) -> list[TableName]:
    """The gold table that the feature table is computed from."""
    return [job.project.gold_name(job.project.tables[table].source)]


def sample_missing(job: Job) -> None:
    """Sample the gold that the job's tables and the models on them need, where there is none. Beside a table that was
    ingested nothing is sampled: the two never mix."""
    project, lake = job.project, job.lake
    names = {t: project.gold_name(t) for t in project.gold}
    missing = [t for t in project.gold_of(job.parameters["tables"]) if not lake.exists(names[t])]
    real = [t for t, name in names.items() if lake.exists(name) and origin(lake, name) != "sample"]
    if not missing or project.sample is None:
        return
    if real:
        log.info("no sample for %s: %s holds real rows", ", ".join(missing), ", ".join(real))
        return
    log.info("no gold table %s yet: writing sample data", ", ".join(missing))
    for table in write_sample(project, lake, tables=missing, progress=logged("sample")):
        log.info("%s: %d rows (version %d)", table.table, table.rows, table.version)


def renew(job: Job, table: str) -> Outcome:
    """The table up to date, in the lake and then online."""
    computed = compute(job, table)
    if not job.project.tables[table].online:
        return computed
    published = attempt(table, publish, job, table, reference=computed.reference)
    return published if published.error else computed.model_copy(update={"said": f"{computed.said}; {published.said}"})


def publish(job: Job, table: str) -> Outcome:
    published = publish_table(
        job.lake,
        open_store(job.settings),
        job.project.table_name(table),
        logged(table),
        sequence_length=longest(job, table),
        projects=ProjectCatalog(job.settings, job.project),
    )
    said = f"{published.written} keys written, {published.deleted} deleted, version {published.version} is online"
    return Outcome(name=table, state="done" if published.changed else "kept", said=said)


def longest(job: Job, table: str) -> int | None:
    """The longest sequence that a model of the project looks up in the table; None where none does."""
    lookups = (lookup for model in job.project.models.values() for lookup in model.lookups)
    lengths = (getattr(lookup, "sequence_length", None) for lookup in lookups if lookup.table == table)
    return max((n for n in lengths if n), default=None)


def compute(job: Job, table: str) -> Outcome:
    full = bool(job.parameters.get("full"))
    shards = job.project.spec.feature_shards
    result = compute_table(
        job.project, table, job.lake, executor=RayExecutor(), progress=logged(table), full=full, shards=shards
    )
    state = "done" if result.changed else "kept"
    return Outcome(name=table, state=state, said=_said(result), reference=_reference(job, result))


def _said(result: MaterializationResult) -> str:
    if not result.changed:
        return f"up to date, version {result.version}"
    days = f" for {len(result.days)} days" if result.days else ""
    aside = f", {result.set_aside} set aside" if result.set_aside else ""
    return f"{result.rows} rows written{days}{aside}, version {result.version}"


def _reference(job: Job, result: MaterializationResult) -> dict[str, Any]:
    found = asdict(result) | {"table": str(result.table), "days": len(result.days)}
    return found | {"statistics": statistics(job.lake, result.table, result.version).to_dicts()}


if __name__ == "__main__":
    main(work)
