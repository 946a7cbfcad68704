"""Order in which a job begins its tables and models."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from karat.names import TableName
from ray_jobs.program import Job


def largest_first(job: Job, reads: Mapping[str, Collection[TableName]]) -> list[str]:
    """Return the names in descending order of the rows that they read.

    A large one that began last would occupy a single core when all the others are done.

    Args:
        job: The job.
        reads: Table or model -> tables that it reads; a table that does not exist has no rows.
    """
    tables = {t for of in reads.values() for t in of}
    rows = {t: job.lake.count(t) if job.lake.exists(t) else 0 for t in tables}
    return sorted(reads, key=lambda piece: -sum(rows[t] for t in reads[piece]))
