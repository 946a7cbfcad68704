"""A version that several workers have fitted: registered as any other, and gone on with after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.declare import Project
from karat.declare.models import ModelSpec
from karat.executors import LocalExecutor
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.candidate_rows import Sharding, candidate_rows
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training.fit_distributor import FITS
from karat.training.fit_placement import Cluster, FitPlan
from karat.training.refit import refit_on_all
from karat.training.row_stream import RowStream
from karat.training.sharded_fit import ShardedFit
from karat.training_sets import shard_lake
from tests.contracts.together import Killed, fit_in_threads


@dataclass
class ThreadFitter:
    """Runs the workers of a fit as threads (``karat.training.fit_distributor.DistributedFitter``)."""

    kept: dict[str, object] = field(default_factory=dict)
    plans: list[FitPlan] = field(default_factory=list)
    fits: list[ShardedFit] = field(default_factory=list)
    rows: list[pl.DataFrame] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return Cluster(cpus=2, gpus=0, node_cpus=2, memory_per_cpu=1 << 30)

    def __call__(self, fit: ShardedFit, plan: FitPlan, folder: Path) -> Path:
        self.plans.append(plan)
        self.fits.append(fit)
        batches = fit.files.batches(columns=fit.model.feature_names)
        self.rows.append(pl.concat([pl.DataFrame(pl.from_arrow(b)) for b in batches]))
        fit_in_threads(fit, folder, plan.workers, **self.kept)
        return folder / "fitted"


@pytest.fixture
def context(shop_features: Project, lake: Lake, registry: Registry) -> ModelContext:
    """The model ``next_week`` of the shop, fitted by XGBoost and by two workers."""
    declared = shop_features.models["next_week"].model_dump() | {
        "kind": "xgboost",
        "parameters": {"n_estimators": 20},
        "search": {},
        "distributed": "ray_train",
    }
    return ModelContext(shop_features, ModelSpec.model_validate(declared), lake, registry)


def left(context: ModelContext) -> Iterator[Path]:
    folder = context.lake.root / FITS
    return folder.iterdir() if folder.exists() else iter(())


def test_a_version_of_two_workers_is_registered_as_one_of_one_process(context: ModelContext) -> None:
    fitter = ThreadFitter()
    made = make_candidate(context, fitter=fitter)
    assert [plan.workers for plan in fitter.plans] == [2, 2], "the fit, and the refit on all rows"
    assert not list(left(context))
    with context.registry.files(made.version) as folder:
        refitted, judged = Model.load(folder), Model.load(folder / "judged")
    alone = refit_on_all(
        context.spec, judged, candidate_rows(context, context.lake).data, label=context.spec.target, time="day"
    )
    rows = candidate_rows(context, context.lake).data
    np.testing.assert_allclose(refitted.predict(rows), alone.predict(rows), rtol=0.05)
    assert np.abs(refitted.predict(rows) - judged.predict(rows)).max() > 0.1
    again = make_candidate(context)
    assert not again.retrained, "how it is fitted is no part of its definition"
    one = make_candidate(context, force=True)
    for metric, value in made.metrics.items():
        np.testing.assert_allclose(one.metrics[metric], value, rtol=1e-2)
    names = []
    for each in (made, one):
        with context.registry.files(each.version) as folder:
            names.append(sorted(p.name for p in folder.rglob("*")))
    assert names[0] == names[1]


def test_a_killed_fit_goes_on_in_the_next_run(context: ModelContext) -> None:
    with pytest.raises(Killed):
        make_candidate(context, fitter=ThreadFitter({"rounds": (5, 10), "killed_after": 12}))
    (folder,) = left(context)
    assert (folder / "checkpoints" / "round_00010").is_dir()
    resumed = make_candidate(context, fitter=ThreadFitter())
    assert not list(left(context))
    whole = make_candidate(context, fitter=ThreadFitter(), force=True)
    assert resumed.metrics == whole.metrics


def shop_model(project: Project, lake: Lake, registry: Registry, base: str, **declared: object) -> ModelContext:
    spec = project.models[base].model_dump() | {"kind": "xgboost", "search": {}, "distributed": "ray_train"} | declared
    return ModelContext(project, ModelSpec.model_validate(spec), lake, registry)


#: Few values in each column, so that all workers agree on the bins of one process: quantiles are estimates.
COUNTED = {
    "lookups": [
        {"table": "spend_features", "features": ["orders_7d", "big"]},
        {"table": "people_features", "features": ["age"]},
    ],
    "parameters": {"n_estimators": 20},
    "minimum_rows": 100,
}
#: Files above a thousand rows, in blocks of 300; one process judges by samples of 100 rows.
SMALL = Sharding(LocalExecutor(), above=1000, test_rows=100)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_lake, "BLOCK_ROWS", 300)


@pytest.mark.usefixtures("small_blocks")
def test_a_champion_from_streamed_files_is_that_of_one_process(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    context = shop_model(shop_features, lake, registry, "next_week", **COUNTED)
    assert lake.count(context.spine_name) > SMALL.above
    one = make_candidate(context, force=True)
    alone = promote(context)
    fitter = ThreadFitter()
    made = make_candidate(context, fitter=fitter, sharding=SMALL, force=True)
    assert made.version.own_tags.digest == one.version.own_tags.digest
    assert made.version.own_tags.rows == one.version.own_tags.rows
    for name in ("metrics", "baseline"):
        ours, theirs = getattr(made, name), getattr(one, name)
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-5)
    rows = candidate_rows(context, lake).data
    models = []
    for each in (one, made):
        with registry.files(each.version) as folder:
            models.append((Model.load(folder), Model.load(folder / "judged")))
    for ours, theirs in zip(*models, strict=True):
        np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-4)
    assert alone.promoted
    against = promote(context)
    assert against.champion_metrics is not None
    assert against.champion_metrics.keys() == against.candidate_metrics.keys()
    for metric, value in against.champion_metrics.items():
        np.testing.assert_allclose(against.candidate_metrics[metric], value, rtol=1e-5)
    streamed, refitted = (fit.files for fit in fitter.fits)
    assert isinstance(streamed, RowStream)
    assert isinstance(refitted, RowStream)
    assert streamed.rows == made.version.own_tags.rows["train"]
    assert refitted.rows == rows.height
    card = registry.card(made.version)
    said = "Fitted by 2 workers of 1 CPU each (Ray Train), which streamed the training set's files: the model declares"
    assert said in card
    assert "The same workers fitted it again on all rows." in card
    assert f"training metrics are of 100 of {streamed.rows} training rows; the model was fitted on all" in card


@pytest.mark.usefixtures("small_blocks")
def test_rows_apart_weights_and_texts_are_those_of_one_process(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    """Calibration rows are left out, rows are weighed by their protected groups, and texts are counted."""
    context = shop_model(
        shop_features,
        lake,
        registry,
        "leaver",
        parameters={"n_estimators": 10},
        calibration="platt",
        protected=["city"],
        fairness={"mitigation": "reweigh"},
        gates={},
        class_weight="balanced",
    )
    fitters = (ThreadFitter(), ThreadFitter())
    everything = Sharding(LocalExecutor(), above=0)
    one = make_candidate(context, fitter=fitters[0])
    made = make_candidate(context, fitter=fitters[1], sharding=everything, force=True)
    np.testing.assert_allclose(list(made.metrics.values()), list(one.metrics.values()), rtol=0.1)  # weighted quantiles
    for (ours, its), (theirs, their) in zip(*(zip(f.fits, f.rows, strict=True) for f in fitters), strict=True):
        assert ours.model.encoder == theirs.model.encoder
        assert ours.model.encoder.categorical == [False, True]
        assert ours.statistics.class_rows == theirs.statistics.class_rows
        placed = [
            rows.with_columns(
                pl.Series("weight", fit.weight), pl.Series("aside", np.unpackbits(fit.aside, count=rows.height))
            ).sort(pl.all())
            for fit, rows in ((ours, its), (theirs, their))
        ]
        assert placed[0].equals(placed[1]), "the same rows, each as in one process"
