"""Fairness limits of a model or of a project, and how a model is made to keep them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from karat.declare.base import Declaration

FairnessMetric = Literal["equalized_odds", "equal_opportunity", "demographic_parity"]
#: The rates that each metric compares between groups; fairlearn's names.
FAIRNESS_RATES: dict[str, tuple[str, ...]] = {
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    "equal_opportunity": ("true_positive_rate",),
    "demographic_parity": ("selection_rate",),
}
_Gap = Annotated[float, Field(gt=0, le=1)]


class Fairness(Declaration):
    """How much the groups of the protected columns may differ.

    ``metric`` names the rates that are compared: the true and the false positive rate (``equalized_odds``), the true
    positive rate alone (``equal_opportunity``), or the share of selected rows (``demographic_parity``). ``max_gap`` is
    the greatest difference between two groups, ``max_gaps`` another one for a column; null measures without a limit. A
    version is refused if the whole 95 % interval of a column's gap lies above its limit.

    ``mitigation`` changes the model: ``reweigh`` weighs training rows so that group and label are independent
    (Kamiran and Calders, 2012), ``thresholds`` gives each group its own threshold, so that all have the true positive
    rate that the model has as a whole (Hardt, Price and Srebro, 2016). ``mitigated`` names the protected columns that
    it works on: by default all of them; thresholds take one, which the model must read.
    """

    metric: FairnessMetric = "equalized_odds"
    max_gap: _Gap | None = 0.1
    max_gaps: dict[str, _Gap | None] = {}
    mitigation: Literal["none", "reweigh", "thresholds"] = "none"
    mitigated: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _mitigates(self) -> Fairness:
        if self.mitigated and self.mitigation == "none":
            raise ValueError("mitigated names columns for a mitigation: write mitigation: reweigh, or thresholds")
        return self

    def limit(self, column: str) -> float | None:
        """The greatest gap between the groups of a column; None without a limit."""
        return self.max_gaps.get(column, self.max_gap)

    def mitigated_columns(self, protected: tuple[str, ...]) -> tuple[str, ...]:
        """The protected columns that the mitigation works on; none without one."""
        return () if self.mitigation == "none" else self.mitigated or protected
