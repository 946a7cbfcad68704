"""The health monitor whole: document 000's 25 models, its sample worlds and their truth, features by hand, training.

The cost domain has tests of its own beside this one.
"""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import HIGHER_IS_BETTER, UNSUPERVISED
from karat.features import compute_frame
from karat.quality import check
from karat.training_sets.labels import label_spine
from tests.projects.conftest import END, Bench

#: Document 000's model catalogue: domain, feature table and its key; of each model the task and the kind.
CATALOGUE = {
    "cost": (
        "cost_features",
        ("workspace_id", "usage_date"),
        {
            "budget_forecaster": ("regression", "gradient_boosting"),
            "cost_anomaly_detector": ("anomaly", "isolation_forest"),
            "resource_optimizer": ("binary", "xgboost"),
            "chargeback_allocator": ("regression", "linear_regression"),
            "commitment_analyzer": ("binary", "random_forest"),
            "savings_recommender": ("regression", "gradient_boosting"),
        },
    ),
    "security": (
        "security_features",
        ("user_id", "event_date"),
        {
            "security_threat_detector": ("anomaly", "isolation_forest"),
            "access_pattern_analyzer": ("clustering", "kmeans"),
            "compliance_risk_classifier": ("binary", "xgboost"),
            "permission_recommender": ("multiclass", "random_forest"),
        },
    ),
    "performance": (
        "performance_features",
        ("warehouse_id", "query_date"),
        {
            "query_performance_forecaster": ("regression", "gradient_boosting"),
            "query_optimization_recommender": ("multilabel", "xgboost"),
            "cluster_efficiency_optimizer": ("regression", "gradient_boosting"),
            "cluster_sizing_recommender": ("multiclass", "random_forest"),
            "resource_rightsizer": ("regression", "gradient_boosting"),
            "warehouse_scaler": ("regression", "gradient_boosting"),
            "workload_predictor": ("regression", "lstm"),
        },
    ),
    "reliability": (
        "reliability_features",
        ("job_id", "run_date"),
        {
            "job_failure_predictor": ("binary", "xgboost"),
            "pipeline_health_classifier": ("multiclass", "random_forest"),
            "job_duration_forecaster": ("regression", "gradient_boosting"),
            "failure_root_cause_analyzer": ("multiclass", "xgboost"),
            "recovery_time_predictor": ("regression", "gradient_boosting"),
        },
    ),
    "quality": (
        "quality_features",
        ("catalog_name", "snapshot_date"),
        {
            "data_drift_detector": ("anomaly", "isolation_forest"),
            "schema_change_predictor": ("binary", "random_forest"),
            "tag_recommender": ("multiclass", "random_forest"),
        },
    ),
}
#: The sources whose worlds are tested here, and their truth.
SOURCES = {
    "fact_audit_logs": "audit_truth",
    "fact_query_history": "queries_truth",
    "fact_job_run_timeline": "jobs_truth",
    "information_schema": "catalogs_truth",
}
SMALL = 0.02
MONDAY = date(2026, 11, 2)


def test_the_models_are_those_of_the_document(health_monitor: Project) -> None:
    assert len(health_monitor.models) == 25
    for domain, (table, key, models) in CATALOGUE.items():
        found = health_monitor.select(domain=domain)
        assert {name: (spec.task, spec.kind) for name, spec in found.items()} == models
        assert all([lookup.table for lookup in spec.lookups] == [table] for spec in found.values())
        assert health_monitor.tables[table].primary_key == key


def test_every_model_is_measured_by_its_truth(health_monitor: Project) -> None:
    for spec in health_monitor.models.values():
        measured = spec.labelled.source if spec.task in UNSUPERVISED else spec.truth.source
        assert health_monitor.gold[measured].truth, spec.name
        assert spec.gates.floors, spec.name


def test_the_planted_truth_is_written_down(health_monitor: Project) -> None:
    modules = [p for p in (health_monitor.path / "gold").glob("*.py") if not p.name.startswith("_")]
    told = [ast.get_docstring(ast.parse(p.read_text())) or "" for p in modules]
    assert len(told) == 5
    assert all("THE PLANTED TRUTH" in text and len(text.split()) > 100 for text in told)


@pytest.fixture(scope="module")
def world(health_monitor: Project) -> dict[str, pl.DataFrame]:
    assert health_monitor.sample is not None
    return health_monitor.sample(tables=[*SOURCES, *SOURCES.values()], scale=SMALL, seed=0, end=END)


def test_the_samples_keep_their_contracts_and_their_seed(
    health_monitor: Project, world: dict[str, pl.DataFrame]
) -> None:
    assert health_monitor.sample is not None
    assert all(check(frame, health_monitor.gold[name]).reasons == {} for name, frame in world.items())
    again = health_monitor.sample(tables=list(SOURCES), scale=SMALL, seed=0, end=END)
    other = health_monitor.sample(tables=list(SOURCES), scale=SMALL, seed=1, end=END)
    for name in SOURCES:
        assert again[name].equals(world[name]), name
        assert not other[name].equals(world[name]), name


def test_a_later_end_adds_days_and_late_rows_and_changes_nothing(
    health_monitor: Project, world: dict[str, pl.DataFrame]
) -> None:
    assert health_monitor.sample is not None
    later = health_monitor.sample(
        tables=[*SOURCES, *SOURCES.values()], scale=SMALL, seed=0, end=END + timedelta(days=2)
    )
    for name in (*SOURCES, *SOURCES.values()):
        gold = health_monitor.gold[name]
        time = str(gold.event_time)
        kept = world[name].filter(pl.col(time) >= later[name][time].min())
        assert kept.join(later[name], on=gold.key, how="anti").is_empty(), name
        same = kept.sort(gold.key).equals(later[name].join(kept.select(gold.key), on=gold.key).sort(gold.key))
        assert same, name
        new = later[name].join(world[name], on=gold.key, how="anti")
        late = new.filter(pl.col(time) <= END)
        assert late.height < 0.01 * kept.height, name
        if "ingestion_date" in gold.columns:
            assert (late["ingestion_date"] > END).all(), name


def test_chances_of_the_truth_are_chances(world: dict[str, pl.DataFrame]) -> None:
    for truth, parts in (
        ("audit_truth", ("read", "write", "admin")),
        ("queries_truth", ("down", "keep", "up")),
        ("jobs_truth", ("healthy", "degraded", "failing")),
        ("jobs_truth", ("code", "data", "cluster", "dependency")),
        ("catalogs_truth", ("customer", "finance", "operations", "product")),
    ):
        chances = world[truth].select(f"p_{part}" for part in parts)
        assert chances.min_horizontal().min() >= 0
        assert (chances.sum_horizontal() - 1).abs().max() < 1e-5


BINARY = ("compliance_risk_classifier", "job_failure_predictor")


@pytest.fixture(scope="module")
def bench(sampled: Callable[..., Bench]) -> Bench:
    return sampled("health_monitor", tables=("security_features", "reliability_features"), scale=0.04)


@pytest.mark.parametrize("model", BINARY)
def test_what_the_truth_gives_a_chance_comes_true_as_often(bench: Bench, model: str) -> None:
    spec = bench.project.models[model]
    assert spec.truth is not None
    table = bench.project.tables[spec.spine_table]
    labels = label_spine(DeclaredModel(bench.project, spec), bench.lake)
    both = labels.join(bench.gold(spec.truth.source), on=table.primary_key).with_columns(
        chance=pl.sql_expr(str(spec.truth.expression))
    )
    assert both.height > 0.95 * labels.height
    assert both["chance"].mean() == pytest.approx(both[spec.labelled.name].mean(), rel=0.15)
    halves = both.group_by(pl.col("chance") > both["chance"].median()).agg(pl.col(spec.labelled.name).mean())
    rates = dict(halves.iter_rows())
    assert rates[True] > 1.5 * rates[False]


@pytest.mark.parametrize("model", BINARY)
def test_it_beats_its_baseline_and_is_not_perfect(bench: Bench, model: str) -> None:
    trained = bench.train(model)
    metric = trained.spec.primary_metric
    better = trained.metrics[metric] - trained.baseline[metric]
    assert better > 0 if HIGHER_IS_BETTER[metric] else better < 0
    assert all(trained.metrics[name] >= floor for name, floor in trained.spec.gates.floors.items())
    assert trained.metrics.get("r2", 0) < 0.98
    assert trained.metrics.get("roc_auc", 0) < 0.98


def test_planted_intrusions_are_found_without_labels(bench: Bench) -> None:
    trained = bench.train("security_threat_detector")
    assert not trained.planted
    assert trained.metrics["average_precision"] > 5 * trained.baseline["average_precision"]
    assert trained.metrics["average_precision"] < 0.98


def features_of(project: Project, table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The feature rows of a few gold rows; columns that they don't name are null."""
    declared = project.tables[table]
    source = project.gold[declared.source]
    empty = pl.from_arrow(source.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    gold = pl.DataFrame([{c: row.get(c) for c in empty.columns} for row in rows], schema=empty.schema)
    return compute_frame(declared, gold, source=source).sort(declared.primary_key).rows(named=True)


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


def test_security_features_of_a_user_by_hand(health_monitor: Project) -> None:
    def line(on: int, category: str, outcome: str, count: int, *, night: int = 0, outside: int = 0, action: str = "x"):
        counts = {"event_count": count, "night_count": night, "outside_count": outside, "object_count": 2}
        key = {"audit_id": f"{on}{category}{outcome}{action}", "user_id": "u", "event_date": day(on)}
        return key | counts | {"category": category, "outcome": outcome, "action_name": action, "service_name": "s"}

    rows = [
        line(0, "login", "allowed", 2, outside=1),
        line(0, "login", "failed", 1),
        line(0, "read", "allowed", 10, night=4),
        line(0, "export", "allowed", 3, outside=3),
        line(5, "login", "allowed", 1),
        line(5, "login", "failed", 7, night=7, outside=7),
        line(5, "read", "denied", 2),
        line(5, "violation", "denied", 1),
        line(5, "grant", "allowed", 1, action="grantRead"),
    ]
    first, last = (
        r for r in features_of(health_monitor, "security_features", rows) if r["event_date"] in (day(0), day(5))
    )
    assert (first["events_1d"], first["logins_1d"], first["failed_logins_1d"], first["reads_1d"]) == (16, 2, 1, 10)
    assert (first["outside_1d"], first["night_1d"]) == (4, 4)
    assert first["outside_share_1d"] == 0.25
    assert first["exports_surge"] == pytest.approx(math.log(4 / 1))  # no day before it: none is usual
    assert (last["events_1d"], last["events_7d"], last["active_days_30d"], last["weekend_days_30d"]) == (12, 28, 2, 1)
    assert last["failed_logins_surge"] == pytest.approx(math.log(8 / 2))
    assert last["exports_surge"] == pytest.approx(math.log(1 / 4))
    assert (last["denied_read_7d"], last["granted_read_14d"], last["violations_7d"]) == (2, 1, 1)
    assert last["exports_rate_7d"] == pytest.approx(3 / 28)
    assert last["log_reads_per_day"] == pytest.approx(math.log(10 / 2 + 0.1))
    assert last["night_share_30d"] == pytest.approx(11 / 28)


def test_performance_features_of_a_warehouse_by_hand(health_monitor: Project) -> None:
    def query(on: int, nth: int, seconds: float, **more: Any) -> dict[str, Any]:
        key = {"query_id": f"{on}-{nth}", "warehouse_id": "w", "query_date": day(on), "user_id": f"user_{nth}"}
        start = {"start_time": datetime.combine(day(on), datetime.min.time(), UTC)}
        cluster = {"task_seconds": seconds, "cluster_seconds": 2 * seconds}
        usual = {"spilled_bytes": 0.0, "pruned_share": 0.9, "cache_share": 0.9, "queue_ms": 0.0, "running_queries": 3}
        return key | start | usual | cluster | {"duration_ms": 1000 * seconds, "status": "FINISHED"} | more

    rows = [
        query(0, 0, 1.0, memory_gb=1.0, load_share=0.5),
        query(0, 1, 4.0, memory_gb=4.0, load_share=0.7, spilled_bytes=10.0),
        query(1, 0, 2.0, pruned_share=0.1, running_queries=9, cluster_seconds=8.0),
        query(1, 1, 8.0, status="FAILED", queue_ms=5.0),
    ]
    found = features_of(health_monitor, "performance_features", rows)
    first, second = found[0], found[1]
    assert (first["queries_1d"], first["spilled_share_1d"], first["scanned_share_1d"]) == (2, 0.5, 0.0)
    assert first["log_seconds_1d"] == pytest.approx(math.log(4) / 2)
    assert first["seconds_1d"] == 2.5
    assert first["load_share_1d"] == pytest.approx(0.6)
    spread = statistics.stdev([0, math.log(4)])
    assert first["memory_p95_7d"] == pytest.approx(math.exp(math.log(4) / 2 + 1.645 * spread))
    assert (second["queries_7d"], second["users_7d"], second["max_running_7d"]) == (4, 2, 9)
    assert (second["failed_share_7d"], second["queued_share_1d"], second["scanned_share_1d"]) == (0.25, 0.5, 0.5)
    assert second["efficiency_7d"] == pytest.approx(15 / (2 + 8 + 8 + 16))
    assert second["log_mean_seconds_7d"] == pytest.approx(math.log(15 / 4 + 1e-3))
    assert (first["tomorrow_weekday"], first["tomorrow_weekend"], first["tomorrow_closes"]) == (2, 0, 0)


def test_reliability_features_of_a_job_by_hand(health_monitor: Project) -> None:
    def run(on: int, nth: int, seconds: float, cause: str | None = None, **more: Any) -> dict[str, Any]:
        key = {"run_id": f"{on}-{nth}", "job_id": "j", "run_date": day(on)}
        ended = {"result_state": "FAILED" if cause else "SUCCEEDED", "error_class": cause, "duration_seconds": seconds}
        at = {"start_time": datetime.combine(day(on), datetime.min.time(), UTC) + timedelta(hours=nth)}
        usual = {"task_retries": 0, "new_version": False, "broken_records": 0.0, "waited_minutes": 0.0}
        return key | ended | at | usual | {"memory_share": 0.5, "trigger_type": "PERIODIC"} | more

    rows = [
        run(0, 0, 100.0),
        run(0, 1, 7.0, "data", broken_records=math.e - 1, recovery_minutes=30.0, task_retries=2, open_tickets=4),
        run(1, 0, 400.0, new_version=True, memory_share=0.9),
        run(9, 0, 3.0, "code", recovery_minutes=90.0, trigger_type="MANUAL"),
    ]
    first, second, third = (
        r
        for r in features_of(health_monitor, "reliability_features", rows)
        if r["run_date"] in {day(n) for n in (0, 1, 9)}
    )
    assert (first["runs_1d"], first["failed_runs_1d"], first["failure_rate_1d"]) == (2, 1, 0.5)
    assert first["log_broken_records_1d"] == pytest.approx(0.5)
    assert first["retries_per_run_1d"] == 1.0
    assert first["open_tickets_1d"] == 4.0  # of the run that tells it
    assert first["log_seconds_1d"] == pytest.approx(math.log(100))  # of good runs
    assert second["failure_rate_3d"] == pytest.approx(1 / 3)
    assert second["avg_seconds_7d"] == 250.0
    assert second["new_version_share_3d"] == pytest.approx(1 / 3)
    assert second["memory_share_rise"] == pytest.approx(0.0)
    assert (third["runs_7d"], third["runs_14d"], third["failed_runs_14d"], third["active_days_28d"]) == (1, 4, 2, 3)
    assert (third["code_share_30d"], third["data_failures_14d"], third["data_failures_7d"]) == (0.5, 1, 0)
    assert (third["recovery_minutes_30d"], third["max_recovery_30d"], third["manual_share_30d"]) == (60.0, 90.0, 0.25)
    assert third["std_log_seconds_30d"] == pytest.approx(statistics.stdev([math.log(100), math.log(400)]))


def test_quality_features_of_a_catalogue_by_hand(health_monitor: Project) -> None:
    def table(on: int, name: str, columns: int, **more: Any) -> dict[str, Any]:
        key = {"snapshot_id": f"{on}{name}", "catalog_name": "c", "schema_name": "s", "table_name": name}
        counts = dict.fromkeys(
            ("personal_columns", "money_columns", "time_columns", "code_columns", "commented_columns"), 1
        )
        none = dict.fromkeys(("added_columns", "removed_columns", "retyped_columns", "deprecated_columns"), 0)
        loads = {"row_count": 100.0, "loaded_rows": math.e - 1, "null_share": 0.5, "distinct_share": 0.5}
        return key | {"snapshot_date": day(on), "column_count": columns} | counts | none | loads | more

    rows = [
        table(0, "a", 6, owner="x@example.com", value_shift=0.0),
        table(0, "b", 4, value_shift=1.0, added_columns=2, new_tag="finance"),
        table(1, "a", 6, owner="x@example.com", value_shift=2.0, removed_columns=1, retyped_columns=2),
        table(1, "b", 4, value_shift=3.0, personal_columns=3, deprecated_columns=1, null_share=0.75),
    ]
    first, second = features_of(health_monitor, "quality_features", rows)[:2]
    assert (first["tables_1d"], first["columns_1d"], first["owned_share_1d"], first["rows_1d"]) == (2, 10, 0.5, 200)
    assert (first["personal_share_1d"], first["commented_share_1d"]) == (0.2, 0.2)
    assert (first["changed_7d"], first["added_7d"], first["tagged_finance_7d"]) == (0, 2, 1)
    assert first["log_loaded_1d"] == pytest.approx(1.0)
    assert (second["changed_7d"], second["changed_days_7d"], second["changed_per_table_7d"]) == (3, 1, 1.5)
    assert second["personal_share_7d"] == pytest.approx(6 / 20)
    assert second["signs_7d"] == pytest.approx(3 / 2)
    assert second["null_logit_jump"] == pytest.approx(math.log(3) / 2 - math.log(3) / 4)
    assert second["value_shift_jump"] == pytest.approx(2.5 - 1.5)
    assert second["value_shift_widening"] == pytest.approx(statistics.stdev([2, 3]) / statistics.stdev([0, 1, 2, 3]))
