"""The Fraud Detection Handbook's baseline, rebuilt on its data with Karat's features: the same rows, the same scores.

https://fraud-detection-handbook.github.io, chapter 3, ``get_train_test_set`` and the random forest of its table.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

from karat.declare.declared_model import DeclaredModel
from karat.features import compute_table
from karat.quality import ingest
from karat.training_sets.labels import label_spine
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.training_set import create_training_set
from tests.projects.conftest import Bench

pytestmark = [pytest.mark.shared_data, pytest.mark.nightly]
DAY = timedelta(days=1)
TRAIN, DELAY, TEST = date(2018, 7, 25), 7, date(2018, 8, 8)


@pytest.fixture(scope="module")
def payments(empty: Callable[[str], Bench], shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The payments as they were given, of the days that any window of these rows reaches, and both tables' features."""
    bench = empty("customers")
    given = pl.scan_parquet(shared_data / "fraud_transactions" / "transactions.parquet")
    some = given.filter(pl.col("TX_DATETIME").dt.date().is_between(TRAIN - 38 * DAY, TEST + 6 * DAY)).collect()
    file = tmp_path_factory.mktemp("fraud") / "transactions.parquet"
    some.write_parquet(file)
    done = ingest(bench.project, "transactions", [file], bench.lake, map_path=Path("fraud_handbook"), timezone="UTC")
    assert (done.rows, done.set_aside) == (some.height, 0)
    for table in ("customer_transactions", "terminal_risk"):
        compute_table(bench.project, table, bench.lake)
    return bench


@pytest.fixture(scope="module")
def rows(payments: Bench) -> pl.DataFrame:
    """The training set of the project's own model, of the Handbook's features: one row a payment, with its day."""
    project, spec = payments.project, payments.project.models["fraud"]
    spec = spec.model_copy(update={"lookups": spec.lookups[:2]})  # the model's habits besides, the Handbook has not
    spine = label_spine(DeclaredModel(project, spec), payments.lake)
    needed = spine.filter(pl.col("tx_time").dt.date().is_between(TRAIN, TEST + 6 * DAY))
    made = create_training_set(
        payments.lake,
        needed,
        declared_lookups(DeclaredModel(project, spec)),
        spec.label.name,
        exclude_columns=list(DeclaredModel(project, spec).spine_columns),
    )
    features = made.data.select(made.features).fill_null(0)  # a terminal without payments has no risk, there
    assert len(made.features) == 15
    keys = needed.select("customer_id", "is_fraud", pl.col("tx_time").dt.date().alias("day"))
    return pl.concat([keys, features], how="horizontal")


def defrauded(rows: pl.DataFrame, first: date, last: date) -> pl.Series:
    return rows.filter((pl.col("is_fraud") == 1) & pl.col("day").is_between(first, last))["customer_id"].unique()


def test_the_rows_and_the_scores_are_the_handbooks(rows: pl.DataFrame) -> None:
    train = rows.filter(pl.col("day").is_between(TRAIN, TRAIN + 6 * DAY))
    # On each day of the test the customers are left out of whose frauds one knew: those of a week and more ago.
    days = [TEST + n * DAY for n in range(7)]
    test = pl.concat(
        rows.filter(pl.col("day") == day).filter(
            ~pl.col("customer_id").is_in(defrauded(rows, TRAIN, day - (DELAY + 1) * DAY).implode())
        )
        for day in days
    )
    assert (train.height, train["is_fraud"].sum()) == (67_240, 598)
    assert (test.height, test["is_fraud"].sum()) == (58_264, 385)
    features = [c for c in rows.columns if c not in ("customer_id", "is_fraud", "day")]
    forest = RandomForestClassifier(random_state=0, n_jobs=2).fit(train.select(features).to_numpy(), train["is_fraud"])
    scores = forest.predict_proba(test.select(features).to_numpy())[:, 1]
    assert roc_auc_score(test["is_fraud"], scores) == pytest.approx(0.867, abs=0.01)
    assert average_precision_score(test["is_fraud"], scores) == pytest.approx(0.658, abs=0.01)
