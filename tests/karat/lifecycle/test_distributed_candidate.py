"""A version that several workers have fitted: registered as any other, and gone on with after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from karat.declare import Project
from karat.declare.models import ModelSpec
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training.distributed import FITS, Cluster, FitPlan
from karat.training.sharded_fit import ShardedFit
from tests.contracts.together import Killed, fit_in_threads


@dataclass
class ThreadFitter:
    """Runs the workers of a fit as threads (``karat.training.distributed.DistributedFitter``)."""

    kept: dict[str, object] = field(default_factory=dict)
    plans: list[FitPlan] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return Cluster(cpus=2, gpus=0, node_cpus=2, memory_per_cpu=1 << 30)

    def __call__(self, fit: ShardedFit, plan: FitPlan, folder: Path) -> Path:
        self.plans.append(plan)
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
        "refit": "none",  # by one process; workers do not fit again
    }
    return ModelContext(shop_features, ModelSpec.model_validate(declared), lake, registry)


def left(context: ModelContext) -> Iterator[Path]:
    folder = context.lake.root / FITS
    return folder.iterdir() if folder.exists() else iter(())


def test_a_version_of_two_workers_is_registered_as_one_of_one_process(context: ModelContext) -> None:
    fitter = ThreadFitter()
    made = make_candidate(context, fitter=fitter)
    assert [plan.workers for plan in fitter.plans] == [2]
    assert not list(left(context))
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
