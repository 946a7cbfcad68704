"""Champion or not: the gates, and the order of steps that leaves no model without a champion when it is killed."""

from __future__ import annotations

from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.errors import KaratError, ModelNotFound
from karat.fingerprint import fingerprint_bytes
from karat.lake import Lake
from karat.lifecycle.champion_challenger import gain, judged_rows, missed_floors, score
from karat.lifecycle.consistency_gate import inconsistent
from karat.lifecycle.provenance import void_reason
from karat.lifecycle.records import Decision
from karat.names import ARCHIVED, CHALLENGER, CHAMPION
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training.evaluation import beats_baseline, is_better, primary_metric
from karat.training.gain_report import PERSISTENCE
from karat.training_sets.functions import FunctionLibrary


def valid_champion(project: Project, spec: ModelSpec, lake: Lake, registry: Registry) -> ModelVersion | None:
    """The champion, unless it learned from sample data that real data have replaced, or reads features or functions
    that mean something else by now."""
    champion = registry.champion(project.model_name(spec.name))
    return None if champion is None or void_reason(champion, project, spec, lake, registry) else champion


def promote(
    project: Project,
    spec: ModelSpec,
    lake: Lake,
    registry: Registry,
    version: int | ModelVersion | None = None,
    *,
    approved: bool = False,
) -> Decision:
    """Judges ``version`` (the challenger by default) and makes it champion if it passes.

    The first version must beat its floors, and its baseline clearly: the whole 95 % interval of its gain lies above 0,
    where the test rows allow one. A later one must beat its floors, its baseline and, by the declared margin, the
    champion's primary metric, both scored on the candidate's test rows. A kind that reads sequences must beat
    persistence, too. A void champion is archived first. A project with manual approval promotes only what is
    ``approved``. Deciding again about the champion changes nothing.
    Raises ModelNotFound.
    """
    candidate = _candidate(project, spec, registry, version)
    champion = registry.champion(candidate.name)
    if champion is not None and champion.version == candidate.version:
        _finish(registry, candidate)
        reason = candidate.tags.get("karat.champion.reason", "it is the champion")
        return Decision(
            candidate.name, candidate.version, True, reason, candidate.metrics, None, candidate.baseline,
            candidate.version,
        )  # fmt: skip
    void = ""
    if champion is not None and (void := void_reason(champion, project, spec, lake, registry)):
        _archive(registry, champion, f"void: {void}")
        registry.clear_alias(candidate.name, CHAMPION, f"void: {void}")
        champion = None
    decision = _judge(
        project, spec, lake, registry, candidate=candidate, champion=champion, void=void, approved=approved
    )
    said = f"{'promoted' if decision.promoted else 'refused'}: {decision.reason}"
    decided = registry.tag(candidate, {"karat.decision": said, "karat.gates": gates_of(spec)})
    if decision.promoted:
        _crown(registry, decided, champion, decision.reason)
    return decision


def gates_of(spec: ModelSpec) -> str:
    """The gates that a decision was made by, as a short hash: by others it may be another."""
    return fingerprint_bytes(spec.gates.model_dump_json().encode(), size=8)


def _candidate(
    project: Project, spec: ModelSpec, registry: Registry, version: int | ModelVersion | None
) -> ModelVersion:
    name = project.model_name(spec.name)
    if version is None:
        found = registry.challenger(name)
        if found is None:
            raise ModelNotFound(
                f"{name} has no challenger",
                where=registry.tracking_uri,
                remedy=f"train one: karat run {project.name} --models {spec.name}",
            )
        return found
    number = version.version if isinstance(version, ModelVersion) else version
    return registry.version(name, number)


def _judge(
    project: Project,
    spec: ModelSpec,
    lake: Lake,
    registry: Registry,
    *,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    void: str,
    approved: bool,
) -> Decision:
    """The decision alone; nothing is changed."""
    metric = primary_metric(spec, candidate.metrics)
    metrics, baseline = candidate.metrics, candidate.baseline
    rival: dict[str, float] | None = None
    stale = void_reason(candidate, project, spec, lake, registry)
    refused = [f"it is void itself: {stale}"] if stale else []
    if not beats_baseline(spec, metrics, baseline):
        refused.append(f"{metric} {_shown(metrics, metric)} does not beat its baseline of {_shown(baseline, metric)}")
    elif champion is None and (not_clear := unclear(candidate)):
        refused.append(not_clear)
    refused += loses_to_persistence(candidate)
    refused += missed_floors(spec, metrics)
    refused += inconsistent(lake, candidate.name, spec)
    passed = [
        f"{metric} {_shown(metrics, metric)} beats the baseline's {_shown(baseline, metric)}{_clearly(candidate)}"
    ]
    if void:
        passed.append(f"the champion before it is void: {void}")
    if champion is not None and not refused:
        loaded = registry.load(candidate)
        rows = judged_rows(registry, candidate, loaded)
        library = FunctionLibrary(given=project.functions.values())
        metrics = score(lake, loaded, rows, spec, library)
        try:
            rival = score(lake, registry.load(champion), rows, spec, library)
        except KaratError as error:
            passed.append(f"champion {champion.version} can no longer be scored ({error.what})")
        else:
            compared, wins = _against(spec, metric, champion, metrics=metrics, rival=rival, rows=rows.rows.height)
            (passed if wins else refused).append(compared)
    if not refused and project.spec.approval == "manual" and not approved:
        refused.append("it passes every gate and waits for approval: " + "; ".join(passed))
    return Decision(
        model=candidate.name,
        version=candidate.version,
        promoted=not refused,
        reason="; ".join(refused or passed),
        candidate_metrics=metrics,
        champion_metrics=rival,
        baseline=baseline,
        champion_version=candidate.version if not refused else (champion.version if champion else None),
    )


def _against(
    spec: ModelSpec,
    metric: str,
    champion: ModelVersion,
    *,
    metrics: dict[str, float],
    rival: dict[str, float],
    rows: int,
) -> tuple[str, bool]:
    """How the candidate does against the champion on the same rows, in words, and whether that is enough.

    Rows may allow a metric for one of them alone: roc_auc needs every class that a model knows among them, a
    silhouette two clusters of its own.
    """
    if metric not in metrics:
        return f"its test rows as they stand now allow no {metric}", False
    if metric not in rival:
        return f"champion {champion.version} can no longer be scored (it has no {metric} on the same {rows} rows)", True
    better = gain(metric, metrics[metric], rival[metric])
    compared = (
        f"{metric} {metrics[metric]:.4g} against champion {champion.version}'s {rival[metric]:.4g} on the same "
        f"{rows} rows: {better:+.2%}, margin {spec.gates.margin:.2%}"
    )
    return compared, better >= spec.gates.margin and better > 0


def unclear(candidate: ModelVersion) -> str:
    """Why its gain over the baseline may be chance; "" where it is not, and for versions of which nothing was judged:
    those of before, and those whose rows do not allow their metric."""
    metric, judged = candidate.tags.get("karat.metric", ""), candidate.judged
    if f"{metric}_gain" not in judged:
        return ""
    low, high = judged.get(f"{metric}_gain_low"), judged.get(f"{metric}_gain_high")
    if low is None or high is None:
        return f"its gain in {metric} over the baseline has no interval on these test rows"
    if low > 0:
        return ""
    return f"the 95 % interval of its gain in {metric} over the baseline, {low:.4g} to {high:.4g}, is not clear of 0"


def loses_to_persistence(candidate: ModelVersion) -> list[str]:
    """Why a kind that reads sequences is refused: on the same rows the last value itself answers as well."""
    metric = candidate.tags.get("karat.metric", "")
    value, rival = candidate.metrics.get(metric), candidate.judged.get(f"{PERSISTENCE}_{metric}")
    if value is None or rival is None or is_better(metric, value, rival):
        return []
    return [f"{metric} {value:.4g} does not beat persistence, which has {rival:.4g} on the same rows"]


def _clearly(candidate: ModelVersion) -> str:
    metric = candidate.tags.get("karat.metric", "")
    low, high = candidate.judged.get(f"{metric}_gain_low"), candidate.judged.get(f"{metric}_gain_high")
    return "" if low is None or high is None else f" by {low:.4g} to {high:.4g} (95 % interval)"


def _shown(metrics: dict[str, float], metric: str) -> str:
    return f"{metrics[metric]:.4g}" if metric in metrics else "(none)"


def _crown(registry: Registry, candidate: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    """The alias moves in one step; what comes before and after it can be done again by ``_finish``."""
    if champion is not None:
        candidate = registry.tag(candidate, {"karat.replaces": str(champion.version)})
    _finish(registry, registry.set_alias(candidate, CHAMPION, reason))


def _finish(registry: Registry, champion: ModelVersion) -> None:
    """What belongs to being champion besides the alias; already done is left alone."""
    registry.tag(champion, {"karat.stage": CHAMPION})
    replaced = champion.tags.get("karat.replaces")
    if replaced:
        old = registry.version(champion.name, int(replaced))
        if old.tags.get("karat.stage") != ARCHIVED:
            _archive(registry, old, f"version {champion.version} replaced it")
    registry.clear_alias(champion.name, CHALLENGER, "it became champion", of=champion.version)


def _archive(registry: Registry, version: ModelVersion, reason: str) -> None:
    registry.tag(version, {"karat.stage": ARCHIVED})
    registry.set_alias(version, ARCHIVED, reason)
