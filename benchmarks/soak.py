"""A soak: memory and open files of every process of the platform, under light load, must stay flat after warm-up.

Every second the smallest request goes to each server: MLflow's, Prefect's and Ray's health, a prediction where there is
a champion; every minute a flow run that does nothing new. PSS and file handles of all processes are sampled, grouped by
what they are. Only processes that live through the whole time count. What a process always holds is the least that it
falls back to: connections and buffers come and go with a run. After the warm-up, that of the last third of the samples
may be at most 5 % above that of the first third. Exit status 1 where a group grew by more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks._platform import trial_platform
from benchmarks.kills import FLOW
from infra.local.probes import NoAnswer, call
from infra.local.processes import ours, part_of
from infra.prefect_api import Prefect
from karat.errors import KaratError
from karat.settings import Settings

#: What the median may grow by after the warm-up.
GROWTH = 0.05
#: What the smallest processes may grow by all the same: pages and handles come in pieces.
SLACK_BYTES, SLACK_HANDLES = 4 * 2**20, 3
MIB = 2**20
#: In the command lines of Ray's own processes that have no title.
WORDS = ("gcs_server", "raylet", "dashboard/dashboard.py", "dashboard/agent.py", "runtime_env/agent", "haproxy")


@dataclass(frozen=True)
class Sample:
    """One process at one moment: what it is, its PSS in bytes, its open files."""

    kind: str
    pss: int
    handles: int


@dataclass(frozen=True)
class Growth:
    """What the processes of a kind hold in the first and in the last third of the time after warm-up, at the least."""

    kind: str
    processes: int
    pss: tuple[float, float]
    handles: tuple[float, float]

    @property
    def flat(self) -> bool:
        """Whether neither memory nor handles grew by more than allowed."""
        return _flat(*self.pss, SLACK_BYTES) and _flat(*self.handles, SLACK_HANDLES)


def _flat(first: float, last: float, slack: float) -> bool:
    return last <= max(first * (1 + GROWTH), first + slack)


def kind_of(process: psutil.Process) -> str | None:
    """A name for what a process is, the same for its successors; None for one that comes and goes with a job."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return None
    text = " ".join(line)
    if match := re.match(r"ray::([A-Za-z:]+)", text):
        return None if match[1] in ("IDLE", "") else f"ray::{match[1]}"
    for word in (
        "gcs_server",
        "raylet",
        "dashboard/dashboard.py",
        "dashboard/agent.py",
        "runtime_env/agent",
        "haproxy",
    ):
        if word in text:
            return word
    if "log_monitor.py" in text or "autoscaler" in text:
        return Path(next(w for w in line if w.endswith(".py"))).name
    if "supervisor.supervisord" in text:
        return "supervisord"
    if "prefect.engine" in text or "ray_jobs." in text:
        return None
    return part_of(process) or None


def sample(settings: Settings) -> dict[str, Sample]:
    """Every lasting process as it is now, by its id and start."""
    found = {}
    for process in ours(settings):
        with contextlib.suppress(psutil.Error, OSError):
            if kind := kind_of(process):
                who = f"{process.pid}-{process.create_time()}"
                found[who] = Sample(kind, process.memory_full_info().pss, process.num_fds())
    return found


def growths(samples: Sequence[dict[str, Sample]]) -> list[Growth]:
    """Compare the first third of the samples with the last one, for the processes that are in all samples."""
    third = max(1, len(samples) // 3)
    lasting = [who for who in samples[-1] if all(who in one for one in samples)]
    kinds: dict[str, list[str]] = defaultdict(list)
    for who in lasting:
        kinds[samples[-1][who].kind].append(who)

    def least(of: list[str], part: Sequence[dict[str, Sample]], what: str) -> int:
        return sum(min(getattr(one[who], what) for one in part) for who in of)

    first, last = samples[:third], samples[-third:]
    return [
        Growth(
            kind,
            len(of),
            (least(of, first, "pss"), least(of, last, "pss")),
            (least(of, first, "handles"), least(of, last, "handles")),
        )
        for kind, of in sorted(kinds.items())
    ]


def table(found: Sequence[Growth]) -> str:
    """A line for each kind of process."""
    lines = [f"{'process':<26}{'n':>3}{'PSS, MiB':>18}{'':>8}{'handles':>16}  verdict"]
    for growth in found:
        (a, b), (c, d) = growth.pss, growth.handles
        change = f"{b / a - 1:+.1%}" if a else ""
        memory, files = f"{a / MIB:.1f} to {b / MIB:.1f}", f"{c:.0f} to {d:.0f}"
        verdict = "flat" if growth.flat else "GREW"
        lines.append(f"{growth.kind[:25]:<26}{growth.processes:>3}{memory:>18}{change:>8}{files:>16}  {verdict}")
    return "\n".join(lines)


def loads(settings: Settings, project: str, model: str) -> list[Callable[[], object]]:
    """The requests of a second of light load."""
    return [
        lambda: call(f"{settings.mlflow_url}/health"),
        lambda: call(f"{settings.prefect_api_url}/health"),
        lambda: call(f"{settings.serve_url}/health"),
        lambda: call(f"{settings.serve_url}/v1/models/{project}.{model}"),
    ]


def soak(settings: Settings, minutes: float, warm: float, project: str, model: str) -> list[dict[str, Sample]]:
    """Load the platform, and sample it four times a minute once it is warm."""
    api, requests = Prefect(settings), loads(settings, project, model)
    parameters = {"project": project, "models": [model], "train": "when-due"}
    begin, samples, next_run, next_sample = time.monotonic(), [], 0.0, warm * 60
    while (now := time.monotonic() - begin) < (warm + minutes) * 60:
        for request in requests:
            with contextlib.suppress(NoAnswer):
                request()
        if now >= next_run:
            next_run = now + 60
            with contextlib.suppress(KaratError):
                api.start(FLOW, project, f"soak-{project}", parameters)
        if now >= next_sample:
            next_sample = now + 15
            samples.append(sample(settings))
        time.sleep(1)
    return samples


def main() -> None:
    """Soak, print the table and end with its verdict."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="after the warm-up")
    parser.add_argument("--warm", type=float, default=5, help="minutes of the warm-up")
    parser.add_argument("--project", default="customers")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--here", action="store_true", help="on the platform that runs; else on one of its own")
    parser.add_argument("--samples", type=Path, help="a file for all samples, as JSON")
    chosen = parser.parse_args()
    with trial_platform(here=chosen.here) as settings:
        samples = soak(settings, chosen.minutes, chosen.warm, chosen.project, chosen.model)
    if chosen.samples:
        chosen.samples.write_text(json.dumps([{k: vars(s) for k, s in one.items()} for one in samples]))
    found = growths(samples)
    print(table(found))
    grown = [growth.kind for growth in found if not growth.flat]
    print(f"soak of {chosen.minutes:g} minutes: {', '.join(grown) + ' grew' if grown else 'all flat'}")
    sys.exit(bool(grown) or not found)


if __name__ == "__main__":
    main()
