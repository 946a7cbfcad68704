"""The roi project: document 002's 83 features one by one, its sample and what is planted there, its declarations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.features import compute_frame
from karat.settings import Settings
from tests.projects import roi_by_hand
from tests.projects.conftest import END, ROOT

#: Document 002's headings.
HEADINGS = {"behavioral": 24, "property": 23, "transactional": 13, "market": 13, "temporal": 10}
SCALE = 0.1
Sample = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def roi() -> Project:
    return load_project("roi", Settings(projects=ROOT / "projects"))


@pytest.fixture(scope="module")
def sample(roi: Project) -> Sample:
    assert roi.sample is not None
    return roi.sample(scale=SCALE, seed=0, end=END)


def _gold(project: Project, name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows written by hand as a gold table has them: columns that they leave out are null."""
    empty = pl.from_arrow(project.gold[name].schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    key = project.gold[name].key
    numbered = [
        {key[0]: n, **row} if key[0].endswith("_id") and key[0] != "user_id" else row for n, row in enumerate(rows)
    ]
    return pl.DataFrame(numbered, schema=empty.schema)


def _by_hand(project: Project, user: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in project.tables.values():
        source = project.gold[table.source]
        gold = _gold(project, table.source, roi_by_hand.GOLD[table.source])
        rows = compute_frame(table, gold, (roi_by_hand.DAY, roi_by_hand.DAY), source=source)
        own = rows.filter(pl.col("user_id") == user).drop("user_id", "day")
        found |= own.row(0, named=True) if own.height else {}
    return found


def test_the_83_features_of_the_document_in_five_sets(roi: Project) -> None:
    sets = {
        name: [f.name for t in tables for f in roi.tables[t].stored] for name, tables in roi.spec.feature_sets.items()
    }
    assert {name: len(features) for name, features in sets.items()} == HEADINGS
    assert {name: set(features) for name, features in sets.items()} == {
        name: set(values) for name, values in roi_by_hand.EXPECTED.items()
    }
    assert sum(len(t.stored) for t in roi.tables.values()) == len({f for s in sets.values() for f in s}) == 83
    assert {"doc_access_count_7d", "email_open_rate_30d"} <= set(sets["behavioral"])
    for table in roi.tables.values():
        assert all(f.description and f.dtype and (f.window or f.derived) for f in table.stored)


@pytest.mark.parametrize("category", HEADINGS)
def test_every_feature_is_what_is_reckoned_by_hand(roi: Project, category: str) -> None:
    found = _by_hand(roi, roi_by_hand.ANN)
    for name, value in roi_by_hand.EXPECTED[category].items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_who_did_little_has_counts_of_nothing_and_no_means(roi: Project) -> None:
    found = _by_hand(roi, roi_by_hand.BOB)
    assert (found["email_open_rate_30d"], found["email_click_rate_30d"], found["email_open_count_90d"]) == (0, None, 0)
    assert (found["email_open_hour_avg_90d"], found["alert_open_rate_30d"]) == (None, 0)
    assert (found["alert_value_share_90d"], found["search_listing_share_90d"]) == (None, 0)
    assert (found["doc_access_count_90d"], found["session_count_30d"], found["search_count_30d"]) == (1, 1, 1)
    assert "transaction_count_730d" not in found  # no deal, no row


def test_a_home_of_another_time_has_no_growth(roi: Project) -> None:
    rows = [row | {"owned_days": 90} for row in roi_by_hand.GOLD["properties"]]
    table = roi.tables["property_features"]
    day = (roi_by_hand.DAY, roi_by_hand.DAY)
    found = compute_frame(table, _gold(roi, "properties", rows), day, source=roi.gold["properties"])
    assert found.select("value_change_91d", "value_growth_364d").row(0) == (None, None)
    assert found["estimated_value"].item() == 400_000


def test_no_two_features_are_the_same_column(roi: Project, sample: Sample) -> None:
    days = (END - timedelta(days=120), END)
    rows = None
    for table in [roi.tables["property_features"], *roi.tables.values()]:
        made = compute_frame(table, sample[table.source], days, source=roi.gold[table.source])
        rows = (
            made
            if rows is None
            else rows.join(made.select("user_id", "day", pl.exclude(rows.columns)), on=["user_id", "day"], how="left")
        )
    assert rows is not None
    columns = rows.drop("user_id", "day")
    assert len(columns.columns) == 83
    numbers = columns.select(
        c.to_physical().cast(pl.Float64) if c.dtype != pl.String else c.rank("dense").cast(pl.Float64) for c in columns
    )
    assert all(c.n_unique() > 1 for c in numbers.select(pl.exclude("day_of_week"))), "a feature is constant"
    same = []
    for i, left in enumerate(numbers):
        for right in numbers[:, i + 1 :]:
            both = pl.DataFrame([left, right]).drop_nulls().to_numpy()
            if len(both) > 50 and abs(np.corrcoef(both.T)[0, 1]) > 0.9999:
                same.append((left.name, right.name))
    assert same == []
