"""A job that Ray never starts is given up, and another try submits a new one."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ray.job_submission import JobStatus

import infra.jobs
from infra.code import CodeVersion
from infra.job_records import JobError, JobSpec
from infra.jobs import Jobs
from infra.local.environment import token_file
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


@pytest.fixture
def dashboard(settings: Settings) -> Iterator[tuple[Settings, dict[str, float]]]:
    """Settings whose dashboard reports the use of CPUs in the dict, node by node, as Ray's does."""
    used: dict[str, float] = {}

    class Nodes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nodes = [{"cpu": cpu, "raylet": {"state": "ALIVE"}} for cpu in used.values()]
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"result": True, "data": {"summary": nodes}}).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nodes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    token_file(settings).parent.mkdir(parents=True, exist_ok=True)
    token_file(settings).write_text("token")
    yield settings.model_copy(update={"ray_dashboard_port": server.server_port, "job_pending_seconds": 0.1}), used
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("cpus", "longer"), [({"head": 97.0, "worker": 95.0}, True), ({"head": 97.0, "worker": 3.0}, False), ({}, False)]
)
def test_a_job_may_stay_pending_for_longer_while_every_node_is_busy(
    dashboard: tuple[Settings, dict[str, float]], monkeypatch: pytest.MonkeyPatch, cpus: dict[str, float], longer: bool
) -> None:
    monkeypatch.setattr(infra.jobs, "JobSubmissionClient", StuckClient)
    settings, used = dashboard
    used.update(cpus)
    jobs = Jobs(settings)
    spec = JobSpec(entrypoint="ray_jobs.train_models", project="p", code=CodeVersion(commit="", digest=""))
    with pytest.raises(JobPending) as given_up:
        jobs.run(spec, "run-train", lambda level, line: None)
    seconds = float(given_up.value.what.partition(" within ")[2].partition(" s")[0])
    assert (seconds >= 1) is longer
