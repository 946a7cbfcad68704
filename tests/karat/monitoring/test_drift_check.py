"""A planted shift of gold shows in the reports of the models that read it, and not in the others'."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.declare.models import Gates
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.monitoring.drift_check import DriftCheckResult, check_champion
from karat.registry import Registry
from tests.karat.conftest import write_table

DAY = date(2026, 3, 2)
END = date(2026, 3, 1)


def crown(project: Project, name: str, lake: Lake, registry: Registry) -> None:
    spec = project.models[name].model_copy(update={"gates": Gates()})
    made = make_candidate(ModelContext(project, project.models[name], lake, registry))
    if not promote(ModelContext(project, spec, lake, registry), made.version).promoted:
        registry.set_alias(made.version, "champion", "for the test")


def compute(project: Project, lake: Lake) -> None:
    for table in project.tables:
        compute_table(project, table, lake)


def report(project: Project, name: str, lake: Lake, registry: Registry, check: str = "dataset") -> DriftCheckResult:
    (found,) = check_champion(
        ModelContext(project, project.models[name], lake, registry), checks=[check], day=DAY
    ).results
    return found


def shift(project: Project, lake: Lake, by: float, days: int = 7) -> None:
    """What was paid in the newest days becomes ``by`` times as much, as a late correction would."""
    orders = lake.read(project.gold_name("orders"))
    newest = pl.col("day") > END - timedelta(days=days)
    changed = orders.with_columns(amount=pl.when(newest).then(pl.col("amount") * by).otherwise("amount"))
    write_table(project, lake, "orders", changed, "sample")
    compute(project, lake)


@pytest.fixture
def champions(shop_champions: Project) -> Project:
    return shop_champions


def test_a_last_day_that_has_not_ended_is_left_out_and_told(champions: Project, lake: Lake, registry: Registry) -> None:
    orders = lake.read(champions.gold_name("orders"))
    early = (
        orders.filter(pl.col("day") == END)
        .head(2)
        .with_columns(
            order_id=pl.col("order_id") + orders["order_id"].max() + 1, day=END + timedelta(days=1), amount=pl.lit(1e6)
        )
    )
    write_table(champions, lake, "orders", pl.concat([orders, early]), "sample")
    compute(champions, lake)
    for check in ("dataset", "prediction"):
        found = report(champions, "next_week", lake, registry, check)
        assert (found.drifted, found.rows["last_day"][0]) == ([], END)
        assert f"{END + timedelta(days=1)} is left out: it has 2 rows" in found.summary
        assert all("is left out" in note for note in found.rows["note"])


def test_a_planted_shift_shows_where_it_is_read_and_nowhere_else(
    champions: Project, lake: Lake, registry: Registry
) -> None:
    before = report(champions, "next_week", lake, registry)
    assert before.drifted == []
    assert before.rows["current_rows"].unique().to_list() == [before.rows["current_rows"][0]]
    assert (before.rows["first_day"][0], before.rows["last_day"][0]) == (END - timedelta(days=6), END)

    shift(champions, lake, 3)
    after = report(champions, "next_week", lake, registry)
    assert {"spent_7d", "big"} <= set(after.drifted)
    assert not {"age", "orders_7d"} & set(after.drifted)
    assert "spent_7d" in report(champions, "odd_days", lake, registry).drifted
    assert "prediction" in report(champions, "next_week", lake, registry, "prediction").drifted
    leaver = report(champions, "leaver", lake, registry)
    assert (leaver.drifted, leaver.summary) == ([], "no row is newer than the training set")
    assert leaver.rows["statistic"].null_count() == leaver.rows.height == 2


def test_the_page_is_among_the_artifacts_of_the_champions_run(
    champions: Project, lake: Lake, registry: Registry
) -> None:
    shift(champions, lake, 3)
    found = report(champions, "next_week", lake, registry)
    row = found.rows.row(by_predicate=pl.col("column_name") == "spent_7d", named=True)
    run = registry.client.get_run(row["run_id"])
    page = (registry.connection.local(run.info.artifact_uri) / row["report"]).read_text()
    assert row["report"] == "monitoring/2026-03-02-dataset.html"
    assert "next_week version 1: feature drift, 2026-03-02" in page
    assert f"<td>{row['statistic']:.3f}</td>" in page
    assert "PSI by deciles" in page  # Evidently's own table of the columns that it drew


def test_how_groups_fare_is_told_of_the_rows_that_were_not_learned_from(
    champions: Project, lake: Lake, registry: Registry
) -> None:
    """The city is one of the features, and nobody leaves because of it; the age decides."""
    spec = champions.models["leaver"].model_copy(update={"protected": ("city", "customer")})
    (found,) = check_champion(ModelContext(champions, spec, lake, registry), checks=["fairness"], day=DAY).results
    city, customer = found.rows.sort("column_name").to_dicts()
    assert (city["method"], city["drifted"]) == ("selection rate", False)
    assert "too few labels" in city["note"]  # some forty people of the test live in each
    assert 0 <= city["statistic"] < city["threshold"]
    assert (customer["statistic"], customer["note"]) == (None, "fewer than two groups have 30 rows")
    learned = registry.spine(registry.champion(champions.model_name("leaver")))
    tested = learned["karat_split"].to_list().count("test")
    assert (city["reference_rows"], city["current_rows"]) == (tested, 0)  # without time no row is newer
    run = registry.client.get_run(city["run_id"])
    page = (registry.connection.local(run.info.artifact_uri) / city["report"]).read_text()
    assert "<td>not given</td>" in page
    assert "fairness" in page


def test_only_the_newest_pages_stay(champions: Project, lake: Lake, registry: Registry) -> None:
    """A page brings its own scripts, some megabytes; the rows of all reports stay."""
    champion = registry.champion(champions.model_name("leaver"))
    assert champion is not None
    for day in range(1, 15):
        registry.attach(champion, f"monitoring/2026-03-{day:02}-dataset.html", "a page", keep=12)
    registry.attach(champion, "monitoring/2026-03-01-fairness.html", "another", keep=12)
    folder = registry.connection.local(registry.client.get_run(champion.run_id).info.artifact_uri) / "monitoring"
    names = sorted(p.name for p in folder.iterdir())
    assert names[0] == "2026-03-01-fairness.html"
    assert names[1:] == [f"2026-03-{day:02}-dataset.html" for day in range(3, 15)]


def test_without_time_predictions_of_rows_that_were_not_learned_from_are_compared(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    """A model may be surer of the rows that it learned from, and people without a label may be other people."""
    members = lake.read(shop_features.gold_name("members"))
    label = pl.when(pl.col("age") > 30).then("left")
    write_table(shop_features, lake, "members", members.with_columns(left=label), "sample")
    compute_table(shop_features, "people_features", lake)
    crown(shop_features, "leaver", lake, registry)

    def come(number: int, age: int) -> DriftCheckResult:
        fresh = members.head(number).with_columns(customer="n" + pl.col("customer"), age=age, left=None)
        write_table(shop_features, lake, "members", pl.concat([members, fresh], how="vertical_relaxed"), "sample")
        compute_table(shop_features, "people_features", lake)
        return report(shop_features, "leaver", lake, registry, "prediction")

    one = come(1, 40)
    assert (one.drifted, one.rows["current_rows"][0]) == ([], one.rows["reference_rows"][0] + 1)
    assert come(200, 79).drifted == ["probability"]


def test_the_rows_that_were_looked_at_are_counted_and_no_others(
    champions: Project, lake: Lake, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many rows a fixed sample is looked at, of those of the test and of the newer ones alike."""
    orders = lake.read(champions.gold_name("orders"))
    later = orders.filter(pl.col("day") > END - timedelta(days=7)).with_columns(
        pl.col("day") + timedelta(days=7), pl.col("order_id") + orders.height
    )
    write_table(champions, lake, "orders", pl.concat([orders, later]), "sample")
    compute(champions, lake)
    monkeypatch.setattr("karat.monitoring.reference_current.sample_rows", lambda rows: rows.head(60))
    spec = champions.models["odd_days"].model_copy(update={"protected": ("customer",)})
    (found,) = check_champion(ModelContext(champions, spec, lake, registry), checks=["fairness"], day=DAY).results
    assert found.rows.select("reference_rows", "current_rows").row(0) == (60, 60)
    assert found.rows["first_day"][0] > END


def test_a_single_series_is_judged_by_as_many_weeks_as_have_enough_rows(
    champions: Project, lake: Lake, registry: Registry
) -> None:
    """A week of one or two entities has few rows, which say nothing. Where all of them are too few, that is told."""
    orders = lake.read(champions.gold_name("orders"))
    longest = orders.group_by("customer").agg(pl.col("day").n_unique()).top_k(2, by="day")["customer"]
    alone = orders.filter(pl.col("customer").is_in(longest.implode()))
    write_table(champions, lake, "orders", alone, "sample")
    compute(champions, lake)
    spine = champions.models["next_week"].spine_table
    days = lake.read(champions.table_name(spine))["day"]
    found = report(champions, "next_week", lake, registry)
    first, rows = found.rows["first_day"][0], found.rows["current_rows"][0]
    assert rows >= 50, found.summary
    assert days.filter(days >= first + timedelta(days=7)).len() < 50
    assert found.rows["statistic"].null_count() < found.rows.height

    write_table(champions, lake, "orders", alone.filter(pl.col("day") > END - timedelta(days=20)), "sample")
    compute(champions, lake)
    few = report(champions, "next_week", lake, registry)
    assert "too few rows" in few.summary
    assert "more have come" in few.summary
    assert few.rows["statistic"].null_count() == few.rows.height
