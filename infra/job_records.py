"""Records that pass between a flow and its Ray job: a spec on the way in, outcomes and errors on the way out."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

import karat.errors
from infra.code import CodeVersion
from karat.errors import KaratError

#: Every program that a flow may submit.
Program = Literal[
    "ray_jobs.compute_features",
    "ray_jobs.train_models",
    "ray_jobs.promote_models",
    "ray_jobs.score_models",
    "ray_jobs.monitor_models",
    "ray_jobs.serve_champions",
]

# What another try can mend without a person: something was out of reach or in the way, nothing was wrong.
_TRANSIENT = (karat.errors.StoreError, karat.errors.PlatformError, OSError)
_LASTING = (
    karat.errors.DiskFull,
    karat.errors.CodeMismatch,
    karat.errors.UnsoundVersions,
    karat.errors.JobCancelled,
    karat.errors.JobTimedOut,
)


class Record(BaseModel):
    """Frozen record that is written whole or not at all."""

    # A metric may be NaN or infinite; JSON's null would not be read back as a number.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    def write(self, path: Path) -> None:
        """Write beside ``path``, then rename: a reader sees the old file or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(self.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


class JobSpec(Record):
    """A job: its program, project and parameters, and the code that every node must have."""

    entrypoint: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)*$")
    project: str
    parameters: dict[str, Any] = {}
    code: CodeVersion


class JobError(Record):
    """An exception as JSON; ``raised`` returns it in its own class."""

    type: str
    what: str
    where: str = ""
    remedy: str = ""
    transient: bool
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> JobError:
        """Record an exception; one that is not Karat's keeps its traceback."""
        transient = is_transient(error)
        if isinstance(error, KaratError):
            return cls(
                type=type(error).__name__,
                what=error.what,
                where=error.where,
                remedy=error.remedy,
                transient=transient,
            )
        lines = traceback.format_exception(error)
        return cls(
            type=type(error).__name__, what=str(error) or repr(error), transient=transient, traceback="".join(lines)
        )

    def raised(self) -> KaratError:
        """Return the KaratError of that class; any other exception as JobFailed that names it."""
        kind = getattr(karat.errors, self.type, None)
        if isinstance(kind, type) and issubclass(kind, KaratError):
            error = kind(self.what, where=self.where, remedy=self.remedy)
        else:
            error = karat.errors.JobFailed(f"{self.type}: {self.what}", where=self.where, remedy=self.remedy)
        error.transient = self.transient  # type: ignore[attr-defined]
        return error

    def __str__(self) -> str:
        return f"{self.type}: {self.what}"


State = Literal["done", "kept", "skipped", "failed"]


class Outcome(Record):
    """Result of one step for one table or model.

    Attributes:
        kind: Which subclass a JSON record is read as.
        name: The table or model.
        state: ``done``; ``kept`` if nothing was to do; ``skipped`` if its gold or champion is missing; or ``failed``.
        summary: The result in words.
        warnings: What is unusual about the data or the model.
        error: Why the step failed.
    """

    kind: str = "plain"
    name: str
    state: State
    summary: str = ""
    warnings: tuple[str, ...] = ()
    error: JobError | None = None


class FeatureTableOutcome(Outcome):
    """A computed feature table.

    Attributes:
        table: Name in the lake.
        version: Delta version.
        rows: Rows written.
        days: Number of days recomputed.
        set_aside: Rows that the table's checks set aside.
        statistics: One record per feature.
    """

    kind: Literal["feature_table"] = "feature_table"
    table: str | None = None
    version: int | None = None
    rows: int | None = None
    days: int | None = None
    set_aside: int | None = None
    statistics: tuple[dict[str, object], ...] = ()


class ModelOutcome(Outcome):
    """A registered version and its metrics on the test rows.

    Attributes:
        model: Registered name.
        version: The version that was trained or decided on.
        champion_version: The champion after the step.
        run_id: MLflow run.
        experiment_id: MLflow experiment.
        metric: Primary metric.
        metrics: Metrics of the version.
        baseline: Metrics of its baseline on the same rows.
        judged: Gain, intervals and the oracle's metrics.
        reason: Which gates it passed or missed.
    """

    model: str | None = None
    version: int | None = None
    champion_version: int | None = None
    run_id: str | None = None
    experiment_id: str | None = None
    metric: str | None = None
    metrics: dict[str, float] = {}
    baseline: dict[str, float] = {}
    judged: dict[str, float] = {}
    reason: str = ""


class TrainingOutcome(ModelOutcome):
    """A candidate version; ``undecided`` if the promotion gates still have to decide on it."""

    kind: Literal["training"] = "training"
    undecided: bool = False

    def decided(self, promotion: PromotionOutcome) -> TrainingOutcome:
        """Return this outcome with the decision of the promotion gates added."""
        return self.model_copy(
            update={
                "summary": f"{self.summary}; {promotion.summary}",
                "undecided": False,
                "champion_version": promotion.champion_version,
                "metrics": promotion.metrics,
                "baseline": promotion.baseline,
                "reason": promotion.reason,
            }
        )


class PromotionOutcome(ModelOutcome):
    """A decision of the promotion gates.

    Attributes:
        promoted: Whether the version is champion.
        champion_metrics: Metrics of the champion before it on the same rows.
    """

    kind: Literal["promotion"] = "promotion"
    promoted: bool = False
    champion_metrics: dict[str, float] | None = None


class PredictionTableOutcome(Outcome):
    """A prediction table.

    Attributes:
        table: Name in the lake.
        version: Delta version.
        rows: Rows of the table's scope.
    """

    table: str | None = None
    version: int | None = None
    rows: int | None = None


class ScoringOutcome(PredictionTableOutcome):
    """Batch predictions of a champion.

    Attributes:
        model_version: The champion.
        unknown: Rows without a prediction: no feature table has their key, or the model refuses them.
        degraded: Rows predicted from fewer features than the model declares.
    """

    kind: Literal["scoring"] = "scoring"
    model_version: int | None = None
    unknown: int = 0
    degraded: int = 0


class BatchTableOutcome(PredictionTableOutcome):
    """Predictions of several models side by side; ``missing`` names models without predictions."""

    kind: Literal["batch_table"] = "batch_table"
    missing: tuple[str, ...] = ()


class DriftReport(Record):
    """One check of a champion.

    Attributes:
        check: dataset, prediction or fairness.
        summary: The result in words.
        columns: Number of columns compared.
        drifted: Columns over their threshold.
        model_version: The champion.
        run_id: MLflow run of the champion.
        experiment_id: MLflow experiment of the champion.
        reference_rows: Rows of the training set.
        current_rows: Rows of now.
        report: Path of the page among the run's artifacts; None if there is nothing to show.
        days: First and last day of the current rows.
    """

    check: str
    summary: str
    columns: int
    drifted: tuple[str, ...]
    model_version: int
    run_id: str
    experiment_id: str
    reference_rows: int | None
    current_rows: int | None
    report: str | None
    days: str | None


class MonitoringOutcome(Outcome):
    """Checks of a champion; ``rows`` go into the drift table, and the job's result leaves them out."""

    kind: Literal["monitoring"] = "monitoring"
    reports: tuple[DriftReport, ...] = ()
    rows: tuple[dict[str, object], ...] = Field(default=(), exclude=True, repr=False)


class ServingOutcome(Outcome):
    """The HTTP application; ``champions`` maps registered names to the versions that answer."""

    kind: Literal["serving"] = "serving"
    champions: dict[str, int] = {}
    address: str = ""


_OUTCOMES: dict[str, type[Outcome]] = {
    "plain": Outcome,
    "feature_table": FeatureTableOutcome,
    "training": TrainingOutcome,
    "promotion": PromotionOutcome,
    "scoring": ScoringOutcome,
    "batch_table": BatchTableOutcome,
    "monitoring": MonitoringOutcome,
    "serving": ServingOutcome,
}


class JobResult(Record):
    """What a job writes at its end: references, no frames.

    Attributes:
        outcomes: One per table or model.
        error: Why the job itself failed.
        seconds: Duration.
    """

    outcomes: tuple[SerializeAsAny[Outcome], ...] = ()
    error: JobError | None = None
    seconds: float = 0.0

    @field_validator("outcomes", mode="before")
    @classmethod
    def _typed(cls, given: Sequence[Outcome | dict[str, object]]) -> tuple[Outcome, ...]:
        """Each JSON record as the subclass that its ``kind`` names."""
        return tuple(
            one if isinstance(one, Outcome) else _OUTCOMES[str(one.get("kind", "plain"))].model_validate(one)
            for one in given
        )


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed at the next try without anybody's help."""
    known = getattr(error, "transient", None)
    if known is not None:
        return bool(known)
    if isinstance(error, karat.errors.PartlyFailed):
        return any(o.error is not None and o.error.transient for o in error.outcomes if isinstance(o, Outcome))
    # Ray's own errors: a worker or a node died under the work.
    by_ray = type(error).__module__.startswith("ray.")
    return by_ray or (isinstance(error, _TRANSIENT) and not isinstance(error, _LASTING))
