"""Retention: what of a catalog's old versions can go, given what live models pin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from karat.clock import utc_now
from karat.errors import ModelNotFound, WrongCall
from karat.lake import Lake, VacuumResult
from karat.names import CHAMPION, TableName, pinned_copy
from karat.registry.records import ModelVersion
from karat.registry.store import Registry

#: Between a training set and the registration of its model a day may pass.
SHORTEST = timedelta(days=1)
#: The tag of a version whose training set may be gone, and when it was let go.
RELEASED = "karat.released"


@dataclass(frozen=True)
class Pins:
    """Table -> Delta version -> the model versions that need it; and the model versions that no longer count."""

    tables: dict[TableName, dict[int, list[str]]]
    released: tuple[ModelVersion, ...]


@dataclass(frozen=True)
class RetentionResult:
    """What was removed of each table of the catalog (or would be), and by whom the kept versions are pinned."""

    tables: tuple[VacuumResult, ...]
    pins: Pins


def is_live(version: ModelVersion, keep: timedelta, now: datetime) -> bool:
    """A version's training set is kept where it has an alias, ever was champion, was logged by a user's own code
    (nobody trains it again by itself), bears the tag ``karat.keep``, or is younger than ``keep``."""
    tags = version.tags
    kept = {f"karat.{CHAMPION}.since", "karat.user_model", "karat.keep"} & tags.keys()
    return bool(version.aliases or kept) or version.created > now - keep


def pins_of(registry: Registry, keep: timedelta, now: datetime) -> Pins:
    """Of all registered models, whatever their catalog."""
    tables: dict[TableName, dict[int, list[str]]] = {}
    released = []
    for model in registry.models():
        for version in registry.versions(model):
            if not is_live(version, keep, now):
                released.append(version)
                continue
            for table, number in _pinned(registry, version):
                tables.setdefault(table, {}).setdefault(number, []).append(version.uri)
    return Pins(tables, tuple(released))


def _pinned(registry: Registry, version: ModelVersion) -> set[tuple[TableName, int]]:
    """Feature tables, the stored spine, and the gold and feature tables that the spine came from."""
    try:
        pins: Mapping[str, Any] = registry.metadata(version)["pins"]
    except ModelNotFound:
        return set()  # its files are gone, and with them the pins: there is nothing to be made again
    stored = pins["spine"].get("stored")
    records = [*pins["lookups"], *([stored] if stored else [])]
    named = [*((r["table"], r["version"]) for r in records), *pins["sources"].items()]
    return {(TableName.parse(table), int(number)) for table, number in named}


def retain(
    lake: Lake,
    registry: Registry,
    catalog: str,
    *,
    keep: timedelta,
    dry_run: bool = True,
    now: datetime | None = None,
) -> RetentionResult:
    """Removes the files of the catalog's tables that neither a live model nor the last ``keep`` before ``now`` needs.

    Raises WrongCall for a ``keep`` under a day, and what lake and registry raise; a version is tagged as released
    before the first file goes.
    """
    if keep < SHORTEST:
        raise WrongCall(
            f"versions are kept for {keep}", where="--keep", remedy="keep a day at least: a model in training pins late"
        )
    now = now or utc_now()
    pins = pins_of(registry, keep, now)
    if not dry_run:
        for version in pins.released:
            if RELEASED not in version.tags and version.name.catalog == catalog:
                registry.tag(version, {RELEASED: now.isoformat(timespec="seconds")})
    if not dry_run:
        _drop_copies(lake, catalog, pins)
    tables = [
        lake.vacuum(name, keep=pins.tables.get(name, {}).keys(), older_than=keep, dry_run=dry_run, now=now)
        for name in lake.tables(catalog)
    ]
    return RetentionResult(tuple(tables), pins)


def _drop_copies(lake: Lake, catalog: str, pins: Pins) -> None:
    """What was left of pinned versions after an erasure goes when nobody pins them any more."""
    needed = {pinned_copy(table, version) for table, versions in pins.tables.items() for version in versions}
    for name in lake.tables(catalog, "models"):
        if name.table.startswith("pinned__") and name not in needed:
            lake.drop(name)
