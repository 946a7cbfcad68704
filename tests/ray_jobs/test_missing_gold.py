"""Beside a user's rows nothing is sampled: what reads gold that he has still to bring is left out of a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from infra.code import ROOT
from karat.declare import load_project
from karat.quality import write_sample
from karat.settings import Settings
from ray_jobs.missing_gold import skipped_for_gold
from ray_jobs.program import Job

READS = {"churn_features": ["customers"], "terminal_risk": ["transactions"]}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    settings = Settings(home=tmp_path, projects=ROOT / "projects")
    return Job(settings, load_project("customers", settings), {})


def bring(job: Job, table: str) -> None:
    """As a user writes gold by his own means."""
    gold = job.project.gold[table]
    job.lake.create(job.project.gold_name(table), gold.schema, primary_key=gold.key, timeseries=gold.event_time)
    row = {n: pl.Series([None], dtype=pl.Null) for n in gold.columns} | {k: pl.Series(["a"]) for k in gold.key}
    job.lake.merge(job.project.gold_name(table), pl.DataFrame(row))


def test_without_any_gold_nothing_waits_so_that_the_missing_gold_is_told(job: Job) -> None:
    assert skipped_for_gold(job, READS) == {}


def test_beside_a_users_table_what_reads_another_is_left_out_and_says_what_to_bring(job: Job) -> None:
    bring(job, "customers")
    (outcome,) = skipped_for_gold(job, READS).values()
    assert (outcome.name, outcome.state, outcome.error) == ("terminal_risk", "skipped", None)
    assert "karat ingest customers transactions FILE" in outcome.summary


def test_who_asks_for_nothing_else_is_told_of_the_missing_gold(job: Job) -> None:
    bring(job, "customers")
    assert skipped_for_gold(job, {"terminal_risk": ["transactions"]}) == {}


def test_beside_a_sample_nothing_waits(job: Job) -> None:
    write_sample(job.project, job.lake, tables=["customers"], scale=0.01)
    assert skipped_for_gold(job, READS) == {}
