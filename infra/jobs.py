"""Ray jobs as steps of a flow run: submit once, attach to a running one, follow, stop, read the result."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from infra.code import ROOT, code_version
from infra.job_logs import Lines, Log
from infra.job_records import JobError, JobResult, JobSpec, Outcome, Program
from infra.local.environment import token_file
from infra.local.forks import python_command
from infra.local.probes import NoAnswer, call_ray
from karat.errors import JobCancelled, JobFailed, JobPending, JobTimedOut, ServiceDown
from karat.settings import Settings

__all__ = ["JobError", "JobResult", "JobSpec", "Jobs", "Outcome", "Program", "spec_of"]

POLL_SECONDS = 0.25
#: How long Ray may be out of reach before a step gives up; its supervisor restarts a head within this time.
PATIENCE_SECONDS = 60.0
#: A job may stay pending so many times longer while every node of the cluster is busy, which is no fault of the job.
BUSY_FACTOR = 12.0
#: From this use of its CPUs on a node is busy.
BUSY_CPU_PERCENT = 80.0
#: Marks the folder of a job that was given up while it was pending.
GIVEN_UP = "given-up"


def spec_of(settings: Settings, entrypoint: str, project: str, **parameters: object) -> JobSpec:
    """Return a spec with the code version of this moment."""
    return JobSpec(entrypoint=entrypoint, project=project, parameters=parameters, code=code_version(settings))


class Jobs:
    """The jobs of one cluster. A job's folder, ``KARAT_HOME/jobs/ID``, holds its spec.json and its result.json."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            self._client = JobSubmissionClient(settings.ray_dashboard_url, headers=_token(settings))
        except (ConnectionError, RuntimeError) as error:
            raise _down(settings) from error

    def folder(self, job: str) -> Path:
        """Return the job's folder."""
        return self.settings.home / "jobs" / job

    def run(self, spec: JobSpec, key: str, log: Log, deadline: datetime | None = None) -> JobResult:
        """Run ``spec`` as the next attempt of ``key``, or attach to the attempt that is under way.

        Args:
            spec: The job.
            key: Flow run and step.
            log: Receives the job's lines.
            deadline: When the job is stopped.

        Returns:
            The result; its outcomes may have failed.

        Raises:
            KaratError: the job's own error.
            JobFailed: the job died without a result.
            JobCancelled: somebody stopped the job.
            JobTimedOut: the job was stopped at ``deadline``.
            JobPending: Ray did not start the job within ``job_pending_seconds``, or ``BUSY_FACTOR`` times as long while
                its nodes were busy.
            ServiceDown: Ray does not answer.
        """
        job, under_way = self.claim(key)
        if (found := self.result(job)) is not None and not under_way:
            log(logging.INFO, f"{job} has succeeded before: its result is used")
            return found
        if under_way:
            log(logging.INFO, f"{job} is under way: attached to it")
        else:
            self.submit(job, spec)
            log(logging.INFO, f"{job} submitted: {spec.entrypoint}, {self.address(job)}")
        status = asyncio.run(self._follow(job, log, deadline))
        return self._conclude(job, status)

    def claim(self, key: str) -> tuple[str, bool]:
        """Return the attempt to go on with, and whether it is under way.

        A running attempt comes first, then a succeeded one, then a new number. An attempt that was given up while it
        was pending does not count: Ray may show it as pending for ever.
        """
        for attempt in itertools.count(1):
            job = f"{key}-{attempt}"
            if (self.folder(job) / GIVEN_UP).exists():
                continue
            status = self.status(job)
            if status in (JobStatus.PENDING, JobStatus.RUNNING):
                return job, True
            if self._succeeded(job):
                return job, False
            if status is None and not self.folder(job).exists():
                return job, False
        raise AssertionError("unreachable")

    def submit(self, job: str, spec: JobSpec) -> None:
        """Write the spec and start the program; attach if Ray knows the id already."""
        spec.write(self.folder(job) / "spec.json")
        program = [*python_command(self.settings), "-m", spec.entrypoint, "--spec", str(self.folder(job) / "spec.json")]
        try:
            self._client.submit_job(
                entrypoint=shlex.join(program),
                submission_id=job,
                runtime_env={"env_vars": self._environment()},
                metadata={"project": spec.project, "program": spec.entrypoint},
            )
        except ConnectionError as error:
            raise _down(self.settings) from error
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise JobFailed(
                    f"Ray did not take the job {job}: {error}", where=self.settings.ray_dashboard_url
                ) from error

    def _environment(self) -> dict[str, str]:
        """Settings only: secrets reach a job through the environment of its node, never through the Jobs API."""
        return self.settings.as_environment() | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "RAY_DEDUP_LOGS": "0",
            "RAY_COLOR_PREFIX": "0",
            # A Ray task has one CPU; Ray itself sets OMP_NUM_THREADS to it.
            "POLARS_MAX_THREADS": "1",
        }

    def status(self, job: str) -> JobStatus | None:
        """Return the job's status; None if Ray does not know the job: never submitted, or forgotten with its head."""
        try:
            return self._client.get_job_status(job)
        except ConnectionError as error:
            raise _down(self.settings) from error
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise _down(self.settings) from error

    def result(self, job: str) -> JobResult | None:
        """Return what the job has written; None if it has not come so far."""
        path = self.folder(job) / "result.json"
        return JobResult.model_validate_json(path.read_bytes()) if path.exists() else None

    def stop_all(self, prefix: str) -> list[str]:
        """Stop the jobs whose id begins with ``prefix``; return the ids of those that ran."""
        found: list[JobDetails] = self._client.list_jobs()
        running = [
            j.submission_id
            for j in found
            if j.submission_id and j.submission_id.startswith(prefix) and not j.status.is_terminal()
        ]
        for job in running:
            self._client.stop_job(job)
        return running

    def _succeeded(self, job: str) -> bool:
        result = self.result(job)
        return result is not None and result.error is None and all(o.error is None for o in result.outcomes)

    async def _follow(self, job: str, log: Log, deadline: datetime | None) -> JobStatus:
        """Passes the job's lines on as they come, until it ends."""
        lines = Lines(log)
        reader = asyncio.create_task(self._read(job, lines))
        pending_since = time.monotonic()
        try:
            # The log's stream ends some 4 s after its job: the status says it at once.
            while not (status := await self._patiently(lambda: self.status(job), job)).is_terminal():
                if deadline is not None and datetime.now(UTC) > deadline:
                    self._client.stop_job(job)
                    raise JobTimedOut(
                        f"{job} was stopped at its time limit",
                        where=self.address(job),
                        remedy="raise feature_timeout_seconds in project.yaml, or give the cluster more CPUs",
                    )
                if status != JobStatus.PENDING:
                    pending_since = time.monotonic()
                elif (pending := time.monotonic() - pending_since) > self.settings.job_pending_seconds:
                    if pending > BUSY_FACTOR * self.settings.job_pending_seconds or not self._is_busy():
                        raise self._given_up(job, pending)
                    await asyncio.sleep(1)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        with contextlib.suppress(RuntimeError, ConnectionError):
            lines.feed(self._client.get_job_logs(job)[lines.seen :])
        lines.close()
        return status

    def _is_busy(self) -> bool:
        """Whether all nodes are at work: a job's process then starts late. A cluster that does not say is not busy."""
        try:
            nodes = call_ray(self.settings, "/nodes?view=summary")["data"]["summary"]
            used = [node["cpu"] for node in nodes if node["raylet"]["state"] == "ALIVE"]
        except (NoAnswer, KeyError, TypeError):
            return False
        return bool(used) and min(used) >= BUSY_CPU_PERCENT

    def _given_up(self, job: str, pending: float) -> JobPending:
        """Stops a job that never started, marks it so that no later try attaches to it, and returns the error."""
        with contextlib.suppress(RuntimeError, ConnectionError):
            self._client.stop_job(job)
        self.folder(job).mkdir(parents=True, exist_ok=True)
        (self.folder(job) / GIVEN_UP).touch()
        return JobPending(
            f"Ray has not started {job} within {pending:.0f} s: it was given up",
            where=self.address(job),
            remedy="look at karat status and at the cluster's nodes in Ray's dashboard; where nodes are slow to start, "
            "raise KARAT_JOB_PENDING_SECONDS; restart a stuck head with: karat down, karat up; then run again",
        )

    async def _read(self, job: str, lines: Lines) -> None:
        """The stream of chunks; begun again where it breaks, past what has been seen."""
        while True:
            skip = lines.seen
            with contextlib.suppress(RuntimeError, aiohttp.ClientError, OSError):
                async for chunk in self._client.tail_job_logs(job):
                    lines.feed(chunk[skip:])
                    skip = max(0, skip - len(chunk))
            await asyncio.sleep(1)

    async def _patiently(self, ask: Callable[[], JobStatus | None], job: str) -> JobStatus:
        """``ask`` again while Ray is out of reach, for a minute."""
        since = time.monotonic()
        while True:
            try:
                status = await asyncio.to_thread(ask)
            except ServiceDown:
                if time.monotonic() - since > PATIENCE_SECONDS:
                    raise
                await asyncio.sleep(1)
                continue
            if status is None:
                raise JobFailed(
                    f"Ray no longer knows {job}: its head was restarted", where=self.settings.ray_dashboard_url
                )
            return status

    def _conclude(self, job: str, status: JobStatus) -> JobResult:
        if status == JobStatus.STOPPED:
            raise JobCancelled(f"{job} was stopped", where=self.address(job))
        result = self.result(job)
        if result is None:
            message = self._client.get_job_info(job).message or "no reason given"
            raise JobFailed(
                f"{job} ended without a result: {message}", where=self.address(job), remedy="see its log there"
            )
        if result.error is not None:
            raise result.error.raised()
        return result

    def address(self, job: str) -> str:
        """Return the job's page, with its log, in Ray's dashboard."""
        return f"{self.settings.ray_dashboard_url}/#/jobs/{job}"


def _token(settings: Settings) -> dict[str, str] | None:
    """The local platform's token; a cluster elsewhere takes it from the environment, by Ray's own rules."""
    path = token_file(settings)
    return {"Authorization": f"Bearer {path.read_text().strip()}"} if path.is_file() else None


def _down(settings: Settings) -> ServiceDown:
    return ServiceDown(
        "Ray does not answer", where=settings.ray_dashboard_url, remedy="start the platform with: karat up"
    )
