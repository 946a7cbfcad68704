"""A small project that a test can break in one place."""

from pathlib import Path

import pytest

from karat.settings import Settings

PROJECT_YAML = "description: A shop\nowner: shop@example.com\ntimezone: Europe/Berlin\n"
GOLD = """
from karat.declare import Column, GoldTable

orders = GoldTable(
    name="orders",
    description="Orders",
    key=("order_id",),
    event_time="day",
    columns={
        "order_id": Column(dtype="string"),
        "customer_id": Column(dtype="string", nullable=False),
        "day": Column(dtype="date", nullable=False),
        "amount": Column(dtype="float64"),
    },
)
"""
FEATURES = """
import polars as pl
from karat.declare import FeatureTable, aggregate, from_polars, from_sql

spend = FeatureTable(
    name="spend",
    description="Spending",
    source="orders",
    entity=("customer_id",),
    time="day",
    features=(
        aggregate("amount_1d", "sum", "amount", window="1d", description="Spent on the day"),
        aggregate("amount_7d", "sum", "amount", window="7d", description="Spent in a week"),
        from_polars("share_1d", pl.col("amount_1d") / pl.col("amount_7d"), description="The day's share"),
        from_sql("big", "amount_7d > 100", description="A big week", dtype="bool"),
    ),
)
"""
MODEL = """
description: Next week's spending
task: regression
kind: gradient_boosting
label:
  source: orders
  expression: sum(amount)
  horizon: 7d
lookups:
  - table: spend
    features: [amount_1d, amount_7d]
"""


class Shop:
    """Writes the project's files; each can be replaced before ``settings`` is used to load it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "projects" / "shop"
        self.settings = Settings(projects=folder / "projects", home=folder / "state")
        self.write("project.yaml", PROJECT_YAML)
        self.write("gold.py", GOLD)
        self.write("features/spend.py", FEATURES)
        self.write("models/sales/spend_forecaster.yaml", MODEL)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)
