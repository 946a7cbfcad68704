"""A small project of its own: two gold tables, a generator, two maps."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from karat.declare import Project, load_project
from karat.settings import Settings

GOLD = """
from datetime import timedelta
import numpy as np
import polars as pl
from karat.declare import Column, GoldTable

ORDERS = GoldTable(
    name="orders", description="one row per order", owner="ann", key=("order_id",), event_time="placed_at",
    columns={
        "order_id": Column(dtype="string", description="the order"),
        "placed_at": Column(dtype="timestamp"),
        "items": Column(dtype="int64", minimum=1),
        "amount": Column(dtype="float64", minimum=0, maximum=10000),
        "country": Column(dtype="string", allowed=("DE", "FR")),
        "paid": Column(dtype="bool"),
        "due": Column(dtype="date"),
    },
)
SHOPS = GoldTable(
    name="shops", description="one row per shop", key=("shop",),
    columns={"shop": Column(dtype="string"), "city": Column(dtype="string", nullable=False)},
)


def sample(scale=1.0, seed=0, end=None):
    n = int(20 * scale)
    rng = np.random.default_rng(seed)
    orders = pl.DataFrame({
        "order_id": [f"o{i}" for i in range(n)],
        "placed_at": [end - timedelta(days=i % 5) for i in range(n)],
        "items": rng.integers(1, 5, n),
        "amount": rng.uniform(-20 if scale == 3 else 1, 99, n),
        "country": ["DE"] * n, "paid": [True] * n, "due": [end] * n,
    })
    return {"orders": orders, "shops": pl.DataFrame({"shop": ["a", "b"], "city": ["X", "Y"]})}
"""

MAP = """
    table: orders
    timezone: Europe/Berlin
    format: {delimiter: ";", null_values: ["", "NULL"]}
    where: "\\"Type\\" <> 'Tax'"
    columns:
      order_id: "Invoice No"
      placed_at: {sql: "strptime(\\"Date\\", '%d.%m.%Y %H:%M')"}
      items: Pieces
      amount: {sql: "CAST(replace(Total, ',', '.') AS DOUBLE)"}
      country: {sql: "'DE'"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "projects" / "shop"
    (path / "maps").mkdir(parents=True)
    (path / "project.yaml").write_text("description: a shop\nowner: ann\n")
    (path / "gold.py").write_text(GOLD)
    (path / "maps" / "old_shop.yaml").write_text(textwrap.dedent(MAP))
    return path


@pytest.fixture
def project(folder: Path, settings: Settings) -> Project:
    return load_project("shop", settings.model_copy(update={"projects": folder.parent}))


@pytest.fixture
def csv(tmp_path: Path):
    """csv("a,b", "1,2", ...) writes these lines and gives the path."""

    def write(*lines: str, name: str = "orders.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
        return path

    return write
