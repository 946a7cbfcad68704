"""Feature store in Feast's verbs: features by ``table:feature``, historical and online."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from karat.boundary import public_verbs
from karat.client import FeatureEngineeringClient
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import ARROW, Dtype
from karat.errors import ColumnMissing, TableNotFound, WrongCall, did_you_mean
from karat.features import Status
from karat.inference.features import FeatureValues, online_features
from karat.lake import TableInfo
from karat.names import FeatureRef, TableName
from karat.online import open_store
from karat.settings import Settings
from karat.training_sets.frames import Frame, convert_frame, convert_like, to_polars
from karat.training_sets.lookups import FeatureLookup
from karat.training_sets.training_set import TrainingSet

#: Feast's column of the times as of which an entity's features are wanted.
EVENT_TIMESTAMP = "event_timestamp"
#: Feast's names of types, as Karat declares them.
Bool, Float64, Int64, String, UnixTimestamp = "bool", "float64", "int64", "string", "timestamp"
Float32, Int32 = Float64, Int64


@dataclass(frozen=True)
class Feature:
    """A feature's name, type and description, as one line of a schema."""

    name: str
    dtype: Dtype
    description: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in ARROW:
            raise WrongCall(f"{self.dtype!r} is not a feature type", remedy=did_you_mean(str(self.dtype), ARROW))

    @property
    def field(self) -> pa.Field:
        """The Arrow field that ``create_table`` takes."""
        return pa.field(self.name, ARROW[self.dtype], metadata={"comment": self.description})


@public_verbs
@dataclass(frozen=True)
class HistoricalFeatures:
    """The rows of ``entity_df`` with features; ``training_set`` has pins and leakage report."""

    data: pl.DataFrame = field(repr=False)
    training_set: TrainingSet = field(repr=False)
    given: Frame = field(repr=False)

    def to_df(self) -> Frame:
        """Return a frame of the kind that was given."""
        return convert_like(self.data, self.given)

    def to_dict(self) -> dict[str, list[Any]]:
        """Return values by column.

        Returns:
            Column -> values, in the order of the entity rows.
        """
        return self.data.to_dict(as_series=False)

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self.data.to_arrow()


@public_verbs
@dataclass(frozen=True)
class OnlineFeatures:
    """Present values, in the order of the entity rows."""

    found: FeatureValues = field(repr=False)
    names: tuple[str, ...]
    frames: Any = "polars"

    def to_dict(self) -> dict[str, list[Any]]:
        """Return values by column: key columns, then features.

        Returns:
            Column -> values, in the order of the entity rows.
        """
        keys = dict.fromkeys(name for row in self.found.keys for name in row)
        out = {name: [row.get(name) for row in self.found.keys] for name in keys}
        return out | {name: [row[j] for row in self.found.values] for j, name in enumerate(self.names)}

    def to_df(self) -> Frame:
        """Return a frame of the client's kind."""
        return convert_frame(pl.DataFrame(self.to_dict()), self.frames)

    @property
    def statuses(self) -> dict[str, list[Status]]:
        """Statuses by feature."""
        return {name: [row[j] for row in self.found.statuses] for j, name in enumerate(self.names)}


@public_verbs
class FeatureStore:
    """Feature store over a client; a bare table name needs a single catalog with such a table."""

    def __init__(self, client: FeatureEngineeringClient | None = None) -> None:
        self.client = client or FeatureEngineeringClient(settings=Settings())

    def get_historical_features(
        self, entity_df: Frame, features: Sequence[str], *, full_feature_names: bool = False
    ) -> HistoricalFeatures:
        """Join each row of ``entity_df`` with the features known at its ``event_timestamp``.

        ``table:*`` selects all features. Tables without time are matched by key alone. A feature name of two
        tables becomes ``table__feature``; with ``full_feature_names`` every name does. Errors are those of
        ``create_training_set``.

        Args:
            entity_df: Entity rows: key columns and ``event_timestamp``.
            features: Feature references: ``table:feature`` or ``table:*``.
            full_feature_names: Whether every output is named ``table__feature``.

        Returns:
            The entity rows with their features, in order.
        """
        rows, tables = to_polars(entity_df), self._tables(features)
        outputs = _output_names(
            [(info.name.table, f) for info, names in tables for f in names], full=full_feature_names
        )
        lookups = []
        for info, names in tables:
            entity = [k for k in info.primary_key if k != info.timeseries]
            if info.timeseries is not None and EVENT_TIMESTAMP not in rows.columns:
                raise ColumnMissing(
                    f"the entity rows have no column {EVENT_TIMESTAMP!r}, which says when features were known",
                    where=f"{info.name} has the time {info.timeseries!r}",
                    remedy=did_you_mean(EVENT_TIMESTAMP, rows.columns),
                )
            renamed = {f: out for f in names if (out := outputs[info.name.table, f]) != f}
            at = EVENT_TIMESTAMP if info.timeseries is not None else None
            lookups.append(
                FeatureLookup(str(info.name), names, lookup_key=entity, timestamp_lookup_key=at, rename_outputs=renamed)
            )
        made = self.client.create_training_set(rows, lookups, label=None)
        return HistoricalFeatures(made.data, made, entity_df)

    def get_online_features(
        self,
        entity_rows: Frame | Sequence[Mapping[str, Any]],
        features: Sequence[str],
        *,
        full_feature_names: bool = False,
    ) -> OnlineFeatures:
        """Return the features of every entity row from the online store; an unknown entity has nulls.

        Args:
            entity_rows: Entity rows, as a frame or as dicts.
            features: Feature references: ``table:feature`` or ``table:*``.
            full_feature_names: Whether every output is named ``table__feature``.

        Returns:
            The features, in the order of the entity rows.
        """
        rows = entity_rows if isinstance(entity_rows, list | tuple) else to_polars(entity_rows).to_dicts()
        tables = self._tables(features)
        asked = [FeatureRef(str(info.name), f) for info, names in tables for f in names]
        settings = self.client.settings
        found = online_features(self.client.lake, open_store(settings), asked, rows, projects=ProjectCatalog(settings))
        names = _output_names([(info.name.table, f) for info, fs in tables for f in fs], full=full_feature_names)
        return OnlineFeatures(found, tuple(names.values()), self.client.frames)

    def _tables(self, features: Sequence[str]) -> list[tuple[TableInfo, list[str]]]:
        """Return the referenced tables with their features, in order of first mention."""
        wanted: dict[str, list[str]] = {}
        for text in features:
            table, _, feature = text.partition(":")
            wanted.setdefault(table if feature == "*" else FeatureRef.parse(text).table, []).append(feature)
        if not wanted:
            raise WrongCall("there is no feature reference", remedy="give references: table:feature")
        found = []
        for text, names in wanted.items():
            info = self.client.lake.info(self._table(text))
            every = [n for n in info.schema.names if n not in info.primary_key]
            found.append((info, list(dict.fromkeys(f for n in names for f in (every if n == "*" else [n])))))
        return found

    def _table(self, text: str) -> TableName:
        if self.client.catalog is not None or text.count(".") == 2:
            return TableName.parse(text, catalog=self.client.catalog)
        schema, _, table = text.rpartition(".")
        known = self.client.lake.tables(schema=schema or "features")
        found = [n for n in known if n.table == table]
        if len(found) > 1:
            raise WrongCall(f"several catalogs have a table {text!r}", remedy=f"write one of: {_join_names(found)}")
        if not found:
            near = did_you_mean(table, {n.table for n in known}) or "there is none yet: karat run PROJECT"
            raise TableNotFound(f"there is no feature table {text!r}", where=str(self.client.lake.root), remedy=near)
        return found[0]


def _join_names(names: Sequence[TableName]) -> str:
    return ", ".join(map(str, names))


def _output_names(asked: Sequence[tuple[str, str]], *, full: bool) -> dict[tuple[str, str], str]:
    """Return the output column of each (table, feature)."""
    often = Counter(feature for _, feature in asked)
    return {(t, f): f"{t}__{f}" if full or often[f] > 1 else f for t, f in asked}
