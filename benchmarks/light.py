"""How light the platform is: `karat up` cold and repeated, the smallest run with a retrained model, and an idle minute.

A home of its own, its ports, one project. Each command is measured as a user calls it, its own start included; beside
the seconds stands the CPU time of all of the platform's processes, which depends less on what else the machine does.
``--runs`` of the retrained model (the first, which makes the sample, does not count), ``--idle`` seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks._platform import PORTS, ROOT, free_block
from benchmarks.measure import Claim, conclude, versions
from infra.local.processes import ours
from karat.settings import Settings

PROJECT, MODEL = "customers", "churn"
#: Targets: seconds; CPU seconds a minute; MiB.
COLD, REPEATED, RETRAINED, IDLE_CPU, IDLE_MIB = 25, 3, 25, 8, 2048
#: What a platform still does of its own after a start or a run.
SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Taken:
    """What one command took: wall time, and CPU time of the platform's processes."""

    seconds: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="of the retrained model")
    parser.add_argument("--idle", type=float, default=60, help="seconds of idleness to measure")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    shutil.copytree(ROOT / "projects" / PROJECT, folder / "projects" / PROJECT)
    block = free_block(40)
    numbers = {name: block + place for place, name in enumerate(PORTS)} | {"ray_port_base": block + 10}
    settings = Settings(home=folder / "home", projects=folder / "projects", job_pending_seconds=120, **numbers)
    try:
        measure(settings, chosen.runs, chosen.idle)
    finally:
        karat(settings, "down")
        shutil.rmtree(folder, ignore_errors=True)


def measure(settings: Settings, runs: int, idle: float) -> None:
    cold = karat(settings, "up")
    repeated = [karat(settings, "up") for _ in range(3)]
    karat(settings, "run", PROJECT, "--models", MODEL)
    retrained = [retrain(settings, number) for number in range(1, runs + 1)]
    time.sleep(SETTLE_SECONDS)
    before, began = cpu_seconds(settings), time.monotonic()
    time.sleep(idle)
    minutes = (time.monotonic() - began) / 60
    spent, memory = (cpu_seconds(settings) - before) / minutes, pss(settings) / 2**20
    claims = [
        Claim("seconds of karat up, cold", cold.seconds, COLD),
        Claim("seconds of karat up, repeated", min(t.seconds for t in repeated), REPEATED),
        Claim("seconds of the smallest run, retrained", min(t.seconds for t in retrained), RETRAINED),
        Claim("CPU seconds of an idle minute", spent, IDLE_CPU),
        Claim("MiB (PSS) of the idle platform", memory, IDLE_MIB),
    ]
    taken = {"cold": [cold], "repeated": repeated, "retrained": retrained}
    more: dict[str, Any] = {f"cpu_{name}": [round(t.cpu, 1) for t in each] for name, each in taken.items()}
    seconds = {f"karat {what}": [t.seconds for t in each] for what, each in taken.items()}
    conclude("light", claims, seconds, versions("ray", "prefect", "mlflow"), **more)


def karat(settings: Settings, *command: str) -> Taken:
    """Call the command line as a user does."""
    before, began = cpu_seconds(settings), time.monotonic()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KARAT_")} | settings.as_environment()
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli.app", *command],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"karat {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Taken(seconds, cpu_seconds(settings) - before)


def retrain(settings: Settings, number: int) -> Taken:
    """The run of one model whose definition has changed, so that it is trained anew."""
    file = next(settings.projects.rglob(f"{MODEL}.yaml"))
    file.write_text(re.sub(r"learning_rate: [\d.]+", f"learning_rate: {0.05 + number / 1000}", file.read_text()))
    return karat(settings, "run", PROJECT, "--models", MODEL, "--train", "always")


def cpu_seconds(settings: Settings) -> float:
    """Of all the platform's processes, and of those that these have waited for."""
    total = 0.0
    for process in ours(settings):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def pss(settings: Settings) -> int:
    """Bytes: memory that several processes share counts once."""
    total = 0
    for process in ours(settings):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{process.pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
    return total


if __name__ == "__main__":
    main()
