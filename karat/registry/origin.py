"""Where the gold rows behind a model came from; sample data never outlive the first real row."""

from __future__ import annotations

import json

from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.lake import Lake
from karat.quality import origin
from karat.registry.records import ModelVersion

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


def void_reason(version: ModelVersion, project: Project, spec: ModelSpec, lake: Lake) -> str:
    """Why a champion no longer counts: it learned from sample rows that real ones have replaced. "" where it counts."""
    learned = json.loads(version.tags.get("karat.origins", "{}"))
    now = origins(project, spec, lake)
    replaced = sorted(t for t, before in learned.items() if before == SAMPLE and now.get(t) == INGEST)
    if not replaced:
        return ""
    return f"it was trained on sample data, which ingested data have replaced in {', '.join(replaced)}"
