"""Trial of a declared model on a sample of its gold rows: in process, and nothing is registered or written to the lake.

An engineer's loop: edit a declaration, try it, look at the metrics, edit again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from karat.clock import yesterday
from karat.declare import FeatureTable, GoldTable, Project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import ModelSpec
from karat.errors import TableNotFound, WrongCall
from karat.executors import Progress, silent
from karat.extras import optional_imports
from karat.features import compute_frame
from karat.features.schema import feature_schema
from karat.features.shard import entity_hash
from karat.lake import Lake
from karat.lifecycle.candidate import training_run
from karat.lifecycle.card_page import card_page
from karat.lifecycle.model_card import model_card
from karat.lifecycle.parameter_search import search_declared
from karat.lifecycle.records import FoundParameters, TrainingRun
from karat.lifecycle.trial_checks import TrialChecks, checked_features, checks_of_gold, checks_of_sample
from karat.quality import check, origin, valid_rows
from karat.quality.origin import SAMPLE, has_rows
from karat.training.training_log import TrainingLog
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.labels import label_spine
from karat.training_sets.leakage_report import leak_messages
from karat.training_sets.training_set import TrainingSet

#: Gold rows that a trial reads by default.
TRIAL_ROWS = 50_000
#: A table of fewer entities is sampled by time: a few whole entities would say nothing of the others.
MIN_ENTITIES = 50
_STEPS = 5


@dataclass(frozen=True)
class Trial:
    """A model that was fitted and evaluated on a sample.

    Attributes:
        run: The training set, the fitted model and its metrics.
        card: The model card in Markdown.
        sample: Which gold rows were read, one sentence a fact.
        warnings: What is unusual about the data or the model.
        checks: What the quality checks of the gold tables and of the computed features found.
    """

    run: TrainingRun = field(repr=False)
    card: str
    sample: tuple[str, ...]
    warnings: tuple[str, ...]
    checks: TrialChecks

    def write(self, folder: Path) -> list[Path]:
        """Write the card (``model_card.md``, ``model_card.html``), the log and the plots; returns the files."""
        # matplotlib, which a trial without files does without
        from karat.training.contribution_plot import save_contribution_plots
        from karat.training.plots import save_plots
        from karat.training.search_plot import save_search_plot

        folder.mkdir(parents=True, exist_ok=True)
        card = folder / "model_card.md"
        card.write_text(self.card)
        title = self.run.result.spec.name
        plots, sample = save_plots(self.run.result, folder), self.run.result.contributions
        if sample is not None:
            plots += save_contribution_plots(sample, folder, title=title)
        if self.run.search is not None and self.run.search.result is not None:
            plots.append(save_search_plot(self.run.search.result, folder))
        plots.append(self.run.training_set.draw_report(folder, title=title))
        page, log = folder / "model_card.html", folder / "training.log"
        page.write_text(card_page(self.card, plots))
        log.write_text(self.run.log)
        return [card, page, log, *plots]


def try_model(
    project: Project,
    model: str,
    lake: Lake,
    *,
    rows: int | None = TRIAL_ROWS,
    search_trials: int | None = None,
    progress: Progress = silent,
) -> Trial:
    """Compute label, features and training set of a declared model on a sample of gold, then fit and evaluate it.

    The features are computed as the project declares them now, whatever the lake holds of them. Of a gold table with
    more rows than ``rows``, whole entities are drawn by a hash of their key, so that no window loses rows; a table of
    fewer than ``MIN_ENTITIES`` entities gives its latest rows. Where the lake has no gold rows, the project's sample
    generator makes some. The quality checks of gold and of the features are asked: rows that a run would set aside are
    left out, a check that would stop a run is told.

    Args:
        project: The project.
        model: One of its models.
        lake: The lake; read only.
        rows: The most gold rows of the spine's source; None reads all.
        search_trials: How many trials search for the declared ``search`` parameters, one after the other in this
            process; None trains with the declared values and the kind's own.
        progress: Receives each step.

    Raises:
        UnknownModel: The project has no such model.
        TableNotFound: There are no gold rows and no sample generator.
        WrongCall: A search is wanted, and the model declares none.
        KaratError: what labels, features and training raise.
    """
    (spec,) = project.select(models=(model,)).values()
    if search_trials is not None:
        spec = _with_trials(spec, search_trials)
    # A sample may have fewer rows than a version must; that is a warning here.
    trial = DeclaredModel(project, spec.model_copy(update={"minimum_rows": 1}))
    progress(0, _STEPS, "gold")
    frames, origins, sample, checks = _gold_frames(trial, lake, rows)
    with tempfile.TemporaryDirectory(prefix="karat-trial-") as scratch:
        copy = Lake(Path(scratch), project.environment)
        progress(1, _STEPS, "features")
        _write_gold(trial, copy, frames, origins)
        checks += _write_features(trial, copy, frames)
        progress(2, _STEPS, "label")
        spine = label_spine(trial, copy)
        progress(3, _STEPS, "training set")
        training_set = declared_training_set(trial, copy, spine)
        progress(4, _STEPS, "training")
        log = TrainingLog()
        with log.listening():
            found = None
            if search_trials is not None:
                found = _searched(trial, copy, training_set, log.progress(progress))
            run = training_run(trial, copy, training_set, found=found, log=log)
        run = replace(run, log=str(log))
    progress(_STEPS, _STEPS, "done")
    used = sum(run.result.rows.values())
    few = () if used >= spec.minimum_rows else (_few_rows(used, spec.minimum_rows),)
    warnings = (*few, *leak_messages(training_set.report), *run.result.warnings)
    return Trial(run, model_card(trial, run), sample, warnings, checks)


def _with_trials(spec: ModelSpec, trials: int) -> ModelSpec:
    """The model with so many trials in its search."""
    if not spec.search:
        raise WrongCall(
            f"{spec.name!r} declares no search",
            where=f"model {spec.name!r}",
            remedy="name parameters and their values under 'search', as in: search: {max_depth: [2, 4, 8]}",
        )
    return spec.model_copy(update={"search_budget": spec.search_budget.model_copy(update={"trials": trials})})


def _searched(model: DeclaredModel, lake: Lake, training_set: TrainingSet, progress: Progress) -> FoundParameters:
    with optional_imports():  # hyperopt, which a trial without a search does without
        from karat.training.hyperopt_search import hyperopt_search
    return search_declared(model, lake, training_set, hyperopt_search, progress=progress)


def _few_rows(used: int, minimum: int) -> str:
    return (
        f"{used} training and test rows are fewer than minimum_rows, {minimum}: a version of so few is "
        "refused. Try more rows, or lower minimum_rows in the declaration"
    )


def _needed_gold(model: DeclaredModel) -> tuple[str, ...]:
    """The gold tables of features and label, the spine's source first."""
    read = model.project.gold_read_by({model.spec.name: model.spec})
    first = model.spine.source
    return (first, *(name for name in read if name != first))


def _gold_frames(
    model: DeclaredModel, lake: Lake, rows: int | None
) -> tuple[dict[str, pl.DataFrame], dict[str, str], tuple[str, ...], TrialChecks]:
    """The sampled rows of each gold table, where they come from, what was drawn in words, and what checks found."""
    project, spec = model.project, model.spec
    needed = _needed_gold(model)
    lacking = [n for n in needed if not _has_gold(lake, project, n)]
    if len(lacking) == len(needed) and project.sample is not None:
        truth = [spec.truth.source] if spec.truth else []
        made = project.sample(scale=1.0, seed=spec.seed, end=yesterday(), tables=[*needed, *truth])
        checked = {n: check(made[n], project.gold[n]) for n in (*needed, *truth)}
        checks = sum((checks_of_sample(n, checked[n]) for n in needed), TrialChecks())
        scans = {n: one.good.lazy() for n, one in checked.items()}
        origins, told = dict.fromkeys(scans, SAMPLE), [f"the lake has no rows of {needed[0]}: a sample was generated"]
    elif lacking:
        name = project.gold_name(lacking[0])
        raise TableNotFound(
            f"model {spec.name!r} needs the gold table {lacking[0]!r}, which has no rows",
            where=str(name),
            remedy=f"bring them in: karat ingest {project.name} {lacking[0]} FILE",
        )
    else:
        held = [n for n in (spec.truth.source,) if _has_gold(lake, project, n)] if spec.truth else []
        scans = {n: _valid_gold(lake, project, n) for n in (*needed, *held)}
        origins = {n: origin(lake, project.gold_name(n)) or "" for n in scans}
        told, checks = [], checks_of_gold(project, needed, lake)
    frames, drawn = _draw(model, scans, rows)
    return frames, origins, (*told, *drawn), checks


def _has_gold(lake: Lake, project: Project, table: str) -> bool:
    name = project.gold_name(table)
    return lake.exists(name) and has_rows(lake, name)


def _valid_gold(lake: Lake, project: Project, table: str) -> pl.LazyFrame:
    """Rows of the declared columns that keep the contract, as feature runs read them."""
    contract = project.gold[table]
    rows = lake.scan(project.gold_name(table))
    kept = valid_rows(contract)
    return (rows if kept is None else rows.filter(kept)).select(list(contract.columns))


def _draw(
    model: DeclaredModel, scans: Mapping[str, pl.LazyFrame], rows: int | None
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Draw at most ``rows`` rows of the spine's source, and from the other tables what belongs to them."""
    spine, source = model.spine, scans[model.spine.source]
    counts = source.group_by(spine.entity).len().collect(engine="streaming")
    total = int(counts["len"].sum())
    if rows is None or total <= rows:
        frames = {n: scan.collect() for n, scan in scans.items()}
        return frames, [f"all {total:,} rows of {model.spine.source}"]
    if counts.height < MIN_ENTITIES:
        return _latest(model, scans, rows, total)
    drawn = counts.sort(entity_hash(spine)).filter(pl.col("len").cum_sum() <= rows).drop("len")
    frames, whole = {}, []
    for name, scan in scans.items():
        columns = _entity_columns(model, name)
        if all(c in model.project.gold[name].columns for c in columns):
            own = drawn.rename(dict(zip(spine.entity, columns, strict=True)))
            frames[name] = scan.join(own.lazy(), on=columns, how="semi").collect(engine="streaming")
        else:
            frames[name] = scan.collect(engine="streaming")
            whole.append(name)
    who = " and ".join(spine.entity)
    told = [
        f"{frames[spine.source].height:,} of {total:,} rows of {spine.source}: all rows of {drawn.height:,} of "
        f"{counts.height:,} values of {who}, drawn by a hash"
    ]
    told += [f"all rows of {name}, which has no {who}" for name in whole]
    told += [
        f"features by {' and '.join(t.entity)} ({t.name}) see the drawn rows alone, so they are too low"
        for t in _tables(model)
        if t.source in frames and t.source not in whole and not set(spine.entity) <= set(t.entity)
    ]
    return frames, told


def _latest(
    model: DeclaredModel, scans: Mapping[str, pl.LazyFrame], rows: int, total: int
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The latest rows by time; of a table without a time all rows."""
    source = model.project.gold[model.spine.source]
    time = model.spine.gold_time(source) or source.event_time
    if time is None:
        frames = {n: scan.collect() for n, scan in scans.items()}
        return frames, [f"all {total:,} rows of {source.name}: it has too few entities to draw from, and no time"]
    first = scans[source.name].select(pl.col(time).top_k(rows).min()).collect().item()
    frames = {}
    for name, scan in scans.items():
        own = model.project.gold[name].event_time
        frames[name] = (scan.filter(pl.col(own) >= first) if own else scan).collect(engine="streaming")
    told = f"{frames[source.name].height:,} of {total:,} rows of {source.name}: the latest, from {first} on"
    return frames, [told + "; windows of the first days reach back to nothing"]


def _entity_columns(model: DeclaredModel, gold: str) -> list[str]:
    """The spine's entity under the names that a gold table has for it."""
    label = model.spec.label
    renamed = label.columns if label is not None and gold == label.source and gold != model.spine.source else {}
    return [renamed.get(c, c) for c in model.spine.entity]


def _tables(model: DeclaredModel) -> list[FeatureTable]:
    return [model.project.tables[t] for t in model.project.tables_of({model.spec.name: model.spec})]


def _write_gold(
    model: DeclaredModel, lake: Lake, frames: Mapping[str, pl.DataFrame], origins: Mapping[str, str]
) -> None:
    """Write each gold table in one file: a partition a day would take longer than the trial."""
    for name, frame in frames.items():
        gold = model.project.gold[name]
        lake.create(
            model.project.gold_name(name),
            gold.schema,
            primary_key=gold.key,
            timeseries=gold.event_time,
            partition_by=(),
            properties={"origin": origins[name]},
        )
        lake.append(model.project.gold_name(name), frame)


def _write_features(model: DeclaredModel, lake: Lake, frames: Mapping[str, pl.DataFrame]) -> TrialChecks:
    told = TrialChecks()
    for table in _tables(model):
        source: GoldTable = model.project.gold[table.source]
        rows, found = checked_features(table, compute_frame(table, frames[table.source], source=source))
        told += found
        timed = {"grain": table.stored_grain, "lag": table.publication_lag} if table.time else {}
        lake.create(
            model.project.table_name(table.name),
            feature_schema(table, source),
            primary_key=table.primary_key,
            timeseries=table.time,
            partition_by=(),
            event_id=table.event_id,
            **timed,  # type: ignore[arg-type]
        )
        lake.append(model.project.table_name(table.name), rows)
    return told
