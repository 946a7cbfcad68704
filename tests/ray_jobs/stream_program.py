"""A training set built and fitted on the running Ray: `python -m tests.ray_jobs.stream_program FOLDER`.

The last line is JSON: the digest, the rows and the metrics of one process and of Ray, and where Ray has fitted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from karat.declare import load_project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import ModelSpec
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle.candidate import training_run
from karat.lifecycle.candidate_rows import Sharding, candidate_rows
from karat.settings import Settings
from karat.training.fit_distributor import Distributor
from karat.training.row_stream import RowSource
from karat.training_sets import shard_lake
from karat.training_sets.row_sample import SampledTrainingSet
from ray_jobs.executor import RayExecutor
from ray_jobs.fitter import RayFitter
from tests.karat.conftest import write_files, write_gold

#: Few values in each column, so that all workers agree on the bins of one process.
DECLARED = {
    "kind": "xgboost",
    "parameters": {"n_estimators": 20},
    "distributed": {"backend": "ray_train", "workers": 2},
    "minimum_rows": 100,
    "lookups": [
        {"table": "spend_features", "features": ["orders_7d", "big"]},
        {"table": "people_features", "features": ["age"]},
    ],
}


def main(folder: Path) -> dict[str, object]:
    """Train the shop's model in one process, and from files by Ray."""
    write_files(folder / "projects" / "shop")
    settings = Settings(home=folder / "home", projects=folder / "projects")
    project, lake = load_project("shop", settings), Lake(settings.lake, settings.environment)
    write_gold(project, lake)
    for table in project.tables:
        compute_table(project, table, lake)
    spec = project.models["next_week"].model_dump() | DECLARED
    model = DeclaredModel(project, ModelSpec.model_validate(spec))
    alone = training_run(model, lake, candidate_rows(model, lake))
    shard_lake.BLOCK_ROWS = 300
    fitter = RayFitter()
    rows = candidate_rows(model, lake, Sharding(RayExecutor(), above=1000, test_rows=100), fitter=fitter)
    assert isinstance(rows, SampledTrainingSet)
    assert rows.whole is not None
    source = RowSource.of_declared(model, lake, rows.whole, RayExecutor())
    streamed = training_run(model, lake, rows, distributor=Distributor(fitter, folder / "fit", source))
    return {
        "digests": [run.training_set.digest for run in (alone, streamed)],
        "rows": [run.result.rows for run in (alone, streamed)],
        "metrics": [run.result.metrics for run in (alone, streamed)],
        "blocks": len({f.name.split("-")[1] for f in rows.whole.files.files}),
        "placement": str(streamed.result.placement),
    }


if __name__ == "__main__":
    ray.init(address=Settings().ray_address, log_to_driver=False, logging_level="ERROR")
    print(json.dumps(main(Path(sys.argv[1]))))
