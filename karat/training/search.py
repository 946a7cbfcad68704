"""Search for a model's parameters: trials on validation rows that are part of the training rows, never of the test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec, ThresholdRule
from karat.declare.search import SearchBudget, SearchSpace
from karat.errors import KaratError, TrainingError
from karat.kinds import EncodedRows, Model, Report, facts
from karat.training.evaluation import evaluate
from karat.training.fit import fit_declared
from karat.training.preconditions import PreparedRows, prepare_rows
from karat.training.split import TEST, TRAIN, split_rows

#: Metrics of decisions, which depend on the threshold.
_DECIDED = frozenset({"precision", "recall", "f1", "accuracy"})
#: Parameter values by name.
Parameters = dict[str, Any]
#: ``stopped``: successive halving ended the trial before its last round.
TrialState = Literal["finished", "stopped", "failed"]
#: A kind of fewer rounds is not stopped early: a round may be as long as the start of a trial.
_MIN_ROUNDS = 16
#: Successive halving lets the better half of the trials go on, at a quarter and at half of the rounds. After fewer
#: rounds than that, boosting with a high learning rate is ahead of what would win in the end.
REDUCTION, _RUNGS = 2, 3


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: Position in the search, from 0.
        parameters: The searched parameters.
        state: Whether it finished.
        value: The primary metric on the validation rows; None unless finished.
        seconds: Duration of fit and evaluation.
        losses: (round, loss) at each rung of successive halving that the trial reached.
        error: Why it failed.
    """

    number: int
    parameters: Parameters
    state: TrialState
    value: float | None = None
    seconds: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class SearchResult:
    """A search with all its trials, in their order.

    Attributes:
        metric: The primary metric.
        trials: Every trial.
        validation_rows: Number of rows that the trials were compared on.
        seconds: Duration of the search.
    """

    metric: str
    trials: tuple[Trial, ...]
    validation_rows: int
    seconds: float

    @property
    def best(self) -> Trial:
        """The finished trial with the best value, the earliest of equals."""
        sign = 1 if HIGHER_IS_BETTER[self.metric] else -1
        finished = [t for t in self.trials if t.value is not None]
        return max(finished, key=lambda t: (sign * (t.value or 0.0), -t.number))

    def count(self, state: TrialState) -> int:
        """Return the number of trials in a state."""
        return sum(t.state == state for t in self.trials)

    def to_dict(self) -> dict[str, object]:
        """Return the search as plain values."""
        return asdict(self)


class TrialStopped(Exception):
    """Raised by the report of a trial's fit, so that the fit ends."""


#: ``report(round, loss)``: called at each rung; may raise ``TrialStopped``.
RungReport = Callable[[int, float], None]


@dataclass(frozen=True)
class DeclaredFit:
    """How each trial of a model is fitted that does more than fit its estimator.

    Attributes:
        spec: The declaration, less what does not change the primary metric.
        rows: Rows to fit, and the validation rows as its test rows.
        time: The time column.
        entity: The entity's columns.
    """

    spec: ModelSpec
    rows: PreparedRows = field(repr=False)
    time: str | None
    entity: tuple[str, ...]

    @classmethod
    def of(cls, spec: ModelSpec, rows: PreparedRows, time: str | None, entity: Sequence[str]) -> DeclaredFit | None:
        """Return the fit of a model that declares more than an estimator; thresholds where the metric knows them."""
        if spec.primary_metric not in _DECIDED:
            spec = spec.model_copy(update={"threshold": 0.5})
            if spec.fairness is not None and spec.fairness.mitigation == "thresholds":
                spec = spec.model_copy(update={"fairness": spec.fairness.model_copy(update={"mitigation": "none"})})
        own = (
            spec.calibration == "none"
            and spec.intervals is None
            and spec.feature_selection == "none"
            and not isinstance(spec.threshold, ThresholdRule)
            and (spec.fairness is None or spec.fairness.mitigation == "none")
        )
        return None if own else cls(spec, rows, time, tuple(entity))


@dataclass(frozen=True)
class SearchProblem:
    """What every trial works on; it can be pickled, and trials do not change it.

    Attributes:
        template: Unfitted model with the fitted encoder.
        rows: Encoded rows to fit.
        validation: Encoded features of the validation rows, ``(rows, features)``.
        labels: Labels of the validation rows, ``(rows,)``.
        fixed: Declared parameters that are not searched.
        space: Parameter -> its search space.
        metric: The primary metric.
        seed: Seed of the suggestions.
        declared: Fits each trial as the final model is fitted; None where the estimator's own fit does so.
    """

    template: Model = field(repr=False)
    rows: EncodedRows = field(repr=False)
    validation: np.ndarray = field(repr=False)
    labels: pl.Series = field(repr=False)
    fixed: Parameters
    space: Mapping[str, SearchSpace]
    metric: str
    seed: int
    declared: DeclaredFit | None = field(default=None, repr=False)

    @property
    def maximize(self) -> bool:
        """Whether a greater value is better."""
        return HIGHER_IS_BETTER[self.metric]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Rounds at which trials are compared and may be stopped; empty for a kind without rounds."""
        name = facts(self.template.kind_name).rounds_parameter
        if not name or name in self.space:
            return ()
        rounds = int(self.fixed.get(name, self.template.parameters[name]))
        return tuple(rounds // REDUCTION**k for k in reversed(range(_RUNGS))) if rounds >= _MIN_ROUNDS else ()

    @property
    def defaults(self) -> Parameters | None:
        """The kind's own values of the searched parameters, if the space holds all of them."""
        given = {name: self.template.parameters[name] for name in self.space}
        return given if all(self.space[name].contains(value) for name, value in given.items()) else None

    def fit_and_evaluate(self, parameters: Parameters, report: RungReport | None = None) -> float:
        """Fit one model and return its primary metric on the validation rows.

        Args:
            parameters: The searched parameters.
            report: Called at each rung with the loss on the rows that the kind validates on.

        Raises:
            KaratError: The kind refuses the parameters, or the metric can't be computed.
            TrialStopped: ``report`` stopped the trial.
        """
        model = self.template.with_parameters(self.fixed | parameters)
        rungs = set(self.rungs)

        def at_rung(iteration: int, losses: dict[str, float]) -> None:
            if report is not None and iteration in rungs:
                report(iteration, losses.get("validation", losses["train"]))

        predicted, threshold = self._fit(model, parameters, at_rung if report is not None and rungs else None)
        found = evaluate(
            model.task,
            self.labels,
            predicted,
            threshold=threshold,
            classes=model.classes or None,
            only=self.metric,
        )
        value = found.get(self.metric, math.nan)
        if not math.isfinite(value):
            raise TrainingError(f"{self.metric} of the validation rows is {value}")
        return value

    def _fit(
        self, model: Model, parameters: Parameters, report: Report | None
    ) -> tuple[np.ndarray, float | np.ndarray]:
        """Fit a trial; its predictions of the validation rows, and the thresholds by which they are decided."""
        if self.declared is None:
            model.fit_encoded(self.rows, report=report)
            return model.predict_encoded(self.validation), model.threshold
        declared = self.declared
        spec = with_parameters(declared.spec, self.fixed | parameters)
        fit_declared(spec, model, declared.rows, time=declared.time, entity=declared.entity, report=report)
        X = declared.rows.test[0]
        return model.predict(X), model.thresholds(X)


def run_trial(problem: SearchProblem, number: int, parameters: Parameters, report: RungReport | None = None) -> Trial:
    """Run one trial; an error of the trial is part of its record and ends nothing else."""
    began = time.perf_counter()
    losses: list[tuple[int, float]] = []

    def heard(iteration: int, loss: float) -> None:
        losses.append((iteration, loss))
        if report is not None:
            report(iteration, loss)

    state: TrialState = "finished"
    value, error = None, ""
    try:
        value = problem.fit_and_evaluate(parameters, heard)
    except TrialStopped:
        state = "stopped"
    except (KaratError, ValueError, ArithmeticError, RuntimeError, MemoryError) as caught:
        state, error = "failed", f"{type(caught).__name__}: {str(caught).splitlines()[0]}"
    return Trial(number, parameters, state, value, time.perf_counter() - began, tuple(losses), error)


class Searcher(Protocol):
    """Chooses parameters and runs trials, one after the other or on a cluster."""

    def __call__(
        self,
        problem: SearchProblem,
        budget: SearchBudget,
        *,
        known: Sequence[Trial],
        done: Callable[[Trial], None],
    ) -> None:
        """Run the trials of a search.

        Args:
            problem: What is searched.
            budget: How many trials, and how long.
            known: Trials of the same search that an interrupted run had finished; they are not run again.
            done: Called after each trial that was not known, as it ends.
        """
        ...


def prepare_search(
    spec: ModelSpec,
    frame: pl.DataFrame,
    unfitted: Model,
    *,
    features: Sequence[str],
    label: str,
    split: pl.Series,
    time: str | None,
    entity: Sequence[str],
) -> SearchProblem:
    """Split the training rows once more, and encode them for all trials.

    The validation rows are the last days of the training rows, or the rows of some of their entities, as the model's
    own split is made; test rows have no part in the search.

    Args:
        spec: The model's declaration.
        frame: The training set, ``(rows, columns)``, with the protected columns of a model that is reweighed.
        unfitted: The declared estimator.
        features: Columns that the model reads, in order.
        label: Column that the model learns.
        split: "train", "gap" or "test" for each row, ``(rows,)``.
        time: The time column.
        entity: The entity's columns.

    Raises:
        TrainingError: The training rows are too few to be split, or a part of them can't be learned or evaluated.
    """
    share = spec.search_budget.validation
    inner = spec.model_copy(
        update={
            "minimum_rows": 1,
            # Another seed: the entities of the test and of the validation are drawn apart.
            "seed": spec.seed + 1,
            "split": spec.split.model_copy(update={"test": share, "test_from": None}),
        }
    )
    learned = frame.filter(split == TRAIN)
    parts = split_rows(learned, inner, time=time, entity=entity)
    if not {TRAIN, TEST} <= set(parts.unique()):
        raise TrainingError(
            f"the {learned.height} training rows of {spec.name!r} leave no rows to "
            f"{'learn from' if TEST in parts else 'validate on'} in a search",
            where=f"model {spec.name!r}, search_budget.validation",
            remedy=f"give more days or entities, a smaller share than {share:g}, or leave 'search' out",
        )
    rows = prepare_rows(inner, learned, features, label, parts)
    fitted = unfitted.with_parameters(spec.parameters)
    X, y = rows.learned
    encoded = fitted.encode_rows(X, y, order=rows.learned_rows[time] if time else None)
    labels = rows.test[1]
    assert labels is not None
    return SearchProblem(
        template=fitted,
        rows=encoded,
        validation=fitted.encoder.encode(rows.test[0]),
        labels=labels,
        fixed=dict(spec.parameters),
        space=dict(spec.search),
        metric=spec.primary_metric,
        seed=spec.seed,
        declared=DeclaredFit.of(spec, rows, time, entity),
    )


def search_parameters(
    problem: SearchProblem,
    budget: SearchBudget,
    searcher: Searcher,
    *,
    known: Sequence[Trial] = (),
    done: Callable[[Trial], None] = lambda trial: None,
) -> SearchResult:
    """Run a search and return its trials.

    Args:
        problem: What is searched.
        budget: How many trials, and how long.
        searcher: Runs the trials.
        known: Trials of the same search that an interrupted run had finished.
        done: Called after each new trial.

    Raises:
        TrainingError: No trial finished.
    """
    began = time.monotonic()
    trials = {trial.number: trial for trial in known}

    def collect(trial: Trial) -> None:
        trials[trial.number] = trial
        done(trial)

    searcher(problem, budget, known=known, done=collect)
    ordered = tuple(trials[number] for number in sorted(trials))
    if not any(t.value is not None for t in ordered):
        first = next((t.error for t in ordered if t.error), "no trial ended in time")
        raise TrainingError(
            f"none of {len(ordered)} trials of the search finished; the first error: {first}",
            remedy="look at the ranges under 'search', or give the search more time",
        )
    return SearchResult(problem.metric, ordered, len(problem.labels), time.monotonic() - began)


def with_parameters(spec: ModelSpec, found: Parameters) -> ModelSpec:
    """Return a declaration whose searched parameters have their found values."""
    return spec.model_copy(update={"parameters": {**spec.parameters, **found}})
