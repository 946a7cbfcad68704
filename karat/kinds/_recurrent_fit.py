"""How a recurrent network learns, in torch: Adam, batch by batch, until the latest rows gain no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from karat.kinds._kind import Parameters, Report
from karat.kinds._reduction import OneWorker, Reduction
from karat.kinds._shard import Checkpoints, NoCheckpoints, WorkerPlace

_EVALUATED = 1024  # rows at once
_CHECKPOINT = "training.pt"
_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True)
class Learned:
    """``network``: arrays by the names of ``_recurrent.Recurrent``; ``curve``: the loss after each epoch, by part."""

    network: dict[str, np.ndarray]
    curve: dict[str, list[float]]


class Network(nn.Module):
    """The skip is a linear model on the newest step; the head begins at zero, so that learning begins there."""

    def __init__(self, cell: str, channels: int, outputs: int, parameters: Parameters) -> None:
        super().__init__()
        hidden, layers, dropout = int(parameters["hidden_size"]), int(parameters["num_layers"]), parameters["dropout"]
        between = dropout if layers > 1 else 0.0
        self.cells = _CELLS[cell](channels, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)
        self.skip = nn.Linear(channels, outputs)
        for parameter in (self.head.weight, self.head.bias, self.skip.weight, self.skip.bias):
            nn.init.zeros_(parameter)
        if not parameters["skip"]:
            nn.init.xavier_uniform_(self.head.weight)
            self.skip.requires_grad_(False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        states, _ = self.cells(X)
        made: torch.Tensor = self.head(self.dropout(states[:, -1])) + self.skip(X[:, -1])
        return made

    def arrays(self) -> dict[str, np.ndarray]:
        names = {"weight_ih": "input", "weight_hh": "hidden", "bias_ih": "bias", "bias_hh": "hidden_bias"}
        found = {}
        for name, values in self.state_dict().items():
            module, _, own = name.partition(".")
            part, _, number = own.rpartition("_l")
            ours = f"layer_{number}.{names[part]}" if module == "cells" else name
            found[ours] = values.cpu().numpy().copy()
        return found


@dataclass(frozen=True)
class Rows:
    """The scaled rows of this process, float32.

    Attributes:
        X: ``(rows, steps, channels)``.
        y: ``(rows, outputs)``.
        aside: Which rows are for validation, ``(rows,)``.
    """

    X: np.ndarray
    y: np.ndarray
    aside: np.ndarray


def fit(
    cell: str,
    rows: Rows,
    parameters: Parameters,
    *,
    binary: bool,
    balanced: bool,
    seed: int,
    report: Report | None,
    place: WorkerPlace = WorkerPlace(rank=0, workers=1),
    checkpoints: Checkpoints = NoCheckpoints(),
) -> Learned:
    """Fit a network, in this process or together with others in torch's process group.

    The same seed gives the same network on the same device. The network of the best epoch is kept, the linear model
    alone (no epoch) being one of them. Several workers learn from the same batches as one process: each takes its own
    rows of a batch, and the gradients are summed. Dropout draws apart in each.

    Args:
        cell: "lstm" or "gru".
        rows: The rows of this process.
        parameters: The kind's parameters.
        binary: Whether the label is a class.
        balanced: Whether both classes count alike.
        seed: Seed of every random draw.
        report: Called after each epoch.
        place: This worker among the workers.
        checkpoints: Where the fit goes on after a fault.
    """
    group = ProcessGroup() if place.workers > 1 else OneWorker()
    learned = ~rows.aside
    weights = _weights(rows.y, learned, group, balanced=balanced)
    with _repeatable(seed, place.cores) as device:
        network = Network(cell, rows.X.shape[2], rows.y.shape[1], parameters)
        if parameters["skip"] and not binary:
            _start_linear(network.skip, rows.X[learned, -1], rows.y[learned], float(parameters["skip_alpha"]), group)
        network.to(device)
        parts = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (rows.X, rows.y, weights)]
        training = _Training(network, parts, parameters, binary=binary, seed=seed, place=place, group=group)
        return training.run(np.flatnonzero(learned), np.flatnonzero(rows.aside), report, checkpoints)


class ProcessGroup:
    """Reductions over torch's default process group (``karat.kinds._reduction.Reduction``)."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the workers."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def max(self, values: np.ndarray) -> np.ndarray:
        """Return the maximum over the workers."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: np.ndarray, operation: dist.ReduceOp.RedOpType) -> np.ndarray:
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        tensor = torch.from_numpy(np.array(values, dtype=np.float64, ndmin=1)).to(device)
        dist.all_reduce(tensor, operation)
        found: np.ndarray = tensor.cpu().numpy().reshape(np.shape(values))
        return found


class _Training:
    def __init__(
        self,
        network: Network,
        parts: list[torch.Tensor],
        parameters: Parameters,
        *,
        binary: bool,
        seed: int,
        place: WorkerPlace,
        group: Reduction,
    ) -> None:
        self.network, self.parameters, self.binary, self.seed = network, parameters, binary, seed
        self.X, self.y, self.weights = parts
        self.place, self.group = place, group
        self.shuffled = torch.Generator().manual_seed(seed)
        learning = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(
            learning, lr=parameters["learning_rate"], weight_decay=parameters["weight_decay"]
        )
        # The gradients of all workers are averaged as each is computed, so that every worker makes the same step.
        self.forward: nn.Module = nn.parallel.DistributedDataParallel(network) if place.workers > 1 else network
        self.curve: dict[str, list[float]] = {"train": []}
        self.best, self.kept, self.waited = float("inf"), network.arrays(), 0

    def run(self, rows: np.ndarray, aside: np.ndarray, report: Report | None, checkpoints: Checkpoints) -> Learned:
        """Learn from the rows of this process, epoch by epoch, until those aside gain no more."""
        counts = np.zeros(self.place.workers)
        counts[self.place.rank] = len(rows)
        counts = self.group.sum(counts)
        self.first, self.total = int(counts[: self.place.rank].sum()), int(counts.sum())
        self.total_aside = int(self.group.sum(np.array(float(len(aside)))))
        if self.total_aside:
            self.curve["validation"] = []
            self.best = self._loss_of(aside)
        for epoch in range(self._go_on(checkpoints.latest()) + 1, int(self.parameters["epochs"]) + 1):
            if self.waited >= self.parameters["patience"] and self.total_aside:
                break
            self.curve["train"].append(self._epoch(rows, epoch))
            if self.total_aside:
                self._validate(aside)
            if report:
                report(epoch, {part: losses[-1] for part, losses in self.curve.items()})
            if checkpoints.due(epoch):
                checkpoints.save(epoch, self._write)
        return Learned(self.kept if self.total_aside else self.network.arrays(), self.curve)

    def _validate(self, aside: np.ndarray) -> None:
        loss = self._loss_of(aside)
        self.curve["validation"].append(loss)
        self.waited += 1
        if loss < self.best:
            self.best, self.kept, self.waited = loss, self.network.arrays(), 0

    def _epoch(self, rows: np.ndarray, epoch: int) -> float:
        """One pass over the rows of all workers; the mean loss, as it was before each step."""
        self.network.train()
        if self.place.workers > 1:
            # Dropout: an epoch draws the same after a fault, and workers draw apart.
            state = np.random.SeedSequence([abs(self.seed), epoch, self.place.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(state[0] >> 1))
        size, clip = int(self.parameters["batch_size"]), self.parameters["gradient_clip"]
        own = torch.from_numpy(rows).to(self.X.device)
        total = 0.0
        for batch in torch.randperm(self.total, generator=self.shuffled).split(size):
            mine = (batch[(batch >= self.first) & (batch < self.first + len(rows))] - self.first).to(own.device)
            self.optimizer.zero_grad(set_to_none=True)
            summed = self._loss(own[mine]) if len(mine) else self._loss(own[:1]) * 0.0
            # The mean over workers of these is the mean over the batch, as one process takes it.
            (summed * self.place.workers / len(batch)).backward()
            if clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), clip)
            self.optimizer.step()
            total += summed.item()
        return float(self.group.sum(np.array(total))) / self.total

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        """The sum over rows of their mean loss over the outputs."""
        with torch.autocast(self.X.device.type, torch.bfloat16, enabled=bool(self.parameters["mixed_precision"])):
            network = self.forward if self.network.training else self.network
            found = network(self.X[rows])
        found, wanted = found.float(), self.y[rows]
        if self.binary:
            each = nn.functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
        else:
            each = (found - wanted) ** 2
        return (each * self.weights[rows]).sum() / wanted.shape[1]

    @torch.no_grad()
    def _loss_of(self, rows: np.ndarray) -> float:
        self.network.eval()
        pieces = torch.from_numpy(rows).to(self.X.device).split(_EVALUATED) if len(rows) else ()
        own = float(sum(self._loss(piece).item() for piece in pieces))  # 0 of no rows is a float too
        return float(self.group.sum(np.array(own))) / self.total_aside

    def _write(self, folder: Path) -> None:
        kept = {name: torch.from_numpy(array) for name, array in self.kept.items()}
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "kept": kept,
            "curve": self.curve,
            "best": self.best,
            "waited": self.waited,
        }
        torch.save(state, folder / _CHECKPOINT)

    def _go_on(self, folder: Path | None) -> int:
        """Take up a checkpoint, if there is one; the number of its epochs."""
        if folder is None:
            return 0
        state = torch.load(folder / _CHECKPOINT, map_location=self.X.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.kept = {name: array.cpu().numpy() for name, array in state["kept"].items()}
        self.curve, self.best, self.waited = state["curve"], state["best"], state["waited"]
        for _ in self.curve["train"]:
            torch.randperm(self.total, generator=self.shuffled)
        return len(self.curve["train"])


def _weights(y: np.ndarray, learned: np.ndarray, group: Reduction, *, balanced: bool) -> np.ndarray:
    """(n, 1), of mean 1: so that both classes count alike where that is wanted."""
    weights = np.ones((len(y), 1), dtype=np.float32)
    if balanced:
        positive, rows = group.sum(np.array([float(y[learned].sum(dtype=np.float64)), float(learned.sum())]))
        share = positive / rows
        if 0 < share < 1:
            weights = np.where(y > 0.5, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
    return weights


def _start_linear(skip: nn.Linear, X: np.ndarray, y: np.ndarray, alpha: float, group: Reduction) -> None:
    """Ridge regression on the newest step, solved at once: what gradient steps would take long to find."""
    X, y = X.astype(np.float64), y.astype(np.float64)
    rows = group.sum(np.array(float(len(X))))
    middle, level = group.sum(X.sum(0)) / rows, group.sum(y.sum(0)) / rows
    X = X - middle
    squares, products = group.sum(X.T @ X), group.sum(X.T @ (y - level))
    slopes = np.linalg.solve(squares + max(alpha, 1e-6) * np.eye(X.shape[1]), products)
    with torch.no_grad():
        skip.weight.copy_(torch.from_numpy(slopes.T.copy()))
        skip.bias.copy_(torch.from_numpy(level - middle @ slopes))


@contextmanager
def _repeatable(seed: int, threads: int) -> Iterator[torch.device]:
    """Meanwhile torch draws from ``seed`` and adds up in one order; what others do with torch goes on as it was."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        # cuBLAS reads it when it starts; without it its sums differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads if threads > 0 else os.cpu_count() or 1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield device
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
