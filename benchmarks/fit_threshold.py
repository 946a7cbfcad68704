"""From how many values on two Ray workers fit XGBoost faster than one process: 100 rounds on 20 columns, all in.

One process reads the rows, encodes them and fits in one thread, as a model does that declares no ``n_jobs``. Two
workers of one CPU are started on a Ray that runs, and stream the rows from the same files. The sides take turns at each
size. It prints their seconds, and the size at which the two lines through the measurements meet. ``AUTO_VALUES`` of
``karat/training/fit_placement.py`` is set by it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.distributed_xgboost import COLUMNS, FEATURES, PARAMETERS, files_of, run_workers, write_rows
from benchmarks.events import warm_ray
from karat.kinds import Model


def main() -> None:
    """Measure both sides at each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", default="0.5,1,2", help="millions of rows")
    parser.add_argument("--rounds", type=int, default=100)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    seconds: dict[float, tuple[float, float]] = {}
    try:
        warm_ray()
        for million in map(float, chosen.million.split(",")):
            shutil.rmtree(folder / "table", ignore_errors=True)
            write_rows(folder / "table", int(million * 1e6))
            if not seconds:
                run_workers(folder, 1, "ray_train", 4)  # the first start on a Ray imports the libraries
            several = run_workers(folder, chosen.rounds, "ray_train", 4)["all"]
            seconds[million] = one_process(folder, chosen.rounds), several
            print(f"{million:g} million rows: {seconds[million][0]:.1f} s and {seconds[million][1]:.1f} s", flush=True)
    finally:
        shutil.rmtree(folder)
    sizes = np.array(list(seconds)) * 1e6 * COLUMNS
    (slope, start), (slope_of_two, start_of_two) = (
        np.polyfit(sizes, [pair[side] for pair in seconds.values()], 1) for side in (0, 1)
    )
    found = {"seconds": seconds, "rounds": chosen.rounds, "values": (start_of_two - start) / (slope - slope_of_two)}
    print(json.dumps(found, indent=1))


def one_process(folder: Path, rounds: int) -> float:
    """Seconds of one process of one thread: reading, encoding, fitting."""
    began = time.perf_counter()
    rows = pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in files_of(folder / "table").batches()])
    model = Model("xgboost", "regression", PARAMETERS | {"n_estimators": rounds, "early_stopping_rounds": 0})
    model.fit(rows.select(FEATURES), rows["y"])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
