"""Workers of a distributed fit without Ray: threads for XGBoost and LightGBM, whose networks are of a thread; processes
for torch, whose process group is of a process.

`python -m tests.contracts.together FOLDER RANK WORKERS` fits every ``*.fit`` in FOLDER as a worker in torch's process
group, and writes the fitted model beside it.
"""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa

from karat.kinds import Model, WorkerPlace, facts
from karat.training.sharded_fit import ShardedFit, fit_shard, load_fitted, sharded_fit
from tests import warm


class FrameRows:
    """Rows of a frame in place of files (``karat.training.row_stream.RowFiles``), in small batches."""

    def __init__(self, frame: pl.DataFrame, batch_rows: int = 100) -> None:
        self.frame, self.batch_rows = frame, batch_rows

    def batches(self, shard: int = 0, of: int = 1, *, columns=None) -> Iterator[pa.RecordBatch]:
        rows = self.frame.height
        first, end = rows * shard // of, rows * (shard + 1) // of
        table = self.frame.select(columns).slice(first, end - first).to_arrow(compat_level=pl.CompatLevel.oldest())
        yield from table.to_batches(max_chunksize=self.batch_rows)


class KeptCheckpoints:
    """Checkpoints in a folder (``karat.kinds.Checkpoints``), after given rounds; a fit can be killed after one.

    The files of the first worker are kept, as by the adapters.
    """

    def __init__(self, folder: Path, rank: int, rounds: Sequence[int] = (), killed_after: int = 0) -> None:
        self.folder, self.rank, self.rounds, self.killed_after = folder, rank, rounds, killed_after

    def latest(self) -> Path | None:
        return max(self.folder.glob("round_*"), default=None)

    def due(self, iteration: int) -> bool:
        if self.killed_after and iteration > self.killed_after:
            raise Killed
        return iteration in self.rounds

    def save(self, iteration: int, write: Callable[[Path], None]) -> None:
        if self.rank:
            return
        made = self.folder / ("fitted" if not iteration else f"round_{iteration:05}")
        made.mkdir(parents=True)
        write(made)


class Killed(BaseException):
    """A worker that is killed."""


def describe(model: Model, X: pl.DataFrame, y: pl.Series) -> ShardedFit:
    """A fit of these rows by an unfitted model."""
    target = model.fit_encoder(X, y)
    assert target is not None
    return sharded_fit(model, FrameRows(X.with_columns(y.alias("y"))), "y", target)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextmanager
def tracker(workers: int) -> Iterator[dict]:
    from xgboost.tracker import RabitTracker

    made = RabitTracker(n_workers=workers, host_ip="127.0.0.1", sortby="task")
    made.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(made.wait_for)
        yield made.worker_args()
        waiting.result()


def fit_in_threads(fit: ShardedFit, folder: Path, workers: int = 2, **kept) -> Model:
    """Fit by threads, each with a copy of the fit, as processes have."""
    family = facts(fit.model.kind_name).communicator
    ports = free_ports(workers)
    machines = ",".join(f"127.0.0.1:{port}" for port in ports)

    def work(rank: int, args: dict) -> None:
        network = {"num_machines": workers, "machines": machines, "local_listen_port": ports[rank]}
        place = WorkerPlace(rank, workers, network=network if family == "lightgbm" else {})
        checkpoints = KeptCheckpoints(folder, rank, **kept)
        with communicator(family, rank, args):
            fit_shard(pickle.loads(pickle.dumps(fit)), place, checkpoints)

    with tracker(workers) if family == "xgboost" else nothing() as args, ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, rank, args) for rank in range(workers)]:
            done.result(120)
    return load_fitted(fit.model, folder / "fitted")


@contextmanager
def nothing() -> Iterator[dict]:
    yield {}


@contextmanager
def communicator(family: str, rank: int, args: dict) -> Iterator[None]:
    if family != "xgboost":
        yield
        return
    from xgboost.collective import CommunicatorContext

    with CommunicatorContext(**args, dmlc_task_id=f"{rank:08}"):
        yield


def fit_in_processes(fits: dict[str, ShardedFit], folder: Path, workers: int = 2) -> dict[str, Model]:
    """Fit by processes in torch's process group: name -> fitted model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, fit in fits.items():
        (folder / f"{name}.fit").write_bytes(pickle.dumps(fit))
    started = [
        warm.Popen(
            [sys.executable, "-m", "tests.contracts.together", folder, rank, workers], stderr=warm.PIPE, text=True
        )
        for rank in range(workers)
    ]
    for process in started:
        said = process.communicate(timeout=240)[1]
        assert process.returncode == 0, said[-3000:]
    return {name: load_fitted(fit.model, folder / name / "fitted") for name, fit in fits.items()}


def main(folder: Path, rank: int, workers: int) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=workers)
    for path in sorted(folder.glob("*.fit")):
        fit = pickle.loads(path.read_bytes())
        fit_shard(fit, WorkerPlace(rank, workers), KeptCheckpoints(folder / path.stem, rank))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
