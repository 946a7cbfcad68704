"""Search space of a model's parameters: the ``search`` of its YAML."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from karat.declare.base import Declaration

Value = bool | int | float | str | None


class SearchSpace(Declaration):
    """The values that a search may try for one parameter.

    A list of values, or all numbers from ``low`` to ``high``, both included (whole numbers if both ends are); with
    ``log`` every order of magnitude is equally likely. In YAML: ``max_depth: [2, 4, 8]`` or ``learning_rate: {low:
    0.01, high: 0.3, log: true}``.
    """

    choices: tuple[Value, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        if isinstance(given, list | tuple):
            return {"choices": tuple(given)}
        if not isinstance(given, dict | SearchSpace):
            raise ValueError(f"{given!r} leaves nothing to choose: write a list of values, or low and high")
        return given

    @model_validator(mode="after")
    def _one_of_both(self) -> SearchSpace:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("a parameter is searched in a list of values or between low and high, not in both")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("a value stands twice in the list")
            return self
        if self.low is None or self.high is None:
            raise ValueError("write a list of values, or low and high")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be less than high; they are {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low must be more than 0; it is {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values by which the whole space is checked: every choice, or both ends."""
        return self.choices or (self.low, self.high)

    def contains(self, value: Value) -> bool:
        """Whether the search may try this value."""
        if self.choices:
            return any(repr(value) == repr(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high and (not self.whole or isinstance(value, int))

    @property
    def whole(self) -> bool:
        """Whether a range holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class SearchBudget(Declaration):
    """How long a search takes, and what its trials are compared on.

    ``trials`` is the number of trials, ``minutes`` a time limit beside it. ``at_once`` trials are chosen together and
    run side by side as the cluster has cores; a search with the same seed repeats only with the same number.
    ``validation`` is the share of the training rows (their last days, or some of their entities) that the trials are
    compared on. With ``stop_early`` a kind that learns in rounds ends trials that fall behind (successive halving).
    """

    trials: int = Field(20, ge=1, le=10_000)
    minutes: float | None = Field(None, gt=0)
    at_once: int = Field(4, ge=1, le=256)
    validation: float = Field(0.2, gt=0, lt=1)
    stop_early: bool = True
