"""A job that Ray never starts is given up, and another try submits a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from ray.job_submission import JobStatus

import infra.jobs
from infra.code import CodeVersion
from infra.job_records import JobError, JobSpec
from infra.jobs import Jobs
from karat.errors import JobPending
from karat.settings import Settings


class StuckClient:
    """Ray's client where no supervisor of a job ever comes up."""

    def __init__(self, *_: object, **__: object) -> None:
        self.submitted: list[str] = []

    def submit_job(self, *, submission_id: str, **_: object) -> None:
        self.submitted.append(submission_id)

    def get_job_status(self, job: str) -> JobStatus:
        if job not in self.submitted:
            raise RuntimeError("404: does not exist")
        return JobStatus.PENDING

    def get_job_logs(self, job: str) -> str:
        return ""

    def stop_job(self, job: str) -> bool:
        return True

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for line in ():
            yield line


def test_a_pending_job_is_given_up_and_never_attached_to_again(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(infra.jobs, "JobSubmissionClient", StuckClient)
    jobs = Jobs(settings.model_copy(update={"job_pending_seconds": 0.3}))
    spec = JobSpec(entrypoint="ray_jobs.train_models", project="p", code=CodeVersion(commit="", digest=""))
    for _ in range(2):
        with pytest.raises(JobPending, match="KARAT_JOB_PENDING_SECONDS") as given_up:
            jobs.run(spec, "run-train", lambda level, line: None)
        assert JobError.of(given_up.value).transient
    assert jobs._client.submitted == ["run-train-1", "run-train-2"]  # type: ignore[attr-defined]
