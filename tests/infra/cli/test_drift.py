"""``karat drift``, and the drift that ``karat sql`` tells of, from what stands in the lake."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from infra.cli.app import main
from infra.code import ROOT
from karat.lake import Lake
from karat.monitoring import write_drift
from karat.monitoring.drift_table import POLARS_SCHEMA
from karat.settings import Settings

TODAY = datetime.now(UTC).date()
CHURN, FRAUD = "customers_dev.models.churn", "customers_dev.models.fraud"
WEEKLY = """
       SELECT
           model_id,
           period_start,
           drift_detected,
           feature_drift
       FROM ml_monitoring
       WHERE period_start >= NOW() - INTERVAL '7 days'
       AND drift_detected = true;
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def karat(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """karat("drift", ...) -> exit status, standard output, standard error."""
    monkeypatch.setenv("KARAT_HOME", str(settings.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(ROOT / "projects"))
    monkeypatch.setenv("KARAT_MLFLOW_PORT", "9")  # nobody listens there
    monkeypatch.setattr("infra.cli.app.console.width", 200, raising=False)

    def call(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return call


@pytest.fixture
def told(lake: Lake) -> None:
    """A report of two columns of churn, an earlier one of it, and one of fraud that had too few rows."""

    def rows(model: str, day: int, columns: dict[str, float | None], note: str = "") -> pl.DataFrame:
        shared = {"day": TODAY - timedelta(days=day), "model_name": model, "check_name": "dataset", "model_version": 2}
        shared |= {"threshold": 0.2, "note": note, "current_rows": 500, "reference_rows": 5000}
        return pl.DataFrame(
            [shared | {"column_name": c, "statistic": s, "drifted": (s or 0) > 0.2} for c, s in columns.items()],
            schema=POLARS_SCHEMA,
            orient="row",
        )

    write_drift(lake, "customers_dev", rows(CHURN, 3, {"tenure": 0.4, "contract": 0.3}))
    write_drift(lake, "customers_dev", rows(CHURN, 0, {"tenure": 0.51234, "contract": 0.05}))
    write_drift(lake, "customers_dev", rows(FRAUD, 0, {"amount": None}, "too few rows: 3 now"))


def test_before_the_first_report(karat: Call) -> None:
    status, out, _ = karat("drift", "customers")
    assert status == 0
    assert "karat monitor customers" in out
    assert json.loads(karat("drift", "customers", "--json")[1]) == []


def test_the_newest_reports(karat: Call, told: None) -> None:
    status, out, _ = karat("drift", "customers")
    assert status == 0
    assert f"churn, dataset, {TODAY}: 1 of 2 over their threshold (500 rows; 5,000 to compare with)" in out
    assert "tenure" in out
    assert "contract" not in out
    assert "too few rows: 3 now" in out
    assert "contract" in karat("drift", "customers", "--model", "churn")[1]
    rows = json.loads(karat("drift", "customers", "--model", "churn", "--json")[1])
    assert {r["column_name"]: (r["statistic"], r["drifted"]) for r in rows} == {
        "tenure": (0.51234, True),
        "contract": (0.05, False),
    }
    assert karat("drift", "customers", "--model", "chrun")[0] == 2


def test_document_002s_question_for_drift_has_an_answer(karat: Call, told: None) -> None:
    status, out, err = karat("sql", WEEKLY, "--json")
    assert status == 0, err
    found = sorted(json.loads(out), key=lambda r: r["period_start"])
    assert [r["model_id"] for r in found] == [CHURN, CHURN]
    assert [json.loads(r["feature_drift"]) for r in found] == [{"tenure": 0.4, "contract": 0.3}, {"tenure": 0.5123}]
