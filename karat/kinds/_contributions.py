"""Additive contributions of features to predictions, and their change of unit: from a margin to a probability.

A boosted model adds up log-odds, and its prediction is their logistic function. The contributions to the probability
are the Aumann-Shapley values of that function: the integral of its gradient along the straight line from the base
margin to the row's margin (Aumann and Shapley, Values of Non-Atomic Games, 1974; Sundararajan and others, Axiomatic
Attribution for Deep Networks, 2017). They add up to the difference of the two probabilities. For a function of one
margin they are the margin's contributions times one factor, so that order, signs and ratios stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from karat.errors import ExplanationFailed
from karat.kinds._quadrature import gauss_legendre

#: Function of margins that gives predictions of the same shape.
Function = Callable[[np.ndarray], np.ndarray]
#: Half the step of a numerical derivative.
_STEP = 1e-5
#: Numbers of quadrature nodes through softmax, and the natural logarithm of the inverse of their error.
_NODES, _DIGITS = (16, 32, 64, 128), 30.0
#: Margins further apart than this have chances of 0 and 1 to the last bit, and the ends of the pieces up to there.
_SATURATION = 45.0
_PIECES = np.array([-45.0, -30.0, -16.0, -6.0, 0.0, 6.0, 16.0, 30.0, 45.0])
#: Largest difference between a prediction and its contributions that counts as rounding: some libraries add in 32 bits.
LARGEST_ROUNDING = 1e-4
#: The method of every kind made of trees.
PATH_DEPENDENT = "path-dependent tree SHAP; the base is the mean over the training rows"


@dataclass(frozen=True)
class Link:
    """The function from the added contributions to the prediction.

    Attributes:
        name: Its name, for the method's description; empty for the identity.
        function: Margins ``(rows, outputs)`` -> predictions ``(rows, outputs)``.
        integral: Of a function whose predictions depend on all margins of the row, as softmax: the mean of its
            derivative from one row of margins to another, applied to contributions ``(outputs, features)``.
        near: Difference of two margins up to which the derivative between them stands for the difference quotient,
            which rounding spoils; 0 for a function with steps, whose derivative there means nothing.
    """

    name: str
    function: Function
    integral: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None
    near: float = 1e-7

    @property
    def joint(self) -> bool:
        """Whether each prediction depends on all margins of its row."""
        return self.integral is not None


# SciPy has both, but this module is imported with karat.kinds, which loads no such library.
def _logistic(margin: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(margin))
    return np.asarray(np.where(margin >= 0, 1.0, small) / (1.0 + small))


def _softmax(margin: np.ndarray) -> np.ndarray:
    parts = np.exp(margin - margin.max(axis=-1, keepdims=True))
    return np.asarray(parts / parts.sum(axis=-1, keepdims=True))


def _isolation_score(depth: np.ndarray) -> np.ndarray:
    made: np.ndarray = np.exp2(-depth)
    return made


def _through_softmax(start: np.ndarray, end: np.ndarray, values: np.ndarray) -> np.ndarray:
    nodes, weights = _line_quadrature(start, end - start)
    chances = _softmax(start + nodes[:, None] * (end - start))  # (nodes, outputs)
    weighted = chances * weights[:, None]
    made: np.ndarray = weighted.sum(axis=0)[:, None] * values - weighted.T @ (chances @ values)
    return made


def _through_normalization(start: np.ndarray, end: np.ndarray, values: np.ndarray) -> np.ndarray:
    nodes, weights = gauss_legendre(_NODES[1])
    line = start + nodes[:, None] * (end - start)  # (nodes, outputs)
    total = line.sum(axis=1)
    shares = line / total[:, None]
    weights = weights / total
    made: np.ndarray = weights.sum() * values - (shares.T @ weights)[:, None] * values.sum(axis=0)
    return made


IDENTITY = Link("", lambda margin: margin)
LOGISTIC = Link("the logistic function", _logistic)
SOFTMAX = Link("softmax", _softmax, _through_softmax)
NORMALIZATION = Link("the sum to 1", lambda part: part / part.sum(axis=-1, keepdims=True), _through_normalization)
EXPONENTIAL = Link("the exponential function", np.exp)
SOFTPLUS = Link("log(1 + exp)", lambda margin: np.logaddexp(0.0, margin))
ISOLATION = Link("2^-depth", _isolation_score)


@dataclass(frozen=True)
class Contributions:
    """Contributions that add up to what is explained: base + sum over features, per row and output.

    Attributes:
        values: ``(rows, outputs, features)``.
        base: What is explained if nothing is known of the row, ``(rows, outputs)``.
        method: How they were computed, and what the base stands for.
        unit: The unit of ``values`` and ``base`` after the link: "value", "probability", "score" or another.
        link: The function from their sum to the prediction. The identity once ``through_link`` has applied it.
    """

    values: np.ndarray
    base: np.ndarray
    method: str
    unit: str
    link: Link = IDENTITY

    @property
    def total(self) -> np.ndarray:
        """Base and contributions added up, ``(rows, outputs)``."""
        made: np.ndarray = self.base + self.values.sum(axis=-1)
        return made

    def of_outputs(self, outputs: list[int] | None) -> Contributions:
        """Those of some outputs; None for all."""
        if outputs is None:
            return self
        return replace(self, values=self.values[:, outputs], base=self.base[:, outputs])

    def closed(self, expected: np.ndarray) -> Contributions:
        """The same with what rounding leaves of ``expected``, ``(rows, outputs)``, added to the base.

        Raises:
            ExplanationFailed: More is left than rounding in 32 bits explains.
        """
        left = expected - self.total
        scale = np.abs(expected) + np.abs(self.base) + np.abs(self.values).sum(axis=-1)
        worst = float(np.max(np.abs(left) / np.maximum(scale, 1e-30), initial=0.0))
        if not worst <= LARGEST_ROUNDING:
            raise ExplanationFailed(
                f"the contributions add up to another value than the prediction; they differ by {worst:.2g} of it",
                remedy="ask with explain: false; report the model's kind and parameters as a fault of Karat",
            )
        return replace(self, base=self.base + left)

    def through_link(self) -> Contributions:
        """The same in the unit after the link: Aumann-Shapley values of the link."""
        return self.through(self.link)

    def through(self, link: Link) -> Contributions:
        """Aumann-Shapley values of a function of these contributions' totals."""
        if link is IDENTITY:
            return self
        start, end = self.base, self.total
        if link.integral is None:
            values = self.values * _slope(start, end, link)[..., None]
        else:
            values = np.array([link.integral(*row) for row in zip(start, end, self.values, strict=True)])
        method = f"{self.method}, taken through {link.name} by Aumann-Shapley values"
        if "taken through" in self.method:
            method = f"{self.method} and through {link.name}"
        return replace(self, values=values, base=link.function(start), method=method, link=IDENTITY)


def _slope(start: np.ndarray, end: np.ndarray, link: Link) -> np.ndarray:
    """The mean derivative of an elementwise function between base and total, ``(rows, outputs)``."""
    near = np.abs(end - start) <= link.near * (1.0 + np.abs(start))
    middle = (start + end) / 2
    low, high = np.where(near, middle - _STEP, start), np.where(near, middle + _STEP, end)
    made: np.ndarray = (link.function(high) - link.function(low)) / (high - low)
    return made


def _line_quadrature(start: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights that integrate softmax from the margins ``start`` to ``start + moved``; both ``(outputs,)``."""
    # Softmax is analytic up to a distance of pi from the real line. From that follows the number of nodes.
    reach = 2 * np.pi / max(float(np.ptp(moved)), 1e-3)
    needed = _DIGITS / (2 * np.log(reach + np.hypot(reach, 1.0)))
    if needed <= _NODES[-1]:
        return gauss_legendre(next(count for count in _NODES if count >= needed))
    # On a long line softmax changes only where two of the greatest margins cross: integrate in pieces around these.
    one, two = np.triu_indices(len(start), 1)
    slope, gap = moved[one] - moved[two], start[two] - start[one]
    one, slope, gap = (each[slope != 0] for each in (one, slope, gap))
    margins = start + np.clip(gap / slope, 0.0, 1.0)[:, None] * moved
    near = margins[np.arange(len(one)), one] > margins.max(axis=1) - _SATURATION
    pieces = (gap[near, None] + np.sign(slope[near, None]) * _PIECES) / slope[near, None]
    edges = np.unique(np.concatenate([[0.0, 1.0], np.clip(pieces, 0.0, 1.0).ravel()]))
    nodes, weights = gauss_legendre(_NODES[1])
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * nodes).ravel(), (width * weights).ravel()
