"""Two flows on the same tables at once: both merge into gold and compute the features of it, round after round."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from infra.code import ROOT
from karat.features import compute_frame
from tests import warm
from tests.faults.conftest import Ground
from tests.faults.mart import Mart

FLOW = """
import random, sys
from pathlib import Path
import polars as pl
from tests.faults.mart import Mart, orders

home, projects, who, rounds = sys.argv[1:]
mart, who, draw = Mart(Path(home), Path(projects)), int(who), random.Random(who)
name = mart.project.gold_name("orders")
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(rounds)):
    mine = orders(1000 * (who + 1) + 10 * n, 10)  # new orders, and one that both write again and again
    shared = orders(17, 1).with_columns(amount=pl.lit(float(100 * (who + 1) + n % 7)))
    mart.lake.merge(name, pl.concat([mine, shared]))
    if draw.random() < 0.8:
        mart.compute()
print("done", flush=True)
"""


def two_flows(mart: Mart, rounds: int) -> None:
    with ExitStack() as stack:
        flows = [
            stack.enter_context(
                warm.Popen(
                    [sys.executable, "-c", FLOW, str(mart.home), str(mart.projects), str(who), str(rounds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            for who in range(2)
        ]
        for flow in flows:
            assert flow.stdout
            assert flow.stdout.readline() == "ready\n"
        for flow in flows:
            assert flow.stdin
            flow.stdin.write("go\n")
            flow.stdin.flush()
        assert [flow.stdout.readline() for flow in flows if flow.stdout] == ["done\n", "done\n"]


def check(mart: Mart, rounds: int) -> None:
    """Every order is there once, and the features are those of all of them."""
    lake, project = mart.lake, mart.project
    gold = lake.read(project.gold_name("orders"))
    ids = [*range(300), *(1000 * (w + 1) + n for w in range(2) for n in range(10 * rounds))]
    assert gold["order_id"].sort().to_list() == ids
    last = {100.0 * (w + 1) + (rounds - 1) % 7 for w in range(2)}
    assert gold.row(by_predicate=pl.col("order_id") == 17, named=True)["amount"] in last
    mart.compute()
    name, table = project.table_name("spend"), project.tables["spend"]
    found, aside = lake.read(name), lake.read(mart.aside).drop("_reason")
    assert found.select("customer", "day").is_unique().all()
    whole = compute_frame(table, gold.filter(pl.col("amount") <= 900), source=project.gold["orders"])
    key = list(table.primary_key)
    pl.testing.assert_frame_equal(
        pl.concat([found, aside]).sort(key), whole.sort(key), rel_tol=1e-9, check_column_order=False
    )
    results = lake.read(mart.results)
    assert results.select("day", "run", "table_name", "check_name").is_unique().all()


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.faults)])
def test_two_flows_lose_nothing_and_double_nothing(ground: Ground, tmp_path: Path, rounds: int) -> None:
    mart = ground.copy("empty", tmp_path / "home")
    two_flows(mart, rounds)
    check(mart, rounds)
