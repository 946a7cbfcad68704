"""Champion or not: one candidate against its baseline, its floors and the champion, on the same rows."""

from __future__ import annotations

from dataclasses import asdict

from infra.job_records import Outcome
from karat.lifecycle import promote
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> Outcome:
    """On the version that the flow names, or the model's challenger; a champion without challenger stays."""
    name, registered = model.spec.name, model.project.model_name(model.spec.name)
    version = model.parameters["versions"].get(name)
    if version is None and model.registry.challenger(registered) is None:
        version = model.registry.champion(registered)
    approved = model.parameters["approve"]
    decision = promote(model.project, model.spec, model.lake, model.registry, version, approved=approved)
    said = f"version {decision.version} {'is champion' if decision.promoted else 'refused'}: {decision.reason}"
    metrics = {"metrics": decision.candidate_metrics, "model": str(decision.model)}
    state = "done" if decision.promoted else "kept"
    return Outcome(name=name, state=state, said=said, reference=asdict(decision) | metrics)
