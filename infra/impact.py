"""What the declarations as they are now would break; MLflow takes seconds to import: only where something changed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from karat.declare import Project
from karat.errors import PlatformError, StoreError
from karat.features import redefined
from karat.lake import Lake
from karat.settings import Settings

if TYPE_CHECKING:
    from karat.registry import Registry


def may_have_models(settings: Settings) -> bool:
    """Whether a model can have been registered here."""
    return (settings.home / "mlflow" / "mlflow.db").exists() or not settings.loopback


def registry_if_any(settings: Settings) -> Registry | None:
    """The registry where a model can have been registered. Raises PlatformError and StoreError if it can't be asked."""
    return import_module("karat.registry").open_registry(settings) if may_have_models(settings) else None


def broken_champions(project: Project, settings: Settings) -> list[str]:
    """One line for each trouble of a champion; a line of its own where the registry can't be asked."""
    lifecycle, registry = import_module("karat.lifecycle"), import_module("karat.registry")
    try:
        return [f"would break {one}" for one in lifecycle.breaks(project, registry.open_registry(settings))]
    except (PlatformError, StoreError) as error:
        return [f"the champions could not be looked at: {error.what} ({error.where})"]


def refuse_breaking(project: Project, tables: Sequence[str], lake: Lake, settings: Settings) -> None:
    """Raises BreakingChange where a champion reads what computing ``tables`` would give another meaning, or what the
    project declares no more."""
    if changed := redefined(project, tables, lake):
        lifecycle, registry = import_module("karat.lifecycle"), import_module("karat.registry")
        lifecycle.refuse(lifecycle.breaks(project, registry.open_registry(settings), changed), project)
