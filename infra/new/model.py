"""A draft of a model on feature tables of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from infra.new.drafts import Draft, File, check_name
from infra.new.durations import duration_option
from infra.new.label import LabelChoice, Rows, telling, wanted
from infra.new.render import render
from infra.new.row_count import RowCount
from karat.clock import DAY
from karat.declare import FeatureTable, GoldTable, Project
from karat.declare.models import BASELINES, DEFAULT_METRIC, UNSUPERVISED, Label, ModelSpec
from karat.declare.past_window import past_window_baseline, past_window_feature
from karat.dtypes import SEQUENCE_TYPES
from karat.errors import AlreadyThere, TableNotFound, WrongCall, did_you_mean
from karat.kinds import facts
from karat.monitoring.current_window import MIN_ROWS, WEEK, scope_days

#: What a task is learned with where nobody says.
KINDS = {
    "regression": "gradient_boosting",
    "binary": "gradient_boosting",
    "multiclass": "gradient_boosting",
    "multilabel": "random_forest",
    "anomaly": "isolation_forest",
    "clustering": "kmeans",
    "forecast": "gru",
}
#: Where a kind's own defaults are for more rows than one begins with, or take long.
PARAMETERS: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 8, "min_samples_leaf": 50},
    "gru": {"hidden_size": 16, "num_layers": 1, "epochs": 10},
    "lstm": {"hidden_size": 16, "num_layers": 1, "epochs": 10},
}
#: The parameter of each kind of trees that says how many rows a leaf needs.
LEAVES = {
    "gradient_boosting": "min_samples_leaf",
    "random_forest": "min_samples_leaf",
    "lightgbm": "min_data_in_leaf",
}
_USUAL_MINIMUM = ModelSpec.model_fields["minimum_rows"].default
#: Rows that a sequence goes back: days, or events.
SEQUENCE = 28
#: The horizon over days where none is named.
HORIZON = "7d"
#: Fewer rows are cross-validated: one test of a few rows says little.
FEW_ROWS = 5000
#: The folds of a small table; by time fewer where a stretch would have fewer rows than these.
FOLDS, _STRETCH = 5, 20


@dataclass(frozen=True)
class ModelOptions:
    """What a call says of the model; each field left out is chosen from the project.

    Attributes:
        task: The task; by the label's type.
        kind: The estimator kind; by the task.
        labels: SQL over ``gold``; a multi-label model has several, each ``name=SQL``.
        features: Feature tables; the project's first.
        gold: The gold table of the label; that of the first feature table.
        horizon: How far ahead the label looks, as in ``7d`` or ``1h``; without one, a row per event is labelled by its
            own gold row.
        transform: The transform under which a number is learned.
        test_from: The first test day.
        folds: Folds of a cross-validation.
        domain: The folder under ``models/``.
        owner: Who answers for it.
        description: One line.
        truth: What the planted truth of a sample would answer.
        count: The rows that the model learns from, which decide on small-data settings and scope; None if unknown.
    """

    task: str | None = None
    kind: str | None = None
    labels: Sequence[str] = ()
    features: Sequence[str] = ()
    gold: str | None = None
    horizon: str | None = None
    transform: str | None = None
    test_from: date | None = None
    folds: int | None = None
    domain: str = ""
    owner: str | None = None
    description: str | None = None
    truth: Mapping[str, str] | None = None
    count: RowCount | None = None

    @property
    def few(self) -> int | None:
        """The number of rows, if it is small; None if it is not, or unknown."""
        return self.count.rows if self.count is not None and self.count.rows < FEW_ROWS else None


def draft_model(project: Project, name: str, options: ModelOptions = ModelOptions()) -> Draft:
    """Draft ``models/DOMAIN/NAME.yaml``, a model on the feature tables that are named, or on the project's first.

    Args:
        project: The project that gets the model.
        name: The model's name.
        options: What the call says of it.

    Raises:
        InvalidName: The name is no name of a model.
        AlreadyThere: The project has such a model.
        TableNotFound: There is no such table.
        LabelNotFound: The label does not bind to the gold table.
        DeclarationError: There is no such kind.
        WrongCall: An option fits neither the rows nor the label.
    """
    check_name(name, "model")
    if options.domain:
        check_name(options.domain, "domain")
    if name in project.models:
        raise AlreadyThere(
            f"project {project.name!r} has a model {name!r} already", remedy="take another name, or edit that"
        )
    tables, how = _tables(project, options.features)
    spine = tables[0]
    horizon = _horizon(spine, options.horizon, options.task)
    rows = Rows(spine, _gold(project, spine, options.gold), horizon, options.transform)
    label = wanted(rows, options.task, options.labels)
    kind = options.kind or KINDS[label.task]
    text = _text(label, kind, rows, tables, options, owner=options.owner or spine.owner or project.spec.owner)
    path = "/".join(filter(None, ("models", options.domain, f"{name}.yaml")))
    file = File(path, text, f"model {name}: {label.task} by {kind}")
    told = (*_unread(kind, tables), *_small_data(rows, label, kind, options), *_unlearned(rows, label, tables))
    told = (*told, *_weak_baseline(rows, label, kind, tables), *_wide_scope(options.count))
    return Draft((file,), (*how, *label.chosen, *told))


def _small_data(rows: Rows, label: LabelChoice, kind: str, options: ModelOptions) -> tuple[str, ...]:
    if options.few is None:
        return ()
    settings = "small leaves, minimum_rows" if kind in LEAVES else "minimum_rows"
    if label.task in UNSUPERVISED or options.folds is not None:
        return (f"settings for {options.few:,} rows: {settings}",)
    folds = _few_folds(rows, label, options)
    if folds is None:
        return (
            f"settings for {options.few:,} rows: {settings}; no cross-validation, since their days are "
            "too few for a label that looks so far ahead",
        )
    return (f"settings for {options.few:,} rows: {settings}, {folds} folds of a cross-validation",)


def _few_folds(rows: Rows, label: LabelChoice, options: ModelOptions) -> int | None:
    """The folds of a small table: five, by time as many as leave each stretch twice the label's span and some rows."""
    assert options.count is not None
    if rows.spine.time is None or options.count.days is None:
        return FOLDS
    stretches = ((folds, options.count.days / (folds + 1)) for folds in range(FOLDS, 1, -1))
    per_day, ahead = options.count.per_day or 0, _label_span(label)
    return next((n for n, days in stretches if days * DAY >= 2 * ahead and days * per_day >= _STRETCH), None)


def _label_span(label: LabelChoice) -> timedelta:
    """How long after its row the label is known."""
    if not label.ahead or label.fields is None:
        return timedelta(0)
    declared = Label(**label.fields)
    assert declared.horizon is not None
    return declared.offset + declared.horizon * (declared.steps or 1)


def _wide_scope(count: RowCount | None) -> tuple[str, ...]:
    """Why a scope is longer than a week."""
    if count is None or count.per_day is None or (days := scope_days(count.per_day)) == WEEK:
        return ()
    return (f"scope of {days} days: a week has {count.per_day * WEEK:.3g} rows, and a drift check needs {MIN_ROWS}",)


def _unlearned(rows: Rows, label: LabelChoice, tables: Sequence[FeatureTable]) -> list[str]:
    """Features of earlier events that read the label: known in time only where a label is known at once."""
    if label.ahead or rows.spine.time is None or rows.spine.row_span is not None:
        return []
    late = [
        f.name
        for table in tables
        for f in table.stored
        if f.window
        and not f.delay
        and not table.delay
        and rows.read_by([sql for sql in (f.column, f.where) if sql]) == label.columns
    ]
    if not late or not label.columns:
        return []
    what = (
        f"{', '.join(late)}: the label of earlier rows. If it is known later than the row, give such a feature a delay"
    )
    return [what + ' (delay="7d")']


def _split(rows: Rows, label: LabelChoice, options: ModelOptions) -> dict[str, Any]:
    timed = rows.spine.time is not None
    if options.test_from is not None and not timed:
        raise WrongCall(
            f"--test-from is a day, and {rows.spine.name!r} has no time", remedy="leave it out: entities are split"
        )
    found: dict[str, Any] = {"by": "time" if timed else "entity"}
    found |= {"test": 0.2} if options.test_from is None else {"test_from": options.test_from}
    folds = options.folds
    if folds is None and options.few is not None and label.task not in UNSUPERVISED:
        folds = _few_folds(rows, label, options)
    return found | ({"folds": folds} if folds else {})


def _parameters(kind: str, few: int | None) -> dict[str, Any]:
    """The parameters that fit so many rows: a leaf of a twentieth of a small file leaves a tree nothing to split."""
    found = dict(PARAMETERS.get(kind, {}))
    if few is None or kind not in LEAVES:
        return found
    return found | {LEAVES[kind]: max(3, min(50, few // 100))}


def _text(
    label: LabelChoice, kind: str, rows: Rows, tables: Sequence[FeatureTable], options: ModelOptions, *, owner: str
) -> str:
    spine, task = rows.spine, label.task
    return render(
        "model.yaml",
        task=task,
        kind=kind,
        label=label.fields,
        parameters=_parameters(kind, options.few),
        label_comment=_comment(label),
        lookups=[_lookup(table, label, kind) for table in tables],
        split=_split(rows, label, options),
        minimum_rows=_minimum_rows(label, options),
        metric="silhouette" if label.fields is None else DEFAULT_METRIC[task],
        baseline=_baseline(rows, label, kind, tables),
        risk_levels={"low": 0.0, "medium": 0.3, "high": 0.7} if task == "binary" else None,
        scope={"last": f"{_scope_days(options.count)}d"} if spine.time else None,
        truth=dict(options.truth) if options.truth else None,
        owner=owner,
        description=options.description or label.told,
    )


def _minimum_rows(label: LabelChoice, options: ModelOptions) -> int | None:
    """Half of the rows that a small table leaves to learn from and to test; None where the usual minimum fits."""
    if options.few is None or options.count is None:
        return None
    # The last rows have no label yet, and as many before the test are the gap.
    lost = 2 * (_label_span(label) / DAY) * (options.count.per_day or 0)
    left = options.few - int(lost)
    return None if left >= 2 * _USUAL_MINIMUM else max(20, left // 2)


def _scope_days(count: RowCount | None) -> int:
    return WEEK if count is None or count.per_day is None else scope_days(count.per_day)


def _horizon(spine: FeatureTable, given: str | None, task: str | None) -> timedelta | None:
    """How far ahead the label looks: over days a week where nobody says, of an event its own row."""
    if spine.time is None:
        if given is not None:
            raise WrongCall(
                f"--horizon {given} looks ahead in time, and {spine.name!r} has none",
                remedy="leave it out, or make features with a time: karat new features NAME --grain day",
            )
        return None
    if given is None and spine.row_span is None and task != "forecast":
        return None
    text = given or (HORIZON if spine.row_span is not None else "1h")
    horizon = duration_option(text, "horizon")
    if spine.row_span is not None and horizon < spine.row_span:
        raise WrongCall(
            f"the horizon {text} is shorter than a day, and {spine.name!r} has a row per day",
            remedy="make features with a row per event, which look ahead by hours: "
            f"karat new features {spine.name}_rows --gold {spine.source} --grain event",
        )
    return horizon


def _tables(project: Project, named: Sequence[str]) -> tuple[tuple[FeatureTable, ...], tuple[str, ...]]:
    """The named feature tables, or the project's first."""
    for table in named:
        if table not in project.tables:
            raise TableNotFound(
                f"project {project.name!r} has no feature table {table!r}", remedy=did_you_mean(table, project.tables)
            )
    if named:
        return tuple(project.tables[t] for t in named), ()
    if not project.tables:
        raise TableNotFound(
            f"project {project.name!r} has no feature table",
            remedy=f"make one first: karat new features NAME --project {project.name}",
        )
    first = next(iter(project.tables.values()))
    return (first,), () if len(project.tables) == 1 else (f"features of {first.name} (--features names others)",)


def _gold(project: Project, spine: FeatureTable, named: str | None) -> GoldTable:
    if named is not None and named not in project.gold:
        raise TableNotFound(
            f"project {project.name!r} has no gold table {named!r}", remedy=did_you_mean(named, project.gold)
        )
    return project.gold[named or spine.source]


def _comment(label: LabelChoice) -> list[str]:
    """What the label means, above it."""
    if label.fields is None:
        return []
    gold = label.fields["source"]
    if label.task == "anomaly" and not label.columns:
        return ["Nobody has marked anomalies: the detector is judged by some that are planted into the test rows."]
    if not label.ahead:
        return [f"SQL over the row of {gold} that a row of features is of."]
    begins = "right after the row" if "offset" in label.fields else "the day after the features"
    lines = [f"SQL over the rows of {gold} that come in the horizon, which begins {begins}."]
    if "steps" in label.fields:
        steps, each = label.fields["steps"], label.fields["horizon"]
        lines = [f"SQL over the rows of {gold} of each of the next {steps} windows of {each}."]
    return [*lines, "default: where there are none."] if "default" in label.fields else lines


def _lookup(table: FeatureTable, label: LabelChoice, kind: str) -> dict[str, Any]:
    """All features of a table; of a label that lies in the row itself not those that are made from it."""
    found: dict[str, Any] = {"table": table.name}
    if not label.ahead and (gone := telling(table, label.columns)):
        found["exclude"] = gone
    if facts(kind).sequences:
        found["sequence_length"] = SEQUENCE
        if texts := _no_numbers(table):
            found["exclude"] = [*found.get("exclude", ()), *(c for c in texts if c not in found.get("exclude", ()))]
    return found


def _no_numbers(table: FeatureTable) -> list[str]:
    """The features that no sequence holds."""
    return [f.name for f in table.stored if f.dtype not in SEQUENCE_TYPES]


def _unread(kind: str, tables: Sequence[FeatureTable]) -> tuple[str, ...]:
    """What a kind that reads sequences leaves out of them."""
    left = [name for table in tables for name in _no_numbers(table)] if facts(kind).sequences else []
    return (f"all features but {', '.join(left)}: a sequence holds numbers only",) if left else ()


def _baseline(rows: Rows, label: LabelChoice, kind: str, tables: Sequence[FeatureTable]) -> dict[str, Any]:
    """What the label was over a window of the past, if a feature says so; else mean, prior or chance."""
    lengths = dict.fromkeys((t.name for t in tables), SEQUENCE if facts(kind).sequences else None)
    declared = Label(**label.fields) if label.fields else None
    found = past_window_baseline(label.task, declared, rows.spine, tables, lengths) if declared else None
    if found is not None:
        return found.model_dump(exclude_defaults=True)
    return {"strategy": "mean" if label.task == "forecast" else BASELINES[label.task][0]}


def _weak_baseline(rows: Rows, label: LabelChoice, kind: str, tables: Sequence[FeatureTable]) -> tuple[str, ...]:
    """What feature would make a stronger baseline than the mean, where none says what the label was before."""
    if not label.fields or _baseline(rows, label, kind, tables)["strategy"] == "feature":
        return ()
    line = past_window_feature(label.task, Label(**label.fields))
    return (
        (f"baseline mean: no feature says what {label.fields['expression']} was before; {line} would",) if line else ()
    )
