"""Retention: which old table versions of a catalog can go, given what live models pin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from karat.clock import utc_now
from karat.errors import ModelNotFound, WrongCall
from karat.lake import Lake, VacuumResult
from karat.names import TableName, pinned_copy
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.registry.tags import VersionTags

#: Between a training set and the registration of its model a day may pass.
SHORTEST = timedelta(days=1)


@dataclass(frozen=True)
class Pins:
    """Pinned table versions.

    Attributes:
        tables: Table -> Delta version -> URIs of the model versions that need it.
        released: Model versions that no longer count.
    """

    tables: dict[TableName, dict[int, list[str]]]
    released: tuple[ModelVersion, ...]


@dataclass(frozen=True)
class RetentionResult:
    """What retention removed, or would remove.

    Attributes:
        tables: One result per table of the catalog.
        pins: Who pins the kept versions.
    """

    tables: tuple[VacuumResult, ...]
    pins: Pins


def is_live(version: ModelVersion, keep: timedelta, now: datetime) -> bool:
    """Return whether a version's training set is kept.

    It is if the version has an alias, ever was champion, was fitted outside Karat (nobody can train it again), has the
    tag ``karat.keep``, or is younger than ``keep``.
    """
    tags = version.own_tags
    kept = tags.was_champion or tags.user_model or tags.keep is not None
    return bool(version.aliases or kept) or version.created > now - keep


def pins_of(registry: Registry, keep: timedelta, now: datetime) -> Pins:
    """Return what all registered models pin, whatever their catalog."""
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
    """Feature tables, the stored spine, and the gold and feature tables that the spine was made from."""
    try:
        pins = registry.metadata(version).pins
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
    """Remove the files of table versions that neither a live model nor the last ``keep`` needs.

    A version is tagged as released before the first file goes.

    Args:
        lake: Holds the tables.
        registry: Holds the models.
        catalog: Only tables of this catalog.
        keep: How long every version is kept.
        dry_run: Only report.
        now: End of the time to keep; now by default.

    Raises:
        WrongCall: ``keep`` is less than a day.
    """
    if keep < SHORTEST:
        raise WrongCall(
            f"versions are kept for {keep}", where="--keep", remedy="keep a day at least: a model in training pins late"
        )
    now = now or utc_now()
    pins = pins_of(registry, keep, now)
    if not dry_run:
        for version in pins.released:
            if version.own_tags.released is None and version.name.catalog == catalog:
                registry.tag(version, VersionTags(released=now.isoformat(timespec="seconds")))
    if not dry_run:
        _drop_copies(lake, catalog, pins)
    tables = [
        lake.vacuum(name, keep=pins.tables.get(name, {}).keys(), older_than=keep, dry_run=dry_run, now=now)
        for name in lake.tables(catalog)
    ]
    return RetentionResult(tuple(tables), pins)


def _drop_copies(lake: Lake, catalog: str, pins: Pins) -> None:
    """Drops what an erasure left of pinned versions that nobody pins any more."""
    needed = {pinned_copy(table, version) for table, versions in pins.tables.items() for version in versions}
    for name in lake.tables(catalog, "models"):
        if name.table.startswith("pinned__") and name not in needed:
            lake.drop(name)
