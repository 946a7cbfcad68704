"""Records of a model's life: a training run, a candidate version and a promotion decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from karat.names import ModelName
from karat.quality.origin import INGEST, SAMPLE
from karat.registry.records import ModelVersion
from karat.registry.tags import DecisionStatus
from karat.training.environment import TrainingEnvironment
from karat.training.fairness import FairnessReport
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import GainReport
from karat.training.search import SearchResult
from karat.training.seeds import SeedReport
from karat.training_sets.training_set import TrainingSet


@dataclass(frozen=True)
class Provenance:
    """Where a model's data come from.

    Attributes:
        origins: Gold table -> "sample", "ingest" or "" (unknown).
        definitions: Feature table -> hash of its definition.
    """

    origins: dict[str, str]
    definitions: dict[str, str]

    @property
    def origin(self) -> str:
        """Origin of the whole: "sample" if any gold table holds sample data, else "ingest"; "" if unknown."""
        found = self.origins.values()
        return next((origin for origin in (SAMPLE, INGEST) if origin in found), "")


@dataclass(frozen=True)
class FoundParameters:
    """Parameters that a search found.

    Attributes:
        parameters: The searched parameters with their best values.
        version: The version that was registered after the search; None if this one is.
        result: The search; None if ``version`` holds it.
    """

    parameters: dict[str, Any]
    version: int | None = None
    result: SearchResult | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return what the version's metadata keep: the parameters, and where they were found."""
        if self.result is None:
            return {"parameters": self.parameters, "version": self.version}
        return {"parameters": self.parameters, **self.result.to_dict()}


@dataclass(frozen=True)
class TrainingRun:
    """A model that was fitted and evaluated, before it is registered.

    Attributes:
        training_set: The rows, with their pins and digest.
        split: The part of each row: train, gap or test.
        result: The model and its metrics on the test rows.
        gain: The gain over the baseline with confidence intervals; None where the test rows allow none.
        provenance: Origin of the gold rows and definitions of the features.
        search: The parameters that a search found; None without one.
        fairness: Rates of the groups of the protected columns on the test rows; None without such columns.
        custom: The project's own metrics on the test rows.
        seeds: The primary metric with several seeds; None where one was enough.
        environment: Seconds, memory, hardware and libraries of the training; None if it was made elsewhere.
        log: The training's log; empty if it was made elsewhere.
    """

    training_set: TrainingSet = field(repr=False)
    split: pl.Series = field(repr=False)
    result: TrainingResult = field(repr=False)
    gain: GainReport | None
    provenance: Provenance
    search: FoundParameters | None = None
    fairness: FairnessReport | None = field(default=None, repr=False)
    custom: dict[str, float] = field(default_factory=dict)
    seeds: SeedReport | None = None
    environment: TrainingEnvironment | None = None
    log: str = field(default="", repr=False)


@dataclass(frozen=True)
class Candidate:
    """A candidate version.

    Attributes:
        version: The registered version.
        retrained: False if the version of this definition and these data existed already.
        metrics: Metrics on the test rows.
        baseline: Metrics of the baseline on the same rows.
        warnings: What is unusual about the data or the model.
    """

    version: ModelVersion
    retrained: bool
    metrics: dict[str, float]
    baseline: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Result of the promotion gates for one version.

    Attributes:
        model: The registered model.
        version: The candidate.
        status: Whether it became champion.
        reason: Which gates it passed or missed, with figures.
        candidate_metrics: Metrics of the candidate on its test rows.
        champion_metrics: Metrics of the champion on the same rows; None if there was none, or it cannot be scored.
        baseline: Metrics of the candidate's baseline on the same rows.
        champion_version: The champion after the decision.
    """

    model: ModelName
    version: int
    status: DecisionStatus
    reason: str
    candidate_metrics: dict[str, float]
    champion_metrics: dict[str, float] | None
    baseline: dict[str, float]
    champion_version: int | None = None

    @property
    def promoted(self) -> bool:
        """Whether the candidate became champion, or is."""
        return self.status is DecisionStatus.PROMOTED
