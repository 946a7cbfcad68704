"""``karat quality``: declared checks beside what they found last."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest

from infra.cli.app import main
from karat.declare import load_project
from karat.errors import QualityBlocked
from karat.features import compute_table
from karat.lake import Lake
from karat.quality import ingest, quarantine_name
from karat.settings import Settings

GOLD = """
from karat.declare import Column, GoldTable, fresh

orders = GoldTable(
    name="orders", description="orders", key=("order_id",), event_time="day",
    columns={
        "order_id": Column(dtype="int64"),
        "customer": Column(dtype="string"),
        "day": Column(dtype="date"),
        "amount": Column(dtype="float64", minimum=0),
    },
    checks=(fresh("2d"),),
)
"""
FEATURES = """
from karat.declare import FeatureTable, aggregate, between

spend = FeatureTable(
    name="spend", description="spend", source="orders", entity=("customer",), time="day",
    features=(aggregate("amount_1d", "sum", "amount", window="1d", description="of the day"),),
    checks=(between("amount_1d", 0, 5),),
)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "projects" / "shop"
    (folder / "features").mkdir(parents=True)
    (folder / "project.yaml").write_text("description: a shop\nowner: ann\n")
    (folder / "gold.py").write_text(GOLD)
    (folder / "features" / "spend.py").write_text(FEATURES)
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("COLUMNS", "160")
    return load_project("shop", Settings())


def told(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["quality", "shop", *args])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_before_and_after_a_run(project, capsys):
    states = [r["state"] for r in json.loads(told(capsys, "--json"))["checks"]]
    assert states == [None, None, None]
    assert "not asked yet" in told(capsys)
    lake, table = Lake(Settings().lake, "dev"), project.gold["orders"]
    name = project.gold_name("orders")
    lake.create(name, table.schema, primary_key=table.key, timeseries=table.event_time)
    rows = {"order_id": [1, 2], "customer": ["a", "b"], "day": [date(2024, 1, 1)] * 2, "amount": [1.0, 9.0]}
    lake.merge(name, pl.DataFrame(rows))
    with pytest.raises(QualityBlocked):
        compute_table(project, "spend", lake)
    amount, fresh, spend = json.loads(told(capsys, "--json"))["checks"]
    assert (amount["check"], amount["state"], amount["rows"]) == ("amount is at least 0", "passed", 2)
    assert (fresh["state"], fresh["on_fail"]) == ("warned", "warn")
    assert (spend["state"], spend["failed"], spend["version"]) == ("blocked", 1, None)
    assert spend["examples"] == [{"customer": "b", "day": "2024-01-01", "amount_1d": 9.0}]
    text = told(capsys, "--table", "spend")
    assert "blocked" in text
    assert '"amount_1d": 9.0' in text
    assert "orders" not in text


def test_what_ingest_set_aside_is_counted_by_reason_within_80_columns(project, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lake, file = Lake(Settings().lake, "dev"), tmp_path / "orders.csv"
    assert json.loads(told(capsys, "--json"))["set_aside"] == []
    file.write_text(
        "order_id,customer,day,amount\n1,a,2024-01-01,1\n2,a,2024-01-01,-1\n3,a,2024-01-01,-2\n4,a,soon,1\n"
    )
    ingest(project, "orders", [file], lake)
    beside = str(quarantine_name(project.gold_name("orders")))
    assert json.loads(told(capsys, "--json"))["set_aside"] == [
        {"name": "orders", "table": beside, "reason": "below 0: amount", "rows": 2},
        {"name": "orders", "table": beside, "reason": "not a date: day", "rows": 1},
    ]
    text = told(capsys)
    assert "below 0: amount" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "below 0: amount" not in told(capsys, "--table", "spend")


def test_an_unknown_table_names_the_nearest(project, capsys):
    with pytest.raises(SystemExit) as left:
        main(["quality", "shop", "--table", "spent"])
    assert left.value.code == 1
    assert "Did you mean 'spend'?" in capsys.readouterr().err
