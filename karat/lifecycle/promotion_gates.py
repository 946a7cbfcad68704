"""Gates of promotion: decide whether a candidate replaces the champion, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.lifecycle.consistency_gate import inconsistent_features
from karat.lifecycle.fairness_gate import fairness_reasons
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.provenance import outdated_reason
from karat.lifecycle.records import Decision
from karat.lifecycle.version_comparison import compare
from karat.registry.records import ModelVersion
from karat.registry.tags import DecisionStatus
from karat.training.baseline import BASELINE_ROWS
from karat.training.evaluation import beats_baseline, is_better, primary_metric
from karat.training.gain_report import PERSISTENCE


@dataclass
class _Gates:
    """The gates passed and missed so far, in words."""

    passed: list[str]
    missed: list[str]

    @property
    def reason(self) -> str:
        return "; ".join(self.missed or self.passed)


def decide_promotion(
    context: ModelContext, candidate: ModelVersion, champion: ModelVersion | None, *, void: str, approved: bool
) -> Decision:
    """Decide by every gate whether a candidate replaces the champion; change nothing.

    Args:
        context: The declared model with its lake and registry.
        candidate: The candidate.
        champion: The valid champion; None if there is none.
        void: Why the champion before it is void; empty if it is not.
        approved: A person's approval, which a project with manual approval requires.
    """
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
    """The gates that need no champion: provenance, baseline, persistence, floors, online consistency and fairness."""
    spec, metrics, baseline = context.spec, candidate.metrics, candidate.baseline
    metric = primary_metric(spec, metrics)
    stale = outdated_reason(context, candidate)
    missed = [f"it is void itself: {stale}"] if stale else []
    if not _beats(candidate, metric, beats_baseline(spec, metrics, baseline)):
        missed.append(f"{metric} {_figure(metrics, metric)} does not beat its baseline of {_figure(baseline, metric)}")
    elif first and (unclear := unclear_gain(candidate)):
        missed.append(unclear)
    missed += loses_to_persistence(candidate)
    missed += missed_floors(spec, metrics)
    missed += inconsistent_features(context.lake, candidate.name, spec)
    missed += fairness_reasons(candidate, context.fairness, spec.protected)
    beaten = f"{metric} {_figure(metrics, metric)} beats the baseline's {_figure(baseline, metric)}"
    return _Gates([beaten + _interval(candidate)], missed)


def _beats(candidate: ModelVersion, metric: str, on_all_rows: bool) -> bool:
    """Whether the candidate beats its baseline; one without a value in some test rows, on the rows that have one."""
    gain = candidate.judged.get(f"{metric}_gain")
    return gain > 0 if BASELINE_ROWS in candidate.baseline and gain is not None else on_all_rows


def missed_floors(spec: ModelSpec, metrics: Mapping[str, float]) -> list[str]:
    """Return the floors that these metrics miss, in words; for a metric where less is better they are ceilings."""
    missed = []
    for metric, limit in spec.gates.floors.items():
        value, higher = metrics.get(metric), HIGHER_IS_BETTER[metric]
        if value is None:
            missed.append(f"{metric} could not be computed, and has a limit of {limit:g}")
        elif (value < limit) if higher else (value > limit):
            missed.append(f"{metric} {value:.4g} is {'under its floor' if higher else 'over its ceiling'} of {limit:g}")
    return missed


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
    """Return why a kind that reads sequences is refused: persistence scores as well on the same rows.

    Those are the test rows in which persistence has a value.
    """
    metric, judged = candidate.own_tags.metric or "", candidate.judged
    value, persistence = candidate.metrics.get(metric), judged.get(f"{PERSISTENCE}_{metric}")
    if value is None or persistence is None:
        return []
    gain, rows = judged.get(f"{PERSISTENCE}_gain"), judged.get(f"{PERSISTENCE}_{BASELINE_ROWS}")
    if rows is None or gain is None:
        beaten, where = is_better(metric, value, persistence), "the same rows"
    else:
        beaten, where = gain > 0, f"the {rows:.0f} test rows with a value (gain {gain:.3g})"
    return [] if beaten else [f"{metric} {value:.4g} does not beat persistence, which has {persistence:.4g} on {where}"]


def _interval(candidate: ModelVersion) -> str:
    metric = candidate.own_tags.metric or ""
    low, high = candidate.judged.get(f"{metric}_gain_low"), candidate.judged.get(f"{metric}_gain_high")
    return "" if low is None or high is None else f" by {low:.4g} to {high:.4g} (95 % interval)"


def _figure(metrics: Mapping[str, float], metric: str) -> str:
    return f"{metrics[metric]:.4g}" if metric in metrics else "(none)"
