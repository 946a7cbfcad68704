"""Champion or not: each candidate against its baseline, its floors and the champion, on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from infra.job_records import Outcome
from karat.errors import ModelNotFound
from karat.registry import promote
from ray_jobs.model_task import ModelWork, for_each_model
from ray_jobs.program import Job, log, main


def work(job: Job) -> Iterator[Outcome]:
    return for_each_model(job, decide)


def decide(model: ModelWork) -> Outcome:
    """The version that the flow names, or else the model's challenger."""
    name = model.spec.name
    version = model.parameters.get("versions", {}).get(name) or challenger(model)
    decision = promote(model.project, model.spec, model.lake, model.registry, version)
    log.info("%s: version %d %s: %s", name, version, "promoted" if decision.promoted else "refused", decision.reason)
    reference = asdict(decision) | {"model": str(decision.model)}
    return Outcome(name=name, state="done" if decision.promoted else "kept", reference=reference)


def challenger(model: ModelWork) -> int:
    registered = model.project.model_name(model.spec.name)
    found = model.registry.challenger(registered) or model.registry.champion(registered)
    if found is None:
        raise ModelNotFound(
            f"the model {model.spec.name!r} has no version yet",
            where=str(registered),
            remedy=f"train it: prefect deployment run 'training-pipeline/{model.project.name}'",
        )
    return found.version


if __name__ == "__main__":
    main(work)
