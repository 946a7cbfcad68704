"""LSTM and GRU layers in NumPy, as ``torch.nn.LSTM`` and ``torch.nn.GRU`` define them; rows on the innermost axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Blocks of weights in each cell: of an LSTM input, forget, cell, output; of a GRU reset, update, new.
GATES = {"lstm": 4, "gru": 3}
_HALF = np.float32(0.5)


class Layer(NamedTuple):
    """Weights of one layer.

    Attributes:
        input: ``(gates * hidden, channels)``.
        hidden: ``(gates * hidden, hidden)``.
        bias: Bias of ``input``, ``(gates * hidden,)``.
        hidden_bias: Bias of ``hidden``, ``(gates * hidden,)``.
    """

    input: np.ndarray
    hidden: np.ndarray
    bias: np.ndarray
    hidden_bias: np.ndarray


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return _HALF * np.tanh(_HALF * x) + _HALF


def _inputs(values: np.ndarray, layer: Layer) -> np.ndarray:
    """The input's part of every gate, ``(gates * hidden, steps, rows)``, all steps in one product."""
    channels, steps, rows = values.shape
    flat = layer.input @ values.reshape(channels, steps * rows) + layer.bias[:, None]
    made: np.ndarray = flat.reshape(-1, steps, rows)
    return made


def lstm(values: np.ndarray, layer: Layer) -> np.ndarray:
    """Run an LSTM layer over ``values``, ``(channels, steps, rows)``; the hidden states, ``(hidden, steps, rows)``."""
    given, size = _inputs(values, layer), layer.hidden.shape[1]
    hidden = np.zeros((size, values.shape[2]), dtype=np.float32)
    cell, out = hidden, np.empty((size, *values.shape[1:]), dtype=np.float32)
    for step in range(values.shape[1]):
        gates = given[:, step] + layer.hidden @ hidden + layer.hidden_bias[:, None]
        opened = _sigmoid(gates[: 2 * size])
        cell = opened[size:] * cell + opened[:size] * np.tanh(gates[2 * size : 3 * size])
        hidden = _sigmoid(gates[3 * size :]) * np.tanh(cell)
        out[:, step] = hidden
    return out


def gru(values: np.ndarray, layer: Layer) -> np.ndarray:
    """Run a GRU layer over ``values``, ``(channels, steps, rows)``; the hidden states, ``(hidden, steps, rows)``."""
    given, size = _inputs(values, layer), layer.hidden.shape[1]
    hidden = np.zeros((size, values.shape[2]), dtype=np.float32)
    out = np.empty((size, *values.shape[1:]), dtype=np.float32)
    for step in range(values.shape[1]):
        own = layer.hidden @ hidden + layer.hidden_bias[:, None]
        opened = _sigmoid(given[: 2 * size, step] + own[: 2 * size])
        new = np.tanh(given[2 * size :, step] + opened[:size] * own[2 * size :])
        hidden = new + opened[size:] * (hidden - new)
        out[:, step] = hidden
    return out


CELLS: dict[str, Callable[[np.ndarray, Layer], np.ndarray]] = {"lstm": lstm, "gru": gru}
