"""What every verb of a model's life works on."""

from __future__ import annotations

from dataclasses import dataclass

from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake
from karat.registry.store import Registry
from karat.training_sets.functions import FunctionLibrary


@dataclass(frozen=True)
class ModelContext(DeclaredModel):
    """A declared model, the lake that holds its tables and the registry that holds its versions.

    Attributes:
        project: The loaded project.
        spec: The model's declaration.
        lake: Delta tables of the project's environment.
        registry: Versions of the model.
    """

    lake: Lake
    registry: Registry

    @property
    def functions(self) -> FunctionLibrary:
        """The feature functions that the project declares now."""
        return FunctionLibrary(given=self.project.functions.values())
