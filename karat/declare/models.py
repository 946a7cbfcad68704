"""Models: one YAML file each, typed here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from karat.declare.base import DAY, Declaration, Duration

Task = Literal["regression", "binary", "multiclass", "multilabel", "anomaly", "clustering", "forecast"]
#: The tasks whose label, where there is one, serves evaluation alone.
UNSUPERVISED = ("anomaly", "clustering")

#: Each metric's better direction; scikit-learn's names.
HIGHER_IS_BETTER: dict[str, bool] = {
    "roc_auc": True,
    "average_precision": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "accuracy": True,
    "r2": True,
    "adjusted_rand": True,
    "silhouette": True,
    "log_loss": False,
    "rmse": False,
    "mae": False,
    "mape": False,
}
DEFAULT_METRIC: dict[str, str] = {
    "regression": "rmse",
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "multilabel": "roc_auc",
    "anomaly": "average_precision",
    "clustering": "adjusted_rand",
    "forecast": "rmse",
}

#: The metrics of each task, and the naive baselines; the first is the one where none is named.
_TWO_CLASSES = ("roc_auc", "average_precision", "precision", "recall", "f1")
METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("rmse", "mae", "r2", "mape"),
    "binary": (*_TWO_CLASSES, "accuracy", "log_loss"),
    "multiclass": ("log_loss", "accuracy", "precision", "recall", "f1", "roc_auc"),
    "multilabel": ("roc_auc", "average_precision", "f1"),
    "anomaly": _TWO_CLASSES,
    "clustering": ("adjusted_rand", "silhouette"),
    "forecast": ("rmse", "mae", "r2"),
}
BASELINES: dict[str, tuple[str, ...]] = {
    "regression": ("mean", "median", "random", "feature"),
    "binary": ("prior", "random", "feature"),
    "multiclass": ("prior", "random"),
    "multilabel": ("prior", "random"),
    "anomaly": ("random", "feature"),
    "clustering": ("random",),
    "forecast": ("mean", "feature"),
}


class Label(Declaration):
    """What is to be predicted, as an SQL (DuckDB) expression over gold rows.

    With a time: an aggregate expression over the gold rows of the same entity in
    [D + offset, D + offset + horizon) for a spine row of day D; an offset of one grain (the default) makes the label
    begin where the features end. Rows whose horizon is not over yet have no label and are left out. Without a time:
    an expression over the gold row (or an aggregate over the rows) of the same key. ``default`` fills rows without
    gold rows in the horizon. ``columns`` maps the spine's key columns to gold columns of another name.

    A multi-label model has ``expressions`` instead, one condition a label (name -> SQL, 0 or 1). A forecast has
    ``steps``: the expression is evaluated on so many consecutive windows of ``horizon`` each, the first at ``offset``.
    Of a row of an event at t these windows are (t + offset, t + offset + horizon] and so on, so that with an offset of
    0 the event itself is in none of them.
    """

    name: str = "label"
    source: str
    expression: str = ""
    expressions: dict[str, str] = {}
    steps: int | None = Field(None, ge=1, le=1000)
    where: str | None = None
    horizon: Duration | None = None
    offset: Duration = DAY
    default: float | str | None = None
    columns: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_form(self) -> Label:
        if bool(self.expression) == bool(self.expressions):
            raise ValueError("a label has an expression, or the expressions of several labels: one of the two")
        if self.steps is not None and self.horizon is None:
            raise ValueError("steps are windows of one horizon each: give horizon, as in '1h'")
        return self

    @property
    def parts(self) -> dict[str, str]:
        """Name -> SQL of every part of a label that has several: a multi-label's own names, a forecast's step_1 and so
        on; empty where the label is one value."""
        return self.expressions or {step_name(i): self.expression for i in range(self.steps or 0)}

    @property
    def written(self) -> str:
        """All of its SQL as one text, for messages and for the columns that it names."""
        return self.expression or "; ".join(self.expressions.values())


def step_name(index: int) -> str:
    """The name of a forecast's step, counted from 0."""
    return f"step_{index + 1}"


class Lookup(Declaration):
    """Features of one table; ``features: "*"`` takes all of them, less ``exclude``.

    With ``sequence_length`` each feature is the sequence of the so many latest rows that were known, for kinds that
    read sequences. A gap wider than ``step`` (the table's grain by default) ends it; one that is short is padded in
    front (``short: pad``), or its row is an error (``short: refuse``).
    """

    table: str
    features: tuple[str, ...] | Literal["*"] = "*"
    exclude: tuple[str, ...] = ()
    sequence_length: int | None = Field(None, ge=1, le=10_000)
    step: Duration | None = None
    short: Literal["pad", "refuse"] = "pad"

    @model_validator(mode="after")
    def _of_a_sequence(self) -> Lookup:
        if self.sequence_length is None and (self.step is not None or self.short != "pad"):
            raise ValueError("step and short are of a sequence: give sequence_length")
        return self


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
    feature's value times ``scale`` (persistence: last week's cost is next week's), of a sequence with its newest value;
    a forecast's steps all have the same."""

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
    label: Label | None = Field(None, description="only a clustering model may do without")
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
        return self

    @model_validator(mode="after")
    def _label_of_its_task(self) -> ModelSpec:
        label = self.label
        if label is None:
            if self.task != "clustering":
                raise ValueError(f"a {self.task} model needs a label: {{source: GOLD_TABLE, expression: SQL}}")
            if self.metric == "adjusted_rand" or "adjusted_rand" in self.gates.floors:
                raise ValueError("adjusted_rand compares with a label, and there is none: take silhouette")
            return self
        if (self.task == "multilabel") != bool(label.expressions):
            raise ValueError("label.expressions are for a multilabel model, and it has no single expression")
        if (self.task == "forecast") != (label.steps is not None):
            raise ValueError("label.steps are for a forecast, and it needs them: 1 for the next window alone")
        # Whether a forecast's rows are days or events its spine says, on loading.
        if self.task not in (*UNSUPERVISED, "forecast") and label.horizon is not None and label.offset < DAY:
            raise ValueError("the label overlaps its features: its offset must be at least one grain (1d)")
        return self

    @property
    def labelled(self) -> Label:
        """The label of a model that must have one."""
        assert self.label is not None
        return self.label

    @property
    def target(self) -> str | None:
        """The name of the label's column; None without a label."""
        return self.label.name if self.label else None

    @property
    def primary_metric(self) -> str:
        if self.task == "clustering" and self.label is None:
            return self.metric or "silhouette"
        return self.metric or DEFAULT_METRIC[self.task]

    @property
    def spine_table(self) -> str:
        return self.spine or self.lookups[0].table

    @property
    def horizon_end(self) -> timedelta:
        """How long after a row's time its label is complete."""
        if self.label is None or self.label.horizon is None:
            return timedelta(0)
        return self.label.offset + self.label.horizon * (self.label.steps or 1)
