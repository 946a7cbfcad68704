"""Feature engineer: any feature of any entity as of any date, backfill, and checks of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from karat.boundary import public_verbs
from karat.client import FeatureEngineeringClient
from karat.compat.declaration_index import DeclarationIndex, FeatureSelection
from karat.compat.rules import rule_errors
from karat.compat.timestamps import to_day, to_utc
from karat.declare import FeatureTable
from karat.dtypes import POLARS
from karat.errors import InvalidRequest, WrongCall, did_you_mean
from karat.executors import Executor, Progress, silent
from karat.features import BackfillRequest, JoinResult, MaterializationResult, Status, backfill, features_as_of
from karat.online import coerce_key
from karat.settings import Settings

#: An entity: the value of the only key column, or key column -> value.
Entity = str | int | date | Mapping[str, Any]
Day = datetime | date | str


class FeatureSet(dict[str, Any]):
    """Values by feature, with their ``statuses`` (PRESENT, NULL, NOT_FOUND) and the time ``as_of``."""

    def __init__(self, values: Mapping[str, Any], statuses: Mapping[str, Status], as_of: datetime) -> None:
        super().__init__(values)
        self.statuses, self.as_of = dict(statuses), as_of

    @property
    def found(self) -> bool:
        """Whether any feature table has the entity."""
        return any(s is not Status.NOT_FOUND for s in self.statuses.values())


@public_verbs
class FeatureEngineer:
    """Computes declared features from gold.

    Attributes:
        client: The client, by default on ``KARAT_HOME``.
        config: May name the ``project`` of the features; otherwise all projects are searched.
    """

    def __init__(
        self, db_connection: FeatureEngineeringClient | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        if db_connection is not None and not isinstance(db_connection, FeatureEngineeringClient):
            raise WrongCall(
                f"a {type(db_connection).__name__} is not a FeatureEngineeringClient",
                where="FeatureEngineer(db_connection=...)",
                remedy="give a FeatureEngineeringClient, or nothing: gold tables are read from the lake",
            )
        self.client = db_connection or FeatureEngineeringClient(settings=Settings())
        self.config = dict(config or {})
        self.declared = DeclarationIndex(self.client.settings, self.config.get("project") or self.client.catalog)

    def compute_feature(
        self, feature_name: str, entity_id: Entity, entity_type: str | None = None, as_of_date: Day | None = None
    ) -> Any:
        """Return one feature's value as known at ``as_of_date``, by default now.

        None means null or an unknown entity; ``compute_feature_set`` tells these apart.

        Args:
            feature_name: Name of the feature; ``table:feature`` if several tables have it.
            entity_id: Value of the only key column, or key column -> value.
            entity_type: Entity of the table, if several tables have the feature.
            as_of_date: A time, a day (00:00 UTC) or text of either; now by default.

        Returns:
            The value; None if it is null or the entity is unknown.

        Raises:
            FeatureNotFound: There is no such feature; the message has the nearest name.
            WrongCall: Several tables have it.
        """
        found = self.declared.feature(feature_name, entity_type)
        looked, _ = self.join(found, [entity_id], as_of_date)
        return looked.values[found.features[0]][0]

    def compute_feature_set(
        self,
        feature_names: str | Sequence[str],
        entity_id: Entity,
        entity_type: str | None = None,
        as_of_date: Day | None = None,
    ) -> FeatureSet:
        """Return several features of one entity, from any number of tables; a table's name selects all its features.

        Args:
            feature_names: Features, ``table:feature`` references or feature tables.
            entity_id: Value of the only key column, or key column -> value.
            entity_type: Entity of the table, if several tables have the feature.
            as_of_date: A time, a day (00:00 UTC) or text of either; now by default.

        Returns:
            Values by feature, with their statuses.
        """
        values: dict[str, Any] = {}
        statuses: dict[str, Status] = {}
        at = to_utc(None, "UTC")
        for found in self.select(feature_names, entity_type):
            looked, at = self.join(found, [entity_id], as_of_date or at)
            values |= looked.values.row(0, named=True)
            statuses |= {n: Status(s) for n, s in looked.statuses.row(0, named=True).items()}
        named = [n for name in _as_list(feature_names) if (n := name.rpartition(":")[2]) in values]
        return FeatureSet({n: values[n] for n in dict.fromkeys([*named, *values])}, statuses, at)

    def backfill_features(
        self,
        feature_names: str | Sequence[str],
        entity_ids: Iterable[Entity] | None,
        start_date: Day,
        end_date: Day,
        *,
        executor: Executor | None = None,
        progress: Progress = silent,
    ) -> list[MaterializationResult]:
        """Compute the rows of these days into the feature tables that hold the features.

        Rows are whole: a table's other features come along. Each table is one commit. A repeated call changes
        nothing and resumes one that was killed.

        Args:
            feature_names: Features or feature sets.
            entity_ids: The entities; None for all. Rows of other entities stay.
            start_date: First day.
            end_date: Last day, included.
            executor: Runs the parts.
            progress: Called after each part.

        Returns:
            One result per table.

        Raises:
            DefinitionChanged: The table's other rows have an older definition.
            WrongCall: A name has several meanings.
        """
        ids, results = None if entity_ids is None else list(entity_ids), []
        for found in self.select(feature_names):
            entities = None if ids is None else entity_frame(found, ids)
            wanted = BackfillRequest((found.table.name,), to_day(start_date), to_day(end_date), entities)
            results += backfill(found.project, wanted, self.client.lake, executor=executor, progress=progress)
        return results

    def validate_features(self, features: Mapping[str, Any]) -> tuple[bool, list[str]]:
        """Check values against type, range, null rule and table checks; return whether all hold, and every error.

        Args:
            features: Feature name -> value.

        Returns:
            Whether all rules hold, and one line per broken rule.
        """
        errors = rule_errors(self.declared, features)
        return not errors, errors

    def select(self, names: str | Sequence[str], entity_type: str | None = None) -> list[FeatureSelection]:
        """Return the tables of these features or feature sets, each once, in order of first mention.

        Args:
            names: Features, ``table:feature`` references or feature tables.
            entity_type: Entity of the table, if several tables have the feature.

        Returns:
            One selection per table.
        """
        tables: dict[tuple[str, str], FeatureSelection] = {}
        for name in _as_list(names):
            for one in self.declared.feature_set(name, entity_type):
                key = (one.project.name, one.table.name)
                before = tables[key].features if key in tables else ()
                tables[key] = FeatureSelection(one.project, one.table, tuple(dict.fromkeys((*before, *one.features))))
        if not tables:
            raise WrongCall("there is no feature name", remedy="give the name of a feature, or of a feature table")
        return list(tables.values())

    def join(self, found: FeatureSelection, ids: Sequence[Entity], as_of: Day | None) -> tuple[JoinResult, datetime]:
        """Return one row per entity, and the time that ``as_of`` means in the project.

        Args:
            found: Features of one table.
            ids: The entities.
            as_of: A time, a day or text of either; now if None.

        Returns:
            Values, statuses and ages, one row per entity; and the time in UTC.
        """
        at = to_utc(as_of, found.project.spec.timezone)
        looked = features_as_of(
            found.project,
            found.table.name,
            self.client.lake,
            entity_frame(found, ids),
            at=at,
            features=found.features,
        )
        return looked, at


def entity_frame(found: FeatureSelection, ids: Sequence[Entity]) -> pl.DataFrame:
    """Return the entities as a frame of the table's key columns.

    Args:
        found: Features of one table.
        ids: The entities.

    Returns:
        One row per entity.

    Raises:
        InvalidRequest: An entity does not fit the key.
    """
    columns = found.project.gold[found.table.source].columns
    types = {e: columns[e].dtype for e in found.table.entity}
    rows = [_key_values(found.table, types, entity) for entity in ids]
    return pl.DataFrame(rows, schema={e: POLARS[t] for e, t in types.items()}, orient="row")


def _key_values(table: FeatureTable, types: Mapping[str, str], entity: Entity) -> list[Any]:
    if not isinstance(entity, Mapping):
        if len(types) != 1:
            raise InvalidRequest(
                f"the rows of {table.name!r} have {len(types)} key columns, so {entity!r} does not say which is meant",
                where="entity_id",
                remedy=f"give {{column: value}} with {', '.join(types)}",
            )
        entity = {next(iter(types)): entity}
    for name in entity:
        if name not in types:
            raise InvalidRequest(
                f"{table.name!r} has no key column {name!r}", where="entity_id", remedy=did_you_mean(name, types)
            )
    missing = [name for name in types if name not in entity]
    if missing:
        raise InvalidRequest(f"the key column {missing[0]!r} is missing", where="entity_id")
    return [None if (v := entity[n]) is None else coerce_key(v, t, n) for n, t in types.items()]


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
