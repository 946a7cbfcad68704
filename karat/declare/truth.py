"""Planted truth of a sample: the ``truth`` of a model's YAML."""

from __future__ import annotations

from pydantic import model_validator

from karat.declare.base import Declaration


class Truth(Declaration):
    """What the planted truth itself would answer, from a gold table that only a sample has (``truth=True``).

    ``expression`` is SQL over that table, joined by the keys by which the label is (``columns`` maps them to columns of
    another name). An aggregate is evaluated over the label's own window: ``sum(expected_cost)``. A plain column is read
    from the row of the features' own key and day: ``p_leaves``. ``expressions`` has one for each class (multiclass),
    label (multilabel) or step (forecast: ``step_1`` and so on) by its name. A probability is between 0 and 1.
    """

    source: str
    expression: str | None = None
    expressions: dict[str, str] = {}
    where: str | None = None
    columns: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_of_both(self) -> Truth:
        if (self.expression is None) == (not self.expressions):
            raise ValueError("a truth has an expression, or expressions by name; one of both")
        return self
