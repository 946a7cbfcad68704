"""The 25 models of health_monitor end to end: from gold to predictions, on the running platform and by a bare script.

Karat is `master-orchestrator` on a platform that has just been started and holds gold alone: features, their checks and
statistics, training, judgement and registration, promotion, batch scoring and serving, from the call until all of that
is done. The run ends with reports of drift, for which the bare script has nothing; the time with them is told, too.
The bare script is one process that makes the same feature rows, labels, fits, metrics and scores with all cores, from
its start to its end. Both read the same gold; that they did the same is asserted.
``--scale`` of the sample, ``--runs`` of each side; ``--domain`` tries one domain's models alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._platform import PORTS, free_block
from benchmarks.measure import Claim, conclude, machine, take_turns, versions
from infra.local.environment import use_platform
from infra.local.platform import down, up
from infra.prefect_api import Prefect, Run
from karat.declare import Project, load_project
from karat.lake import Lake
from karat.quality import write_sample
from karat.registry import Registry
from karat.settings import Settings

ROOT = Path(__file__).parent.parent
PROJECT = "health_monitor"
#: What Karat may take beyond the bare script for a model: registering, checking, judging and moving it, in seconds.
ALLOWED = 4
#: What the primary metrics of the two sides may differ by, relative: sums of floats in another order, and no more.
TOLERANCE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the sample; 1 is the documented size")
    parser.add_argument("--runs", type=int, default=1, help="of each side")
    parser.add_argument("--domain", help="only the models of this domain; for a try, no claim is made of it")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        measure(folder, chosen.scale, chosen.runs, chosen.domain)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, scale: float, runs: int, domain: str | None) -> None:
    gold = Settings(home=folder / "gold", projects=ROOT / "projects")
    project = load_project(PROJECT, gold)
    chosen = project.select(domain=domain)
    needed = project.gold_of(project.tables_of(chosen))
    write_sample(project, Lake(gold.lake, gold.environment), scale=scale, seed=0, tables=needed)
    told: dict[str, Any] = {}

    def karat() -> float:
        with platform(folder / "platform", gold) as settings:
            seconds, told["Karat"] = by_karat(settings, project, domain)
        return seconds

    def bare() -> float:
        seconds, told["bare"] = by_script(gold, folder / "bare", domain)
        return seconds

    seconds = take_turns({"Karat": karat, "bare script": bare}, runs, warm=0)
    check_same(told["Karat"], told["bare"])
    took = {name: median(taken) for name, taken in seconds.items()}
    models = len(chosen)
    claims = [
        Claim(
            f"seconds a model beyond the bare script, of {models} models",
            (took["Karat"] - took["bare script"]) / models,
            ALLOWED,
        ),
        Claim("Karat's time over an hour", took["Karat"] / 3600, 1),
    ]
    conclude(
        "pipeline_25" if domain is None else f"pipeline_{domain}",
        claims,
        seconds,
        versions("polars", "duckdb", "scikit-learn", "xgboost", "torch", "ray", "prefect", "mlflow", "deltalake"),
        scale=scale,
        karat_over_bare=round(took["Karat"] / took["bare script"], 2),
        karat_with_reports=told["Karat"]["whole"],
        karat_parts=told["Karat"]["parts"],
        bare_parts={part: round(sum(told["bare"][part].values()), 1) for part in ("features", "models")},
        bare_models=told["bare"]["models"],
        feature_rows=told["bare"]["rows"],
        not_champions=told["Karat"]["refused"],
    )


@contextmanager
def platform(home: Path, gold: Settings) -> Iterator[Settings]:
    """A platform of its own that holds nothing but the gold tables; its folder goes when it ends."""
    block = free_block(40)
    numbers = {name: block + place for place, name in enumerate(PORTS)} | {"ray_port_base": block + 10}
    settings = Settings(home=home, projects=ROOT / "projects", ray_cpus=machine()["cores"], **numbers)
    shutil.copytree(gold.lake, settings.lake, copy_function=os.link)
    try:
        up(settings)
        use_platform(settings)  # with the logins that it has made
        yield settings
    finally:
        down(settings)
        shutil.rmtree(home)


def by_karat(settings: Settings, project: Project, domain: str | None) -> tuple[float, dict[str, Any]]:
    """Seconds until the reports begin, and what came of the run: seconds of its parts and of all of it, feature rows,
    the models' primary metrics."""
    api = Prefect(settings)
    called, began = datetime.now(UTC), time.perf_counter()
    run = api.start(
        "master-orchestrator", PROJECT, "pipeline-25", {"project": PROJECT, "domain": domain, "train": "always"}
    )
    while not run.is_final:
        time.sleep(1)  # more often, the questions themselves would keep Prefect busy; its own times are what counts
        run = api.run(run.id)
    whole = time.perf_counter() - began
    if run.state_type != "COMPLETED":
        sys.exit(f"the run ended {run.state_name}: {run.message}\n{_errors(api, run)}")
    children = api.children(run.id)
    parts = {child.name: round(child.total_run_time, 1) for child in children}
    (reports,) = (child for child in children if child.name.startswith("monitoring"))
    assert reports.start_time is not None
    seconds = (reports.start_time - called).total_seconds()
    chosen = project.select(domain=domain)
    lake, registry = Lake(settings.lake, settings.environment), Registry(settings.mlflow_url)
    rows = {
        name: lake.read(project.table_name(name), columns=[project.tables[name].time]).height
        for name in project.tables_of(chosen)
    }
    metrics, refused = {}, []
    for name, spec in chosen.items():
        version = registry.challenger(project.model_name(name)) or registry.champion(project.model_name(name))
        assert version is not None, f"{name} was not registered"
        metrics[name] = version.metrics[spec.primary_metric]
        if registry.champion(project.model_name(name)) is None:
            refused.append(name)
    return seconds, {"whole": round(whole, 1), "parts": parts, "rows": rows, "metrics": metrics, "refused": refused}


def _errors(api: Prefect, run: Run) -> str:
    runs = [run.id, *(child.id for child in api.children(run.id))]
    assert run.created is not None
    return "\n".join(line.message for line in api.logs(runs, run.created) if line.level >= 40)


def by_script(gold: Settings, out: Path, domain: str | None) -> tuple[float, dict[str, Any]]:
    """Seconds of the process, and the JSON of its last line."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [
        sys.executable,
        "-m",
        "benchmarks._bare_pipeline",
        str(gold.home),
        str(out),
        *([domain] if domain else []),
    ]
    began = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if ended.returncode:
        sys.exit(f"the bare script failed:\n{ended.stderr[-3000:]}")
    return seconds, json.loads(ended.stdout.splitlines()[-1])


def check_same(karat: dict[str, Any], bare: dict[str, Any]) -> None:
    """The same feature rows and, but for rounding, models as good: neither side has left anything out."""
    assert karat["rows"] == bare["rows"], f"feature rows: {karat['rows']}, by the bare script {bare['rows']}"
    pairs = {name: (metric, bare["metrics"][name]["model"]) for name, metric in karat["metrics"].items()}
    apart = {name: (a, b) for name, (a, b) in pairs.items() if abs(a - b) > TOLERANCE * abs(b)}
    assert not apart, f"metrics of Karat and of the bare script: {apart}"


if __name__ == "__main__":
    main()
