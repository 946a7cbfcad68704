"""Champions that a changed declaration would break. MLflow is imported only if something changed."""

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
    """Return one line per break of a champion, or a line that says why the registry cannot be read."""
    try:
        registry = import_module("karat.registry").open_registry(settings)
        breaking = import_module("karat.lifecycle").breaking_changes(project, registry)
    except (PlatformError, StoreError) as error:
        return [f"the champions could not be checked: {error.what} ({error.where})"]
    return [f"would break {one}" for one in breaking]


def refuse_breaking(project: Project, tables: Sequence[str], lake: Lake, settings: Settings) -> None:
    """Refuse a computation of ``tables`` that would change features under a champion.

    Raises:
        BreakingChange: a champion reads a feature whose definition changed, or that is no longer declared.
    """
    if changed := redefined(project, tables, lake):
        lifecycle = import_module("karat.lifecycle")
        registry = import_module("karat.registry").open_registry(settings)
        lifecycle.refuse_breaking_changes(lifecycle.breaking_changes(project, registry, changed), project)
