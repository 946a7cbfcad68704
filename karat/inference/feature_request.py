"""Feature needs: what must be looked up and computed for a model, given the columns that a frame brings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from karat.registry import LoadedModel
from karat.training_sets.functions import PinnedFunction, needed_functions
from karat.training_sets.lookups import PinnedLookup


@dataclass(frozen=True)
class FeatureNeeds:
    """Lookups and functions that are left to do.

    Attributes:
        given: Features and function inputs that the frame brings.
        lookups: Lookups without the given outputs.
        functions: Functions without the given outputs.
        brought: Function inputs that only a frame or a request can bring.
    """

    given: tuple[str, ...]
    lookups: tuple[PinnedLookup, ...]
    functions: tuple[PinnedFunction, ...]
    brought: tuple[str, ...]


def needs_of(loaded: LoadedModel, columns: Collection[str]) -> FeatureNeeds:
    """Find what a model needs beside ``columns``; a column overrides the feature or input of its name."""
    functions = needed_functions(loaded.functions, [f for f in loaded.features if f not in columns], columns)
    read = [column for f in functions for column in f.inputs.values()]
    wanted = dict.fromkeys([*loaded.features, *read])
    looked_up = {out for lookup in loaded.lookups for out in lookup.outputs}
    unwanted = {out for out in looked_up if out not in wanted or out in columns}
    made = {f.output for f in functions}
    return FeatureNeeds(
        given=tuple(n for n in wanted if n in columns),
        lookups=tuple(cut for lookup in loaded.lookups if (cut := lookup.without(unwanted)).outputs),
        functions=tuple(functions),
        brought=tuple(dict.fromkeys(c for c in read if c not in looked_up and c not in made)),
    )
