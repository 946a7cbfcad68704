"""Results of the lifecycle: a candidate version and a promotion decision."""

from __future__ import annotations

from dataclasses import dataclass

from karat.names import ModelName
from karat.registry.records import ModelVersion


@dataclass(frozen=True)
class Candidate:
    """What ``make_candidate`` made or found; ``retrained`` is False where it was already there."""

    version: ModelVersion
    retrained: bool
    metrics: dict[str, float]
    baseline: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Whether a version became champion, why, and the figures behind it: all on the candidate's test rows."""

    model: ModelName
    version: int
    promoted: bool
    reason: str
    candidate_metrics: dict[str, float]
    champion_metrics: dict[str, float] | None
    baseline: dict[str, float]
    champion_version: int | None = None
