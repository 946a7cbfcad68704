"""Document 002's FeatureEngineer: any feature of any entity as of any date, backfill, and the rules of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from karat.client import FeatureEngineeringClient
from karat.compat.declaration_index import DeclarationIndex, FoundDeclaration
from karat.compat.rules import broken_rules
from karat.compat.timestamps import day, moment
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
    """Feature -> value, with the ``statuses`` (PRESENT, NULL, NOT_FOUND) and the time ``as_of`` which they are."""

    def __init__(self, values: Mapping[str, Any], statuses: Mapping[str, Status], as_of: datetime) -> None:
        super().__init__(values)
        self.statuses, self.as_of = dict(statuses), as_of

    @property
    def found(self) -> bool:
        """Whether any feature table knows the entity."""
        return any(s is not Status.NOT_FOUND for s in self.statuses.values())


class FeatureEngineer:
    """Computes declared features from gold.

    ``db_connection`` is a FeatureEngineeringClient (one on ``KARAT_HOME`` by default). ``config`` may name the
    ``project`` where features are looked for; without it a feature is found in whichever project declares it.
    """

    def __init__(
        self, db_connection: FeatureEngineeringClient | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        if db_connection is not None and not isinstance(db_connection, FeatureEngineeringClient):
            raise WrongCall(
                f"a {type(db_connection).__name__} is no connection to the lake",
                where="FeatureEngineer(db_connection=...)",
                remedy="give a FeatureEngineeringClient, or nothing: gold tables are read from the lake",
            )
        self.client = db_connection or FeatureEngineeringClient(settings=Settings())
        self.config = dict(config or {})
        self.declared = DeclarationIndex(self.client.settings, self.config.get("project") or self.client.catalog)

    def compute_feature(
        self, feature_name: str, entity_id: Entity, entity_type: str | None = None, as_of_date: Day | None = None
    ) -> Any:
        """The value of one feature as it was known at ``as_of_date`` (now by default); None where it is null or where
        nothing was known of the entity then: ``compute_feature_set`` tells these apart.

        Raises FeatureNotFound with the nearest name, WrongCall where several tables have it.
        """
        found = self.declared.feature(feature_name, entity_type)
        looked, _ = self.looked(found, [entity_id], as_of_date)
        return looked.values[found.features[0]][0]

    def compute_feature_set(
        self,
        feature_names: str | Sequence[str],
        entity_id: Entity,
        entity_type: str | None = None,
        as_of_date: Day | None = None,
    ) -> FeatureSet:
        """Several features of one entity, of any number of tables; the name of a table means all of its features."""
        values: dict[str, Any] = {}
        statuses: dict[str, Status] = {}
        at = moment(None, "UTC")
        for found in self.found(feature_names, entity_type):
            looked, at = self.looked(found, [entity_id], as_of_date or at)
            values |= looked.values.row(0, named=True)
            statuses |= {n: Status(s) for n, s in looked.statuses.row(0, named=True).items()}
        named = [n for name in _listed(feature_names) if (n := name.rpartition(":")[2]) in values]
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
        """Computes the rows of these days, both included, into the feature tables that hold the features.

        Rows are whole: a table's other features come along. ``entity_ids`` None means every entity; the rows of all
        others stay as they are. Each table is one commit; the same call again changes nothing, and takes up one that
        was killed. Raises DefinitionChanged where a table's other rows are of an older definition, WrongCall.
        """
        ids, results = None if entity_ids is None else list(entity_ids), []
        for found in self.found(feature_names):
            entities = None if ids is None else entities_of(found, ids)
            wanted = BackfillRequest((found.table.name,), day(start_date), day(end_date), entities)
            results += backfill(found.project, wanted, self.client.lake, executor=executor, progress=progress)
        return results

    def validate_features(self, features: Mapping[str, Any]) -> tuple[bool, list[str]]:
        """Whether every value keeps its feature's declared type, range and rule for nulls, and the checks of its table;
        all errors at once, one line each."""
        errors = broken_rules(self.declared, features)
        return not errors, errors

    def found(self, names: str | Sequence[str], entity_type: str | None = None) -> list[FoundDeclaration]:
        """The tables of these features or feature sets, each once, in the order of their first mention."""
        tables: dict[tuple[str, str], FoundDeclaration] = {}
        for name in _listed(names):
            for one in self.declared.feature_set(name, entity_type):
                key = (one.project.name, one.table.name)
                before = tables[key].features if key in tables else ()
                tables[key] = FoundDeclaration(one.project, one.table, tuple(dict.fromkeys((*before, *one.features))))
        if not tables:
            raise WrongCall("no feature is named", remedy="give the name of a feature, or of a feature table")
        return list(tables.values())

    def looked(self, found: FoundDeclaration, ids: Sequence[Entity], as_of: Day | None) -> tuple[JoinResult, datetime]:
        """One row an entity, and the time that ``as_of`` means in the project."""
        at = moment(as_of, found.project.spec.timezone)
        looked = features_as_of(
            found.project,
            found.table.name,
            self.client.lake,
            entities_of(found, ids),
            at=at,
            features=found.features,
        )
        return looked, at


def entities_of(found: FoundDeclaration, ids: Sequence[Entity]) -> pl.DataFrame:
    """The entities as a frame of the table's key columns. Raises InvalidRequest for one that does not fit."""
    columns = found.project.gold[found.table.source].columns
    types = {e: columns[e].dtype for e in found.table.entity}
    rows = [_keys(found.table, types, entity) for entity in ids]
    return pl.DataFrame(rows, schema={e: POLARS[t] for e, t in types.items()}, orient="row")


def _keys(table: FeatureTable, types: Mapping[str, str], entity: Entity) -> list[Any]:
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


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
