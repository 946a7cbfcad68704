"""What benchmarks share: sides that take turns, a peer in its own environment, peak memory, claims and results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

HERE = Path(__file__).parent
RESULTS = HERE / "results"
#: The peers' own environment, made by `make bench`.
PEERS = Path(os.environ.get("KARAT_BENCH_PYTHON", HERE.parent / ".bench-venv" / "bin" / "python"))

#: One measured run of a side, in seconds.
Side = Callable[[], float]


@dataclass(frozen=True)
class Claim:
    """``ratio`` is to be at most, or at least, ``target``."""

    what: str
    ratio: float
    target: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    @property
    def margin(self) -> float:
        """Above 1 where it holds, by how much."""
        return self.ratio / self.target if self.at_least else self.target / max(self.ratio, 1e-12)

    def line(self, name: str) -> str:
        bound = f"at {'least' if self.at_least else 'most'} {self.target:g}"
        return f"{name}: ratio {self.ratio:.3g} (target {bound}): {'holds' if self.holds else 'falls short'}"


def timed(work: Callable[[], Any]) -> Side:
    """A side that is a function of this process."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def take_turns(sides: Mapping[str, Side], runs: int, *, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each run. Sides alternate, so that a neighbour's load falls on all; warm-up runs don't count. Between
    them the kernel writes what it still owes the disk: a side is not to wait for what the one before it has written."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm + runs):
        for name, side in sides.items():
            os.sync()
            taken = side()
            if turn >= warm:
                seconds[name].append(taken)
    return seconds


class Peer:
    """A program of the peers' environment that is kept running: its imports and its start are not measured.

    It reads a line, does its work once, and answers with a line of JSON: ``seconds`` and whatever else it measured.
    """

    def __init__(self, program: str, *arguments: str) -> None:
        if not PEERS.exists():
            sys.exit(f"the peers are not installed ({PEERS}): make bench does that")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is read when the peer has ended
        self._process = subprocess.Popen(
            [str(PEERS), str(HERE / "peers" / f"{program}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "VIRTUAL_ENV")},
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def measure(self, command: str = "run") -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def run(self) -> float:
        return float(self.measure()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print what they like
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._errors.seek(0)
        raise RuntimeError(f"the peer ended: {self._errors.read()[-3000:]}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def peak_memory(pids: Callable[[], list[int]]) -> Iterator[dict[str, float]]:
    """``{"process": GiB of the largest process, "all": GiB of all together}``, sampled twenty times a second."""
    peak, ended = {"process": 0.0, "all": 0.0}, threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            sizes = [size for pid in pids() if (size := _resident(pid))]
            peak["process"] = max(peak["process"], *sizes, 0) if sizes else peak["process"]
            peak["all"] = max(peak["all"], sum(sizes))

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _resident(pid: int) -> float:
    """GiB, less what it shares with others (Ray's object store is mapped into every worker)."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0.0
    return float(memory.rss - memory.shared) / 2**30


def family(pid: int | None = None) -> list[int]:
    """The process (this one) and all that descend from it."""
    try:
        process = psutil.Process(pid)
        return [process.pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


def shown(seconds: Mapping[str, list[float]]) -> None:
    for name, taken in seconds.items():
        runs = ", ".join(f"{t:.3g}" for t in taken)
        print(f"  {name:<28} {median(taken):9.4g} s   median of {runs}", flush=True)


def conclude(
    name: str, claims: list[Claim], seconds: Mapping[str, list[float]], versions: Mapping[str, str], **more: Any
) -> None:
    """Prints what was measured and, last, the line of the claim with the least margin; writes all of it as JSON."""
    where = machine()
    shown(seconds)
    print(f"  {where['cores']} cores, load {where['load'][0]}; {', '.join(f'{p} {v}' for p, v in versions.items())}")
    for what, value in more.items():
        print(f"  {what}: {value}")
    for claim in claims:
        print("  " + claim.line(claim.what))
    least = min(claims, key=lambda claim: claim.margin)
    RESULTS.mkdir(exist_ok=True)
    record = {
        "name": name,
        "claims": [{**asdict(c), "holds": c.holds} for c in claims],
        "seconds": dict(seconds),
        "versions": dict(versions),
        "machine": where,
        **more,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(least.line(name), flush=True)
