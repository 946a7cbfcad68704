"""Gate on the gaps between the groups of the protected columns, by the limits that are declared today."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from karat.declare.fairness import Fairness
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.version_comparison import candidate_test_rows, test_predictions
from karat.registry.records import ModelVersion
from karat.registry.tags import VersionTags
from karat.training.bootstrap_clusters import bootstrap_clusters
from karat.training.fairness import FairnessRecord, fairness_report
from karat.training_sets.protected_columns import protected_columns


def unfair_groups(version: ModelVersion, fairness: Fairness, columns: Sequence[str]) -> list[str]:
    """Return the protected columns whose gap on the version's test rows is over its limit, in words.

    The lower bound of the gap decides, so that small groups do not refuse a model by chance.

    Args:
        version: The version, with the gaps among its tags.
        fairness: The limits of today.
        columns: The protected columns.
    """
    recorded = version.own_tags.fairness
    return [] if recorded is None else FairnessRecord(recorded).exceeded(fairness, columns)


def unmeasured_columns(version: ModelVersion, fairness: Fairness, columns: Sequence[str]) -> list[str]:
    """Return the protected columns with a limit that the version's test rows were never compared by.

    Empty for a task that selects nobody, and for anomaly models: without known anomalies there is nothing to compare.
    Arguments are those of ``unfair_groups``.
    """
    if version.own_tags.task != "binary":
        return []
    recorded = version.own_tags.fairness or {}
    return [c for c in columns if fairness.limit(c) is not None and c not in recorded]


def fairness_reasons(candidate: ModelVersion, fairness: Fairness, columns: Sequence[str]) -> list[str]:
    """Return why a candidate is refused for its fairness, in words; arguments are those of ``unfair_groups``."""
    unknown = unmeasured_columns(candidate, fairness, columns)
    never = [f"its groups by {', '.join(unknown)} were never compared: train it again"] if unknown else []
    return [*never, *unfair_groups(candidate, fairness, columns)]


def measure_champion(context: ModelContext, candidate: ModelVersion, champion: ModelVersion) -> ModelVersion:
    """Compare the groups of a champion that was trained before its protected columns were declared.

    Args:
        context: The declared model with its lake and registry.
        candidate: Whose test rows it is compared on.
        champion: The champion.

    Returns:
        The champion with the gaps among its tags; unchanged if they are there, or for a model without such columns.

    Raises:
        KaratError: the champion can no longer be scored.
    """
    spec, registry = context.spec, context.registry
    if not unmeasured_columns(champion, context.fairness, spec.protected):
        return champion
    test = candidate_test_rows(registry, candidate, registry.load(candidate, judged=True))
    loaded = registry.load(champion, judged=True)
    rows = test_predictions(context.lake, loaded, test, context.functions)
    if test.label is None:
        return champion
    model = loaded.model
    positive = (test.rows[test.label] == (model.classes[1] if model.classes else 1)).to_numpy()
    spine = context.spine
    clusters = bootstrap_clusters(test.rows, entity=spine.entity, time=spine.time, horizon=spec.horizon_end)
    report = fairness_report(
        np.asarray(rows.prediction >= model.thresholds(rows.features)),
        positive,
        protected_columns(context, context.lake, test.rows),
        clusters,
        seed=spec.seed,
    )
    gaps = FairnessRecord.of(report, spec.protected).gaps
    return registry.tag(champion, VersionTags(fairness=gaps))
