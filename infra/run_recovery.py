"""Flow runs whose process or worker is gone: resumed by the next worker, or ended with an error that names the cause.

Prefect itself leaves such runs Pending or Running. Its heartbeats (``infra.zombies``) end those of other machines;
of this machine's runs the processes are known, so that seconds suffice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

import psutil

from infra.local.instances import instance_before, running_instance
from infra.local.platform_parts import WORKER_NAME
from infra.local.probes import NoAnswer, call_ray
from infra.local.processes import end, flow_processes
from infra.prefect_api import Prefect, Run
from karat.errors import ServiceDown
from karat.settings import Settings

#: So often a run is begun at most: once, and again after each loss of its process.
TRIES = 3
#: A run that began longer ago is not resumed: who wanted it has done without it.
RESUMED_SECONDS = 24 * 3600.0
#: A worker tells of a process that ended within a second or two; what it has not told by now, it never will.
GONE_SECONDS = 8.0
#: A worker that lives has started the process of a run that it claimed by then, on a busy machine too.
CLAIMED_SECONDS = 90.0
#: A worker that lives has ended a cancelled run by then.
CANCEL_SECONDS = 45.0
#: Between two looks: while a run is under way or has just ended, and while nothing happens.
LOOK_SECONDS, IDLE_SECONDS, BUSY_FOR_SECONDS = 4.0, 12.0, 60.0
log = logging.getLogger("runs")


class Verdict(Enum):
    """What is to be done about a run."""

    FINE = "fine"
    #: It goes on in its process, which no worker watches any more.
    UNWATCHED = "unwatched"
    RESUME = "resume"
    END = "end"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Evidence:
    """What is known of a run's processes on this machine.

    Attributes:
        alive: Whether its process lives.
        watched: Whether that process is a child of the worker that runs now.
        gone_seconds: For how long no process has been seen.
        worker_started: When the worker that runs now began; None if there is none.
    """

    alive: bool
    watched: bool = False
    gone_seconds: float = 0.0
    worker_started: datetime | None = None


def judge(run: Run, seen: Evidence, now: datetime) -> Verdict:
    """Return what is to be done about an unfinished run of this machine's worker."""
    since = run.state_time or now
    abandoned = seen.worker_started is None or seen.worker_started > since
    if run.state_type == "CANCELLING":
        late = (now - since).total_seconds() > CANCEL_SECONDS
        return Verdict.CANCEL if late or (seen.alive and not seen.watched) or _is_gone(seen) else Verdict.FINE
    if seen.alive:
        return Verdict.FINE if seen.watched or run.state_type != "RUNNING" else Verdict.UNWATCHED
    if run.state_type == "PENDING" and not abandoned and seen.gone_seconds < CLAIMED_SECONDS:
        return Verdict.FINE
    if not _is_gone(seen):
        return Verdict.FINE
    began = run.start_time or since
    too_old = (now - began).total_seconds() > RESUMED_SECONDS
    return Verdict.END if run.run_count >= TRIES or too_old else Verdict.RESUME


def _is_gone(seen: Evidence) -> bool:
    return not seen.alive and seen.gone_seconds >= GONE_SECONDS


@dataclass
class RunRecovery:
    """Watches the unfinished runs of one platform.

    Attributes:
        missing_since: Run -> since when no process of it has been seen.
        told: Runs of which it was said that they go on without a worker.
        busy_until: Until when the looks are frequent, by the monotonic clock.
    """

    settings: Settings
    api: Prefect
    missing_since: dict[str, float] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    busy_until: float = field(default_factory=lambda: time.monotonic() + BUSY_FOR_SECONDS)

    def look(self) -> float:
        """Look at every unfinished run once, and do what is to be done.

        Returns:
            Seconds until the next look.

        Raises:
            ServiceDown: Prefect does not answer.
        """
        worker = running_instance(self.settings, "worker")
        unfinished = self.api.unfinished()
        processes = flow_processes(self.settings) if unfinished else {}
        self.missing_since = {r.id: self.missing_since.get(r.id, time.monotonic()) for r in unfinished}
        for run in unfinished:
            seen = self._evidence(run, processes.get(run.id, []), worker)
            self._act(run, judge(run, seen, datetime.now(UTC)), processes.get(run.id, []))
        if unfinished:
            self.busy_until = time.monotonic() + BUSY_FOR_SECONDS
        if time.monotonic() > self.busy_until:
            return IDLE_SECONDS
        self._end_orphans()
        return LOOK_SECONDS

    def _end_orphans(self) -> None:
        """End the pipelines of a run that has ended: their process is the run's, whose worker told of it alone."""
        for pipeline in self.api.unfinished_pipelines():
            parent = self.api.parent(pipeline)
            ended = parent.state_time if parent.is_final else None
            if ended is None or (datetime.now(UTC) - ended).total_seconds() < GONE_SECONDS:
                continue
            stopped = stop_jobs(self.settings, parent.id)
            self.api.set_state(pipeline.id, "CRASHED", "Crashed", f"{parent.name} has ended: {parent.message}")
            log.warning("%s ended with its run; jobs stopped: %s", pipeline.name, ", ".join(stopped) or "none")

    def _evidence(self, run: Run, processes: list[psutil.Process], worker: psutil.Process | None) -> Evidence:
        if processes:
            self.missing_since[run.id] = time.monotonic()
        return Evidence(
            alive=bool(processes),
            watched=worker is not None and any(_parent(p) == worker.pid for p in processes),
            gone_seconds=time.monotonic() - self.missing_since[run.id],
            worker_started=datetime.fromtimestamp(worker.create_time(), UTC) if worker is not None else None,
        )

    def _act(self, run: Run, verdict: Verdict, processes: list[psutil.Process]) -> None:
        if verdict is Verdict.UNWATCHED and run.id not in self.told:
            self.told.add(run.id)
            where = ", ".join(str(p.pid) for p in processes[:1])
            self.api.say(run.id, logging.WARNING, f"{self._loss()}; the run goes on in its process {where}")
        elif verdict is Verdict.CANCEL:
            conclude_cancelled(self.settings, self.api, run, processes)
        elif verdict in (Verdict.RESUME, Verdict.END):
            self._recover(run, verdict)

    def _recover(self, run: Run, verdict: Verdict) -> None:
        process = f"process {run.infrastructure_pid}" if run.infrastructure_pid else "process"
        cause = f"{self._loss()}, and the {process} of this run is gone"
        self.missing_since.pop(run.id, None)
        for child in self.api.children(run.id):
            if not child.is_final:
                self.api.set_state(child.id, "CRASHED", "Crashed", cause)
        if verdict is Verdict.RESUME:
            said = f"{cause}: resumed by the next worker, try {max(run.run_count, 1) + 1} of {TRIES}"
            self.api.set_state(run.id, "SCHEDULED", "AwaitingRetry", said)
        else:
            said = f"{cause}. Nothing is resumed after {TRIES} tries or a day: start the run anew"
            stop_jobs(self.settings, run.id)
            self.api.set_state(run.id, "CRASHED", "Crashed", said)
        self.api.say(run.id, logging.WARNING, said)
        log.warning("%s (%s): %s", run.name, run.id, said)

    def _loss(self) -> str:
        before = instance_before(self.settings, "worker")
        lost = f" (process {before})" if before else ""
        return f"worker {WORKER_NAME}{lost} has ended"


def keep_runs(settings: Settings) -> None:
    """Look at the runs for ever; a Prefect that does not answer is asked again."""
    recovery = RunRecovery(settings, Prefect(settings, busy_seconds=2))
    pause = LOOK_SECONDS
    while True:
        time.sleep(pause)
        try:
            pause = recovery.look()
        except ServiceDown:
            recovery.missing_since.clear()  # a run that ended meanwhile could not tell so


def conclude_cancelled(settings: Settings, api: Prefect, run: Run, processes: Sequence[psutil.Process]) -> None:
    """End a run that is being cancelled in place of its worker: its processes, its jobs, its state."""
    end(processes, grace=3)
    stopped = stop_jobs(settings, run.id)
    for one in (*api.children(run.id), run):
        if not one.is_final:
            api.set_state(one.id, "CANCELLED", "Cancelled", "cancelled in place of its worker")
    log.info("%s (%s): cancelled in place of its worker; jobs: %s", run.name, run.id, ", ".join(stopped) or "none")


def stop_jobs(settings: Settings, run: str) -> list[str]:
    """Stop the Ray jobs of a run; a Ray that does not answer has none any more."""
    try:
        jobs = [j["submission_id"] for j in call_ray(settings, "/api/jobs/") if j["status"] in ("PENDING", "RUNNING")]
        ours = [job for job in jobs if job and job.startswith(run)]
        for job in ours:
            call_ray(settings, f"/api/jobs/{job}/stop", body={})
    except NoAnswer:
        return []
    return ours


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0
