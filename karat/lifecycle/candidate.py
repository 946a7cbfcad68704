"""The training pipeline: from a declaration to a registered candidate version."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from karat.declare.declared_model import DeclaredModel
from karat.executors import Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Lake
from karat.lifecycle.candidate_rows import Sharding, candidate_rows
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.parameter_search import SearchMode, found_parameters, was_searched
from karat.lifecycle.provenance import provenance
from karat.lifecycle.records import Candidate, FoundParameters, TrainingRun
from karat.lifecycle.version_entry import version_entry
from karat.names import CHALLENGER
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training.contribution_sample import with_contributions
from karat.training.custom_metrics import custom_metrics
from karat.training.data_warnings import missing_day_warnings
from karat.training.environment import TrainingEnvironment
from karat.training.fairness import measure_fairness
from karat.training.fit_distributor import FITS, DistributedFitter, Distributor
from karat.training.fitted_evaluation import TrainingResult
from karat.training.oracle import with_oracle
from karat.training.refit import refit_on_all
from karat.training.row_stream import RowSource
from karat.training.search import Searcher, with_parameters
from karat.training.seeds import try_seeds
from karat.training.significance import gain_significance
from karat.training.split import split_training_set
from karat.training.streamed_evaluation import evaluate_whole
from karat.training.train import train_declared
from karat.training.training_log import TrainingLog
from karat.training_sets.leakage_report import leak_messages
from karat.training_sets.protected_columns import with_protected
from karat.training_sets.row_sample import SampledTrainingSet
from karat.training_sets.training_set import TrainingSet

_STEPS = 5


def make_candidate(
    context: ModelContext,
    *,
    progress: Progress = silent,
    commit: str = "",
    force: bool = False,
    searcher: Searcher | None = None,
    search: SearchMode = "when-due",
    fitter: DistributedFitter | None = None,
    sharding: Sharding | None = None,
) -> Candidate:
    """Train the declared model on the current data and register it as the challenger.

    The pipeline: label, training set, split, search, fit, evaluation, gain report, refit on all rows, registration. A
    version of the same definition and the same training set is not trained again, unless ``force``: the existing one is
    returned.

    Args:
        context: The declared model with its lake and registry.
        progress: Receives each step.
        commit: The commit of the code, kept with the version.
        force: Train even if a version of this definition and these data exists.
        searcher: Runs the trials of a search; None trains with the declared parameters and the kind's own.
        search: When the declared ``search`` is made: see ``SearchMode``.
        fitter: Runs the workers of a distributed fit; None fits in this process.
        sharding: When the training set is built in files, and by whom; see ``candidate_rows``.

    Raises:
        KaratError: what labels, lookups and training raise; nothing has been logged then.
    """
    lake, registry = context.lake, context.registry
    log = TrainingLog()
    progress = log.progress(progress)
    progress(0, _STEPS, "training set")
    training_set = candidate_rows(context, lake, sharding, progress, fitter=fitter)
    definition = context.definition_hash
    existing = None if force else registry.find(context.name, definition, training_set.digest)
    if existing is not None and search == "always" and searcher is not None and not was_searched(context, existing):
        existing, force = None, True
    if existing is not None:
        registry.settle(existing)
        return Candidate(offer(registry, existing), False, existing.metrics, existing.baseline)
    progress(2, _STEPS, "training")
    began = time.perf_counter()
    with log.listening():
        found = found_parameters(context, training_set, searcher, search, progress=progress)
        distributor = _distributor(context, training_set, found, fitter, sharding)
        run = training_run(context, lake, training_set, found=found, distributor=distributor, log=log)
        if run.result.spec.refits:
            log.write("refit on all rows with a label")
            refitted = refit_on_all(
                run.result.spec,
                run.result.model,
                with_protected(context, lake, training_set.data),
                label=run.result.spec.target,
                time=context.spine.time,
                distributor=distributor,
                placement=run.result.placement,
            )
            run = replace(run, result=replace(run.result, refitted=refitted))
    environment = TrainingEnvironment.now(time.perf_counter() - began)
    log.write(f"trained in {environment.seconds:g} s, at most {environment.peak_memory_mib:g} MiB")
    run = replace(run, environment=environment, log=str(log))
    trained, gain = run.result, run.gain
    progress(3, _STEPS, "registration")
    version = registry.log(version_entry(context, run, definition=definition, commit=commit))
    if not force:
        version = _first(registry, version)
    if distributor is not None:
        distributor.clean()
    version = offer(registry, version)
    progress(_STEPS, _STEPS, "done")
    warnings = (*leak_messages(training_set.report), *trained.warnings, *(gain.shortfall if gain else ()))
    return Candidate(version, True, trained.metrics, trained.baseline, warnings)


def training_run(
    model: DeclaredModel,
    lake: Lake,
    training_set: TrainingSet,
    *,
    found: FoundParameters | None = None,
    distributor: Distributor | None = None,
    log: TrainingLog | None = None,
) -> TrainingRun:
    """Split a training set, fit and evaluate the declared model on it, and measure its gain; nothing is registered.

    Args:
        model: The declared model.
        lake: Holds the gold tables.
        training_set: The declared training set.
        found: Parameters that a search has found.
        distributor: Fits the model by several workers if the declaration asks for it; None fits in this process.
        log: Gets the steps and the rounds of the fit.

    Raises:
        TrainingError: what ``train`` raises.
    """
    log = log or TrainingLog()
    log.write(f"{training_set.rows} rows, {len(training_set.features)} features, digest {training_set.digest}")
    for lookup in training_set.lookups:
        log.write(f"table {lookup.table}, Delta version {lookup.version}")
    if found is not None:
        log.write(f"parameters of the search: {json.dumps(found.parameters)}")
        model = replace(model, spec=with_parameters(model.spec, found.parameters))
    split = split_training_set(training_set, model.spec, time=model.spine.time, entity=model.spine.entity)
    rows = with_protected(model, lake, with_oracle(model, lake, training_set.data))
    log.write(f"fit of kind {model.spec.kind}: {json.dumps(model.spec.parameters)}, seed {model.spec.seed}")
    trained = train_declared(model, training_set, rows, split, distributor, report=log.report)
    if trained.placement is not None:
        log.write(str(trained.placement))
    log.add_curve(trained.curve)
    log.write(f"{json.dumps(trained.rows)} rows; {_figures(trained.metrics)}; baseline {_figures(trained.baseline)}")
    trained = replace(trained, warnings=[*trained.warnings, *missing_day_warnings(model, lake)])
    if isinstance(training_set, SampledTrainingSet):
        trained = evaluate_whole(trained, training_set)
    trained = with_contributions(trained)
    gain = gain_significance(trained, entity=model.spine.entity, time=model.spine.time)
    fairness = measure_fairness(trained, entity=model.spine.entity, time=model.spine.time)
    custom, warnings = custom_metrics(model.project.metrics, trained)
    trained = replace(trained, warnings=[*trained.warnings, *warnings])
    once = {"split": model.spec.split.model_copy(update={"folds": None})}

    def again(seed: int) -> TrainingResult:
        other = replace(model, spec=model.spec.model_copy(update={"seed": seed} | once))
        return train_declared(other, training_set, rows, split)

    for warning in trained.warnings:
        log.write(f"warning: {warning}")
    # A model of several workers may be too large to be fitted again in one process.
    seeds = try_seeds(trained, gain, 1 if trained.distributed else model.spec.seeds, again)
    return TrainingRun(training_set, split, trained, gain, provenance(model, lake), found, fairness, custom, seeds)


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())


def _distributor(
    context: ModelContext,
    training_set: TrainingSet,
    found: FoundParameters | None,
    fitter: DistributedFitter | None,
    sharding: Sharding | None,
) -> Distributor | None:
    """Return what fits the model by workers: on the files of a training set that is in files, if they are to stream."""
    if fitter is None:
        return None
    source = None
    if isinstance(training_set, SampledTrainingSet) and training_set.streams and training_set.whole is not None:
        executor = None if sharding is None else sharding.executor
        source = RowSource.of_declared(context, context.lake, training_set.whole, executor)
    return Distributor(fitter, _fit_folder(context, training_set, found), source)


def _fit_folder(context: ModelContext, training_set: TrainingSet, found: FoundParameters | None) -> Path:
    """Return where the workers of this fit keep rows and checkpoints; a retry of the same fit gets the same folder."""
    what = [context.definition_hash, training_set.digest, {} if found is None else found.parameters]
    return context.lake.root / FITS / f"{context.name}-{fingerprint(what)}"


def _first(registry: Registry, version: ModelVersion) -> ModelVersion:
    """The earlier of two equal versions, if two processes registered them at the same time; the later is deleted."""
    twin = registry.twin(version)
    if twin is None:
        return version
    registry.delete(version)
    return twin


def offer(registry: Registry, version: ModelVersion) -> ModelVersion:
    """Make a version without an alias and without a decision the challenger."""
    if not version.aliases and version.own_tags.decision is None:
        return registry.set_alias(version, CHALLENGER, "the newest version")
    return version
