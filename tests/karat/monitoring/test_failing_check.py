"""A check that fails leaves the model's other checks: what they found is recorded beside the error."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from karat.errors import PlatformError, StaleFeatures
from karat.monitoring import drift_check as module
from karat.monitoring.drift_thresholds import Finding
from karat.monitoring.reference_current import Champion
from ray_jobs.steps import monitor
from ray_jobs.steps.model_work import ModelWork

DAY = date(2026, 3, 2)


def good(_: Champion) -> Any:
    return module._Outcome([Finding("x", statistic=0.3, threshold=0.2, drifted=True)], "1 of 1", 80, 20)


def bad(_: Champion) -> Any:
    raise StaleFeatures("nothing of today", where="a table", remedy="compute it")


def away(_: Champion) -> Any:
    raise PlatformError("out of reach")


def work(monkeypatch: pytest.MonkeyPatch, checks: dict[str, Any]) -> ModelWork:
    """A model whose champion is not looked at: ``checks`` stand in the place of the real ones."""
    version = SimpleNamespace(name="shop_dev.models.one", version=1, run_id="r")
    spec = SimpleNamespace(name="one")
    champion = SimpleNamespace(spec=spec, version=version, loaded=SimpleNamespace(metadata=SimpleNamespace(digest="d")))
    monkeypatch.setattr(module, "valid_champion", lambda *_: version)
    monkeypatch.setattr(module.Champion, "load", lambda *_: champion)
    monkeypatch.setattr(module, "_CHECKS", checks)
    run = SimpleNamespace(info=SimpleNamespace(experiment_id="1"))
    registry = SimpleNamespace(client=SimpleNamespace(get_run=lambda _: run))
    parameters = {"day": DAY.isoformat(), "checks": {"one": list(checks)}}
    made: Any = ModelWork(SimpleNamespace(spec=spec, registry=registry), parameters, "")
    return made


def test_what_the_other_checks_found_goes_with_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    told = monitor.step(work(monkeypatch, {"dataset": bad, "prediction": good, "fairness": good}))
    assert [row["check_name"] for row in told.rows] == ["prediction", "fairness"]
    assert [report.check for report in told.reports] == ["prediction", "fairness"]
    assert told.warnings == ("prediction: x drifted", "fairness: x drifted")
    assert told.error is not None
    assert (told.state, told.error.type, told.error.transient) == ("failed", "StaleFeatures", False)
    assert (told.error.what, told.error.remedy) == ("the check 'dataset' failed: nothing of today", "compute it")


def test_several_failed_checks_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = monitor.step(work(monkeypatch, {"dataset": bad, "prediction": away}))
    assert told.error is not None
    assert told.error.what == (
        "the check 'dataset' failed: nothing of today; the check 'prediction' failed: out of reach"
    )
    assert told.error.transient  # another try may mend one of them
    assert (told.reports, told.rows) == ((), ())


def test_all_is_well_where_none_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = monitor.step(work(monkeypatch, {"dataset": good}))
    assert (told.state, told.error, len(told.rows)) == ("done", None, 1)
