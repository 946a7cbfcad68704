"""Models: one YAML file each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from karat.clock import DAY
from karat.declare.base import Declaration, Duration, FieldErrors
from karat.declare.distribution import Distribution
from karat.declare.fairness import Fairness
from karat.declare.search import SearchBudget, SearchSpace
from karat.declare.truth import Truth
from karat.errors import did_you_mean
from karat.fingerprint import fingerprint_bytes

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
    Of a row of an event at t the windows are (t + offset, t + offset + horizon] and so on, so that with an offset of 0
    the event itself is in none of them; a label with a horizon but no steps is of the first window, and one without a
    horizon is an expression over the event's own gold row.

    With ``transform`` a regression or a forecast learns log(1 + label) (``log1p``) or the label's logarithm (``log``).
    Predictions and metrics are in the label's own unit.
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
    transform: Literal["log1p", "log"] | None = None
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
        """Part -> SQL: a multi-label's names, a forecast's ``step_1`` and so on; empty for a single value."""
        return self.expressions or {step_name(i): self.expression for i in range(self.steps or 0)}

    @property
    def written(self) -> str:
        """All of its SQL as one text, for messages and for the columns that it names."""
        return self.expression or "; ".join(self.expressions.values())


def step_name(index: int) -> str:
    """The name of a forecast's step, counted from 0."""
    return f"step_{index + 1}"


class Lookup(Declaration):
    """Features of one table that a model reads.

    ``features: "*"`` takes all of them, less ``exclude``. ``TABLE:*`` and ``TABLE:FEATURE`` are short for it. With
    ``sequence_length`` each feature is the sequence of the latest rows that were known, for kinds that read sequences.
    A gap wider than ``step`` (the table's grain by default) ends it; a short one is padded in front (``short: pad``),
    or its row is an error (``short: refuse``). A row older than ``lookback_window`` is EXPIRED: its values are not
    used, in training, in batch and online. ``default_values`` (feature -> value) stand in for what is not found or
    expired, never for a stored null.
    """

    table: str
    features: tuple[str, ...] | Literal["*"] = "*"
    exclude: tuple[str, ...] = ()
    sequence_length: int | None = Field(None, ge=1, le=10_000)
    step: Duration | None = None
    short: Literal["pad", "refuse"] = "pad"
    lookback_window: Duration | None = None
    default_values: dict[str, bool | int | float | str] = {}

    @model_validator(mode="after")
    def _of_a_sequence(self) -> Lookup:
        if self.sequence_length is None and (self.step is not None or self.short != "pad"):
            raise ValueError("step and short are of a sequence: give sequence_length")
        if self.sequence_length is not None and self.default_values:
            raise ValueError("a sequence takes no default_values: missing rows are padded and masked")
        return self

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, given: object) -> object:
        given = {"table": given} if isinstance(given, str) else given
        if not isinstance(given, dict) or ":" not in str(given.get("table", "")):
            return given
        table, _, feature = str(given["table"]).partition(":")
        if "features" in given:
            raise ValueError(f"{given['table']!r} names features, and 'features' does too; one of both")
        return {**given, "table": table, "features": "*" if feature == "*" else (feature,)}


class FunctionUse(Declaration):
    """A declared feature function as a feature of the model.

    ``inputs`` binds its parameters to columns: looked-up features, key columns of the spine, or outputs of the
    functions before it.
    """

    function: str
    inputs: dict[str, str]
    output: str | None = None

    @property
    def output_name(self) -> str:
        """The name of the feature that the function computes."""
        return self.output or self.function


class Split(Declaration):
    """How test rows are chosen: the last share of the time, or a hash of the entity.

    ``test_from`` is a fixed first test day, in place of the share ``test``. ``gap``: so many whole days before the
    first test day are in neither part, for their labels were not known by then. ``folds``: the model is also fitted and
    measured so many times over all rows. By entity, each fold's entities are predicted by a model of the others; by
    time, each of ``folds`` consecutive stretches of days by a model of the days before it.
    """

    by: Literal["time", "entity"] | None = None
    test: float = Field(0.2, gt=0, lt=1)
    test_from: date | None = None
    gap: Duration = timedelta(0)
    folds: int | None = Field(None, ge=2, le=20)

    @model_validator(mode="after")
    def _whole_days(self) -> Split:
        if self.gap % DAY:
            raise ValueError("gap is a number of whole days, as in '7d'")
        if self.test_from is not None and (self.by == "entity" or "test" in self.model_fields_set):
            raise ValueError("test_from is the first test day of a split by time: leave out 'test' and 'by: entity'")
        return self


class Baseline(Declaration):
    """The naive prediction to beat.

    ``mean`` and ``prior`` are scikit-learn's dummies. ``feature`` predicts that feature's value times ``scale``
    (persistence: last week's cost is next week's), of a sequence the mean of its ``newest`` values; a forecast's steps
    all have the same.
    """

    strategy: Literal["mean", "median", "prior", "random", "feature"] | None = None
    feature: str | None = None
    scale: float = 1.0
    newest: int = Field(1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _named(self) -> Baseline:
        if (self.strategy == "feature") != (self.feature is not None):
            raise ValueError("a baseline names a feature if, and only if, its strategy is 'feature'")
        return self


class Gates(Declaration):
    """What a version must reach to be promoted.

    ``margin`` is relative to the champion's primary metric, in its better direction; ``floors`` are absolute (for a
    metric where less is better: ceilings). ``consistency``: the greatest share of predictions whose features may have
    been served differently from the offline store (``check_consistency``). ``perfect``: a perfect score on the test
    rows is treated as leakage, and nothing is registered; ``warn`` registers with a warning.
    """

    margin: float = Field(0.02, ge=0)
    floors: dict[str, float] = {}
    consistency: float | None = Field(None, ge=0, le=1)
    perfect: Literal["refuse", "warn"] = "refuse"

    @property
    def definition_hash(self) -> str:
        """A short BLAKE2 hash: a decision by other gates may turn out otherwise."""
        return fingerprint_bytes(self.model_dump_json().encode(), size=8)


class DecisionCosts(Declaration):
    """What a wrong answer of a binary model costs, in any unit."""

    false_positive: float = Field(gt=0)
    false_negative: float = Field(gt=0)


class ThresholdRule(Declaration):
    """How the threshold of a binary model is chosen from its training rows, where a declared number is none.

    Each quarter of the training rows (by time, or drawn with the seed) is predicted by a model of the other three. The
    threshold is the one that does best on these predictions. Test rows have no part in it.
    """

    maximize: Literal["f1"] | None = None
    costs: DecisionCosts | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> ThresholdRule:
        if (self.maximize is None) == (self.costs is None):
            raise ValueError(
                "a threshold is a number, {maximize: f1}, or {costs: {false_positive: 1, false_negative: 20}}"
            )
        return self


class Intervals(Declaration):
    """Prediction intervals of a regression or a forecast: the share of labels that they are to hold."""

    coverage: float = Field(0.9, gt=0, lt=1)


class Scope(Declaration):
    """What batch inference scores: the keys of the spine table, all or of its last days."""

    last: Duration | None = None
    write: Literal["replace", "append"] = "replace"


class MissingFeatures(Declaration):
    """What becomes of a prediction whose features are mostly missing.

    A feature is missing where its status is NULL, NOT_FOUND or EXPIRED. A prediction in which more than ``share`` of
    them are is answered with ``degraded: true`` and their names (``action: mark``), or refused (``action: refuse``).
    """

    share: float = Field(0.5, ge=0, le=1)
    action: Literal["mark", "refuse"] = "mark"

    def most(self, features: int) -> float:
        """The most features of ``features`` that may be missing; a prediction with more of them is degraded."""
        return self.share * features


#: The tasks whose predictions are probabilities that can be calibrated.
CALIBRATED = ("binary", "multiclass", "multilabel")
#: The tasks whose prediction is a number between 0 and 1 that can be cut into levels.
_LEVELLED = ("binary", "multilabel", "anomaly")


class ModelSpec(Declaration):
    """One model of a project. ``name`` is the file's name and ``domain`` its folder; both are filled in on loading.

    ``truth`` is what a sample's planted truth would answer; ``search`` the space of its parameters and
    ``search_budget`` how long they are searched; ``distributed`` whether Ray workers fit it together; ``protected``
    the columns by whose groups its fairness is measured, whether it reads them or not; ``fairness`` how much the groups
    may differ; ``immutable`` the features that no counterfactual changes;
    ``risk_levels`` names each level with the least prediction that belongs to it;
    ``explain`` whether a prediction says which features made it; ``tags`` go to its runs and versions, ``experiment``
    names the experiment in MLflow (by default CATALOG/DOMAIN/NAME), ``missing_features`` says from which share on a
    prediction is degraded, and ``limits`` (why it is worth no more) and ``notes`` stand in its card,
    as does ``intended_use``: who decides what by it.
    ``calibration`` maps probabilities to how often they are so, and ``intervals`` are ends between which a number lies;
    both are taken from rows that are neither training nor test rows (``calibration_share``). ``refit: all`` (the
    default of models that learn a label) fits the model again on all rows after it was judged, ``feature_selection``
    keeps the features that validation rows need, and ``seeds`` says how many are tried where the gain is not clear of
    0.
    ``docs/models.md`` explains every field.
    """

    name: str = ""
    domain: str = ""
    description: str
    owner: str = ""
    intended_use: str = Field("", description="who decides what by its predictions, and what they are not for")
    task: Task
    kind: str
    label: Label | None = Field(None, description="only a clustering model may do without")
    lookups: tuple[Lookup, ...] = Field(min_length=1)
    functions: tuple[FunctionUse, ...] = ()
    spine: str | None = Field(None, description="the feature table whose keys are the rows; the first lookup's")
    parameters: dict[str, Any] = {}
    search: dict[str, SearchSpace] = {}
    search_budget: SearchBudget = SearchBudget()
    distributed: Distribution = Distribution()
    class_weight: Literal["balanced"] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | ThresholdRule = 0.5
    refit: Literal["none", "all"] | None = Field(None, description="all, for a model that learns a label")
    feature_selection: Literal["none", "permutation"] = "none"
    seeds: int = Field(5, ge=1, le=50, description="how many are tried if the gain is not clear of 0")
    calibration: Literal["none", "isotonic", "platt"] = "none"
    intervals: Intervals | None = None
    calibration_share: float = Field(0.2, gt=0, lt=1, description="of the training rows, for calibration and intervals")
    metric: str | None = None
    baseline: Baseline = Baseline()
    truth: Truth | None = None
    split: Split = Split()
    gates: Gates = Gates()
    minimum_rows: int = Field(1000, ge=1)
    protected: tuple[str, ...] = ()
    fairness: Fairness | None = Field(None, description="the project's where a model has none")
    immutable: tuple[str, ...] = ()
    risk_levels: dict[str, float] = {}
    explain: bool = True
    tags: dict[str, str] = {}
    experiment: str = ""
    limits: str = ""
    notes: str = ""
    scope: Scope = Scope()
    online: bool = True
    missing_features: MissingFeatures = MissingFeatures()
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _one_step(cls, given: object) -> object:
        """A forecast that names no number of steps is of the next window."""
        if isinstance(given, dict) and given.get("task") == "forecast" and isinstance(given.get("label"), dict):
            return {**given, "label": {"steps": 1, **given["label"]}}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if found := [*self._metric_problems(), *self._problems()]:
            raise FieldErrors(found)
        return self

    def _metric_problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        named = [(("metric",), self.metric)] if self.metric else []
        for loc, metric in (*named, *((("gates", "floors", m), m) for m in self.gates.floors)):
            if metric not in HIGHER_IS_BETTER:
                yield loc, f"{metric!r} is not a metric; there are {', '.join(HIGHER_IS_BETTER)}"
            elif metric not in METRICS[self.task]:
                yield loc, f"a {self.task} model has no {metric!r}; it has {', '.join(METRICS[self.task])}"
        if self.baseline.strategy and self.baseline.strategy not in BASELINES[self.task]:
            known = ", ".join(BASELINES[self.task])
            yield (
                ("baseline", "strategy"),
                f"a {self.task} model has no baseline {self.baseline.strategy!r}; it has {known}",
            )

    def _problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.split.folds is not None and self.task in UNSUPERVISED:
            yield ("split", "folds"), f"a {self.task} model learns no label, so it is not cross-validated"
        if self.class_weight and self.task not in ("binary", "multiclass"):
            yield ("class_weight",), f"class_weight is for classes, and a {self.task} model has none"
        if isinstance(self.threshold, ThresholdRule) and self.task != "binary":
            yield ("threshold",), f"a rule chooses the threshold of a binary model; a {self.task} model takes a number"
        if self.search and self.task in UNSUPERVISED:
            yield ("search",), f"a {self.task} model learns no label that a search could compare its trials by"
        for name in self.search:
            if name in self.parameters:
                yield ("search", name), f"{name!r} is searched and given under 'parameters' too; one of both"
        if self.feature_selection != "none" and self.task in UNSUPERVISED:
            yield ("feature_selection",), f"a {self.task} model learns no label that features could be selected by"
        if self.calibration != "none" and self.task not in CALIBRATED:
            told = ", ".join(CALIBRATED)
            yield ("calibration",), f"calibration is for probabilities ({told}), and a {self.task} model has none"
        if self.intervals is not None and self.task not in ("regression", "forecast"):
            yield ("intervals",), f"intervals are for numbers, and a {self.task} model predicts none"
        yield from self._label_problems()
        yield from self._level_problems()
        yield from self._fairness_problems()

    def _label_problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        label = self.label
        if label is None:
            if self.task != "clustering":
                yield ("label",), f"a {self.task} model needs a label: {{source: GOLD_TABLE, expression: SQL}}"
            elif self.metric == "adjusted_rand" or "adjusted_rand" in self.gates.floors:
                yield ("metric",), "adjusted_rand compares with a label, and there is none: take silhouette"
            return
        if (self.task == "multilabel") != bool(label.expressions):
            text = "label.expressions are for a multilabel model, and it has no single expression"
            yield ("label", "expressions" if label.expressions else "expression"), text
        if label.transform is not None and self.task not in ("regression", "forecast"):
            text = f"label.transform is for numbers, and a {self.task} model predicts none"
            yield ("label", "transform"), text
        if (self.task == "forecast") != (label.steps is not None):
            yield ("label", "steps"), "label.steps are for a forecast: take task: forecast, or leave them out"

    def _level_problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        least = list(self.risk_levels.values())
        if least and self.task not in _LEVELLED:
            yield ("risk_levels",), f"a {self.task} model has no risk levels; {', '.join(_LEVELLED)} have"
        if least and (least[0] != 0 or least[-1] > 1 or any(a >= b for a, b in pairwise(least))):
            yield ("risk_levels",), "the levels' least values rise from 0 and stay under 1, as in {low: 0, high: 0.7}"

    def _fairness_problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        declared = self.fairness
        if declared is None:
            return
        for field, columns in (("max_gaps", declared.max_gaps), ("mitigated", declared.mitigated)):
            for column in columns:
                if column not in self.protected:
                    near = did_you_mean(column, self.protected) or "list it under 'protected'"
                    yield ("fairness", field), f"{column!r} is no protected column. {near}"
        if declared.mitigation != "none" and self.task != "binary":
            yield ("fairness", "mitigation"), f"a mitigation is for binary models; a {self.task} model takes none"
        if declared.mitigation == "thresholds" and len(declared.mitigated_columns(self.protected)) != 1:
            text = "thresholds are by the groups of one column: name it, as in mitigated: [age_group]"
            yield ("fairness", "mitigated"), text

    @property
    def refits(self) -> bool:
        """Whether the model is fitted again on all rows after it was judged."""
        return self.refit == "all" or (self.refit is None and self.task not in UNSUPERVISED)

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
        """The metric by which versions are compared."""
        if self.task == "clustering" and self.label is None:
            return self.metric or "silhouette"
        return self.metric or DEFAULT_METRIC[self.task]

    @property
    def spine_table(self) -> str:
        """The feature table whose keys are the model's rows."""
        return self.spine or self.lookups[0].table

    @property
    def horizon_end(self) -> timedelta:
        """How long after a row's time its label is complete."""
        if self.label is None or self.label.horizon is None:
            return timedelta(0)
        return self.label.offset + self.label.horizon * (self.label.steps or 1)
