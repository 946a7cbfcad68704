"""The roi project: document 002's 83 features one by one, its sample and what is planted there, its declarations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.errors import TooFewRows
from karat.features import compute_frame
from karat.quality import check
from karat.settings import Settings
from tests.projects import roi_by_hand
from tests.projects.conftest import END, ROOT, Bench

#: Document 002's headings.
HEADINGS = {"behavioral": 24, "property": 23, "transactional": 13, "market": 13, "temporal": 10}
SCALE, KEY = 0.1, ["user_id", "day"]
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


@pytest.fixture(scope="module")
def bench(empty: Callable[[str], Bench], sample: Sample) -> Bench:
    bench = empty("roi")
    bench.write_whole(sample, bench.project.tables)
    return bench


@pytest.fixture(scope="module")
def by_hand(roi: Project) -> dict[str, dict[str, Any]]:
    """User -> the features of the day that were reckoned by hand."""
    found: dict[str, dict[str, Any]] = {roi_by_hand.ANN: {}, roi_by_hand.BOB: {}}
    for table in roi.tables.values():
        source = roi.gold[table.source]
        gold = _gold(roi, table.source, roi_by_hand.GOLD[table.source])
        rows = compute_frame(table, gold, (roi_by_hand.DAY, roi_by_hand.DAY), source=source)
        for row in rows.iter_rows(named=True):
            found[row["user_id"]] |= row
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
def test_every_feature_is_what_is_reckoned_by_hand(by_hand: dict[str, dict[str, Any]], category: str) -> None:
    found = by_hand[roi_by_hand.ANN]
    for name, value in roi_by_hand.EXPECTED[category].items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_who_did_little_has_counts_of_nothing_and_no_means(by_hand: dict[str, dict[str, Any]]) -> None:
    found = by_hand[roi_by_hand.BOB]
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


def test_no_two_features_are_the_same_column(bench: Bench) -> None:
    """Of the valuations of the last year."""
    rows = bench.table("property_features").filter(pl.col("day") > END - timedelta(days=365))
    for table in bench.project.tables:
        new = bench.table(table).select(*KEY, pl.exclude(rows.columns))
        rows = rows.join(new, on=KEY, how="left") if table != "property_features" else rows
    columns = rows.drop(KEY)
    assert len(columns.columns) == 83
    numbers = columns.select(
        c.to_physical().cast(pl.Float64) if c.dtype != pl.String else c.rank("dense").cast(pl.Float64) for c in columns
    )
    assert all(c.n_unique() > 1 for c in numbers), "a feature is constant"
    assert min(c.drop_nulls().len() for c in numbers) > 1000
    # Correlations of the rows that have both, of all pairs at once.
    values = numbers.fill_nan(None).select(((c := pl.all()) - c.mean()) / c.std()).to_numpy()
    known = np.isfinite(values)
    near = (np.nan_to_num(values).T @ np.nan_to_num(values)) / np.maximum(known.T.astype(float) @ known, 1)
    alike = [(numbers.columns[i], numbers.columns[j]) for i, j in np.argwhere(np.abs(np.triu(near, 1)) > 0.98)]
    same = [pair for pair in alike if abs(_correlation(numbers.select(pair))) > 0.9999]
    assert same == []


def _correlation(two: pl.DataFrame) -> float:
    return float(np.corrcoef(two.drop_nulls().to_numpy().T)[0, 1])


def test_adding_a_feature_is_the_one_line_that_the_guide_shows(roi: Project, sample: Sample, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "features.md").read_text()
    line = guide.partition("```\n")[2].partition("```")[0]
    shutil.copytree(ROOT / "projects" / "roi", tmp_path / "projects" / "roi")
    file = tmp_path / "projects" / "roi" / "features" / "behavioral.py"
    text = file.read_text()
    before = next(row for row in text.splitlines(keepends=True) if '"doc_access_count_7d"' in row)
    file.write_text(text.replace(before, line + before))
    table = load_project("roi", Settings(projects=tmp_path / "projects")).tables["document_features"]
    (new,) = {f.name for f in table.stored} - {f.name for f in roi.tables["document_features"].stored}
    assert new in line
    old = roi.tables["document_features"].meanings
    assert {name: table.meanings[name] for name in old} == old
    gold, days = sample["document_access"], (END - timedelta(days=6), END)
    week = gold.filter(pl.col("accessed_at").dt.date() >= END - timedelta(days=6), pl.col("document_type") == "listing")
    made = compute_frame(table, gold, days, source=roi.gold["document_access"]).filter(pl.col("day") == END)
    assert made[new].sum() == week.height > 0


def test_the_sample_keeps_its_contracts(roi: Project, sample: Sample) -> None:
    assert set(sample) == set(roi.gold)
    assert len(sample) == 10
    for name, frame in sample.items():
        assert check(frame, roi.gold[name]).reasons == {}, name
        assert frame.height > 80, name
    assert {"user_1", "user_2", "user_123", "test_user"} <= set(sample["users"]["user_id"])


def test_a_later_end_adds_days_and_what_came_late_and_changes_nothing(roi: Project, sample: Sample) -> None:
    assert roi.sample is not None
    some = ["document_access", "email_engagement", "transactions"]
    later = roi.sample(scale=SCALE, seed=0, end=END + timedelta(days=7), tables=some)
    for name in some:
        frame = sample[name]
        time = str(roi.gold[name].event_time)
        begins = later[name][time].min()
        before = frame.filter(pl.col(time) >= begins)
        assert before.join(later[name], on=before.columns, how="anti", nulls_equal=True).is_empty(), name
        new = later[name].join(frame, on=roi.gold[name].key, how="anti")
        late = new.filter(pl.col(time).cast(pl.Date) <= END)
        assert late.height < 0.02 * frame.height, name
    assert not later["document_access"].filter(pl.col("accessed_at").dt.date() > END).is_empty()
    assert not roi.sample(scale=SCALE, seed=1, end=END, tables=["users"])["users"].equals(sample["users"])


def test_users_come_and_go_and_rows_are_as_real_ones(sample: Sample) -> None:
    seen = sample["users"].group_by("user_id").agg(first=pl.col("snapshot_on").min(), last=pl.col("snapshot_on").max())
    middle = END - timedelta(days=365)
    assert seen.filter(pl.col("last") < END - timedelta(days=30)).height > 5
    assert seen.filter(pl.col("first") > middle).height > 0
    deals, homes = sample["transactions"], sample["properties"]
    assert 0 < deals["agent_id"].null_count() < 0.2 * deals.height
    assert deals["fee"].min() < 0
    assert 0.05 < homes["mortgage_rate"].null_count() / homes.height < 0.3
    assert 0 < sample["document_access"]["seconds"].null_count() < 0.05 * sample["document_access"].height


def test_the_truth_is_what_happens(roi: Project, sample: Sample) -> None:
    """Chances are as frequent as they say, the expected value is in the middle."""
    told, days = sample["expected"].filter(pl.col("day") < END - timedelta(days=100)), timedelta(days=60)
    moves = sample["transactions"].filter(pl.col("transaction_type").is_in(["BUY", "SELL"]))
    soon = told.join(moves.select("user_id", "closed_on"), on="user_id", how="left").with_columns(
        moved=((pl.col("closed_on") > pl.col("day")) & (pl.col("closed_on") <= pl.col("day") + days)).fill_null(False)
    )
    once = soon.group_by("user_id", "day").agg(pl.col("moved").max(), pl.col("move").first())
    assert once["moved"].mean() == pytest.approx(once["move"].mean(), rel=0.35)
    pursues = once.filter(pl.col("move") > 0.3)
    assert pursues["moved"].mean() == pytest.approx(pursues["move"].mean(), abs=0.15)
    values = sample["properties"].select("user_id", "property_id", "valued_on", "estimated_value")
    later = values.with_columns(day=pl.col("valued_on") - timedelta(days=91))
    both = told.join(values, left_on=["user_id", "day"], right_on=["user_id", "valued_on"]).join(
        later, on=["user_id", "day", "property_id"], suffix="_later"
    )
    off = both.select(pl.col("value") / pl.col("estimated_value_later")).to_series()
    assert off.mean() == pytest.approx(1, abs=0.01)
    assert 0.005 < off.std() < 0.05
    types = told.select("buy", "sell", "refinance", "investment").sum_horizontal()
    assert (types - 1).abs().max() < 1e-9
    assert told.select(pl.exclude("user_id", "day", "value").is_between(0, 1).all()).sum_horizontal().item() == 16 + 1


#: Document 002's four predictions.
MODELS = {
    "move_probability": ("binary", "xgboost"),
    "transaction_type": ("multiclass", "lightgbm"),
    "contact_timing": ("multilabel", "random_forest"),
    "property_value": ("regression", "linear_regression"),
}


def test_the_models_are_those_of_the_document(roi: Project) -> None:
    assert {n: (m.task, m.kind) for n, m in roi.models.items()} == MODELS
    for name, spec in roi.models.items():
        assert all([spec.owner, spec.truth, spec.gates.floors, spec.search])
        assert spec.split.test == 0.2
        assert spec.tags["prediction_type"] == name.upper()
    assert set(roi.models["move_probability"].risk_levels) == {"low", "medium", "high"}


def test_when_mails_are_opened_is_known_better_than_by_a_guess(bench: Bench) -> None:
    trained = bench.train("contact_timing")
    assert 0.65 < trained.metrics["roc_auc"] < 0.95
    assert trained.baseline["roc_auc"] == 0.5
    assert trained.test_predictions.shape == (trained.rows["test"], 12)


def test_a_value_is_known_better_than_by_the_last_one(bench: Bench) -> None:
    trained = bench.train("property_value")
    assert trained.baseline_name.startswith("estimated_value")
    assert 0.3 < trained.metrics["rmse"] / trained.baseline["rmse"] < 0.9


def test_too_few_deals_are_refused(bench: Bench) -> None:
    """A tenth of the users closes too few deals to tell their types apart."""
    with pytest.raises(TooFewRows, match="minimum_rows"):
        bench.train("transaction_type")
