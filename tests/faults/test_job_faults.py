"""kill -9 of the job in the middle of a feature write: the retry ends with the right table."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from polars.testing import assert_frame_equal
from ray.job_submission import JobStatus

from infra.jobs import Jobs
from karat.features import compute_table
from karat.lake import Lake
from karat.quality import write_sample
from tests.shop import Shop

#: Prefect takes two minutes to notice the zombie: it is killed before these tests, and looked for after them.
pytestmark = [pytest.mark.platform, pytest.mark.faults, pytest.mark.usefixtures("zombie")]


def driver_of(job_prefix: str) -> int:
    """The process of the job's program, not that of the shell which started it."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if line[1:3] == ["-m", "ray_jobs.compute_features"] and job_prefix in line[-1]:
            return process.pid
    raise AssertionError("no driver found")


def kill_when_half_written(shop: Shop) -> None:
    """The shard of the first customer waits; the other shard's files lie there, uncommitted, before the kill."""
    folder = shop.lake.path(shop.project.table_name("spend"))
    end = time.monotonic() + 120
    try:
        while not (shop.reached and list(folder.rglob("*.parquet"))):
            assert time.monotonic() < end, "the write never began"
            time.sleep(0.1)
        os.kill(driver_of(shop.last_run().id), signal.SIGKILL)
    finally:
        shop.release()


def test_the_retry_of_a_killed_feature_write_ends_with_the_right_table(shop: Shop, tmp_path: Path):
    project = shop.project
    write_sample(project, shop.lake)
    shop.hold()
    killer = threading.Thread(target=kill_when_half_written, args=(shop,))
    killer.start()
    ended = shop.run("feature_pipeline")
    killer.join()
    assert ended == {"outcomes": {"spend": "done"}}

    jobs, run = Jobs(shop.settings), shop.last_run()
    assert [jobs.status(f"{run.id}-features-{n}") for n in (1, 2)] == [JobStatus.FAILED, JobStatus.SUCCEEDED]

    undisturbed = Lake(tmp_path / "undisturbed", "dev")
    write_sample(project, undisturbed)
    compute_table(project, "spend", undisturbed, shards=1)
    name, keys = project.table_name("spend"), ["customer_id", "day"]
    found, expected = shop.lake.read(name).sort(keys), undisturbed.read(name).sort(keys)
    assert_frame_equal(found, expected, abs_tol=1e-9, check_column_order=False)
    assert shop.lake.version(name) == 1  # made, then written in one commit
