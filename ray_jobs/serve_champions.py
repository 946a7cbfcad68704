"""Program: load champions into the HTTP application; it ends when the application answers with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.job_records import Outcome, ServingOutcome
from infra.serving import load_champions
from ray_jobs.program import Job, log, main


def named_versions(champions: Mapping[str, int]) -> str:
    """Name the champions of a project, without the others that go on to answer."""
    named = (f"{name.rpartition('.')[2]} version {version}" for name, version in sorted(champions.items()))
    return ", ".join(named) or "no champion of this project"


def work(job: Job) -> Iterator[Outcome]:
    """Load the champions that the flow names."""
    champions: dict[str, int] = job.parameters["champions"]
    load_champions(job.settings, champions, without=job.parameters.get("without", ()))
    log.info("%s answers with %s", job.settings.serve_url, named_versions(champions))
    yield ServingOutcome(name="serving", state="done", champions=champions, address=job.settings.serve_url)


if __name__ == "__main__":
    main(work)
