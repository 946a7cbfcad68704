"""Promotion of a candidate: the gates, and an order of steps that leaves a champion even after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from karat.errors import ModelNotFound
from karat.lifecycle.champion_challenger import compare, missed_floors
from karat.lifecycle.consistency_gate import inconsistent_features
from karat.lifecycle.context import ModelContext
from karat.lifecycle.provenance import void_reason
from karat.lifecycle.records import Decision
from karat.names import ARCHIVED, CHALLENGER, CHAMPION
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.registry.tags import DecisionStatus, DecisionTag, VersionTags
from karat.training.evaluation import beats_baseline, is_better, primary_metric
from karat.training.gain_report import PERSISTENCE


def valid_champion(context: ModelContext) -> ModelVersion | None:
    """Return the champion, unless it is void: see ``void_reason``."""
    champion = context.registry.champion(context.name)
    return None if champion is None or void_reason(context, champion) else champion


def promote(context: ModelContext, version: int | ModelVersion | None = None, *, approved: bool = False) -> Decision:
    """Decide on one version by the declared gates, and make it champion if it passes.

    The first version must beat its floors and its baseline; if the test rows allow a 95 % interval of the gain, the
    whole interval must lie above 0. A later version must beat its floors, its baseline and, by the declared margin, the
    champion's primary metric; both are scored on the candidate's test rows. A kind that reads sequences must also beat
    persistence. A void champion is archived first. Deciding again on the champion changes nothing.

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
    void = void_reason(context, champion) if champion is not None else ""
    if champion is not None and void:
        _archive(registry, champion, f"void: {void}")
        registry.clear_alias(candidate.name, CHAMPION, f"void: {void}")
        champion = None
    decision = _decide(context, candidate, champion, void=void, approved=approved)
    tag = DecisionTag(decision.status, decision.reason)
    gates = context.spec.gates.definition_hash
    decided = registry.tag(candidate, VersionTags(decision=tag, gates=gates))
    if decision.promoted:
        _make_champion(registry, decided, champion, decision.reason)
    return decision


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


@dataclass
class _Gates:
    """The gates passed and missed so far, in words."""

    passed: list[str]
    missed: list[str]

    @property
    def reason(self) -> str:
        return "; ".join(self.missed or self.passed)


def _decide(
    context: ModelContext, candidate: ModelVersion, champion: ModelVersion | None, *, void: str, approved: bool
) -> Decision:
    """The decision alone; nothing is changed."""
    gates = _own_gates(context, candidate, first=champion is None)
    if void:
        gates.passed.append(f"the champion before it is void: {void}")
    metrics, champion_metrics = candidate.metrics, None
    if champion is not None and not gates.missed:
        comparison = compare(context, candidate, champion)
        metrics, champion_metrics = comparison.candidate_metrics, comparison.champion_metrics
        (gates.passed if comparison.passes else gates.missed).append(comparison.summary)
    if not gates.missed and context.project.spec.approval == "manual" and not approved:
        gates.missed.append("it passes every gate and waits for approval: " + "; ".join(gates.passed))
    promoted = not gates.missed
    return Decision(
        model=candidate.name,
        version=candidate.version,
        status=DecisionStatus.PROMOTED if promoted else DecisionStatus.REFUSED,
        reason=gates.reason,
        candidate_metrics=metrics,
        champion_metrics=champion_metrics,
        baseline=candidate.baseline,
        champion_version=candidate.version if promoted else (champion.version if champion else None),
    )


def _own_gates(context: ModelContext, candidate: ModelVersion, *, first: bool) -> _Gates:
    """The gates that need no champion: provenance, baseline, persistence, floors and online consistency."""
    spec, metrics, baseline = context.spec, candidate.metrics, candidate.baseline
    metric = primary_metric(spec, metrics)
    stale = void_reason(context, candidate)
    missed = [f"it is void itself: {stale}"] if stale else []
    if not beats_baseline(spec, metrics, baseline):
        missed.append(f"{metric} {_figure(metrics, metric)} does not beat its baseline of {_figure(baseline, metric)}")
    elif first and (unclear := unclear_gain(candidate)):
        missed.append(unclear)
    missed += loses_to_persistence(candidate)
    missed += missed_floors(spec, metrics)
    missed += inconsistent_features(context.lake, candidate.name, spec)
    beaten = f"{metric} {_figure(metrics, metric)} beats the baseline's {_figure(baseline, metric)}"
    return _Gates([beaten + _interval(candidate)], missed)


def unclear_gain(candidate: ModelVersion) -> str:
    """Return why the gain over the baseline may be chance.

    Empty if the gain is significant, or if it was never measured: versions from before gain reports, and test rows that
    do not allow the primary metric.
    """
    metric, judged = candidate.own_tags.metric or "", candidate.judged
    if f"{metric}_gain" not in judged:
        return ""
    low, high = judged.get(f"{metric}_gain_low"), judged.get(f"{metric}_gain_high")
    if low is None or high is None:
        return f"its gain in {metric} over the baseline has no interval on these test rows"
    if low > 0:
        return ""
    return f"the 95 % interval of its gain in {metric} over the baseline, {low:.4g} to {high:.4g}, is not clear of 0"


def loses_to_persistence(candidate: ModelVersion) -> list[str]:
    """Return why a kind that reads sequences is refused: persistence scores as well on the same rows."""
    metric = candidate.own_tags.metric or ""
    value, persistence = candidate.metrics.get(metric), candidate.judged.get(f"{PERSISTENCE}_{metric}")
    if value is None or persistence is None or is_better(metric, value, persistence):
        return []
    return [f"{metric} {value:.4g} does not beat persistence, which has {persistence:.4g} on the same rows"]


def _interval(candidate: ModelVersion) -> str:
    metric = candidate.own_tags.metric or ""
    low, high = candidate.judged.get(f"{metric}_gain_low"), candidate.judged.get(f"{metric}_gain_high")
    return "" if low is None or high is None else f" by {low:.4g} to {high:.4g} (95 % interval)"


def _figure(metrics: Mapping[str, float], metric: str) -> str:
    return f"{metrics[metric]:.4g}" if metric in metrics else "(none)"


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
