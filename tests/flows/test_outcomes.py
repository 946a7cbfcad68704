"""Outcomes of a step: the failed ones are named, the others go on."""

from __future__ import annotations

import pytest

from flows.outcomes import champions_of, collect
from infra.job_records import JobError, Outcome, TrainingOutcome
from karat.errors import PartlyFailed, ServiceDown, TooFewRows
from tasks.job_task import raise_failures

FINE = TrainingOutcome(name="a", state="done", version=3, champion_version=2)
KEPT = TrainingOutcome(name="b", state="kept", version=1, champion_version=1)
WRONG = TrainingOutcome(
    name="c",
    state="failed",
    version=4,
    champion_version=4,
    error=JobError.of(TooFewRows("only 3 rows", remedy="get more")),
)


def test_a_step_without_failure_gives_its_outcomes():
    assert raise_failures((FINE, KEPT)) == (FINE, KEPT)


def test_a_step_with_a_failure_names_it_says_what_to_do_and_keeps_the_rest():
    with pytest.raises(PartlyFailed, match="1 of 3 failed") as raised:
        raise_failures((FINE, WRONG, KEPT))
    assert "c: TooFewRows: only 3 rows" in str(raised.value)
    assert raised.value.remedy == "get more"
    assert collect(raise_failures, (FINE, WRONG, KEPT)) == (FINE, WRONG, KEPT)


def test_what_is_not_one_of_several_failures_ends_the_run():
    def down() -> tuple[Outcome, ...]:
        raise ServiceDown("Ray does not answer")

    with pytest.raises(ServiceDown):
        collect(down)


def test_a_failed_model_keeps_its_champion():
    assert champions_of((FINE, KEPT, WRONG)) == {"a": 2, "b": 1, "c": 4}
