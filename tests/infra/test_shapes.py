"""Each shape of data gets from a file to a judged model by commands alone: every template learns on real rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from infra.cli.app import main
from karat.declare import load_project
from karat.lake import Lake
from karat.lifecycle.trial import Trial, try_model
from karat.settings import Settings
from tests.projects.conftest import shared_data

__all__ = ["shared_data"]

Typed = Callable[..., str]


@pytest.fixture
def karat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """karat("new", "project", "shop") -> what it said; it succeeded."""
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setattr("infra.cli.app.console.width", 200, raising=False)

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out = capsys.readouterr()
        assert not stop.value.code, out.out + out.err
        return out.out

    return call


def tried(tmp_path: Path, project: str, model: str) -> Trial:
    settings = Settings(home=tmp_path / "home", projects=tmp_path / "projects")
    lake = Lake(settings.lake, settings.environment)
    return try_model(load_project(project, settings), model, lake, rows=None)


def payments(folder: Path, customers: int) -> pl.DataFrame:
    """All payments of the customers with the most frauds."""
    rows = pl.scan_parquet(folder / "fraud_transactions" / "transactions.parquet")
    frauds = rows.group_by("CUSTOMER_ID").agg(pl.col("TX_FRAUD").sum()).sort("TX_FRAUD", "CUSTOMER_ID", descending=True)
    chosen = frauds.head(customers).select("CUSTOMER_ID")
    columns = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    return rows.join(chosen, on="CUSTOMER_ID", how="semi").select(columns).collect(engine="streaming")


def hourly(folder: Path) -> pl.DataFrame:
    """One series: the payments of each hour."""
    rows = pl.scan_parquet(folder / "fraud_transactions" / "transactions.parquet")
    hours = rows.group_by(pl.col("TX_DATETIME").cast(pl.Datetime("us")).dt.truncate("1h").alias("hour"))
    made = hours.agg(pl.len().alias("payments"), pl.col("TX_AMOUNT").mean().alias("amount")).sort("hour")
    frame = made.collect(engine="streaming").tail(1500)
    return frame.with_columns(series=pl.lit("all"), reading=pl.int_range(pl.len()))


def test_one_row_per_entity(karat: Typed, tmp_path: Path, shared_data: Path):
    file = shared_data / "telco_churn" / "Telco-Customer-Churn.csv"
    karat("new", "project", "telco", "--from", file, "--table", "customers")
    karat("ingest", "telco", "customers", file)
    said = karat("new", "features", "facts", "-p", "telco")
    assert "19 features" in said or "20 features" in said
    said = karat("new", "model", "churns", "-p", "telco", "--label", "churn", "--folds", "3")
    trial = tried(tmp_path, "telco", "churns")
    assert 0.81 < trial.run.result.metrics["roc_auc"] < 0.87
    assert len(trial.run.result.folds) == 3
    assert "## Cross-validation in 3 folds by entity" in trial.card
    assert "churn" not in trial.run.training_set.features


def test_a_row_per_event_with_its_own_attributes(karat: Typed, tmp_path: Path, shared_data: Path):
    file = tmp_path / "payments.parquet"
    payments(shared_data, 60).write_parquet(file)
    options = ("--entity", "CUSTOMER_ID", "--key", "TRANSACTION_ID", "--time", "TX_DATETIME")
    karat("new", "project", "cards", "--from", file, *options)
    karat("ingest", "cards", "payments", file)
    said = karat("new", "features", "habits", "-p", "cards", "--grain", "event", "--entity", "customer_id")
    assert "left out: terminal_id (the number of a name means nothing" in said
    said = karat("new", "model", "fraud", "-p", "cards", "--label", "tx_fraud = 1")
    assert 'give such a feature a delay (delay="7d")' in said
    table = load_project("cards", Settings(projects=tmp_path / "projects")).tables["habits"]
    assert (table.grain, table.event_id, table.closed) == ("event", "transaction_id", "left")
    trial = tried(tmp_path, "cards", "fraud")
    assert "tx_fraud" not in trial.run.training_set.features
    assert {"tx_amount", "hour", "payments_7d", "tx_amount_mean_28d"} <= set(trial.run.training_set.features)
    assert trial.run.result.metrics["roc_auc"] > 0.6


def test_windows_and_horizons_of_hours(karat: Typed, tmp_path: Path, shared_data: Path):
    file = tmp_path / "payments.parquet"
    payments(shared_data, 30).write_parquet(file)
    options = ("--entity", "CUSTOMER_ID", "--key", "TRANSACTION_ID", "--time", "TX_DATETIME")
    karat("new", "project", "cards", "--from", file, *options)
    karat("ingest", "cards", "payments", file)
    karat(
        "new", "features", "pace", "-p", "cards", "--grain", "event", "--entity", "customer_id", "--windows", "6h,48h"
    )
    karat(
        "new", "model", "soon", "-p", "cards", "--label", "count(*) > 0", "--horizon", "6h", "--test-from", "2018-09-01"
    )
    spec = load_project("cards", Settings(projects=tmp_path / "projects")).models["soon"]
    assert spec.label is not None
    assert (spec.label.horizon, spec.label.offset) == (timedelta(hours=6), timedelta(0))
    trial = tried(tmp_path, "cards", "soon")
    data, split = trial.run.training_set.data, trial.run.split
    assert f"{data.filter(split == 'test')['tx_datetime'].min():%Y-%m-%d}" == "2018-09-01"
    # By hand: whether the customer pays again within six hours.
    pays = payments(shared_data, 30).sort("CUSTOMER_ID", "TX_DATETIME")
    gap = (pays["TX_DATETIME"].shift(-1) - pays["TX_DATETIME"]).dt.total_seconds()
    follows = (pays["CUSTOMER_ID"].shift(-1) == pays["CUSTOMER_ID"]) & (gap <= 6 * 3600)
    known = pays.select("TRANSACTION_ID", again=follows.fill_null(False).cast(pl.Int64))
    both = data.join(known, left_on="transaction_id", right_on="TRANSACTION_ID")
    assert both.height == data.height > 1000
    assert both[spec.label.name].cast(pl.Int64).equals(both["again"].rename(spec.label.name))


@pytest.mark.parametrize("kind", ["gradient_boosting", pytest.param("gru", marks=pytest.mark.nightly)])
def test_a_single_series_by_the_hour(karat: Typed, tmp_path: Path, shared_data: Path, kind: str):
    """The next hour's number of payments, by windows of the hours before it or by their sequence."""
    file = tmp_path / "hours.parquet"
    hourly(shared_data).write_parquet(file)
    karat("new", "project", "load", "--from", file, "--entity", "series", "--key", "reading", "--time", "hour")
    karat("ingest", "load", "hours", file)
    karat("new", "features", "past", "-p", "load", "--grain", "event", "--entity", "series", "--windows", "3h,24h")
    label = ("--label", "sum(payments)", "--horizon", "1h", "--transform", "log1p", "--kind", kind)
    karat("new", "model", "next_hour", "-p", "load", *label)
    spec = load_project("load", Settings(projects=tmp_path / "projects")).models["next_hour"]
    assert spec.baseline.feature == "payments"
    assert (spec.lookups[0].sequence_length is not None) == (kind == "gru")
    result = tried(tmp_path, "load", "next_hour").run.result
    assert result.metrics["rmse"] < result.baseline["rmse"]


def test_a_sequence_leaves_texts_out_and_says_so(karat: Typed, tmp_path: Path):
    file = tmp_path / "turbines.csv"
    hours = [f"2026-05-{1 + h // 24:02}T{h % 24:02}:00:00" for h in range(200)]
    pl.DataFrame({"at": hours, "turbine": "t1", "power": range(200), "wind": ["north", "south"] * 100}).write_csv(file)
    karat("new", "project", "wind", "--from", file, "--entity", "turbine", "--time", "at")
    karat("ingest", "wind", "turbines", file)
    karat("new", "features", "steps", "-p", "wind", "--grain", "event", "--entity", "turbine")
    said = karat("new", "model", "next", "-p", "wind", "--label", "avg(power)", "--horizon", "1h", "--kind", "gru")
    assert "all features but wind: a sequence holds numbers only" in said
    lookup = load_project("wind", Settings(projects=tmp_path / "projects")).models["next"].lookups[0]
    assert (lookup.exclude, lookup.sequence_length) == (("wind",), 28)


def test_daily_windows_per_entity(karat: Typed, tmp_path: Path, shared_data: Path):
    file = tmp_path / "payments.parquet"
    payments(shared_data, 40).write_parquet(file)
    karat("new", "project", "cards", "--from", file, "--entity", "CUSTOMER_ID", "--key", "TRANSACTION_ID")
    karat("ingest", "cards", "payments", file)
    said = karat("new", "features", "days", "-p", "cards", "--entity", "customer_id", "--columns", "tx_amount")
    assert "left out: terminal_id, tx_fraud (not among --columns)" in said
    karat(
        "new", "model", "spends", "-p", "cards", "--label", "sum(tx_amount)", "--horizon", "36h", "--kind", "lightgbm"
    )
    result = tried(tmp_path, "cards", "spends").run.result
    assert result.metrics["mae"] < result.baseline["mae"]


def test_forty_columns_of_a_bill_are_all_features_or_named(karat: Typed, tmp_path: Path, shared_data: Path):
    file = shared_data / "cloud_billing" / "focus_sample.csv"
    karat("new", "project", "bills", "--from", file, "--table", "lines", "--entity", "SubAccountId")
    said = karat("new", "features", "costs", "-p", "bills", "--gold", "lines", "--entity", "subaccountid")
    project = load_project("bills", Settings(projects=tmp_path / "projects"))
    table, gold = project.tables["costs"], project.gold["lines"]
    read = " ".join(f"{f.column} {f.where}" for f in table.features)
    own = {*gold.key, *table.entity, gold.event_time}
    for column in gold.columns:
        assert column in own or column in read or column in said, column


def test_a_single_series_by_the_day(karat: Typed, tmp_path: Path, shared_data: Path):
    """Few rows: folds by time, a scope and a leaf that fit them, and what came in the past as the baseline."""
    file = tmp_path / "days.csv"
    days = hourly(shared_data).group_by(pl.col("hour").dt.date().alias("day")).agg(pl.col("payments").sum())
    series = pl.concat([days.with_columns(pl.col("day").dt.offset_by(f"-{n * days.height}d")) for n in range(4)])
    series.sort("day").write_csv(file)
    karat("new", "project", "load", "--from", file)
    karat("ingest", "load", "days", file)
    karat("new", "features", "past", "-p", "load", "--grain", "day")
    said = karat("new", "model", "next_week", "-p", "load", "--label", "sum(payments)")
    assert "small leaves, minimum_rows, 5 folds of a cross-validation" in said
    assert "scope of 56 days: a week has 7 rows, and a drift check needs 50" in said
    spec = load_project("load", Settings(projects=tmp_path / "projects")).models["next_week"]
    assert (spec.split.by, spec.split.folds, spec.scope.last) == ("time", 5, timedelta(days=56))
    assert (spec.baseline.feature, spec.baseline.scale) == ("payments_28d", 0.25)
    trial = tried(tmp_path, "load", "next_week")
    assert len(trial.run.result.folds) == 5
    said = karat("new", "model", "rows", "-p", "load", "--label", "count(*)", "--horizon", "28d")
    assert "2 folds of a cross-validation" in said or "3 folds of a cross-validation" in said
    spec = load_project("load", Settings(projects=tmp_path / "projects")).models["rows"]
    assert (spec.baseline.feature, spec.baseline.scale) == ("days_28d", 1.0)
    said = karat("new", "model", "mean", "-p", "load", "--label", "avg(payments)")
    assert 'aggregate("past_7d", "mean", "payments", window="7d"' in said
    said = karat("new", "model", "year", "-p", "load", "--label", "sum(payments)", "--horizon", "100d")
    assert "no cross-validation" in said
    trial = tried(tmp_path, "load", "year")  # of so few rows the last 100 have no label, and 100 are the gap
    assert trial.run.result.rows["train"] + trial.run.result.rows["test"] >= trial.run.result.spec.minimum_rows
    assert not trial.run.result.folds
