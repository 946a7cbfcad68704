"""A candidate version of one model; and, where the flow wants it, what the gates say to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from infra.job_records import Outcome
from karat.lifecycle import gates_of, make_candidate, valid_champion
from karat.registry import ModelVersion
from ray_jobs.program import attempt, logged
from ray_jobs.steps import promote
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> Outcome:
    """Trained always; or, ``when-due``, only without a valid champion; ``never``: what stands is reported. Then, with
    ``promote``, decided upon, in the process that has everything at hand.

    A model that fails keeps the champion that it has.
    """
    trained = train(model)
    wanted = model.parameters["promote"] and trained.error is None and trained.reference["undecided"]
    return decide(model, trained) if wanted else trained


def decide(model: ModelWork, trained: Outcome) -> Outcome:
    """The outcome of training with what the decision adds."""
    versions = {trained.name: trained.reference["version"]}
    candidate = replace(model, parameters={"versions": versions, "approve": False})
    decided = attempt(trained.name, promote.step, candidate, reference=trained.reference)
    if decided.error is not None:
        return decided
    said, reference = f"{trained.said}; {decided.said}", trained.reference | decided.reference
    return trained.model_copy(update={"said": said, "reference": reference})


def train(model: ModelWork) -> Outcome:
    mode = model.parameters["train"]
    champion = valid_champion(model.project, model.spec, model.lake, model.registry)
    stands = reference_of(model, champion, champion)
    if mode == "never" or (mode == "when-due" and champion is not None):
        said = f"not trained, champion is version {champion.version}" if champion else "not trained, no champion"
        return Outcome(name=model.spec.name, state="kept", said=said, reference=stands)
    return attempt(model.spec.name, make, model, champion, reference=stands)


def make(model: ModelWork, champion: ModelVersion | None) -> Outcome:
    """A candidate; of the same data and definition the version that is there."""
    name = model.spec.name
    progress = logged(name)
    made = make_candidate(model.project, model.spec, model.lake, model.registry, progress=progress, commit=model.commit)
    said = f"version {made.version.version} {'trained' if made.retrained else 'is of the same data and definition'}"
    reference = reference_of(model, made.version, champion) | {"warnings": list(made.warnings)}
    return Outcome(name=name, state="done" if made.retrained else "kept", said=said, reference=reference)


def reference_of(model: ModelWork, version: ModelVersion | None, champion: ModelVersion | None) -> dict[str, Any]:
    """Where the version is to be found, what it is worth, and whether a promotion still has to decide on it."""
    if version is None:
        return {"version": None, "champion_version": None, "undecided": False}
    is_champion = champion is not None and champion.version == version.version
    # A promotion that was killed may have noted its decision without carrying it out.
    refused = version.tags.get("karat.decision", "").startswith("refused")
    refused = refused and version.tags.get("karat.gates") == gates_of(model.spec)
    return {
        "model": str(version.name),
        "version": version.version,
        "run_id": version.run_id,
        "experiment_id": version.experiment_id,
        "metric": version.tags.get("karat.metric"),
        "metrics": version.metrics,
        "baseline": version.baseline,
        "judged": version.judged,
        "champion_version": champion.version if champion else None,
        "undecided": not is_champion and not refused,
        "reason": version.tags.get("karat.decision", ""),
    }
