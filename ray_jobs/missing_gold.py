"""What a run leaves out: tables and models whose gold a user has still to bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.job_records import Outcome
from karat.quality import awaited_gold
from ray_jobs.program import Job


def waiting(job: Job, reads: Mapping[str, Sequence[str]]) -> dict[str, Outcome]:
    """``reads``: name -> gold tables it is made from. The outcomes of those that wait for gold.

    None where all of them wait: who asks for nothing else is told of the missing gold as an error.
    """
    awaited = awaited_gold(job.project, job.lake)
    lacking = {name: [g for g in gold if g in awaited] for name, gold in reads.items()}
    found = {name: _left_out(job, name, gold) for name, gold in lacking.items() if gold}
    return found if len(found) < len(reads) else {}


def _left_out(job: Job, name: str, gold: Sequence[str]) -> Outcome:
    commands = ", ".join(f"karat ingest {job.project.name} {g} FILE" for g in gold)
    said = f"left out, no rows in gold table {', '.join(gold)} yet: {commands}"
    return Outcome(name=name, state="skipped", said=said)
