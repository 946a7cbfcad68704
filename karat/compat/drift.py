"""Drift detector: numerical and categorical columns, each by a named test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import polars as pl

from karat.boundary import public_verbs
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.monitoring.drift import DriftTest, chi_square, kolmogorov_smirnov, population_stability
from karat.training_sets.frames import Frame, to_polars

Method = Literal["ks", "chi_square", "psi"]
_TESTS: dict[str, Callable[[pl.Series, pl.Series, float], DriftTest]] = {
    "ks": kolmogorov_smirnov,
    "chi_square": chi_square,
    "psi": population_stability,
}


@public_verbs
class DriftReport(dict[str, DriftTest]):
    """Drift tests by column."""

    @property
    def drifted(self) -> list[str]:
        """The columns with drift."""
        return [name for name, found in self.items() if found.drifted]

    @property
    def dataset_drift(self) -> bool:
        """Whether any column has drift."""
        return bool(self.drifted)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the tests as dicts by column.

        Returns:
            Column -> the fields of its test.
        """
        return {name: asdict(found) for name, found in self.items()}


@public_verbs
class DriftDetector:
    """Compares frames with a reference: numbers by Kolmogorov-Smirnov, other types by chi-square.

    Attributes:
        reference: The reference frame.
        methods: Another test for a column: "ks", "chi_square" or "psi".
    """

    def __init__(
        self,
        reference: Frame,
        *,
        methods: Mapping[str, Method] | None = None,
        p_value: float = 0.05,
        psi: float = 0.2,
    ) -> None:
        self.reference, self.methods = to_polars(reference), dict(methods or {})
        self._thresholds = {"ks": p_value, "chi_square": p_value, "psi": psi}
        for column, method in self.methods.items():
            self._check(column)
            if method not in _TESTS:
                raise WrongCall(f"{method!r} is not a drift test", remedy=did_you_mean(method, _TESTS))

    def detect(self, current: Frame, columns: Sequence[str] | None = None) -> DriftReport:
        """Test every column of the reference, or those named.

        Args:
            current: The frame to compare with the reference.
            columns: Columns to check; all by default.

        Returns:
            One test per column.

        Raises:
            ColumnMissing: The current rows lack a column.
            TooFewRows: A column has no values.
            WrongCall: The test does not allow a column's type.
        """
        now, report = to_polars(current), DriftReport()
        for column in columns if columns is not None else self.reference.columns:
            self._check(column)
            if column not in now.columns:
                near = did_you_mean(column, now.columns)
                raise ColumnMissing(f"the current rows have no column {column!r}", where="drift", remedy=near)
            report[column] = self._one(self.reference[column], now[column])
        return report

    def _one(self, reference: pl.Series, current: pl.Series) -> DriftTest:
        numeric = reference.dtype.is_numeric()
        method = self.methods.get(reference.name, "ks" if numeric else "chi_square")
        if numeric != current.dtype.is_numeric() or (method == "ks" and not numeric):
            raise WrongCall(
                f"the column {reference.name!r} is {reference.dtype} and {current.dtype}, which {method} can't compare",
                where="drift",
                remedy="cast it, or name chi_square or psi for it in methods=",
            )
        if not numeric and reference.dtype != current.dtype:
            reference, current = reference.cast(pl.String), current.cast(pl.String)
        return _TESTS[method](reference, current, self._thresholds[method])

    def _check(self, column: str) -> None:
        if column not in self.reference.columns:
            raise ColumnMissing(
                f"the reference has no column {column!r}",
                where="drift",
                remedy=did_you_mean(column, self.reference.columns),
            )
