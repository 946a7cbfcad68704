"""A candidate version of each model: label, training set, fit, evaluation, registration."""

from __future__ import annotations

from collections.abc import Iterator

from infra.job_records import Outcome
from karat.registry import ModelVersion, make_candidate
from ray_jobs.model_task import ModelWork, for_each_model, version_reference
from ray_jobs.program import Job, log, logged, main


def work(job: Job) -> Iterator[Outcome]:
    return for_each_model(job, train)


def train(model: ModelWork) -> Outcome:
    """Trained always; or, ``when-due``, only without a valid champion; ``never``: what stands is reported."""
    name, mode = model.spec.name, model.parameters["train"]
    champion = model.valid_champion()
    if mode == "never" or (mode == "when-due" and champion is not None):
        return standing(model, champion)
    made = make_candidate(model.project, model.spec, model.lake, model.registry, progress=logged(name))
    for warning in made.warnings:
        log.warning("%s: %s", name, warning)
    log.info("%s: version %d %s", name, made.version.version, "trained" if made.retrained else "is of the same data")
    state = "done" if made.retrained else "kept"
    return Outcome(name=name, state=state, reference=version_reference(made.version, champion))


def standing(model: ModelWork, champion: ModelVersion | None) -> Outcome:
    """The champion as it is; a model without one has nothing to show."""
    reference = version_reference(champion, champion) if champion else {"version": None, "undecided": False}
    log.info(
        "%s: not trained, %s", model.spec.name, f"champion is version {champion.version}" if champion else "no champion"
    )
    return Outcome(name=model.spec.name, state="kept", reference=reference)


if __name__ == "__main__":
    main(work)
