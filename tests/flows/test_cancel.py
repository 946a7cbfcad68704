"""A run on the worker: its lines in Prefect while the job runs, and cancelling it stops the job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ray.job_submission import JobStatus

from infra.jobs import Jobs
from infra.prefect_api import Prefect
from tests.shop import Shop
from tests.waiting import wait_until

pytestmark = pytest.mark.platform


def test_cancelling_the_flow_stops_its_job(shop: Shop):
    shop.hold()
    began = datetime.now(UTC) - timedelta(minutes=1)
    api, jobs = Prefect(shop.settings), Jobs(shop.settings)
    # A deployment of another project: its flow takes any project.
    parameters = {"project": shop.name, "sample": True}
    run = api.start("feature-pipeline", "health_monitor", "to-be-cancelled", parameters)
    job = f"{run.id}-features-1"
    wait_until(lambda: shop.reached, 120)
    assert jobs.status(job) == JobStatus.RUNNING
    wait_until(lambda: any("orders: 2400 rows" in line.message for line in api.logs([run.id], began)), 30)
    assert api.run(run.id).state_type == "RUNNING"

    api.cancel(run.id)
    wait_until(lambda: jobs.status(job) == JobStatus.STOPPED, 60)
    wait_until(lambda: api.run(run.id).state_type == "CANCELLED", 60)
    assert shop.lake.read(shop.project.table_name("spend")).is_empty()
