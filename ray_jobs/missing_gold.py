"""Tables and models that a run skips because their gold has no rows yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.job_records import Outcome
from karat.quality import awaited_gold
from ray_jobs.program import Job


def skipped_for_gold(job: Job, reads: Mapping[str, Sequence[str]]) -> dict[str, Outcome]:
    """Return the outcomes of the tables or models whose gold has no rows.

    Args:
        job: The job.
        reads: Table or model -> gold tables that it is made from.

    Returns:
        Name -> outcome; empty if all of them lack gold, so that the missing gold is raised as an error.
    """
    awaited = awaited_gold(job.project, job.lake)
    lacking = {name: [g for g in gold if g in awaited] for name, gold in reads.items()}
    found = {name: _left_out(job, name, gold) for name, gold in lacking.items() if gold}
    return found if len(found) < len(reads) else {}


def _left_out(job: Job, name: str, gold: Sequence[str]) -> Outcome:
    commands = ", ".join(f"karat ingest {job.project.name} {g} FILE" for g in gold)
    summary = f"left out, no rows in gold table {', '.join(gold)} yet: {commands}"
    return Outcome(name=name, state="skipped", summary=summary)
