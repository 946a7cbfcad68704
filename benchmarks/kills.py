"""kill -9 of each part of the platform at random moments of a run: what becomes of the run, and of the platform.

A run of one small model is started, trained anew each time. At a random moment of it one process of the part is killed.
The run must complete, or end with an error that says why; it must never stay Running. The platform must be whole again
within a minute, without a hand: every part answers and every check of `karat status` holds. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from benchmarks._platform import trial_platform
from infra.local.instances import running_instance
from infra.local.processes import flow_processes, ours
from infra.local.status import status
from infra.local.supervisor import Supervisor
from infra.prefect_api import Prefect, Run
from karat.errors import KaratError
from karat.settings import Settings

FLOW = "master-orchestrator"
#: The platform must be whole so many seconds after a kill.
WHOLE_SECONDS = 60.0
#: A run that has not ended so long after its kill is stuck: three retries of a step wait 65 s in all.
STUCK_SECONDS = 480.0
#: Words of the command line of processes that are no part's own instance.
WORDS = {
    "ray-head": "gcs/gcs_server",
    "raylet": "raylet/raylet",
    "ray-dashboard": "dashboard/dashboard.py",
    "replica": "ray::ServeReplica",
    "proxy": "haproxy",
    "driver": "-m ray_jobs.",
}
INSTANCES = ("worker", "prefect", "mlflow", "keeper")
PARTS = ("supervisor", *INSTANCES, *WORDS, "flow", "worker-and-flow")

Outcome = Literal["completed", "ended", "stuck"]


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it.

    Attributes:
        part: What was killed.
        after: Seconds of the run before the kill.
        outcome: Whether the run completed, ended with an error, or did neither in time.
        message: The error of a run that ended so.
        run_seconds: From the kill to the run's end.
        whole_seconds: From the kill until the platform was whole; None if it was not in time.
    """

    part: str
    after: float
    outcome: Outcome
    message: str
    run_seconds: float
    whole_seconds: float | None

    @property
    def survived(self) -> bool:
        """Whether all that must hold did hold."""
        named = self.outcome == "completed" or (self.outcome == "ended" and bool(self.message.strip()))
        return named and self.whole_seconds is not None and self.whole_seconds <= WHOLE_SECONDS


def victims(settings: Settings, part: str, run: str) -> list[psutil.Process]:
    """The processes of a part to kill, at the moment; empty if there is none."""
    flow = flow_processes(settings).get(run, [])[:1]
    if part == "supervisor":
        return Supervisor(settings).processes()
    if part == "flow":
        return flow
    if part in INSTANCES or part == "worker-and-flow":
        worker = running_instance(settings, part.partition("-")[0])
        found = [] if worker is None else [worker]
        return found if part in INSTANCES else [*found, *flow] if found and flow else []
    return [p for p in ours(settings) if WORDS[part] in _command(p)][:1]


def _command(process: psutil.Process) -> str:
    try:
        line = " ".join(process.cmdline())
        return "" if line.startswith("/bin/sh") else line
    except psutil.Error:
        return ""


def kill_once(settings: Settings, part: str, start: Callable[[Prefect], Run], usual: float) -> Kill:
    """Start a run, kill a process of the part at a random moment of it, and see what becomes of both."""
    api = Prefect(settings)
    run, began = start(api), time.monotonic()
    moment = random.SystemRandom().uniform(0, usual)
    time.sleep(moment)
    while not (chosen := victims(settings, part, run.id)) and not api.run(run.id).is_final:
        time.sleep(0.2)
    if not chosen:  # the run was over before
        chosen = victims(settings, part, run.id)
    for process in chosen:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    whole: float | None = None
    ended: Run | None = None
    run_seconds = 0.0
    while time.monotonic() - killed < STUCK_SECONDS and (ended is None or whole is None):
        if whole is None and status(settings).sound:
            whole = time.monotonic() - killed
        if ended is None:
            with contextlib.suppress(KaratError):
                now = api.run(run.id)
                if now.is_final:
                    ended, run_seconds = now, time.monotonic() - killed
        time.sleep(0.5)
    outcome: Outcome = "stuck" if ended is None else "completed" if ended.state_type == "COMPLETED" else "ended"
    message = "" if ended is None or outcome == "completed" else ended.message
    return Kill(part, round(killed - began, 1), outcome, message, round(run_seconds, 1), whole and round(whole, 1))


def starter(project: str, model: str) -> Callable[[Prefect], Run]:
    """What starts a run that trains the model anew."""
    parameters = {"project": project, "models": [model], "train": "always", "full": True}
    return lambda api: api.start(FLOW, project, f"kill-{project}", parameters)


def usual_seconds(settings: Settings, start: Callable[[Prefect], Run]) -> float:
    """How long a run takes that nobody disturbs; the first one also makes the sample."""
    api, seconds = Prefect(settings), 0.0
    for _ in range(2):
        run, began = start(api), time.monotonic()
        while not (now := api.run(run.id)).is_final:
            time.sleep(0.3)
        if now.state_type != "COMPLETED":
            sys.exit(f"the undisturbed run ended as {now.state_name}: {now.message}")
        seconds = time.monotonic() - began
    return seconds


def table(kills: list[Kill]) -> str:
    """A line for each part."""
    lines = [f"{'part':<16}{'kills':>6}{'completed':>11}{'ended':>7}{'stuck':>7}{'whole after, s':>16}{'longest':>9}"]
    for part in dict.fromkeys(kill.part for kill in kills):
        of = [kill for kill in kills if kill.part == part]
        counts = [sum(kill.outcome == outcome for kill in of) for outcome in ("completed", "ended", "stuck")]
        took = sorted(kill.whole_seconds or float("inf") for kill in of)
        middle = took[len(took) // 2]
        lines.append(
            f"{part:<16}{len(of):>6}{counts[0]:>11}{counts[1]:>7}{counts[2]:>7}{middle:>16.1f}{took[-1]:>9.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Kill, print the table and end with its verdict."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="what to kill; all parts by default")
    parser.add_argument("--times", type=int, default=20, help="kills of each part")
    parser.add_argument("--project", default="customers")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--here", action="store_true", help="on the platform that runs; else on one of its own")
    parser.add_argument("--results", type=Path, help="a file to which each kill is added, as a line of JSON")
    chosen = parser.parse_args()
    start, kills = starter(chosen.project, chosen.model), []
    with trial_platform(here=chosen.here) as settings:
        usual = usual_seconds(settings, start)
        print(f"an undisturbed run takes {usual:.0f} s", flush=True)
        for number in range(chosen.times):
            for part in chosen.part or PARTS:
                kill = kill_once(settings, part, start, usual)
                kills.append(kill)
                print(f"{number + 1:>3} {json.dumps(asdict(kill))}", flush=True)
                if chosen.results:
                    with chosen.results.open("a") as file:
                        file.write(json.dumps(asdict(kill)) + "\n")
    print(table(kills))
    lost = [kill for kill in kills if not kill.survived]
    print(f"kills: {len(kills) - len(lost)} survived, {len(lost)} not")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
