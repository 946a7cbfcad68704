"""In which order the models and the feature tables of a job are begun."""

from __future__ import annotations

from pathlib import Path

from infra.code import ROOT
from karat.declare import load_project
from karat.features import compute_table
from karat.quality import write_sample
from karat.settings import Settings
from ray_jobs.compute_features import gold_of
from ray_jobs.models import tables_of
from ray_jobs.order import largest_first
from ray_jobs.program import Job


def test_tables_and_models_of_the_most_rows_are_begun_first(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, projects=ROOT / "projects")
    project = load_project("customers", settings)
    job = Job(settings, project, {"models": ("churn", "fraud")})
    models = {m: tables_of(job, m) for m in job.models()}
    assert largest_first(job, models) == ["churn", "fraud"]  # none of their tables is there yet
    write_sample(project, job.lake, scale=0.01)
    tables = {t: gold_of(job, t) for t in ("churn_features", "terminal_risk")}
    assert largest_first(job, tables) == ["terminal_risk", "churn_features"]
    for table in project.tables_of(dict(project.models)):
        compute_table(project, table, job.lake)
    assert largest_first(job, models) == ["fraud", "churn"]
