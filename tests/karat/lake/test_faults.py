"""A process that is killed and a volume that is full leave every table as it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from karat.errors import DiskFull
from karat.lake import Lake, Work
from karat.names import TableName
from tests import warm

DAY = [date(2024, 1, 1)]

STAGES_AND_WAITS = textwrap.dedent(
    """
    import sys, time
    from datetime import date
    from pathlib import Path
    import polars as pl
    from karat.lake import Lake
    from karat.names import TableName

    lake = Lake(Path(sys.argv[1]), "dev")
    rows = [{"shop": s, "day": date(2024, 1, 1), "revenue": 9.0} for s in "ab"]
    lake.stage(TableName.parse(sys.argv[2]), pl.DataFrame(rows), label="killed")
    print("staged", flush=True)
    time.sleep(600)
    """
)

WRITES_FOR_EVER = textwrap.dedent(
    """
    import sys
    from datetime import date
    from pathlib import Path
    import polars as pl
    from karat.lake import Lake, Work
    from karat.names import TableName

    lake, name = Lake(Path(sys.argv[1]), "dev"), TableName.parse(sys.argv[2])
    frame = pl.DataFrame([{"shop": s, "day": date(2024, 1, d), "revenue": 0.0} for s in "abcd" for d in (1, 2, 3)])
    print("writing", flush=True)
    for n in range(10**6):
        rows = frame.with_columns(revenue=pl.lit(float(n)))
        if n % 2:
            lake.merge(name, rows)
        else:
            lake.overwrite(name, rows, work=Work("w", str(n)))
    """
)


def started(program: str, *args: str) -> warm.Popen:
    """The process, once it has said its first word."""
    process = warm.Popen([sys.executable, "-c", program, *args], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: warm.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL


def test_killed_between_stage_and_commit(lake, daily, sales):
    lake.merge(daily, sales("xy", [1]))
    version, rows = lake.version(daily), lake.read(daily).sort("shop")
    killed(started(STAGES_AND_WAITS, str(lake.root), str(daily)))
    assert len(list(lake.path(daily).rglob("killed-*.parquet"))) == 1  # it was in the middle
    assert lake.version(daily) == version
    assert lake.read(daily).sort("shop").equals(rows)
    assert DeltaTable(lake.path(daily)).to_pyarrow_table().num_rows == 2
    staged = lake.stage(daily, sales("ab", [1], 9.0), label="again")
    lake.commit(daily, staged, replace=DAY, work=Work("features", "k"))
    assert sorted(lake.read(daily)["shop"]) == ["a", "b"]


def test_killed_at_any_moment(lake, daily):
    """Whenever the writer dies, the table holds one whole write, and the next writer goes on."""
    rng = random.Random(0)
    for _ in range(4):
        process = started(WRITES_FOR_EVER, str(lake.root), str(daily))
        time.sleep(rng.uniform(0.05, 0.6))
        killed(process)
        rows = lake.read(daily)
        assert rows.height in (0, 12)
        assert rows["revenue"].n_unique() <= 1
        assert rows.select("shop", "day").is_unique().all()
    lake.overwrite(daily, lake.read(daily), work=Work("w", "last"))
    assert lake.last_work(daily, "w").key == "last"


# ---- a full disk: a real, small volume where one can be mounted, else a limit on the size of a file


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no volume can be mounted here; the test with a limited file size says the same")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Takes all but ``leave`` bytes of the volume."""
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    ballast.write_bytes(b"\0" * max(0, free - leave))
    return ballast


def noise(rows: int, day: int = 1) -> pl.DataFrame:
    """Rows that do not compress."""
    return pl.DataFrame(
        {
            "shop": [f"s{i}" for i in range(rows)],
            "day": pl.Series([date(2024, 1, day)] * rows),
            "revenue": np.random.default_rng(0).random(rows),
        }
    )


def contents(lake: Lake, name: TableName) -> tuple[int, pl.DataFrame, list[Path]]:
    return lake.version(name), lake.read(name).sort("shop"), sorted(p for p in lake.path(name).rglob("*.parquet"))


@pytest.mark.parametrize("verb", ["merge", "overwrite", "stage"])
def test_a_full_disk(small_volume, sales, verb):
    lake, name = Lake(small_volume / "lake", "dev"), TableName("shop_dev", "features", "sales")
    schema = sales("a", [1]).to_arrow().schema
    lake.create(name, schema, primary_key=("shop", "day"), timeseries="day")
    lake.merge(name, noise(100))
    before = contents(lake, name)
    ballast = fill(small_volume, 400_000)
    frame = pl.concat([noise(30_000, day).with_columns(revenue=pl.col("revenue") + day) for day in (1, 2, 3)])
    write = {
        "merge": lambda: lake.merge(name, frame),
        "overwrite": lambda: lake.overwrite(name, frame),
        "stage": lambda: lake.stage(name, frame, label="x"),
    }[verb]
    with pytest.raises(DiskFull, match=r"shop_dev\.features\.sales"):
        write()
    after = contents(lake, name)
    assert after[0] == before[0]
    assert after[1].equals(before[1])
    assert after[2] == before[2]  # not even the files that still had room are left
    ballast.unlink()
    lake.overwrite(name, noise(1000))
    assert lake.count(name) == 1000


def test_no_room_for_the_log_entry(small_volume, sales):
    """The rows are staged and their commit finds the disk full: later the same commit comes about."""
    lake, name = Lake(small_volume / "lake", "dev"), TableName("shop_dev", "features", "sales")
    lake.create(name, sales("a", [1]).to_arrow().schema, primary_key=("shop", "day"), timeseries="day")
    lake.merge(name, sales("z", [1]))
    staged = lake.stage(name, noise(1000), label="x")
    ballast = fill(small_volume, 0)
    work = Work("features", "k")
    with pytest.raises(DiskFull):
        lake.commit(name, staged, replace="all", work=work)
    assert lake.read(name)["shop"].to_list() == ["z"]
    assert lake.version(name) == 1
    new = TableName("shop_dev", "features", "new")
    with pytest.raises(DiskFull):
        lake.create(new, lake.info(name).schema, primary_key=("shop", "day"), timeseries="day")
    assert not lake.exists(new)
    ballast.unlink()
    assert lake.commit(name, staged, replace="all", work=work).rows == 1000
    assert lake.count(name) == 1000
    lake.create(new, lake.info(name).schema, primary_key=("shop", "day"), timeseries="day")


LIMITED = textwrap.dedent(
    """
    import resource, signal, sys
    from datetime import date
    from pathlib import Path
    import numpy as np
    import polars as pl
    from karat.errors import DiskFull
    from karat.lake import Lake
    from karat.names import TableName

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    lake, name = Lake(Path(sys.argv[1]), "dev"), TableName.parse(sys.argv[2])
    n = 50_000
    rows = {"shop": [f"s{i}" for i in range(n)], "day": [date(2024, 1, 2)] * n, "revenue": np.random.random(n)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        lake.merge(name, pl.DataFrame(rows))
    except DiskFull:
        print("full")
    """
)


def test_a_limited_file_size(lake, daily, sales):
    lake.merge(daily, sales("xy", [1]))
    before = contents(lake, daily)
    done = warm.run(
        [sys.executable, "-c", LIMITED, str(lake.root), str(daily)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "full", done.stderr
    after = contents(lake, daily)
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].equals(before[1])
