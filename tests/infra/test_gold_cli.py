"""``karat sample``, ``ingest`` and ``tables`` as a user calls them, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm

GOLD = """
import polars as pl
from karat.declare import Column, GoldTable

SHOPS = GoldTable(
    name="shops", description="one row per shop", key=("shop",),
    columns={"shop": Column(dtype="string"), "size": Column(dtype="int64", minimum=0)},
)


def sample(scale=1.0, seed=0, end=None):
    n = int(10 * scale)
    return {"shops": pl.DataFrame({"shop": [f"s{i}" for i in range(n)], "size": list(range(n))})}
"""


@pytest.fixture
def karat(tmp_path: Path):
    """karat("sample", "shop") -> the finished process."""
    project = tmp_path / "projects" / "shop"
    project.mkdir(parents=True)
    (project / "project.yaml").write_text("description: a shop\nowner: ann\n")
    (project / "gold.py").write_text(GOLD)
    own = {
        "KARAT_HOME": str(tmp_path / "home"),
        "KARAT_PROJECTS": str(tmp_path / "projects"),
        "COLUMNS": "160",
        "NO_COLOR": "1",
    }

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).parents[2]
        return warm.run(
            [sys.executable, "-m", "infra.cli.app", *args],
            cwd=root,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return call


def test_sample_then_ingest_then_tables(karat, tmp_path):
    made = karat("sample", "shop", "--scale", "0.5", "--end", "2024-01-31")
    assert made.returncode == 0, made.stderr
    assert "shop_dev.gold.shops" in made.stdout
    assert "written" in made.stdout
    again = karat("sample", "shop", "--scale", "0.5", "--end", "2024-01-31", "--json")
    assert json.loads(again.stdout)[0]["changed"] is False

    path = tmp_path / "shops.csv"
    path.write_text("shop,size\na,1\nb,big\nc,-1\n")
    taken = karat("ingest", "shop", "shops", str(path))
    assert taken.returncode == 0, taken.stderr
    for text in ("in place of the sample", "text in a number: size", "below 0: size", "shops_set_aside"):
        assert text in taken.stdout
    told = json.loads(karat("ingest", "shop", "shops", str(path), "--json").stdout)
    assert (told["rows"], told["set_aside"], told["changed"]) == (1, 2, False)

    listed = json.loads(karat("tables", "shop", "--json").stdout)
    assert [(t["name"], t["rows"], t["origin"]) for t in listed] == [
        ("shop_dev.gold.shops", 1, "ingest"),
        ("shop_dev.gold.shops_set_aside", 2, None),
    ]
    assert "shop_dev.gold.shops" in karat("tables").stdout

    refused = karat("sample", "shop")
    assert refused.returncode == 2
    assert "IngestedRows" in refused.stderr


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (("ingest", "shop", "shops", "none.csv"), 2, "there is no file none.csv"),
        (("ingest", "shop", "shop", "none.csv"), 1, "Did you mean 'shops'?"),
        (("ingest", "shopp", "shops", "none.csv"), 2, "Did you mean 'shop'?"),
        (("ingest", "shop", "shops", "none.csv", "--timezone", "Europe/Berln"), 2, "Did you mean 'Europe/Berlin'?"),
        (("ingest", "shop", "shops", "none.csv", "--map", "x"), 2, "there is no map 'x'"),
        (("sample", "shopp"), 2, "there is no project 'shopp'"),
        (("sample", "shop", "--scale", "0"), 2, "--scale"),
    ],
)
def test_wrong_calls_say_what_and_where(karat, args, status, text):
    done = karat(*args)
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches_by_example(karat):
    assert "karat ingest customers customers Telco-Customer-Churn.csv --map telco" in karat("ingest", "--help").stdout
    assert "karat sample health_monitor --scale 0.1" in karat("sample", "--help").stdout
