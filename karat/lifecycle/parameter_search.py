"""The search for a version's parameters: made, gone on with, or taken from an earlier version."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from karat.declare.declared_model import DeclaredModel
from karat.executors import Progress, silent
from karat.lake import Lake
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.records import FoundParameters
from karat.lifecycle.search_trials import SearchTrials
from karat.registry.records import ModelVersion
from karat.training.search import Searcher, Trial, prepare_search, search_parameters
from karat.training.split import split_training_set
from karat.training.train import unfitted_model
from karat.training_sets.protected_columns import with_protected
from karat.training_sets.training_set import TrainingSet

#: ``when-due`` searches if no version of the same declaration has searched; its parameters are taken otherwise.
#: ``always`` searches, ``never`` trains with the declared parameters and the kind's own.
SearchMode = Literal["when-due", "always", "never"]


def found_parameters(
    context: ModelContext,
    training_set: TrainingSet,
    searcher: Searcher | None,
    mode: SearchMode,
    *,
    progress: Progress = silent,
) -> FoundParameters | None:
    """Search for the declared model's parameters, or take those that an earlier version has found.

    Each trial is stored as it ends. A search that was interrupted goes on after its last stored trial.

    Args:
        context: The declared model with its lake and registry.
        training_set: The declared training set.
        searcher: Runs the trials; None does not search.
        mode: When to search.
        progress: Receives each trial.

    Returns:
        The parameters; None if the model declares no search, or none is wanted.

    Raises:
        TrainingError: The training rows leave no validation rows, or no trial finished.
    """
    spec = context.spec
    if not spec.search or searcher is None or mode == "never":
        return None
    if mode == "when-due" and (earlier := _earlier(context)) is not None:
        return earlier
    search = f"{context.definition_hash}-{training_set.digest}"
    stored = SearchTrials(context.lake, context.name, search, spec.primary_metric)
    return search_declared(
        context,
        context.lake,
        training_set,
        searcher,
        known=stored.read(),
        done=stored.write,
        progress=progress,
    )


def search_declared(
    model: DeclaredModel,
    lake: Lake,
    training_set: TrainingSet,
    searcher: Searcher,
    *,
    known: Sequence[Trial] = (),
    done: Callable[[Trial], None] = lambda trial: None,
    progress: Progress = silent,
) -> FoundParameters:
    """Search for the parameters of a model that declares a search.

    Args:
        model: The declared model.
        lake: Holds the protected columns.
        training_set: The declared training set.
        searcher: Runs the trials.
        known: Trials of the same search that an interrupted run had finished.
        done: Called after each new trial.
        progress: Receives each trial, and the best value so far.

    Raises:
        TrainingError: The training rows leave no validation rows, or no trial finished.
    """
    spec, time, entity = model.spec, model.spine.time, model.spine.entity
    assert spec.target is not None
    problem = prepare_search(
        spec,
        with_protected(model, lake, training_set.data),
        unfitted_model(spec),
        features=training_set.features,
        label=spec.target,
        split=split_training_set(training_set, spec, time=time, entity=entity),
        time=time,
        entity=entity,
    )
    told = _Told(spec.search_budget.trials, problem.metric, maximize=problem.maximize, progress=progress)
    for trial in known:
        told.hear(trial)

    def hear(trial: Trial) -> None:
        done(trial)
        told.hear(trial)

    result = search_parameters(problem, spec.search_budget, searcher, known=known, done=hear)
    return FoundParameters(result.best.parameters, None, result)


def was_searched(context: ModelContext, version: ModelVersion) -> bool:
    """Return whether the search that the model declares, if any, was made on the version's training set."""
    if not context.spec.search:
        return True
    search = context.registry.metadata(version).search
    if search is None:
        return False
    by = version if "trials" in search else context.registry.version(context.name, search["version"])
    return by.own_tags.digest == version.own_tags.digest


def _earlier(context: ModelContext) -> FoundParameters | None:
    """The parameters of the newest version of the same declaration that has some."""
    registry, definition = context.registry, context.definition_hash
    for version in registry.versions(context.name):
        if version.own_tags.definition != definition:
            continue
        search = registry.metadata(version).search
        if search is not None:
            return FoundParameters(dict(search["parameters"]), int(search.get("version") or version.version))
    return None


class _Told:
    """Tells how far the search is, and the best value so far."""

    def __init__(self, total: int, metric: str, *, maximize: bool, progress: Progress) -> None:
        self._total, self._metric, self._progress = total, metric, progress
        self._sign = 1.0 if maximize else -1.0
        self._count, self._best, self._value = 0, 0, -math.inf

    def hear(self, trial: Trial) -> None:
        self._count += 1
        if trial.value is not None and self._sign * trial.value > self._value:
            self._best, self._value = trial.number, self._sign * trial.value
        best = ""
        if math.isfinite(self._value):
            best = f", best {self._metric} {self._sign * self._value:.4g} by trial {self._best}"
        self._progress(min(self._count, self._total), self._total, f"search{best}, trials")
