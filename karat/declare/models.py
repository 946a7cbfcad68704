"""Models: one YAML file each, typed here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from karat.declare.base import DAY, Declaration, Duration

Task = Literal["regression", "binary", "multiclass", "anomaly"]

#: Each metric's better direction; scikit-learn's names.
HIGHER_IS_BETTER: dict[str, bool] = {
    "roc_auc": True,
    "average_precision": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "accuracy": True,
    "r2": True,
    "log_loss": False,
    "rmse": False,
    "mae": False,
    "mape": False,
}
DEFAULT_METRIC: dict[str, str] = {
    "regression": "rmse",
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "anomaly": "average_precision",
}

#: The metrics of each task, and the naive baselines; the first is the one where none is named.
_TWO_CLASSES = ("roc_auc", "average_precision", "precision", "recall", "f1")
METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("rmse", "mae", "r2", "mape"),
    "binary": (*_TWO_CLASSES, "accuracy", "log_loss"),
    "multiclass": ("log_loss", "accuracy", "precision", "recall", "f1", "roc_auc"),
    "anomaly": _TWO_CLASSES,
}
BASELINES: dict[str, tuple[str, ...]] = {
    "regression": ("mean", "median", "random", "feature"),
    "binary": ("prior", "random", "feature"),
    "multiclass": ("prior", "random"),
    "anomaly": ("random", "feature"),
}


class Label(Declaration):
    """What is to be predicted, as an SQL (DuckDB) expression over gold rows.

    With a time: an aggregate expression over the gold rows of the same entity in
    [D + offset, D + offset + horizon) for a spine row of day D; an offset of one grain (the default) makes the label
    begin where the features end. Rows whose horizon is not over yet have no label and are left out. Without a time:
    an expression over the gold row (or an aggregate over the rows) of the same key. ``default`` fills rows without
    gold rows in the horizon. ``columns`` maps the spine's key columns to gold columns of another name.
    """

    name: str = "label"
    source: str
    expression: str
    where: str | None = None
    horizon: Duration | None = None
    offset: Duration = DAY
    default: float | str | None = None
    columns: dict[str, str] = {}


class Lookup(Declaration):
    """Features of one table; ``features: "*"`` takes all of them, less ``exclude``."""

    table: str
    features: tuple[str, ...] | Literal["*"] = "*"
    exclude: tuple[str, ...] = ()


class FunctionUse(Declaration):
    """A declared feature function as a feature of the model: ``inputs`` binds its parameters to columns, which are
    looked-up features, key columns of the spine, or outputs of the functions before it."""

    function: str
    inputs: dict[str, str]
    output: str | None = None

    @property
    def output_name(self) -> str:
        return self.output or self.function


class Split(Declaration):
    """How the test rows are set apart: the last share of the time, or a hash of the entity. ``gap``: so many whole days
    before the first day of the test are in neither part, for their labels were not known by then."""

    by: Literal["time", "entity"] | None = None
    test: float = Field(0.2, gt=0, lt=1)
    gap: Duration = timedelta(0)

    @model_validator(mode="after")
    def _whole_days(self) -> Split:
        if self.gap % DAY:
            raise ValueError("gap is a number of whole days, as in '7d'")
        return self


class Baseline(Declaration):
    """The naive answer to beat. ``mean`` and ``prior`` are scikit-learn's dummies; ``feature`` answers with that
    feature's value times ``scale`` (persistence: last week's cost is next week's)."""

    strategy: Literal["mean", "median", "prior", "random", "feature"] | None = None
    feature: str | None = None
    scale: float = 1.0

    @model_validator(mode="after")
    def _named(self) -> Baseline:
        if (self.strategy == "feature") != (self.feature is not None):
            raise ValueError("a baseline names a feature if, and only if, its strategy is 'feature'")
        return self


class Gates(Declaration):
    """What a version must reach. ``margin`` is relative to the champion's primary metric, in its better direction;
    ``floors`` are absolute (for a metric where less is better: ceilings). ``consistency``: the greatest share of
    predictions for which a feature may have been served otherwise than the offline store says, where that was compared
    (``check_consistency``)."""

    margin: float = Field(0.02, ge=0)
    floors: dict[str, float] = {}
    consistency: float | None = Field(None, ge=0, le=1)


class Scope(Declaration):
    """What batch inference scores: the keys of the spine table, all or of its last days."""

    last: Duration | None = None
    write: Literal["replace", "append"] = "replace"


class ModelSpec(Declaration):
    """One model of a project. ``name`` is the file's name and ``domain`` its folder; both are filled in on loading."""

    name: str = ""
    domain: str = ""
    description: str
    owner: str = ""
    task: Task
    kind: str
    label: Label
    lookups: tuple[Lookup, ...] = Field(min_length=1)
    functions: tuple[FunctionUse, ...] = ()
    spine: str | None = Field(None, description="the feature table whose keys are the rows; the first lookup's")
    parameters: dict[str, Any] = {}
    class_weight: Literal["balanced"] | None = None
    threshold: float = Field(0.5, ge=0, le=1)
    metric: str | None = None
    baseline: Baseline = Baseline()
    split: Split = Split()
    gates: Gates = Gates()
    minimum_rows: int = 100
    scope: Scope = Scope()
    online: bool = True
    seed: int = 0

    @model_validator(mode="after")
    def _metrics_known(self) -> ModelSpec:
        for metric in (*([self.metric] if self.metric else []), *self.gates.floors):
            if metric not in HIGHER_IS_BETTER:
                raise ValueError(f"{metric!r} is not a metric; there are {', '.join(HIGHER_IS_BETTER)}")
            if metric not in METRICS[self.task]:
                raise ValueError(f"a {self.task} model has no {metric!r}; it has {', '.join(METRICS[self.task])}")
        if self.baseline.strategy and self.baseline.strategy not in BASELINES[self.task]:
            known = ", ".join(BASELINES[self.task])
            raise ValueError(f"a {self.task} model has no baseline {self.baseline.strategy!r}; it has {known}")
        if self.class_weight and self.task not in ("binary", "multiclass"):
            raise ValueError(f"class_weight is for classes, and a {self.task} model has none")
        if self.task != "anomaly" and self.label.horizon is not None and self.label.offset < DAY:
            raise ValueError("the label overlaps its features: its offset must be at least one grain (1d)")
        return self

    @property
    def primary_metric(self) -> str:
        return self.metric or DEFAULT_METRIC[self.task]

    @property
    def spine_table(self) -> str:
        return self.spine or self.lookups[0].table

    @property
    def horizon_end(self) -> timedelta:
        """How long after a row's day its label is complete."""
        return (self.label.offset + self.label.horizon) if self.label.horizon else timedelta(0)
