"""In which order the pieces of a job are begun."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from karat.names import TableName
from ray_jobs.program import Job


def heaviest_first(job: Job, reads: Mapping[str, Collection[TableName]]) -> list[str]:
    """The pieces, each with the tables that it reads, those of the most rows first: begun last, one of them would keep
    a single core busy when all the others are done. A table that is not there has no rows."""
    tables = {t for of in reads.values() for t in of}
    rows = {t: job.lake.count(t) if job.lake.exists(t) else 0 for t in tables}
    return sorted(reads, key=lambda piece: -sum(rows[t] for t in reads[piece]))
