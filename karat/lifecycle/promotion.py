"""Promotion of a candidate that passes the gates, in an order of steps that leaves a champion even after a kill."""

from __future__ import annotations

from karat.errors import KaratError, ModelNotFound
from karat.lifecycle.fairness_gate import measure_champion
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.promotion_gates import decide_promotion
from karat.lifecycle.provenance import void_reason
from karat.lifecycle.records import Decision
from karat.names import ARCHIVED, CHALLENGER, CHAMPION
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.registry.tags import DecisionStatus, DecisionTag, VersionTags


def valid_champion(context: ModelContext) -> ModelVersion | None:
    """Return the champion, unless it is void: see ``void_reason``."""
    champion = context.registry.champion(context.name)
    return None if champion is None or void_reason(context, champion) else champion


def promote(context: ModelContext, version: int | ModelVersion | None = None, *, approved: bool = False) -> Decision:
    """Decide on one version by the declared gates, and make it champion if it passes.

    The first version must beat its floors and its baseline; if the test rows allow a 95 % interval of the gain, the
    whole interval must lie above 0. A later version must beat its floors, its baseline and, by the declared margin, the
    champion's primary metric; both are scored on the candidate's test rows. A kind that reads sequences must also beat
    persistence. The gaps between groups must not exceed the limits that are declared. A void champion is archived
    first: its data are outdated, or it exceeds these limits. Deciding again on the champion changes nothing.

    Args:
        context: The declared model with its lake and registry.
        version: The candidate; the challenger by default.
        approved: A person's approval, which a project with manual approval requires.

    Raises:
        ModelNotFound: there is no such version, or no challenger.
    """
    registry = context.registry
    candidate = _candidate(context, version)
    champion = registry.champion(candidate.name)
    if champion is not None and champion.version == candidate.version:
        _settle_champion(registry, candidate)
        return _standing_decision(candidate)
    if champion is not None:
        champion = _with_fairness(context, candidate, champion)
    void = void_reason(context, champion) if champion is not None else ""
    if champion is not None and void:
        _archive(registry, champion, f"void: {void}")
        registry.clear_alias(candidate.name, CHAMPION, f"void: {void}")
        champion = None
    decision = decide_promotion(context, candidate, champion, void=void, approved=approved)
    tag = DecisionTag(decision.status, decision.reason)
    gates = context.gates_hash
    decided = registry.tag(candidate, VersionTags(decision=tag, gates=gates))
    if decision.promoted:
        _make_champion(registry, decided, champion, decision.reason)
    return decision


def _with_fairness(context: ModelContext, candidate: ModelVersion, champion: ModelVersion) -> ModelVersion:
    try:
        return measure_champion(context, candidate, champion)
    except KaratError:  # a champion that cannot be scored any more stands in nobody's way
        return champion


def _candidate(context: ModelContext, version: int | ModelVersion | None) -> ModelVersion:
    if version is None:
        challenger = context.registry.challenger(context.name)
        if challenger is None:
            raise ModelNotFound(
                f"{context.name} has no challenger",
                where=context.registry.tracking_uri,
                remedy=f"train one: karat run {context.project.name} --models {context.spec.name}",
            )
        return challenger
    number = version.version if isinstance(version, ModelVersion) else version
    return context.registry.version(context.name, number)


def _standing_decision(champion: ModelVersion) -> Decision:
    """The decision that made this version champion."""
    return Decision(
        model=champion.name,
        version=champion.version,
        status=DecisionStatus.PROMOTED,
        reason=champion.own_tags.alias(CHAMPION).reason or "it is the champion",
        candidate_metrics=champion.metrics,
        champion_metrics=None,
        baseline=champion.baseline,
        champion_version=champion.version,
    )


def _make_champion(registry: Registry, candidate: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    """The alias moves in one step; ``_settle_champion`` can repeat what comes before and after it."""
    if champion is not None:
        candidate = registry.tag(candidate, VersionTags(replaces=champion.version))
    _settle_champion(registry, registry.set_alias(candidate, CHAMPION, reason))


def _settle_champion(registry: Registry, champion: ModelVersion) -> None:
    """What a champion has besides its alias: its stage, and an archived predecessor. Safe to repeat."""
    registry.tag(champion, VersionTags(stage=CHAMPION))
    replaced = champion.own_tags.replaces
    if replaced is not None:
        old = registry.version(champion.name, replaced)
        if old.own_tags.stage != ARCHIVED:
            _archive(registry, old, f"version {champion.version} replaced it")
    registry.clear_alias(champion.name, CHALLENGER, "it became champion", of=champion.version)


def _archive(registry: Registry, version: ModelVersion, reason: str) -> None:
    registry.tag(version, VersionTags(stage=ARCHIVED))
    registry.set_alias(version, ARCHIVED, reason)
