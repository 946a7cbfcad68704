"""XGBoost by two Ray workers beside bare `xgboost.train` on two threads: 10 million rows by 20 columns, 100 rounds.

Both read the same Delta table. *Once started* are reading and fitting. *All in* is also the start: of the bare process,
and of the workers on a Ray that runs. The bare side makes XGBoost's QuantileDMatrix from the Arrow table.
``--million 1`` takes another size, ``--rounds``, ``--runs`` and ``--backends`` other numbers. ``--alone`` measures
Karat by itself. A small ``--memory`` (GiB of a worker) fits out of core. ``--folder`` keeps the table for later.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import psutil
from deltalake import DeltaTable, write_deltalake

from benchmarks.events import warm_ray
from benchmarks.measure import HERE, Claim, conclude, family, peak_memory, versions
from karat.kinds import Model
from karat.training.fit_placement import FitPlan
from karat.training.sharded_fit import REPORT, ShardedFit, load_fitted, sharded_fit
from karat.training_sets.files import DataFile, TrainingSetFiles
from ray_jobs.fitter import RayFitter

COLUMNS, FILE_ROWS = 20, 500_000
FEATURES = tuple(f"f{k}" for k in range(COLUMNS))
PARAMETERS = {"max_depth": 6, "learning_rate": 0.1}


def main() -> None:
    """Measure both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--backends", default="ray_train,xgboost_ray")
    parser.add_argument("--memory", type=float, default=4)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        if not (folder / "table").exists():
            write_rows(folder / "table", int(chosen.million * 1e6))
        warm_ray()
        measure(folder, chosen)
    finally:
        if not chosen.folder:
            shutil.rmtree(folder)


def measure(folder: Path, chosen: argparse.Namespace) -> None:
    """Run the sides in turn, and print the claims."""
    backends = chosen.backends.split(",")
    sides = ([] if chosen.alone else ["bare"]) + backends
    seconds: dict[str, list[float]] = {f"{side}, {part}": [] for side in sides for part in ("all in", "once started")}
    peaks: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, float] = {}
    for _ in range(chosen.runs):
        for side in sides:
            if side == "bare":
                found = run_bare(folder, chosen.rounds)
            else:
                found = run_workers(folder, chosen.rounds, side, chosen.memory)
            seconds[f"{side}, all in"].append(found["all"])
            seconds[f"{side}, once started"].append(found["started"])
            peaks[side].append(found["peak"])
            losses[side] = found["loss"]
    claims = []
    for backend in backends if not chosen.alone else ():
        for part, most in (("once started", 1.2), ("all in", 1.4)):
            ratio = median(seconds[f"{backend}, {part}"]) / median(seconds[f"bare, {part}"])
            claims.append(Claim(f"{backend} over bare xgboost.train, {part}", ratio, most))
        claims.append(
            Claim(f"{backend}: a worker's peak over the bare one", max(peaks[backend]) / max(peaks["bare"]), 0.7)
        )
    conclude_or_print(claims, seconds, chosen, peaks_gib={s: round(max(p), 2) for s, p in peaks.items()}, loss=losses)


def conclude_or_print(
    claims: list[Claim], seconds: dict[str, list[float]], chosen: argparse.Namespace, **more: object
) -> None:
    """Write the result of both sides, or print that of Karat alone."""
    rows, of = int(chosen.million * 1e6), versions("ray", "xgboost", "xgboost-ray", "deltalake")
    if claims:
        conclude("distributed_xgboost", claims, seconds, of, rows=rows, rounds=chosen.rounds, **more)
    else:
        print(json.dumps({"rows": rows, "rounds": chosen.rounds, "seconds": seconds, "versions": of, **more}, indent=1))


def write_rows(table: Path, rows: int) -> None:
    """A Delta table of normal features and a number to be learned from seven of them."""
    for part, start in enumerate(range(0, rows, FILE_ROWS)):
        draw = np.random.default_rng(part)
        X = draw.normal(size=(min(FILE_ROWS, rows - start), COLUMNS))
        y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3:7].sum(1) + draw.normal(size=len(X))
        frame = pl.DataFrame(dict(zip(FEATURES, X.T, strict=True)) | {"y": y})
        write_deltalake(str(table), frame.to_arrow(), mode="append")


def files_of(table: Path) -> TrainingSetFiles:
    """The Parquet files of the Delta table as the rows of a fit."""
    delta = DeltaTable(str(table))
    actions = pl.DataFrame(delta.get_add_actions(flatten=True)).sort("path")
    files = tuple(DataFile(path, rows, "train") for path, rows in actions.select("path", "num_records").rows())
    schema = pl.scan_parquet(table / files[0].name).head(0).collect().to_arrow().schema
    return TrainingSetFiles(
        folder=table,
        files=files,
        schema=schema,
        features=FEATURES,
        label="y",
        time=None,
        entity=(),
        digest="",
        rows=sum(f.rows for f in files),
    )


def described(folder: Path, rounds: int) -> ShardedFit:
    """The fit: its label is read here, its features by the workers."""
    files = files_of(folder / "table")
    y = np.concatenate([batch.column("y").to_numpy() for batch in files.batches(columns=["y"])])
    model = Model("xgboost", "regression", PARAMETERS | {"n_estimators": rounds, "early_stopping_rounds": 0})
    model.fit_encoder(pl.DataFrame({name: [0.0] for name in FEATURES}), pl.Series("y", [0.0]))
    return sharded_fit(model, files, "y", y)


def run_workers(folder: Path, rounds: int, backend: str, memory: float) -> dict[str, float]:
    """One fit by two workers of one core."""
    kept = folder / "fit"
    own = psutil.Process().pid
    with peak_memory(lambda: [pid for pid in family() if pid != own and is_worker(pid)]) as peak:
        began = time.perf_counter()
        fit = described(folder, rounds)
        fitted = RayFitter()(fit, FitPlan(backend, 2, 1, False, int(memory * 2**30)), kept)
        model = load_fitted(fit.model, fitted)
        taken = time.perf_counter() - began
    started = json.loads((fitted / REPORT).read_text())["seconds"]
    shutil.rmtree(kept)
    loss = model.kind.curve["train"][-1]
    return {"all": taken, "started": started, "peak": peak["process"], "loss": loss}


def is_worker(pid: int) -> bool:
    """Whether it is a worker of a fit, and no server of Ray's."""
    try:
        line = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
    return "ray::" in line


def run_bare(folder: Path, rounds: int) -> dict[str, float]:
    """One fit by a process of two threads."""
    began = time.perf_counter()
    program = [sys.executable, str(HERE / "peers" / "bare_xgboost.py"), str(folder / "table"), str(rounds)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    with peak_memory(lambda: [process.pid]) as peak:
        said, _ = process.communicate()
    taken = time.perf_counter() - began
    assert process.returncode == 0
    found = json.loads(said.splitlines()[-1])
    return {"all": taken, "started": found["seconds"], "peak": peak["process"], "loss": found["loss"]}


if __name__ == "__main__":
    main()
