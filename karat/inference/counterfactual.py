"""Counterfactuals: the smallest changes of a row's features with which a classifier would decide otherwise.

The search is DiCE's (Mothilal, Sharma and Tan, Explaining Machine Learning Classifiers through Diverse Counterfactual
Explanations, 2020): its genetic method for near ones, its random method for different ones. Each of their answers is
then reduced here: a change that the decision does not need is taken back, a number moves as far back as the decision
allows, and the model itself confirms the decision.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from karat.errors import NoCounterfactual, WrongCall, did_you_mean
from karat.extras import optional_imports
from karat.inference.explanation import Label
from karat.kinds import Model
from karat.online import Value

#: Rows of the training set that the search starts from and takes ranges and categories of.
MOST_ROWS = 2000
_TARGET = "karat_target"
#: Steps of a bisection, and how often an answer is reduced again.
_BISECTIONS, _PASSES = 20, 3
#: How often one method of DiCE may ask the model. Its genetic search draws rows until enough are decided for the class;
#: where almost none is, it would never end.
_MOST_QUESTIONS = 2_000
_SCALARS = ("float64", "int64", "bool", "string")


@dataclass(frozen=True)
class Change:
    """One feature's value in the row, and the one it would need."""

    feature: str
    value: Value
    becomes: Value


@dataclass(frozen=True)
class Counterfactual:
    """Changes that turn the model's decision.

    Attributes:
        changes: No change can be left out: the decision needs each of them.
        predicted_class: What the model decides for the changed row.
        probability: Its probability of that class.
    """

    changes: tuple[Change, ...]
    predicted_class: Label
    probability: float

    @property
    def text(self) -> str:
        """The changes in words."""
        parts = [f"{c.feature} {_shown(c.becomes)} in place of {_shown(c.value)}" for c in self.changes]
        return f"{self.predicted_class} ({self.probability:.0%}) with {', '.join(parts)}"


def find_counterfactuals(
    model: Model,
    values: Sequence[Value],
    learned: pl.DataFrame,
    *,
    held: Collection[str] = (),
    target: Label | None = None,
    count: int = 3,
    seed: int = 0,
) -> list[Counterfactual]:
    """Find changes of a row with which the model decides otherwise, those with the fewest changes first.

    Dates, times, sequences and missing values are held besides ``held``. A changed value lies within the range, or is
    one of the categories, of the training set.

    Args:
        model: A binary or multiclass model.
        values: The row, plain values in the order of ``model.feature_names``.
        learned: Rows of the training set with the features.
        held: Features that may not change.
        target: The class to reach; by default the other class, or the likeliest of the others.
        count: The most counterfactuals to return.
        seed: Seed of the search.

    Raises:
        WrongCall: The model has no classes, or a name is not one of its features or classes.
        NoCounterfactual: No change of the other features reaches the class.
        MissingExtra: DiCE is not installed.
    """
    decision = _Decision.of(model, target, values)
    unknown = [name for name in held if name not in model.feature_names]
    if unknown:
        near = did_you_mean(unknown[0], model.feature_names)
        raise WrongCall(f"the model has no feature {unknown[0]!r}", where="held", remedy=near)
    rows = _candidates(model, values, learned, held, seed)
    if rows.width == 0:
        raise NoCounterfactual(
            "no feature of this row may change: all are held, missing, dates, or have one value",
            remedy="hold fewer features",
        )
    found = _search(decision, list(values), rows, count, seed)
    scale = {name: float(rows[name].std() or 1.0) for name in rows.columns if rows[name].dtype.is_numeric()}  # type: ignore[arg-type]
    reduced = {tuple(_reduced(decision, list(values), each, scale).items()) for each in found}
    ordered = sorted(reduced, key=lambda each: (len(each), _distance(decision.model, values, each, scale), str(each)))
    made = [decision.counterfactual(values, dict(changes)) for changes in ordered if changes]
    if not made:
        raise NoCounterfactual(
            f"no change of {', '.join(rows.columns)} was found with which the model decides {decision.target!r}",
            remedy="hold fewer features, or name another class",
        )
    return made[:count]


@dataclass(frozen=True)
class _Decision:
    """Whether the model decides for the class to be reached."""

    model: Model
    target: Label
    index: int

    @classmethod
    def of(cls, model: Model, target: Label | None, values: Sequence[Value]) -> _Decision:
        if model.task not in ("binary", "multiclass"):
            raise WrongCall(
                f"a {model.task} model decides between no classes, so there is no counterfactual",
                remedy="ask for one of a binary or multiclass model",
            )
        prediction = model.predict_row(values)
        now = _decided(model, values, prediction)
        if target is None:
            chances = prediction[0] if model.task == "multiclass" else np.array([1 - prediction[0], prediction[0]])
            target = max((c for c in model.classes if c != now), key=lambda c: float(chances[model.classes.index(c)]))
        named = [c for c in model.classes if c == target or str(c) == str(target)]
        if not named:
            near = did_you_mean(str(target), [str(c) for c in model.classes])
            raise WrongCall(f"the model has no class {target!r}", where="target", remedy=near)
        if named[0] == now:
            raise WrongCall(f"the model decides {now!r} already", where="target", remedy="name another class, or none")
        return cls(model, named[0], model.classes.index(named[0]))

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        """From 0 to 1, and 0.5 or more where the model decides for the target, ``(rows,)``."""
        prediction = self.model.predict(frame)
        if self.model.task == "multiclass":
            own = prediction[:, self.index]
            other = np.delete(prediction, self.index, axis=1).max(axis=1)
            made: np.ndarray = own / np.maximum(own + other, 1e-300)
            return made
        at = np.clip(self.model.thresholds(frame), 1e-9, 1 - 1e-9)
        positive = np.where(prediction >= at, 0.5 + (prediction - at) / (2 * (1 - at)), prediction / (2 * at))
        return np.asarray(positive if self.index == 1 else 1.0 - positive)

    def holds(self, values: Sequence[Value]) -> bool:
        """Whether the model decides for the target in this row."""
        return bool(_decided(self.model, values, self.model.predict_row(values)) == self.target)

    def counterfactual(self, values: Sequence[Value], changes: dict[str, Value]) -> Counterfactual:
        names = self.model.feature_names
        prediction = self.model.predict_row(_changed(names, values, changes))
        chances = prediction[0] if self.model.task == "multiclass" else np.array([1 - prediction[0], prediction[0]])
        told = tuple(Change(name, values[names.index(name)], value) for name, value in changes.items())
        return Counterfactual(told, self.target, float(chances[self.index]))


def _decided(model: Model, values: Sequence[Value], prediction: np.ndarray) -> Label:
    """The class that the model decides for in one row, with the threshold of its group."""
    decided: Label = model.outputs(prediction, model.row_threshold(values))["prediction"][0].item()
    return decided


def _changed(names: Sequence[str], values: Sequence[Value], changes: dict[str, Value]) -> list[Value]:
    return [changes.get(name, value) for name, value in zip(names, values, strict=True)]


def _candidates(
    model: Model, values: Sequence[Value], learned: pl.DataFrame, held: Collection[str], seed: int
) -> pl.DataFrame:
    """The features that may change, in a sample of rows; what is missing is the median, or the most frequent text."""
    if learned.height > MOST_ROWS:
        learned = learned.sample(MOST_ROWS, seed=seed)
    columns = []
    for name, value in zip(model.feature_names, values, strict=True):
        column, dtype = learned[name], model.feature_types[name]
        if name in held or value is None or dtype not in _SCALARS or column.drop_nulls().n_unique() < 2:
            continue
        if dtype in ("bool", "string"):
            text = column.cast(pl.String)
            known = set(model.encoder.columns[model.feature_names.index(name)].categories)
            if dtype == "string":
                text = text.set(~text.is_in(known).fill_null(False), None)
            if text.drop_nulls().n_unique() > 1:
                columns.append(text.fill_null(text.drop_nulls().mode().sort()[0]))
        else:
            number = column.cast(pl.Float64)
            number = number.set(~number.is_finite().fill_null(False), None)
            filled = number.fill_null(number.median())
            columns.append(filled.round(0).cast(pl.Int64) if dtype == "int64" else filled)
    return pl.DataFrame(columns)


class _AskedTooOften(Exception):
    """A search of DiCE goes on without an end."""


class _Classifier:
    """The model as DiCE asks it: rows of the features that may change, beside the row's other values.

    Args:
        decision: The decision to reach.
        values: The row.
    """

    def __init__(self, decision: _Decision, values: Sequence[Value]) -> None:
        self.left = _MOST_QUESTIONS
        self._decision, self._types = decision, decision.model.feature_types
        self._row = dict(zip(decision.model.feature_names, values, strict=True))

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """``(rows, 2)``: the chance of not being decided so, and of being decided so. Raises _AskedTooOften."""
        self.left -= 1
        if self.left < 0:
            raise _AskedTooOften
        row = {name: pl.Series(name, [value] * len(frame), strict=False) for name, value in self._row.items()}
        for name in frame.columns:
            row[name] = _plain_column(frame[name], self._types[name])
        score = self._decision.score(pl.DataFrame(row))
        return np.column_stack([1.0 - score, score])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """``(rows,)``: 1 where the model decides for the target."""
        made: np.ndarray = (self.predict_proba(frame)[:, 1] >= 0.5).astype(int)
        return made


def _plain_column(column: pd.Series, dtype: str) -> pl.Series:
    values = [_typed(value, dtype) for value in column.tolist()]
    types: dict[str, type[pl.DataType]] = {"bool": pl.Boolean, "string": pl.String, "int64": pl.Int64}
    return pl.Series(str(column.name), values, dtype=types.get(dtype, pl.Float64))


def _typed(value: Any, dtype: str) -> Value:
    """A value of DiCE's frames as a plain one of the feature's type."""
    if dtype == "bool":
        return str(value).lower() == "true"
    if dtype == "string":
        return str(value)
    return round(float(value)) if dtype == "int64" else float(value)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, from which DiCE draws, and put their states back."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _search(
    decision: _Decision, values: list[Value], rows: pl.DataFrame, count: int, seed: int
) -> list[dict[str, Value]]:
    """DiCE's counterfactuals: feature -> value, of the features that may change."""
    with optional_imports():
        import dice_ml
        from raiutils.exceptions import UserConfigValidationException

    names, types = rows.columns, decision.model.feature_types
    classifier = _Classifier(decision, values)
    frame = rows.to_pandas()
    outcome = classifier.predict(frame)
    if (
        outcome.min() == outcome.max()
    ):  # DiCE wants rows of both kinds; one more says which is which and changes no range
        outcome[0] = 1 - outcome[0]
    continuous = [name for name in names if rows[name].dtype.is_numeric()]
    own = dict(zip(decision.model.feature_names, values, strict=True))
    query = pd.DataFrame(
        {n: [str(own[n]).lower() if types[n] == "bool" else own[n]] for n in names},
    ).astype(frame.dtypes.to_dict())
    for name in continuous:  # the row itself may lie outside the sample's range, which DiCE refuses
        frame.loc[0, name] = query[name].iloc[0]
    for name in set(names) - set(continuous):
        frame.loc[0, name] = query[name].iloc[0]
    data = dice_ml.Data(
        dataframe=frame.assign(**{_TARGET: outcome}), continuous_features=continuous, outcome_name=_TARGET
    )
    asked = dice_ml.Model(model=classifier, backend="sklearn", model_type="classifier")
    found: list[pd.DataFrame | None] = []
    with _seeded(seed):
        for method in ("genetic", "random"):
            classifier.left = _MOST_QUESTIONS
            with (
                suppress(UserConfigValidationException, _AskedTooOften),
                redirect_stdout(StringIO()),
                redirect_stderr(StringIO()),
            ):
                search = dice_ml.Dice(data, asked, method=method)
                # Without its own reduction, which tries up to 10,000 steps of a number one after the other.
                made = search.generate_counterfactuals(
                    query, total_CFs=count, desired_class=1, posthoc_sparsity_param=None, verbose=False
                )
                found.append(made.cf_examples_list[0].final_cfs_df)
    return [
        {name: _typed(value, types[name]) for name, value in zip(names, line, strict=True)}
        for frame in found
        if frame is not None
        for line in frame[names].itertuples(index=False, name=None)
    ]


def _reduced(
    decision: _Decision, values: list[Value], changes: dict[str, Value], scale: dict[str, float]
) -> dict[str, Value]:
    """The changes that the decision needs: each other one is taken back, the smallest first. Empty if it never held."""
    names = decision.model.feature_names
    own = dict(zip(names, values, strict=True))
    kept = {name: value for name, value in changes.items() if value != own[name]}
    if not decision.holds(_changed(names, values, kept)):
        return {}
    for _ in range(_PASSES):
        before = kept = _fewest(decision, values, kept, scale)
        for name in (n for n in scale if n in kept):
            kept = {**kept, name: _nearest(decision, values, kept, name)}
        if kept == before:
            break
    return _fewest(decision, values, kept, scale)  # a number that has moved may have made another change needless


def _fewest(
    decision: _Decision, values: list[Value], kept: dict[str, Value], scale: dict[str, float]
) -> dict[str, Value]:
    """Take back changes, the smallest first, until the decision needs each that is left."""
    names = decision.model.feature_names
    own = dict(zip(names, values, strict=True))
    for name in sorted(kept, key=lambda n: (_step(own[n], kept[n], scale.get(n)), n)):
        fewer = {n: v for n, v in kept.items() if n != name}
        if decision.holds(_changed(names, values, fewer)):
            return _fewest(decision, values, fewer, scale)
    return kept


def _nearest(decision: _Decision, values: list[Value], changes: dict[str, Value], name: str) -> Value:
    """The number between a feature's own value and its change that is nearest to its own and still turns the decision.

    Bisection, with up to ``_BISECTIONS`` steps; rounded to few digits where the decision stays.
    """
    names = decision.model.feature_names
    own, found = values[names.index(name)], changes[name]
    assert isinstance(own, int | float)
    assert isinstance(found, int | float)
    low, limit = own, found
    for _ in range(_BISECTIONS):
        middle = (low + found) / 2 if isinstance(found, float) else round((low + found) / 2)
        if middle in (low, found):
            break
        if decision.holds(_changed(names, values, {**changes, name: middle})):
            found = middle
        else:
            low = middle
    for digits in range(2, 7):
        rounded = float(f"{found:.{digits}g}")
        within = min(own, limit) <= rounded <= max(own, limit) and rounded != own
        if isinstance(found, float) and within and decision.holds(_changed(names, values, {**changes, name: rounded})):
            return rounded
    return found


def _step(value: Value, becomes: Value, scale: float | None) -> float:
    """The size of a change: standard deviations of a number, 1 of a category."""
    if scale is None or not isinstance(value, int | float) or not isinstance(becomes, int | float):
        return 1.0
    return abs(becomes - value) / scale


def _distance(
    model: Model, values: Sequence[Value], changes: Sequence[tuple[str, Value]], scale: dict[str, float]
) -> float:
    own = dict(zip(model.feature_names, values, strict=True))
    return sum(_step(own[name], value, scale.get(name)) for name, value in changes)


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
