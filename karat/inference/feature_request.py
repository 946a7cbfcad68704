"""What must be looked up and computed for a model, given what a frame or a request brings itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from karat.registry import LoadedModel
from karat.training_sets.functions import PinnedFunction, needed_functions
from karat.training_sets.lookups import PinnedLookup


@dataclass(frozen=True)
class FeatureNeeds:
    """``given``: the features and inputs of functions that are brought, not looked up; ``lookups`` and ``functions``
    are cut to what is left to do; ``brought``: what functions read and nothing but a frame or a request can bring."""

    given: tuple[str, ...]
    lookups: tuple[PinnedLookup, ...]
    functions: tuple[PinnedFunction, ...]
    brought: tuple[str, ...]


def needs_of(loaded: LoadedModel, columns: Collection[str]) -> FeatureNeeds:
    """A column that bears the name of a feature, or of an input that would be looked up, overrides it."""
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
