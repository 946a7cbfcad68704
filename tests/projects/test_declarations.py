"""What the projects declare: no errors, the documents' names, descriptions that say something."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from karat.declare import Project, load_project, project_names
from karat.declare.declared_model import DeclaredModel
from karat.features import compute_frame
from karat.quality import load_map
from karat.settings import Settings
from karat.training_sets.labels import check_label
from tests.projects.conftest import ROOT

SETTINGS = Settings(projects=ROOT / "projects")
#: Document 000's model catalogue, cost domain.
COST_MODELS = {
    "budget_forecaster": ("regression", "gradient_boosting"),
    "cost_anomaly_detector": ("anomaly", "isolation_forest"),
    "resource_optimizer": ("binary", "xgboost"),
    "chargeback_allocator": ("regression", "linear_regression"),
    "commitment_analyzer": ("binary", "random_forest"),
    "savings_recommender": ("regression", "gradient_boosting"),
}


@pytest.fixture(params=project_names(SETTINGS))
def project(request: pytest.FixtureRequest) -> Project:
    return load_project(request.param, SETTINGS)


def test_features_and_labels_bind_to_gold(project: Project) -> None:
    for table in project.tables.values():
        source = project.gold[table.source]
        empty = pl.from_arrow(source.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)
        made = compute_frame(table, empty, source=source)
        assert made.columns == [*table.primary_key, *(f.name for f in table.stored)]
    for spec in project.models.values():
        check_label(DeclaredModel(project, spec))


def test_maps_name_their_table_and_its_columns(project: Project) -> None:
    for path in sorted((project.path / "maps").glob("*.yaml")):
        found = load_map(path)
        assert found.table is not None
        table = project.gold[found.table]
        assert set(found.columns) <= set(table.columns)
        needed = {n for n, c in table.columns.items() if not c.nullable or n in table.key}
        assert needed <= set(found.columns)


def test_everything_is_owned_and_described(project: Project) -> None:
    for table in project.tables.values():
        assert table.owner
        for feature in table.stored:
            assert len(feature.description.split()) >= 2, feature.name
    for gold in project.gold.values():
        assert gold.owner
        assert all(column.description for column in gold.columns.values())
    for spec in project.models.values():
        assert spec.owner
        assert spec.description


def test_no_feature_reads_the_truth_or_the_label(project: Project) -> None:
    for table in project.tables.values():
        assert not project.gold[table.source].truth
        read = " ".join(f"{f.column} {f.where}" for f in table.features)
        assert "churned" not in read
        # Whether a payment was a fraud is known a week later: only what is of payments before then may read it.
        late = [f for f in table.features if "is_fraud" in f"{f.column} {f.where} {f.event}"]
        assert all(table.delay_of(f) == timedelta(days=7) for f in late)


def test_the_cost_models_are_those_of_the_document(health_monitor: Project) -> None:
    assert {n: (m.task, m.kind) for n, m in health_monitor.select(domain="cost").items()} == COST_MODELS
    assert all(m.lookups[0].table == "cost_features" for m in health_monitor.select(domain="cost").values())


def test_cost_features_are_those_of_the_document(health_monitor: Project) -> None:
    table = health_monitor.tables["cost_features"]
    assert table.primary_key == ("workspace_id", "usage_date")
    assert table.source == "fact_usage"
    assert {"daily_dbu", "avg_dbu_7d", "z_score_7d"} <= {f.name for f in table.stored}


def test_every_way_to_define_a_feature_is_used(health_monitor: Project) -> None:
    features = health_monitor.tables["cost_features"].features
    functions = {f.function for f in features}
    assert {"sum", "count", "mean", "min", "max", "std", "count_distinct", "share"} <= functions
    assert any(f.polars is not None for f in features)
    assert any(f.sql for f in features)
    assert any(f.python for f in features)
