"""Ray jobs on a running Ray: followed line by line, attached to, reused, stopped, killed."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ray.job_submission import JobStatus

from infra.code import CodeVersion
from infra.job_records import JobResult, JobSpec
from infra.jobs import Jobs, spec_of
from karat.errors import CodeMismatch, JobCancelled, JobFailed, JobTimedOut, ServiceDown, TooFewRows
from karat.settings import Settings
from tests.waiting import wait_until

pytestmark = pytest.mark.platform

PROGRAM = "tests.ray_jobs.obedient"


@pytest.fixture
def jobs(platform: Settings) -> Jobs:
    return Jobs(platform)


@pytest.fixture
def key() -> str:
    return f"test-{uuid.uuid4().hex[:8]}-step"


def spec(jobs: Jobs, **parameters: object) -> JobSpec:
    return spec_of(jobs.settings, PROGRAM, "health_monitor", **parameters)


def quiet(level: int, line: str) -> None: ...


def began(marks: Path) -> int:
    return len(list(marks.glob("began-*")))


def test_results_come_back_and_every_line_at_its_level_while_the_job_runs(jobs: Jobs, key: str, tmp_path: Path):
    """A second try attaches to the job that runs, and sees the same."""
    lines: list[tuple[int, str]] = []
    came: dict[str, float] = {}

    def note(level: int, line: str) -> None:
        lines.append((level, line))
        came.setdefault(line, time.monotonic())

    wanted = spec(jobs, lines=300, squares=[3, 4, 5], seconds=4, marks=str(tmp_path))
    results: list[tuple[JobResult, float]] = []
    first = threading.Thread(target=lambda: results.append((jobs.run(wanted, key, note), time.monotonic())))
    first.start()
    wait_until(lambda: began(tmp_path) == 1)
    seen: list[str] = []
    again = Jobs(jobs.settings).run(wanted, key, lambda level, line: seen.append(line))
    first.join()
    ((result, ended),) = results
    assert ended - came["obedient: line 0"] > 2
    assert {o.name: o.rows for o in result.outcomes} == {"0": 9, "1": 16, "2": 25}
    said = [(level, line) for level, line in lines if line.startswith("obedient: line ")]
    expected = [(logging.WARNING if n % 10 == 9 else logging.INFO, f"obedient: line {n}") for n in range(300)]
    assert said == expected
    assert sorted(line for _, line in lines if "squaring" in line) == [f"obedient: squaring {n}" for n in (3, 4, 5)]

    assert again == result
    assert began(tmp_path) == 1
    assert any("attached" in line for line in seen)
    assert [line for line in seen if "obedient: line" in line] == [line for _, line in expected]


def test_a_succeeded_job_is_used_again_and_a_failed_one_is_not(jobs: Jobs, key: str, tmp_path: Path):
    fine = spec(jobs, marks=str(tmp_path), items=["a"])
    assert jobs.run(fine, key, quiet) == jobs.run(fine, key, quiet)
    assert began(tmp_path) == 1
    wrong = spec(jobs, marks=str(tmp_path), items=["a", "wrong"])
    other = f"{key}-other"
    for attempt in (1, 2):
        outcomes = {o.name: o for o in jobs.run(wrong, other, quiet).outcomes}
        assert outcomes["a"].version == 1
        assert outcomes["wrong"].error is not None
        assert outcomes["wrong"].error.type == "TooFewRows"
        assert jobs.status(f"{other}-{attempt}") == JobStatus.FAILED
    assert began(tmp_path) == 3


def test_the_error_of_a_job_is_raised_in_its_own_class(jobs: Jobs, key: str):
    with pytest.raises(TooFewRows, match="only 3 rows") as raised:
        jobs.run(spec(jobs, **{"raise": True}), key, quiet)
    assert (raised.value.where, raised.value.remedy) == ("here", "get more")


def test_a_killed_job_fails_with_its_address_and_the_next_try_is_a_new_job(jobs: Jobs, key: str, tmp_path: Path):
    with pytest.raises(JobFailed, match="without a result") as raised:
        jobs.run(spec(jobs, kill=True), key, quiet)
    assert f"/#/jobs/{key}-1" in raised.value.where
    assert jobs.run(spec(jobs, items=["a"]), key, quiet).outcomes[0].name == "a"
    assert jobs.status(f"{key}-2") == JobStatus.SUCCEEDED


def test_stopping_by_prefix_ends_the_job_and_no_other(jobs: Jobs, key: str, tmp_path: Path):
    raised: list[BaseException] = []

    def run() -> None:
        try:
            jobs.run(spec(jobs, seconds=60, marks=str(tmp_path)), key, quiet)
        except JobCancelled as error:
            raised.append(error)

    other = f"{key}x-1"
    jobs.submit(other, spec(jobs, seconds=20))
    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: began(tmp_path) == 1)
    assert Jobs(jobs.settings).stop_all(f"{key}-") == [f"{key}-1"]
    thread.join(20)
    assert not thread.is_alive()
    assert [type(e) for e in raised] == [JobCancelled]
    assert jobs.status(f"{key}-1") == JobStatus.STOPPED
    assert jobs.status(other) in (JobStatus.RUNNING, JobStatus.PENDING)
    assert not list(tmp_path.glob("slept-*"))
    jobs.stop_all(other)


def test_a_job_is_stopped_at_its_deadline(jobs: Jobs, key: str):
    with pytest.raises(JobTimedOut, match="time limit"):
        jobs.run(spec(jobs, seconds=60), key, quiet, datetime.now(UTC) + timedelta(seconds=4))
    wait_until(lambda: jobs.status(f"{key}-1") == JobStatus.STOPPED)


def test_other_code_on_the_node_is_refused_before_any_work(jobs: Jobs, key: str, tmp_path: Path):
    wanted = spec(jobs, marks=str(tmp_path))
    other = wanted.model_copy(update={"code": CodeVersion(commit="", digest="0" * 32)})
    with pytest.raises(CodeMismatch, match="the node of the job's driver"):
        jobs.run(other, key, quiet)
    assert began(tmp_path) == 0


def test_a_job_that_ray_has_forgotten_is_run_anew_and_its_good_result_is_not(jobs: Jobs, key: str, tmp_path: Path):
    """When the head dies Ray forgets its jobs; what was written stays."""
    wanted = spec(jobs, items=["a"], marks=str(tmp_path))
    wanted.write(jobs.folder(f"{key}-1") / "spec.json")  # begun, never finished
    assert jobs.claim(key) == (f"{key}-2", False)
    result = jobs.run(wanted, key, quiet)
    Jobs(jobs.settings)._client.delete_job(f"{key}-2")
    assert jobs.status(f"{key}-2") is None
    assert jobs.run(wanted, key, quiet) == result
    assert began(tmp_path) == 1


def test_without_ray_the_error_says_what_to_start(settings: Settings):
    with pytest.raises(ServiceDown, match="Ray does not answer") as raised:
        Jobs(settings)
    assert "karat up" in raised.value.remedy
