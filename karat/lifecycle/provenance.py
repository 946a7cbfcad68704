"""Where the gold rows behind a model came from; sample data never outlive the first real row."""

from __future__ import annotations

import json

from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.lake import Lake
from karat.lifecycle.impact import broken
from karat.quality import origin
from karat.registry.records import ModelVersion
from karat.registry.store import Registry

SAMPLE, INGEST = "sample", "ingest"


def origins(project: Project, spec: ModelSpec, lake: Lake) -> dict[str, str]:
    """Gold table -> "sample" or "ingest" ("" where nobody said so), of every table that the model depends on.

    A planted truth is left out: it only evaluates.
    """
    tables = {project.tables[lookup.table].source for lookup in spec.lookups}
    tables |= {project.tables[spec.spine_table].source, *([spec.label.source] if spec.label else [])}
    names = {t: project.gold_name(t) for t in sorted(tables) if not project.gold[t].truth}
    return {t: origin(lake, n) or "" for t, n in names.items() if lake.exists(n)}


def overall(found: dict[str, str]) -> str:
    """ "sample" as soon as one table is."""
    if SAMPLE in found.values():
        return SAMPLE
    return INGEST if INGEST in found.values() else ""


def definitions(project: Project, spec: ModelSpec) -> dict[str, str]:
    """Feature table -> hash of its definition, of every table that the model looks up."""
    return {t: project.tables[t].definition_hash for t in sorted({lookup.table for lookup in spec.lookups})}


def void_reason(version: ModelVersion, project: Project, spec: ModelSpec, lake: Lake, registry: Registry) -> str:
    """Why a champion no longer counts: it learned from sample rows that real ones have replaced, or from features that
    mean something else by now. "" where it counts."""
    return _of_sample(version, project, spec, lake) or _of_other_features(version, project, spec, registry)


def _of_other_features(version: ModelVersion, project: Project, spec: ModelSpec, registry: Registry) -> str:
    known = json.loads(version.tags.get("karat.definitions", "{}"))
    declared = {t: project.tables[t].definition_hash for t in known if t in project.tables}
    # What a version itself holds is only read where a table has changed, or a function may have.
    if known == declared and not spec.functions and not project.functions:
        return ""
    found = broken(project, registry, version, known, functions=True)
    return f"it was trained on other features: {', '.join(one.what for one in found)}" if found else ""


def _of_sample(version: ModelVersion, project: Project, spec: ModelSpec, lake: Lake) -> str:
    learned = json.loads(version.tags.get("karat.origins", "{}"))
    now = origins(project, spec, lake)
    replaced = sorted(t for t, before in learned.items() if before == SAMPLE and now.get(t) == INGEST)
    if not replaced:
        return ""
    return f"it was trained on sample data, which ingested data have replaced in {', '.join(replaced)}"
