"""Integrated gradients of a recurrent network in NumPy (Sundararajan, Taly and Yan, Axiomatic Attribution, 2017).

The attribution of an input is its distance from the baseline times the mean of the prediction's gradient along the
straight line from the baseline to the row. Attributions add up to the difference of the two predictions. The line is
integrated by Gauss-Legendre quadrature with as many nodes as that sum needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from karat.kinds._cells import Layer
from karat.kinds._quadrature import gauss_legendre

#: Quadrature nodes: doubled from the first to the last until the attributions add up.
FEWEST_NODES, MOST_NODES = 16, 512
#: Largest gap of the sum, as a share of the sum of the absolute attributions.
LARGEST_GAP = 1e-6

#: Values ``(channels, steps, rows)`` and a layer -> hidden states ``(hidden, steps, rows)``, and the function from the
#: gradient of the hidden states to that of the values.
Backward = Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    made: np.ndarray = 0.5 * np.tanh(0.5 * x) + 0.5
    return made


def _inputs(values: np.ndarray, layer: Layer) -> np.ndarray:
    made: np.ndarray = np.einsum("gc,csr->gsr", layer.input, values, optimize=True) + layer.bias[:, None, None]
    return made


def _to_values(gates: np.ndarray, layer: Layer) -> np.ndarray:
    made: np.ndarray = np.einsum("gc,gsr->csr", layer.input, gates, optimize=True)
    return made


def _lstm(values: np.ndarray, layer: Layer) -> tuple[np.ndarray, Backward]:
    given, size = _inputs(values, layer), layer.hidden.shape[1]
    steps, rows = values.shape[1:]
    hidden, cell = np.zeros((steps + 1, size, rows)), np.zeros((steps + 1, size, rows))
    opened, new = np.empty((steps, 3 * size, rows)), np.empty((steps, size, rows))  # input, forget and output gates
    for step in range(steps):
        gates = given[:, step] + layer.hidden @ hidden[step] + layer.hidden_bias[:, None]
        opened[step, : 2 * size], opened[step, 2 * size :] = _sigmoid(gates[: 2 * size]), _sigmoid(gates[3 * size :])
        new[step] = np.tanh(gates[2 * size : 3 * size])
        cell[step + 1] = opened[step, size : 2 * size] * cell[step] + opened[step, :size] * new[step]
        hidden[step + 1] = opened[step, 2 * size :] * np.tanh(cell[step + 1])

    def backward(gradient: np.ndarray) -> np.ndarray:
        of_gates = np.empty_like(given)
        of_hidden, of_cell = np.zeros((size, rows)), np.zeros((size, rows))
        for step in reversed(range(steps)):
            enter, keep, leave = (opened[step, k * size : (k + 1) * size] for k in range(3))
            of_hidden, squashed = of_hidden + gradient[:, step], np.tanh(cell[step + 1])
            of_cell = of_cell + of_hidden * leave * (1 - squashed**2)
            of_gates[:, step] = np.concatenate(
                [
                    of_cell * new[step] * enter * (1 - enter),
                    of_cell * cell[step] * keep * (1 - keep),
                    of_cell * enter * (1 - new[step] ** 2),
                    of_hidden * squashed * leave * (1 - leave),
                ]
            )
            of_hidden, of_cell = layer.hidden.T @ of_gates[:, step], of_cell * keep
        return _to_values(of_gates, layer)

    return hidden[1:].transpose(1, 0, 2), backward


def _gru(values: np.ndarray, layer: Layer) -> tuple[np.ndarray, Backward]:
    given, size = _inputs(values, layer), layer.hidden.shape[1]
    steps, rows = values.shape[1:]
    hidden = np.zeros((steps + 1, size, rows))
    opened, new = np.empty((steps, 2 * size, rows)), np.empty((steps, size, rows))  # reset and update gates
    own = np.empty((steps, size, rows))
    for step in range(steps):
        recurrent = layer.hidden @ hidden[step] + layer.hidden_bias[:, None]
        opened[step], own[step] = _sigmoid(given[: 2 * size, step] + recurrent[: 2 * size]), recurrent[2 * size :]
        new[step] = np.tanh(given[2 * size :, step] + opened[step, :size] * own[step])
        hidden[step + 1] = new[step] + opened[step, size:] * (hidden[step] - new[step])

    def backward(gradient: np.ndarray) -> np.ndarray:
        of_gates = np.empty_like(given)
        of_hidden = np.zeros((size, rows))
        for step in reversed(range(steps)):
            reset, update = opened[step, :size], opened[step, size:]
            of_hidden = of_hidden + gradient[:, step]
            of_new = of_hidden * (1 - update) * (1 - new[step] ** 2)
            of_reset = of_new * own[step] * reset * (1 - reset)
            of_update = of_hidden * (hidden[step] - new[step]) * update * (1 - update)
            of_gates[:, step] = np.concatenate([of_reset, of_update, of_new])
            of_recurrent = np.concatenate([of_reset, of_update, of_new * reset])
            of_hidden = layer.hidden.T @ of_recurrent + of_hidden * update
        return _to_values(of_gates, layer)

    return hidden[1:].transpose(1, 0, 2), backward


_CELLS = {"lstm": _lstm, "gru": _gru}


@dataclass(frozen=True)
class Network:
    """A recurrent network in 64 bits, ready to be differentiated.

    Attributes:
        cell: "lstm" or "gru".
        layers: Its layers.
        arrays: The arrays of the head and of the skip connection, by name.
    """

    cell: str
    layers: Sequence[Layer]
    arrays: Mapping[str, np.ndarray]

    def run(self, values: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray, int], np.ndarray]]:
        """Predict the outputs, ``(outputs, rows)``, of ``values``, ``(channels, steps, rows)``.

        Returns:
            The outputs, and the function from an output's own gradient, ``(rows,)``, and its number to the gradient of
            the values.
        """
        hidden, walks = values, []
        for layer in self.layers:
            hidden, backward = _CELLS[self.cell](hidden, layer)
            walks.append(backward)
        arrays = self.arrays
        sums = arrays["head.weight"] @ hidden[:, -1] + arrays["head.bias"][:, None]
        sums = sums + arrays["skip.weight"] @ values[:, -1] + arrays["skip.bias"][:, None]

        def gradient(of_sum: np.ndarray, output: int) -> np.ndarray:
            of_values = np.zeros_like(hidden)
            of_values[:, -1] = arrays["head.weight"][output][:, None] * of_sum
            for backward in reversed(walks):
                of_values = backward(of_values)
            of_values[:, -1] += arrays["skip.weight"][output][:, None] * of_sum
            return of_values

        return sums, gradient


def integrated_gradients(
    network: Network, row: np.ndarray, outputs: Sequence[int], *, logistic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute one row's prediction to its channels, against the baseline in which every channel is 0.

    Args:
        network: The network.
        row: Scaled channels, ``(channels, steps)``.
        outputs: The outputs to explain.
        logistic: Whether the prediction is the logistic function of the network's output.

    Returns:
        The attributions ``(outputs, channels, steps)``, and the baseline's predictions ``(outputs,)``.
    """
    ends, _ = network.run(np.stack([np.zeros_like(row), row], axis=-1))
    ends = (_sigmoid(ends) if logistic else ends)[list(outputs)]
    count = FEWEST_NODES
    while True:
        nodes, weights = gauss_legendre(count)
        sums, gradient = network.run(row[:, :, None] * nodes)
        chances = _sigmoid(sums)
        slopes = (chances * (1 - chances) if logistic else np.ones_like(sums)) * weights
        found = np.stack([gradient(slopes[k], k).sum(axis=-1) * row for k in outputs])
        gap = np.abs(found.sum(axis=(1, 2)) - (ends[:, 1] - ends[:, 0]))
        if (gap <= LARGEST_GAP * (np.abs(found).sum(axis=(1, 2)) + 1e-6)).all() or count >= MOST_NODES:
            return found, ends[:, 0]
        count *= 2
