"""Outcomes of a step: the failed ones are named, the others go on."""

from __future__ import annotations

import pytest

from flows.outcomes import champions_of, gathered
from infra.job_records import JobError, Outcome
from karat.errors import PartlyFailed, ServiceDown, TooFewRows
from tasks.jobs import settled

FINE = Outcome(name="a", state="done", reference={"version": 3, "champion_version": 2})
KEPT = Outcome(name="b", state="kept", reference={"version": 1, "champion_version": 1})
WRONG = Outcome(
    name="c",
    state="failed",
    reference={"version": 4, "champion_version": 4},
    error=JobError.of(TooFewRows("only 3 rows", remedy="get more")),
)


def test_a_step_without_failure_gives_its_outcomes():
    assert settled((FINE, KEPT)) == (FINE, KEPT)


def test_a_step_with_a_failure_names_it_says_what_to_do_and_keeps_the_rest():
    with pytest.raises(PartlyFailed, match="1 of 3 failed") as raised:
        settled((FINE, WRONG, KEPT))
    assert "c: TooFewRows: only 3 rows" in str(raised.value)
    assert raised.value.remedy == "get more"
    assert gathered(settled, (FINE, WRONG, KEPT)) == (FINE, WRONG, KEPT)


def test_what_is_not_one_of_several_failures_ends_the_run():
    def down() -> tuple[Outcome, ...]:
        raise ServiceDown("Ray does not answer")

    with pytest.raises(ServiceDown):
        gathered(down)


def test_a_failed_model_keeps_its_champion():
    assert champions_of((FINE, KEPT, WRONG)) == {"a": 2, "b": 1, "c": 4}
