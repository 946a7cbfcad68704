"""FeatureEngineeringClient: the public face, with the verbs of document 000; works without any server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import WrongCall, did_you_mean
from karat.executors import Progress, silent
from karat.inference import score_batch
from karat.inference.batch import Missing
from karat.inference.consistency import Consistency, check_consistency
from karat.lake import DAY_COLUMN, EVENT, Commit, Lake, TableInfo
from karat.lake.conform import conform
from karat.lake.schema import define
from karat.lifecycle import ErasureResult, erase, log_external_model, rebuild
from karat.names import ModelName, TableName
from karat.online import OnlineStore, PublishResult, open_store, publish_table
from karat.registry import ModelVersion, Registry, open_registry
from karat.settings import Settings
from karat.training_sets.frames import Frame, FrameKind, convert_frame, to_polars
from karat.training_sets.functions import FeatureFunction, FunctionLibrary
from karat.training_sets.lookups import FeatureLookup
from karat.training_sets.training_set import TrainingSet, create_training_set


class FeatureEngineeringClient:
    """Feature tables, training sets, models and scoring on the lake in ``KARAT_HOME``.

    ``catalog`` is where bare and two-part names are read. ``frames`` is the kind of frame of what is read without one
    being given. Models are registered through the MLflow server if it answers, else in its database directly.
    """

    def __init__(
        self, catalog: str | None = None, settings: Settings | None = None, *, frames: FrameKind = "polars"
    ) -> None:
        self.catalog, self.settings, self.frames = catalog, settings or Settings(), frames
        self.lake = Lake(self.settings.lake, self.settings.environment)

    @cached_property
    def registry(self) -> Registry:
        return open_registry(self.settings)

    @cached_property
    def functions(self) -> FunctionLibrary:
        """The code of feature functions: those that projects declare, and plain ones given to this client."""
        return FunctionLibrary(self.settings)

    # ---- feature tables

    def create_table(
        self,
        name: str,
        primary_keys: str | Sequence[str],
        df: Frame | None = None,
        *,
        schema: pa.Schema | None = None,
        timeseries_columns: str | Sequence[str] | None = None,
        event_id: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        description: str = "",
        descriptions: Mapping[str, str] | None = None,
        owner: str = "",
        lag: timedelta = timedelta(0),
        tags: Mapping[str, str] | None = None,
        timezone: str | None = None,
    ) -> TableInfo:
        """Makes a feature table of ``df`` (with its rows) or of an Arrow ``schema``; the same call again finds it.

        ``lag`` says how long after its time a row is known; ``event_id`` names the key column that tells rows of one
        entity and time apart, of which an as-of join takes the highest. ``descriptions`` are of the columns.
        ``timezone`` names the zone of naive timestamps. Raises KeyColumnNull, DuplicateKeys, ColumnMissing,
        SchemaMismatch, NaiveTimestamp; there is no table then.
        """
        full, times = self._table(name), _names(timeseries_columns)
        if (df is None) == (schema is None):
            raise WrongCall("a table is made of df or of schema", where=f"create_table({name!r})", remedy="give one")
        if len(times) > 1:
            raise WrongCall(f"{name!r} would have {len(times)} timeseries columns", remedy="name one of them")
        rows = None if df is None else _zoned(to_polars(df), timezone)
        columns = _described(rows.to_arrow().schema if rows is not None else schema, descriptions or {})
        definition: dict[str, Any] = {
            "primary_key": _names(primary_keys),
            "timeseries": times[0] if times else None,
            "partition_by": None if partition_columns is None else _names(partition_columns),
            "grain": None if event_id is None else EVENT,
            "lag": lag,
            "event_id": event_id,
            "owner": owner,
            "description": description,
            "properties": dict(tags or {}),
        }
        if rows is not None:
            check_rows(full, columns, rows, **definition)
        info = self.lake.create(full, columns, **definition)
        if rows is None:
            return info
        self.lake.merge(full, rows)
        return self.lake.info(full)

    def write_table(
        self,
        name: str,
        df: Frame,
        mode: Literal["merge", "overwrite"] = "merge",
        *,
        timezone: str | None = None,
    ) -> Commit:
        """Upserts by primary key, or replaces every row, in one commit.

        Raises TableNotFound, KeyColumnNull, DuplicateKeys, ColumnMissing, SchemaMismatch, NaiveTimestamp (unless
        ``timezone`` names the zone), ForeignCatalog; nothing is written then.
        """
        full = self._table(name)
        if mode not in ("merge", "overwrite"):
            near = did_you_mean(mode, ("merge", "overwrite"))
            raise WrongCall(f"{mode!r} is no mode of writing", where=f"write_table({name!r})", remedy=near)
        write = self.lake.merge if mode == "merge" else self.lake.overwrite
        return write(full, to_polars(df), timezone=timezone)

    def read_table(
        self,
        name: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        frames: FrameKind | None = None,
    ) -> Frame:
        """The rows, of now or of a Delta version. Raises TableNotFound, ColumnMissing with the nearest name."""
        return convert_frame(self.lake.read(self._table(name), version=version, columns=columns), frames or self.frames)

    def get_table(self, name: str) -> TableInfo:
        """Keys, schema, owner, descriptions, version. Raises TableNotFound with the nearest name."""
        return self.lake.info(self._table(name))

    def erase(self, name: str, keys: Frame) -> ErasureResult:
        """Erases persons: the rows of ``keys`` (columns of the primary key, or some of them) in every version of the
        table, and in the training sets of live models, which are tagged as rebuildable but for so many rows.

        Gold first, then what was computed from it; the online store follows with the next ``publish_table``. Raises
        WrongCall for columns that are no key, TableNotFound.
        """
        return erase(self.lake, self.registry, self._table(name), to_polars(keys), library=self.functions)

    def publish_table(
        self,
        name: str,
        online_store: OnlineStore | None = None,
        *,
        sequence_length: int | None = None,
        progress: Progress = silent,
    ) -> PublishResult:
        """Brings the online store to the table's current Delta version; only what changed is copied.

        ``sequence_length``: the last so many rows of an entity too, for models that look up sequences.
        """
        store = online_store or open_store(self.settings)
        projects = ProjectCatalog(self.settings)
        return publish_table(
            self.lake, store, self._table(name), progress, sequence_length=sequence_length, projects=projects
        )

    # ---- training sets and models

    def create_training_set(
        self,
        df: Frame,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction],
        label: str | None,
        exclude_columns: Sequence[str] = (),
    ) -> TrainingSet:
        """Freezes and pins the features of every row of ``df``; ``load_df()`` gives them in the kind of ``df``.

        Raises TableNotFound, FeatureNotFound, LookupKeyMismatch, ColumnMissing, LabelNotFound and EmptyTrainingSet.
        """
        return create_training_set(
            self.lake,
            df,
            feature_lookups,
            label,
            _names(exclude_columns),
            catalog=self.catalog,
            library=self.functions,
        )

    def log_model(
        self,
        model: Any,
        artifact_path: str = "model",
        *,
        flavor: ModuleType | str | None = None,
        training_set: TrainingSet,
        registered_model_name: str,
        signature: Any = None,
        input_example: Frame | None = None,
        metrics: Mapping[str, float] | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Registers a fitted scikit-learn or XGBoost estimator, or a ``karat.kinds.Model``, with its lookups and pins.

        ``signature`` (mlflow.models.ModelSignature) must have both sides; it is inferred where it is not given.
        Raises SignatureError, UntrustedModel, WrongCall; nothing is registered then.
        """
        return log_external_model(
            self.registry,
            model,
            artifact_path,
            lake=self.lake,
            training_set=training_set,
            name=ModelName.parse(registered_model_name, catalog=self.catalog),
            flavor=flavor,
            signature=signature,
            input_example=input_example,
            metrics=dict(metrics or {}),
            parameters=dict(parameters or {}),
            tags=dict(tags or {}),
        )

    def rebuild_training_set(self, model_uri: str) -> TrainingSet:
        """The training set with which a registered model was made: the same rows, byte for byte, but for those who
        were erased since (``erased_rows``).

        Raises ModelNotFound, NoChampion; RebuildFailed saying what is gone or differs; FunctionChanged.
        """
        version = self.registry.resolve(model_uri, catalog=self.catalog)
        return rebuild(self.lake, self.registry, version, self.functions)

    def score_batch(
        self, model_uri: str, df: Frame, result_type: str | None = None, *, missing: Missing = "raise"
    ) -> Frame:
        """``df`` plus prediction, model name, version, run id and time; see ``karat.inference.score_batch``."""
        return score_batch(
            self.lake,
            self.registry,
            model_uri,
            df,
            result_type=result_type,
            catalog=self.catalog,
            missing=missing,
            library=self.functions,
        )

    def check_consistency(
        self,
        model: str,
        share: float = 0.1,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tolerance: float = 1e-9,
    ) -> Consistency:
        """The features in the log of predictions against the offline store; see ``karat.inference.consistency``."""
        name = ModelName.parse(model, catalog=self.catalog)
        return check_consistency(
            self.lake,
            self.registry,
            name,
            share=share,
            since=since,
            until=until,
            tolerance=tolerance,
            projects=ProjectCatalog(self.settings),
        )

    def _table(self, name: str) -> TableName:
        return TableName.parse(name, catalog=self.catalog)


def _names(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _zoned(rows: pl.DataFrame, timezone: str | None) -> pl.DataFrame:
    """Naive timestamps in the named zone, as UTC; without a name they stay, and the lake refuses them."""
    if timezone is None:
        return rows
    naive = [n for n, t in rows.schema.items() if isinstance(t, pl.Datetime) and t.time_zone is None]
    return rows.with_columns(pl.col(naive).dt.replace_time_zone(timezone).dt.convert_time_zone("UTC"))


def _described(schema: pa.Schema, descriptions: Mapping[str, str]) -> pa.Schema:
    unknown = [name for name in descriptions if name not in schema.names]
    if unknown:
        raise WrongCall(
            f"a description is given for {unknown[0]!r}, which is no column",
            where="create_table(descriptions=...)",
            remedy=did_you_mean(unknown[0], schema.names),
        )
    return pa.schema(
        field.with_metadata({"comment": descriptions[field.name]}) if field.name in descriptions else field
        for field in schema
    )


def check_rows(name: TableName, schema: pa.Schema, rows: pl.DataFrame, **definition: Any) -> None:
    """Whether the rows fit the table that is about to be made, so that a refused call leaves no empty table."""
    wanted = define(name, schema, **definition)
    info = TableInfo(
        name=name,
        version=-1,
        schema=pa.schema(field for field in wanted.schema if field.name != DAY_COLUMN),
        primary_key=wanted.primary_key,
        timeseries=wanted.timeseries,
        grain=None,
        lag=definition["lag"],
        owner=definition["owner"],
        description=wanted.description,
        properties=wanted.properties,
        comments={},
        partition_by=(),
        path=Path(),
    )
    conform(rows, info)
