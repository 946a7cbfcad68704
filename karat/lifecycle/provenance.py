"""Provenance of a model version: origin of its gold rows, definitions of its features, and whether both still hold."""

from __future__ import annotations

from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake
from karat.lifecycle.fairness_gate import unfair_groups
from karat.lifecycle.impact import broken_features
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.records import Provenance
from karat.quality.origin import INGEST, SAMPLE, origin
from karat.registry.records import ModelVersion


def provenance(model: DeclaredModel, lake: Lake) -> Provenance:
    """Return the origin of the gold rows behind a model and the definitions of its features, as they are now."""
    tables = sorted({lookup.table for lookup in model.spec.lookups})
    return Provenance(origins(model, lake), {t: model.project.tables[t].definition_hash for t in tables})


def origins(model: DeclaredModel, lake: Lake) -> dict[str, str]:
    """Return the origin of every gold table that the model reads.

    The oracle's table is left out: it serves evaluation alone.

    Args:
        model: The declared model.
        lake: Holds the gold tables.

    Returns:
        Gold table -> "sample", "ingest" or "" (unknown).
    """
    project, spec = model.project, model.spec
    tables = {project.tables[lookup.table].source for lookup in spec.lookups}
    tables |= {model.spine.source, *([spec.label.source] if spec.label else [])}
    names = {t: project.gold_name(t) for t in sorted(tables) if not project.gold[t].truth}
    return {t: origin(lake, n) or "" for t, n in names.items() if lake.exists(n)}


def void_reason(context: ModelContext, version: ModelVersion) -> str:
    """Return why a version no longer counts; "" if it does.

    It is void if its data are outdated, or if the groups of a protected column differ by more than the declared limit.
    """
    return outdated_reason(context, version) or "; ".join(
        unfair_groups(version, context.fairness, context.spec.protected)
    )


def outdated_reason(context: ModelContext, version: ModelVersion) -> str:
    """Return why a version's data are outdated; "" if they are not.

    They are if real rows have replaced the sample rows that it was trained on, or if a feature's definition changed.
    """
    return _sample_reason(context, version) or _feature_reason(context, version)


def _feature_reason(context: ModelContext, version: ModelVersion) -> str:
    project, known = context.project, version.own_tags.definitions or {}
    declared = {t: project.tables[t].definition_hash for t in known if t in project.tables}
    # The version's metadata is only read if a table has changed, or a function may have.
    if known == declared and not context.spec.functions and not project.functions:
        return ""
    broken = broken_features(project, context.registry, version, known, functions=True)
    return f"it was trained on other features: {', '.join(one.what for one in broken)}" if broken else ""


def _sample_reason(context: ModelContext, version: ModelVersion) -> str:
    trained_on = version.own_tags.origins or {}
    now = origins(context, context.lake)
    replaced = sorted(t for t, before in trained_on.items() if before == SAMPLE and now.get(t) == INGEST)
    return f"it was trained on sample data, which real data have replaced in {', '.join(replaced)}" if replaced else ""
