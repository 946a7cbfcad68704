"""karat lineage: from gold column to endpoint, by name, as JSON and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from infra.cli.app import main
from karat.catalogue.lineage import _named_columns, lineage
from karat.declare import load_project
from karat.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def karat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(ROOT / "projects"))

    def call(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["lineage", *args])
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return call


def ids(karat, *args: str) -> dict[str, set[str]]:
    """kind -> the last parts of the names."""
    status, out, err = karat(*args, "--json")
    assert status == 0, err
    found: dict[str, set[str]] = {}
    for node in json.loads(out)["nodes"]:
        found.setdefault(node["kind"], set()).add(node["name"])
    return found


def test_down_from_a_gold_column(karat) -> None:
    found = ids(karat, "customers", "--of", "transactions.is_fraud", "--down")
    assert found["gold"] == {"is_fraud"}
    assert found["feature"] == {f"terminal_fraud_share_{d}d" for d in (1, 7, 30)} | {"customer_fraud_share_30d"}
    assert (found["model"], found["predictions"]) == ({"fraud"}, {"fraud"})
    assert found["endpoint"] == {"/v1/predict/customers.fraud"}


def test_up_from_a_feature_that_is_derived_from_derived_ones(karat) -> None:
    found = ids(karat, "customers", "--of", "churn_features.charges_rise", "--up")
    assert found["gold"] == {"tenure", "total_charges", "monthly_charges", "customer_id"}
    assert found["feature"] == {"charges_rise", "average_charges", "tenure", "total_charges", "monthly_charges"}


def test_down_from_a_feature_goes_through_what_is_derived_from_it(karat) -> None:
    found = ids(karat, "health_monitor", "--of", "cost_features.tagged_cost_7d", "--down")
    derived = {"tagged_share_7d", "chargeable_run_rate_7d", "chargeable_closing_shift_7d"}
    assert found["feature"] == {"tagged_cost_7d", *derived}
    assert found["model"] == {"chargeback_allocator"}


def test_a_key_column_is_read_by_every_feature_for_its_rows(karat) -> None:
    _, out, _ = karat("customers", "--of", "transactions.terminal_id", "--down", "--json")
    key = "gold:customers_dev.gold.transactions.terminal_id"
    roles = {e["to"].rpartition(".")[2]: e["role"] for e in json.loads(out)["edges"] if e["from"] == key}
    by_terminal = [f"terminal_{what}_{d}d" for what in ("count", "fraud_share") for d in (1, 7, 30)]
    values, keys = ("terminal_id", "new_terminals_3d"), (*by_terminal, "visits_7d", "visits_60d")
    assert roles == dict.fromkeys(values, "value") | dict.fromkeys(keys, "key")


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("sum(Amount) FILTER (\"channel\" = 'day')", {"amount", "channel"}),
        ("o.payload.day + mean_amount", {"payload"}),
        ("/* day */ count(*)", set()),
    ],
)
def test_an_expression_reads_the_columns_that_it_names(sql: str, read: set[str]) -> None:
    assert _named_columns([[sql, None]], ["amount", "channel", "day", "payload"]) == [read]


def test_up_from_a_model_what_only_its_label_reads_is_marked(karat) -> None:
    _, out, _ = karat("customers", "--of", "customers_dev.models.churn", "--up", "--json")
    edges = json.loads(out)["edges"]
    labels = {e["from"] for e in edges if e["role"] == "label"}
    assert labels == {"gold:customers_dev.gold.customers.churned"}
    read = {e["from"].rpartition(".")[2] for e in edges if e["to"].startswith("model:") and e["role"] == "value"}
    assert "tenure" in read
    assert "gender" not in read, "the model leaves it out"


def test_the_whole_project_table_by_table(karat) -> None:
    status, out, _ = karat("customers")
    assert status == 0
    assert "customers_dev.features.churn_features" in out
    assert "27 features" in out


def test_a_typo_is_told_the_nearest_name(karat) -> None:
    status, _, err = karat("customers", "--of", "transactions.is_froud")
    assert status == 1
    assert "transactions.is_fraud" in err


@pytest.mark.parametrize("of", [[], ["--of", "transactions.is_fraud"]])
def test_the_picture_has_every_name(karat, tmp_path: Path, of: list[str]) -> None:
    path = tmp_path / "lineage.svg"
    status, _, err = karat("customers", *of, "--picture", str(path))
    assert status == 0, err
    texts = {t.text for t in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    wanted = {"transactions.is_fraud", "terminal_risk.terminal_fraud_share_7d"} if of else {"churn", "fraud"}
    assert wanted <= texts


@pytest.mark.parametrize("name", ["customers", "health_monitor"])
def test_every_feature_comes_from_gold_and_every_model_from_features(name: str) -> None:
    graph = lineage(load_project(name, Settings(projects=ROOT / "projects"))).graph
    kinds = {i: d["node"].kind for i, d in graph.nodes(data=True)}
    for id_, kind in kinds.items():
        before = {kinds[b] for b in graph.predecessors(id_)}
        if kind == "feature":
            assert "gold" in before, id_
            assert before <= {"gold", "feature"}, id_
        if kind == "model":
            assert "feature" in before, id_
