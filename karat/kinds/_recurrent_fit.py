"""How a recurrent network learns, in torch: Adam, batch by batch, until the latest rows gain no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from karat.kinds._kind import Parameters, Report
from karat.kinds._validation import latest_rows

_EVALUATED = 1024  # rows at once
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


def fit(
    cell: str,
    X: np.ndarray,
    y: np.ndarray,
    parameters: Parameters,
    *,
    binary: bool,
    balanced: bool,
    order: np.ndarray | None,
    seed: int,
    report: Report | None,
) -> Learned:
    """``X`` (n, steps, c) and ``y`` (n, L), scaled, float32. The same seed gives the same network on the same device.

    The rows set aside are the latest by ``order``; the network of the best epoch is kept, the linear model alone (no
    epoch) being one of them.
    """
    aside = latest_rows(len(y), order, parameters["validation_fraction"]) if parameters["patience"] else None
    learned = np.ones(len(y), dtype=bool) if aside is None else ~aside
    weights = _weights(y, learned, balanced=balanced)
    with _repeatable(seed, parameters["n_jobs"]) as device:
        network = Network(cell, X.shape[2], y.shape[1], parameters)
        if parameters["skip"] and not binary:
            _start_linear(network.skip, X[learned, -1], y[learned], float(parameters["skip_alpha"]))
        network.to(device)
        parts = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (X, y, weights)]
        training = _Training(network, parts, parameters, binary=binary, seed=seed)
        return training.run(np.flatnonzero(learned), None if aside is None else np.flatnonzero(aside), report)


class _Training:
    def __init__(
        self, network: Network, parts: list[torch.Tensor], parameters: Parameters, *, binary: bool, seed: int
    ) -> None:
        self.network, self.parameters, self.binary = network, parameters, binary
        self.X, self.y, self.weights = parts
        self.shuffled = torch.Generator().manual_seed(seed)
        learning = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(
            learning, lr=parameters["learning_rate"], weight_decay=parameters["weight_decay"]
        )

    def run(self, rows: np.ndarray, aside: np.ndarray | None, report: Report | None) -> Learned:
        curve: dict[str, list[float]] = {part: [] for part in ("train", *(["validation"] if aside is not None else []))}
        best, kept, waited = float("inf"), self.network.arrays(), 0
        if aside is not None:
            best = self._loss_of(aside)
        for epoch in range(1, int(self.parameters["epochs"]) + 1):
            curve["train"].append(self._epoch(rows))
            if aside is not None:
                curve["validation"].append(self._loss_of(aside))
                waited += 1
            if report:
                report(epoch, {part: losses[-1] for part, losses in curve.items()})
            if aside is None:
                continue
            if curve["validation"][-1] < best:
                best, kept, waited = curve["validation"][-1], self.network.arrays(), 0
            if waited >= self.parameters["patience"]:
                break
        return Learned(kept if aside is not None else self.network.arrays(), curve)

    def _epoch(self, rows: np.ndarray) -> float:
        """One pass over ``rows``; the mean loss, as it was before each step."""
        self.network.train()
        size, clip = int(self.parameters["batch_size"]), self.parameters["gradient_clip"]
        order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=self.shuffled)].to(self.X.device)
        total = 0.0
        for batch in order.split(size):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._loss(batch)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), clip)
            self.optimizer.step()
            total += loss.item() * len(batch)
        return total / len(rows)

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        found, wanted = self.network(self.X[rows]), self.y[rows]
        if self.binary:
            each = nn.functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
        else:
            each = (found - wanted) ** 2
        return (each * self.weights[rows]).mean()

    @torch.no_grad()
    def _loss_of(self, rows: np.ndarray) -> float:
        self.network.eval()
        pieces = torch.from_numpy(rows).to(self.X.device).split(_EVALUATED)
        return sum(self._loss(piece).item() * len(piece) for piece in pieces) / len(rows)


def _weights(y: np.ndarray, learned: np.ndarray, *, balanced: bool) -> np.ndarray:
    """(n, 1), of mean 1: so that both classes count alike where that is wanted."""
    weights = np.ones((len(y), 1), dtype=np.float32)
    if balanced:
        share = float(y[learned].mean())
        if 0 < share < 1:
            weights = np.where(y > 0.5, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
    return weights


def _start_linear(skip: nn.Linear, X: np.ndarray, y: np.ndarray, alpha: float) -> None:
    """Ridge regression on the newest step, solved at once: what gradient steps would take long to find."""
    X, y = X.astype(np.float64), y.astype(np.float64)
    middle, level = X.mean(0), y.mean(0)
    X = X - middle
    slopes = np.linalg.solve(X.T @ X + max(alpha, 1e-6) * np.eye(X.shape[1]), X.T @ (y - level))
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
