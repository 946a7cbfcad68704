"""The rows of a champion whose declaration has changed since it learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from karat.declare import FeatureTable, Project, aggregate, from_event
from karat.declare.models import Lookup
from karat.errors import ColumnMissing
from karat.inference.batch import ModelInputs
from karat.lake import Lake
from karat.lifecycle.model_context import ModelContext
from karat.monitoring.reference_current import Champion
from karat.training_sets.spine import ROW_NUMBER

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def project(shop: Project) -> Project:
    """``next_week`` of payments; what the terminals did is looked up, too."""
    event = {"source": "orders", "grain": "event", "time": "at", "event_id": "order_id", "description": "A payment"}
    terminal = from_event("terminal", dtype="string", description="Where it was made")
    count = aggregate("payments_7d", "count", window="7d", description="Payments in 7 days")
    payments = FeatureTable(name="payments", entity=("customer",), features=(terminal, count), **event)
    risk = FeatureTable(name="risk", entity=("terminal",), features=(count,), **event)
    lookups = (Lookup(table="payments", features=("payments_7d",)), Lookup(table="risk"))
    spec = shop.models["next_week"].model_copy(update={"lookups": lookups})
    tables = {**shop.tables, "payments": payments, "risk": risk}
    return replace(shop, tables=tables, models={**shop.models, "next_week": spec})


def learned(*columns: str) -> Any:
    """A registry whose champion learned from one row of these columns."""
    values = {"customer": "a", "at": MOMENT, "order_id": 1, "terminal": "t", "spent_next_7d": 1.0, ROW_NUMBER: 0}
    frame = pl.DataFrame([{c: values[c] for c in (*columns, "spent_next_7d", ROW_NUMBER)}])
    return SimpleNamespace(spine=lambda _: frame, load=lambda _, judged=False: SimpleNamespace(lookups=[]))


def champion(project: Project, lake: Lake, registry: Any) -> Champion:
    version: Any = SimpleNamespace(uri="models:/shop_dev.models.next_week/1")
    return Champion.load(ModelContext(project, project.models["next_week"], lake, registry), version)


def test_a_key_column_of_a_lookup_that_came_since_is_not_asked_of_the_rows_learned_from(
    project: Project, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = pl.Series([False])
    monkeypatch.setattr(
        "karat.monitoring.reference_current.inputs_of",
        lambda lake, loaded, keys, **how: ModelInputs(keys, unknown=none, degraded=none),
    )
    one = champion(project, lake, learned("customer", "at", "order_id"))
    assert one.reference_rows(one.training_rows()).inputs.columns == ["customer", "at", "order_id"]


def test_a_key_column_of_a_lookup_that_was_taken_away_is_still_read(project: Project, lake: Lake) -> None:
    """The champion's own lookups need it."""
    spec = project.models["next_week"]
    spec = spec.model_copy(update={"lookups": spec.lookups[:1]})
    less = replace(project, models={**project.models, "next_week": spec})
    one = champion(less, lake, learned("customer", "at", "order_id", "terminal"))
    assert one.columns == ["customer", "at", "order_id", "terminal"]


def test_rows_of_another_spine_table_are_refused_by_name(project: Project, lake: Lake) -> None:
    with pytest.raises(ColumnMissing, match="no column 'at', which is now part of the key of 'payments'"):
        champion(project, lake, learned("customer"))
