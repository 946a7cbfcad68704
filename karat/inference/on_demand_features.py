"""Feature functions for one request: by the code of training, from what the request brings and what was looked up."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from karat.dtypes import POLARS
from karat.errors import InvalidRequest
from karat.online import Value, Values
from karat.registry import LoadedModel
from karat.training_sets.functions import BoundFunction, FunctionLibrary, call_function, needed_functions


class OnDemandFeatures:
    """Feature functions of one model.

    Attributes:
        inputs: The columns that the functions read.
        types: Input that a request may bring -> declared type.
    """

    def __init__(self, loaded: LoadedModel, library: FunctionLibrary | None) -> None:
        """Raises FunctionNotFound, FunctionChanged."""
        self._features = loaded.features
        pinned = needed_functions(loaded.functions, self._features)
        library = library or FunctionLibrary()
        self.functions: dict[str, BoundFunction] = {p.output: library.bind(p) for p in pinned}
        self._pinned = pinned
        self._times = {lookup.time[0] for lookup in loaded.lookups if lookup.time}
        keys = {column for lookup in loaded.lookups for column in lookup.keys}
        self.inputs = tuple(dict.fromkeys(c for p in pinned for c in p.inputs.values()))
        self.types = {c: t for p in pinned for c, t in p.types.items() if c not in keys}

    def of(self, known: Values, moment: datetime) -> dict[str, Value]:
        """The outputs that ``known`` does not hold already. The time of an as-of lookup is that of the request.

        Raises InvalidRequest for an input that nothing brings, FeatureFunctionFailed.
        """
        values: dict[str, Value] = {**dict.fromkeys(self._times, moment), **known}
        made: dict[str, Value] = {}
        for pinned in needed_functions(self._pinned, [f for f in self._features if f not in known], known.keys()):
            row = [_column(c, values, pinned.types[c], pinned.name) for c in dict.fromkeys(pinned.inputs.values())]
            made[pinned.output] = values[pinned.output] = call_function(
                self.functions[pinned.output], pl.DataFrame(row)
            )[0]
        return made


def _column(name: str, values: Values, dtype: str, function: str) -> pl.Series:
    if name not in values:
        raise InvalidRequest(
            f"the feature function {function!r} needs {name!r}, which no table has",
            where=f"features.{name}",
            remedy="give it in the request; null where it is not known",
        )
    value = values[name]
    if dtype == "date" and isinstance(value, datetime):
        value = value.date()
    return pl.Series(name, [value], dtype=POLARS[dtype])
