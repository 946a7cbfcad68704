"""Batch tables: the predictions of several models combined, one row a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field, model_validator

from karat.declare.base import Declaration, FieldErrors
from karat.declare.feature_tables import FeatureTable
from karat.declare.models import ModelSpec, step_name
from karat.errors import did_you_mean

#: What a model's prediction table has besides keys and answers.
_STAMPS = ("degraded", "model_name", "model_version", "run_id", "scored_at")
#: What a prediction table of each task has; a multi-class model's ``probability_CLASS`` is known after training only.
_ANSWERS: dict[str, tuple[str, ...]] = {
    "binary": ("prediction", "probability"),
    "multiclass": ("prediction", "probability"),
    "anomaly": ("prediction", "score"),
}
#: The tasks whose ``prediction`` is a number that can be averaged.
_NUMBERS = ("regression", "forecast")


class BatchTable(Declaration):
    """A table that combines the predictions of several models of the same keys.

    Its name is the table's in the catalog's predictions schema. ``columns`` maps each column to the ``MODEL.COLUMN`` of
    a prediction table; ``averages`` has means of such columns, null where one of them is; ``features`` names a feature
    table of the same key whose columns come first. Each row has ``MODEL_version`` and ``MODEL_run_id`` of every model,
    and under ``timestamp`` the time of its latest prediction.
    """

    description: str
    columns: dict[str, str] = Field(min_length=1)
    averages: dict[str, tuple[str, ...]] = {}
    features: str | None = None
    timestamp: str = "inference_timestamp"

    @model_validator(mode="after")
    def _consistent(self) -> BatchTable:
        if found := [*self._problems()]:
            raise FieldErrors(found)
        return self

    def _problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        for name, source in self.columns.items():
            if source.count(".") != 1:
                yield ("columns", name), f"{source!r} is no MODEL.COLUMN, as in churn.probability"
        for name, members in self.averages.items():
            if len(members) < 2:
                yield ("averages", name), "an average is of two columns or more"
            for member in members:
                if member not in self.columns:
                    near = did_you_mean(member, self.columns)
                    yield ("averages", name), f"there is no column {member!r} under 'columns'. {near}"

    @property
    def sources(self) -> dict[str, tuple[str, str]]:
        """Column -> the model and the column of its prediction table."""
        return {name: (source.partition(".")[0], source.partition(".")[2]) for name, source in self.columns.items()}

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose predictions the table combines, once each."""
        return tuple(dict.fromkeys(model for model, _ in self.sources.values()))

    @property
    def own_columns(self) -> tuple[str, ...]:
        """All columns that are neither keys nor features, in the table's order."""
        stamps = (c for m in self.models for c in stamps_of(m))
        return (*self.columns, *self.averages, *stamps, self.timestamp)


def stamps_of(model: str) -> tuple[str, str]:
    """The columns with the version of ``model`` that made a row's prediction, and with that version's training run."""
    return f"{model}_version", f"{model}_run_id"


def problems_of(
    name: str, table: BatchTable, models: Mapping[str, ModelSpec], tables: Mapping[str, FeatureTable]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Check a batch table against the project's models and feature tables.

    Yields:
        (location, text) of each error.
    """
    if name in models:
        yield (), f"the model {name!r} has a prediction table of that name"
    known = {n: models[m] for n, (m, _) in table.sources.items() if m in models}
    for column, (model, source) in table.sources.items():
        if model not in models:
            yield ("columns", column), f"there is no model {model!r}. {did_you_mean(model, models)}"
        elif not _has(models[model], source):
            near = did_you_mean(source, _answers(models[model]))
            yield ("columns", column), f"the predictions of {model!r} have no column {source!r}. {near}"
    for average, members in table.averages.items():
        for member in members:
            if member in known and not _is_number(known[member], table.sources[member][1]):
                yield ("averages", average), f"{table.columns[member]} is no number, so it has no average"
    yield from _key_problems(table, known, tables)


def _key_problems(
    table: BatchTable, known: Mapping[str, ModelSpec], tables: Mapping[str, FeatureTable]
) -> Iterator[tuple[tuple[str, ...], str]]:
    keys = {c: tables[m.spine_table].primary_key for c, m in known.items() if m.spine_table in tables}
    first = next(iter(keys.values()), ())
    for column, key in keys.items():
        if key != first:
            yield ("columns", column), f"its rows have the key {', '.join(key)}, those before it {', '.join(first)}"
    for column, model in known.items():
        if model.scope.write == "append":
            yield ("columns", column), f"{model.name!r} appends batch to batch, so a key has several predictions"
    if table.features is not None and table.features not in tables:
        near = did_you_mean(table.features, tables)
        yield ("features",), f"there is no feature table {table.features!r}. {near}"
        return
    beside = tables[table.features] if table.features else None
    if beside is not None and first and beside.primary_key != first:
        yield ("features",), f"{beside.name!r} has the key {', '.join(beside.primary_key)}, not {', '.join(first)}"
    taken = [*first, *((f.name for f in beside.stored) if beside else ())]
    for column in (*taken, *table.own_columns):
        if [*taken, *table.own_columns].count(column) > 1:
            yield (), f"two of its columns are called {column!r}"
            return


def _answers(model: ModelSpec) -> tuple[str, ...]:
    columns = _point_answers(model)
    ends = ("_low", "_high") if model.intervals is not None else ()
    return (*columns, *(column + end for column in columns for end in ends))


def _point_answers(model: ModelSpec) -> tuple[str, ...]:
    label = model.label
    if label is not None and label.expressions:
        return ("prediction", *(f"probability_{name}" for name in label.expressions))
    if label is not None and (label.steps or 1) > 1:
        return ("prediction", *(f"prediction_{step_name(i)}" for i in range(label.steps or 0)))
    return _ANSWERS.get(model.task, ("prediction",))


def _has(model: ModelSpec, column: str) -> bool:
    named = column in (*_answers(model), *_STAMPS)
    return named or (model.task == "multiclass" and column.startswith("probability_"))


def _is_number(model: ModelSpec, column: str) -> bool:
    if column in _STAMPS:
        return False
    return column != "prediction" or model.task in _NUMBERS
