"""Variety of a text column: whether a model can learn from its values one by one."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from karat.kinds import FEWEST_ROWS, MAX_CATEGORIES, learned_categories

#: The share of the rows whose text a model must know for the column to be a feature as it is.
_KNOWN = 0.5


@dataclass(frozen=True)
class TextVariety:
    """How many different texts a column has, and how many rows have one that a model learns.

    Attributes:
        different: Different texts.
        rows: Rows with a text.
        known: Rows whose text a model learns.
    """

    different: int
    rows: int
    known: int

    @property
    def too_many(self) -> bool:
        """Whether most rows have a text that no model learns."""
        return self.known < _KNOWN * self.rows

    @property
    def told(self) -> str:
        """What that means, in words."""
        share = 100 * self.known // max(self.rows, 1)
        return (
            f"{self.different:,} different texts in {self.rows:,} rows: a model learns {MAX_CATEGORIES} at most that "
            f"stand in {FEWEST_ROWS} rows each, here {share} % of the rows"
        )


def variety_of(texts: pl.Series) -> TextVariety:
    """The variety of the texts of a column."""
    kept = texts.drop_nulls()
    counts = kept.alias("text").to_frame().group_by("text").len("rows").with_columns(pl.col("rows").cast(pl.Int64))
    learned, different = learned_categories(counts)
    return TextVariety(different, len(kept), int(kept.is_in(list(learned)).sum()))
