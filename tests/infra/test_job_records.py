"""Specs, results and errors as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.job_records import JobError, JobResult, Outcome, ScoringOutcome, TrainingOutcome, is_transient
from karat import errors
from karat.errors import KaratError


def classes(base: type[KaratError] = KaratError) -> list[type[KaratError]]:
    return [base, *(c for sub in base.__subclasses__() for c in classes(sub))]


@pytest.mark.parametrize("kind", classes(), ids=lambda k: k.__name__)
def test_every_error_crosses_the_border_in_its_own_class(kind: type[KaratError]):
    before = kind("what", where="where", remedy="remedy")
    after = JobError.model_validate_json(JobError.of(before).model_dump_json()).raised()
    assert type(after) is kind
    assert str(after) == str(before)
    assert is_transient(after) == is_transient(before)


def test_another_exception_becomes_a_failed_job_that_names_it():
    error = JobError.of(KeyError("usage_date")).raised()
    assert type(error) is errors.JobFailed
    assert "KeyError" in str(error)
    assert "usage_date" in str(error)
    assert not is_transient(error)  # although a job that died without a word is tried again


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreUnreachable("x"),
        errors.ServiceDown("x"),
        errors.CommitConflict("x"),
        errors.JobFailed("x"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_may_come_back_is_tried_again(error: Exception):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownModel("x"),
        errors.DeclarationError("x"),
        errors.DuplicateKeys("x"),
        errors.TableNotFound("x"),
        errors.TooFewRows("x"),
        errors.StaleFeatures("x"),
        errors.CodeMismatch("x"),
        errors.JobCancelled("x"),
        errors.JobTimedOut("x"),
        errors.DiskFull("x"),
        ZeroDivisionError(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_is_wrong_stays_wrong(error: Exception):
    assert not is_transient(error)


def test_a_partly_failed_step_is_tried_again_only_if_one_of_its_failures_may_come_back():
    wrong = Outcome(name="a", state="failed", error=JobError.of(errors.TooFewRows("x")))
    lost = Outcome(name="b", state="failed", error=JobError.of(errors.StoreUnreachable("x")))
    fine = Outcome(name="c", state="done")
    assert not is_transient(errors.PartlyFailed("x", outcomes=[wrong, fine]))
    assert is_transient(errors.PartlyFailed("x", outcomes=[wrong, lost, fine]))


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "job" / "result.json"
    scored = ScoringOutcome(name="a", state="done", version=3)
    trained = TrainingOutcome(name="b", state="kept", metrics={"r2": float("inf")}, undecided=True)
    first = JobResult(outcomes=(scored, trained, Outcome(name="c", state="skipped")))
    first.write(path)

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="No space"):
        JobResult(error=JobError.of(ValueError("x"))).write(path)
    assert JobResult.model_validate_json(path.read_text()) == first
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]
