"""The champions into the HTTP application; ends when it answers with them."""

from __future__ import annotations

from collections.abc import Iterator

from infra.job_records import Outcome
from infra.serving import load_champions
from ray_jobs.program import Job, log, main


def work(job: Job) -> Iterator[Outcome]:
    champions: dict[str, int] = job.parameters["champions"]
    load_champions(job.settings, champions, without=job.parameters.get("without", ()))
    log.info("%s answers with %d champions", job.settings.serve_url, len(champions))
    yield Outcome(name="serving", state="done", reference={"champions": champions, "address": job.settings.serve_url})


if __name__ == "__main__":
    main(work)
