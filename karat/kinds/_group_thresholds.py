"""Decision thresholds of their own for the groups of one feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class GroupThresholds:
    """Thresholds by the groups of a feature that the model reads.

    Groups are told apart by the encoded feature, so that they are the same in a frame of a batch, in the plain values
    of a request and in MLflow's own types.

    Attributes:
        column: The feature.
        codes: The encoded value of each group; None for rows where it is missing.
        thresholds: The threshold of each group. Other groups have the model's own.
    """

    column: str
    codes: Sequence[float | None]
    thresholds: Sequence[float]

    def of_codes(self, codes: np.ndarray, default: float) -> np.ndarray:
        """Return the threshold of each row from its encoded feature, ``(rows,)`` to ``(rows,)``."""
        found = np.full(len(codes), default)
        for code, threshold in zip(self.codes, self.thresholds, strict=True):
            found[np.isnan(codes) if code is None else codes == code] = threshold
        return found

    def to_json(self) -> dict[str, object]:
        """Return what ``from_json`` reads."""
        return {"column": self.column, "codes": list(self.codes), "thresholds": list(self.thresholds)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned."""
        return cls(record["column"], list(record["codes"]), list(record["thresholds"]))
