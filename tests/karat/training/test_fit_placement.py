"""Where a model is fitted: the plan follows from the declaration, the rows and the cluster."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare.distribution import Distribution
from karat.declare.models import ModelSpec
from karat.errors import TrainingError
from karat.training.fit_placement import AUTO_VALUES, Cluster, FitPlan, place_fit
from tests.profiles import examples

GIB = 1 << 30
TWO_CORES = Cluster(cpus=2, gpus=0, node_cpus=2, memory_per_cpu=8 * GIB)


def spec_of(kind: str = "xgboost", distributed: object = "auto", **parameters: object) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": "m",
            "description": "m",
            "task": "regression",
            "kind": kind,
            "label": {"source": "g", "expression": "y"},
            "lookups": [{"table": "t"}],
            "distributed": distributed,
            "parameters": parameters,
        }
    )


def plan_of(spec: ModelSpec, rows: int, values: int, cluster: Cluster) -> FitPlan | None:
    return place_fit(spec, rows, values, cluster).plan


def test_auto_takes_workers_for_many_values_or_for_more_than_fits_in_memory():
    assert plan_of(spec_of(), 1000, AUTO_VALUES - 1, TWO_CORES) is None
    plan = plan_of(spec_of(), 1000, AUTO_VALUES, TWO_CORES)
    assert plan is not None
    assert (plan.backend, plan.workers, plan.cores, plan.memory) == ("ray_train", 2, 1, 8 * GIB)
    small = Cluster(cpus=2, gpus=0, node_cpus=1, memory_per_cpu=GIB)
    assert plan_of(spec_of(), 1000, GIB // 24 + 1, small) is not None
    assert plan_of(spec_of(), 1000, GIB // 24, small) is None


def test_auto_stays_in_one_process_where_no_second_worker_finds_room():
    assert plan_of(spec_of(n_jobs=2), 1000, AUTO_VALUES, TWO_CORES) is None
    assert plan_of(spec_of(n_jobs=-1), 1000, AUTO_VALUES, TWO_CORES) is None
    assert plan_of(spec_of("random_forest"), 1000, AUTO_VALUES, TWO_CORES) is None
    assert plan_of(spec_of(distributed="never"), 1000, AUTO_VALUES, TWO_CORES) is None


def test_a_worker_has_the_cores_that_the_kind_has_threads():
    cluster = Cluster(cpus=16, gpus=2, node_cpus=8, memory_per_cpu=GIB)
    plan = plan_of(spec_of(distributed="ray_train", n_jobs=4), 1000, 1000, cluster)
    assert plan is not None
    assert (plan.workers, plan.cores, plan.memory) == (4, 4, 4 * GIB)
    plan = plan_of(spec_of(distributed="ray_train", n_jobs=-1), 1000, 1000, cluster)
    assert plan is not None
    assert (plan.workers, plan.cores) == (2, 8)
    plan = plan_of(spec_of("lstm", distributed={"backend": "ray_train", "gpu": True}), 1000, 1000, cluster)
    assert plan is not None
    assert (plan.workers, plan.gpu) == (2, True)


def test_more_workers_than_the_cluster_has_room_for_are_refused():
    with pytest.raises(TrainingError, match="wants 3 workers, which need 3 CPUs, and the cluster has 2 CPUs"):
        plan_of(spec_of(distributed={"backend": "ray_train", "workers": 3}), 1000, 1000, TWO_CORES)
    with pytest.raises(TrainingError, match="which need 1 GPUs, and the cluster has 0 GPUs"):
        plan_of(spec_of(distributed={"backend": "ray_train", "gpu": True}), 1000, 1000, TWO_CORES)


def test_the_placement_says_why():
    said = {
        "the model declares `distributed: never`": (spec_of(distributed="never"), TWO_CORES),
        "the kind random_forest has no network": (spec_of("random_forest"), TWO_CORES),
        "the cluster's 2 CPUs have no room for a second worker": (spec_of(n_jobs=2), TWO_CORES),
        "1,000 rows x 5 values are fewer than": (spec_of(), TWO_CORES),
        "do not fit in the 4.66e-09 GiB of one node (`auto`), on a cluster of 2 CPUs": (
            spec_of(), Cluster(cpus=2, gpus=0, node_cpus=1, memory_per_cpu=5)
        ),
        "the model declares `distributed: ray_train`": (spec_of(distributed="ray_train"), TWO_CORES),
    }  # fmt: skip
    for text, (spec, cluster) in said.items():
        assert text in str(place_fit(spec, 1000, 5000, cluster))
    many = str(place_fit(spec_of(), 10**7, AUTO_VALUES, TWO_CORES))
    assert many == (
        f"Fitted by 2 workers of 1 CPU each (Ray Train): 10,000,000 rows x {AUTO_VALUES // 10**7} values are at least "
        f"the {AUTO_VALUES:,} from which workers are faster (`auto`), on a cluster of 2 CPUs."
    )


@settings(max_examples=examples(50), deadline=None)
@given(
    wanted=st.builds(
        Distribution,
        backend=st.sampled_from(["auto", "ray_train", "xgboost_ray"]),
        workers=st.none() | st.integers(1, 20),
        gpu=st.just(False),
    ),
    threads=st.integers(-1, 8).filter(bool),
    cpus=st.integers(1, 64),
    rows=st.integers(1, 100),
    values=st.integers(1, 10 * AUTO_VALUES),
)
def test_a_plan_always_fits_on_the_cluster(wanted, threads, cpus, rows, values):
    cluster = Cluster(cpus=cpus, gpus=0, node_cpus=min(cpus, 8), memory_per_cpu=4 * GIB)
    spec = spec_of(distributed=wanted, n_jobs=threads)
    try:
        plan = plan_of(spec, rows, values, cluster)
    except TrainingError:
        cores = threads if threads > 0 else cluster.node_cpus
        assert (wanted.workers or 1) * cores > cpus
        return
    if plan is None:
        assert wanted.backend == "auto"
        return
    assert 1 <= plan.workers * plan.cores <= cpus
    assert plan.workers <= rows
    assert plan.backend == ("xgboost_ray" if wanted.backend == "xgboost_ray" else "ray_train")
