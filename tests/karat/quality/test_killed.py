"""An ingest that is killed leaves gold as it was; the same call again brings it to its end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time

import polars as pl

from karat.quality import ingest, origin, quarantine_name, write_sample
from tests import warm

PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from karat.declare import load_project
    from karat.lake import Lake
    from karat.quality import ingest
    from karat.settings import Settings

    root, projects, path = (Path(p) for p in sys.argv[1:])
    project = load_project("shop", Settings(projects=projects))
    print("begun", flush=True)
    ingest(project, "orders", [path], Lake(root, "dev"))
    print("done", flush=True)
    """
)


def test_killed_in_the_middle_of_an_ingest(lake, project, tmp_path):
    write_sample(project, lake)
    name = project.gold_name("orders")
    sample = lake.read(name).sort("order_id")
    rows = 60_000
    path = tmp_path / "big.csv"
    pl.DataFrame(
        {
            "order_id": [f"n{i}" for i in range(rows)],
            "placed_at": [f"2024-03-{i % 28 + 1:02}T10:00:00Z" for i in range(rows)],
            "items": [str(i % 7) for i in range(rows)],  # every seventh is below its minimum
            "amount": ["1"] * rows,
            "country": ["DE"] * rows,
            "paid": ["yes"] * rows,
            "due": [None] * rows,
        }
    ).write_csv(path)
    good = rows - len(range(0, rows, 7))
    rng = random.Random(1)
    command = [sys.executable, "-c", PROGRAM, str(lake.root), str(project.path.parent), str(path)]
    for _ in range(4):
        process = warm.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        stands = lake.read(name)
        assert stands.sort("order_id").equals(sample) if origin(lake, name) == "sample" else stands.height == good
    done = ingest(project, "orders", [path], lake)
    assert (done.rows, done.set_aside) == (good, rows - good)
    assert lake.read(name).height == good
    assert lake.read(quarantine_name(name)).height == rows - good
    assert lake.info(name).properties["karat.origin"] == origin(lake, name) == "ingest"
