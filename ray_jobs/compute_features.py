"""Program: compute feature tables from gold and publish them to the online store.

With ``sample`` the program first writes sample data into gold tables that do not exist.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import chain

from infra.impact import refuse_breaking
from infra.job_records import FeatureTableOutcome, Outcome
from karat.declare.project_catalog import ProjectCatalog
from karat.features import MaterializationResult, compute_table, statistics
from karat.names import TableName
from karat.online import open_store, publish_table
from karat.quality import origin, write_sample
from ray_jobs.executor import RayExecutor
from ray_jobs.missing_gold import skipped_for_gold
from ray_jobs.order import largest_first
from ray_jobs.program import Job, attempt, log_outcome, log_progress, main, nothing_known

log = logging.getLogger("karat.jobs.features")


def work(job: Job) -> Iterator[Outcome]:
    """Compute and publish the job's feature tables, several at a time."""
    tables = job.parameters["tables"]
    if not job.parameters.get("allow_breaking"):
        refuse_breaking(job.project, tables, job.lake, job.settings)
    if job.parameters.get("sample"):
        sample_missing(job)
    left_out = skipped_for_gold(job, {t: [job.project.tables[t].source] for t in tables})
    # Most tables are one shard: one after the other they would leave all cores but one idle. Ray has no more tasks at a
    # time than CPUs; a table that waits for its turn there costs nothing here.
    ordered = largest_first(job, {t: gold_of(job, t) for t in tables})
    with ThreadPoolExecutor(2 * RayExecutor().workers) as pool:
        begun = [
            pool.submit(attempt, nothing_known(t), compute_and_publish, job, t) for t in ordered if t not in left_out
        ]
        computed = (future.result() for future in as_completed(begun))
        for done, outcome in enumerate(chain(left_out.values(), computed), start=1):
            log_outcome(outcome, done, len(tables))
            yield outcome


def gold_of(job: Job, table: str) -> list[TableName]:
    """Return the gold table that the feature table is computed from."""
    return [job.project.gold_name(job.project.tables[table].source)]


def sample_missing(job: Job) -> None:
    """Write sample data into the gold tables that the job's tables and models need and that do not exist.

    Nothing is sampled beside an ingested table: sample and real rows never mix.
    """
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
    for table in write_sample(project, lake, tables=missing, progress=log_progress("sample")):
        log.info("%s: %d rows (version %d)", table.table, table.rows, table.version)


def compute_and_publish(job: Job, table: str) -> FeatureTableOutcome:
    """Compute the table in the lake, then publish it to the online store."""
    computed = compute(job, table)
    return attempt(computed, publish, job, computed) if job.project.tables[table].online else computed


def publish(job: Job, computed: FeatureTableOutcome) -> FeatureTableOutcome:
    """Publish a computed table; return its outcome with what was published."""
    table = computed.name
    published = publish_table(
        job.lake,
        open_store(job.settings),
        job.project.table_name(table),
        log_progress(table),
        sequence_length=longest_sequence(job, table),
        projects=ProjectCatalog(job.settings, job.project),
    )
    online = f"{published.written} keys written, {published.deleted} deleted, version {published.version} is online"
    return computed.model_copy(update={"summary": f"{computed.summary}; {online}"})


def longest_sequence(job: Job, table: str) -> int | None:
    """The longest_sequence sequence that a model of the project looks up in the table; None where none does."""
    lookups = (lookup for model in job.project.models.values() for lookup in model.lookups)
    lengths = (getattr(lookup, "sequence_length", None) for lookup in lookups if lookup.table == table)
    return max((n for n in lengths if n), default=None)


def compute(job: Job, table: str) -> FeatureTableOutcome:
    """Compute one feature table, spread over the cluster by shards."""
    full = bool(job.parameters.get("full"))
    shards = job.project.spec.feature_shards
    result = compute_table(
        job.project, table, job.lake, executor=RayExecutor(), progress=log_progress(table), full=full, shards=shards
    )
    return FeatureTableOutcome(
        name=table,
        state="done" if result.changed else "kept",
        summary=_summary(result),
        warnings=result.warnings,
        table=str(result.table),
        version=result.version,
        rows=result.rows,
        days=len(result.days),
        set_aside=result.set_aside,
        statistics=tuple(statistics(job.lake, result.table, result.version).to_dicts()),
    )


def _summary(result: MaterializationResult) -> str:
    if not result.changed:
        return f"up to date, version {result.version}"
    days = f" for {len(result.days)} days" if result.days else ""
    aside = f", {result.set_aside} set aside" if result.set_aside else ""
    return f"{result.rows} rows written{days}{aside}, version {result.version}"


if __name__ == "__main__":
    main(work)
