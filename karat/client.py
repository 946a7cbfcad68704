"""FeatureEngineeringClient: the public face of Karat; works without any server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from karat.boundary import public_verbs
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import decimal_type, to_decimals
from karat.errors import WrongCall, did_you_mean
from karat.executors import Progress, silent
from karat.inference import score_batch
from karat.inference.batch import Missing
from karat.inference.consistency import Consistency, check_consistency
from karat.lake import EVENT, Commit, Lake, TableInfo
from karat.lake.conform import check_zone, conform, localize
from karat.lake.schema import define
from karat.lifecycle import ErasureResult, erase, log_external_model, rebuild
from karat.names import ModelName, TableName
from karat.online import OnlineStore, PublishResult, open_store, publish_table
from karat.registry import ModelVersion, Registry, open_registry
from karat.settings import Settings
from karat.training_sets.frames import Frame, FrameKind, convert_frame, named_index_as_columns, to_polars
from karat.training_sets.functions import FeatureFunction, FunctionLibrary
from karat.training_sets.lookups import FeatureLookup
from karat.training_sets.training_set import TrainingSet, create_training_set


@public_verbs
class FeatureEngineeringClient:
    """Feature tables, training sets, models and scoring on the lake in ``KARAT_HOME``.

    Models are registered through the MLflow server if it answers, else in its database directly.

    Attributes:
        catalog: The catalog of bare and two-part names.
        settings: The settings.
        frames: Kind of the frames that are returned when no frame was given.
    """

    def __init__(
        self, catalog: str | None = None, settings: Settings | None = None, *, frames: FrameKind = "polars"
    ) -> None:
        self.catalog, self.settings, self.frames = catalog, settings or Settings(), frames
        self.lake = Lake(self.settings.lake, self.settings.environment)

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        return open_registry(self.settings)

    @cached_property
    def functions(self) -> FunctionLibrary:
        """Code of feature functions: declared ones, and plain ones given to this client."""
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
        """Create a feature table from ``df`` (with its rows) or an Arrow ``schema``; a repeated call finds it.

        Args:
            name: The table.
            primary_keys: Key columns.
            df: Rows to write; the named levels of a pandas index become columns.
            schema: The schema, if there are no rows.
            timeseries_columns: The time column.
            event_id: Key column that orders rows of one entity and time; a point-in-time join takes the highest.
            partition_columns: Partition columns; by default the lake chooses.
            description: The table's description.
            descriptions: Descriptions of columns.
            owner: The owner.
            lag: Time from a row's timestamp until it is known.
            tags: Properties of the table.
            timezone: Zone of naive timestamps.

        Returns:
            The table.

        Raises:
            KeyColumnNull: A key is null; no error leaves a table behind.
            DuplicateKeys: Two rows have one key.
            ColumnMissing: A named column is missing.
            SchemaMismatch: The table exists with another schema.
            NaiveTimestamp: A timestamp has no zone, and ``timezone`` is not given.
        """
        full, times = self._table(name), _as_list(timeseries_columns)
        if (df is None) == (schema is None):
            raise WrongCall(
                "create_table needs either df or schema", where=f"create_table({name!r})", remedy="give one"
            )
        if len(times) > 1:
            raise WrongCall(f"{name!r} would have {len(times)} timeseries columns", remedy="name one of them")
        rows = None if df is None else _localize(to_polars(named_index_as_columns(df)), timezone, full)
        columns = _with_descriptions(schema if rows is None else _arrow_schema(rows), descriptions or {})
        definition: dict[str, Any] = {
            "primary_key": _as_list(primary_keys),
            "timeseries": times[0] if times else None,
            "partition_by": None if partition_columns is None else _as_list(partition_columns),
            "grain": None if event_id is None else EVENT,
            "lag": lag,
            "event_id": event_id,
            "owner": owner,
            "description": description,
            "properties": dict(tags or {}),
        }
        if rows is not None:
            _check_rows(full, columns, rows, **definition)
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
        """Upsert by primary key, or replace every row, in one commit.

        Raises:
            TableNotFound: There is no such table; no error writes anything.
            KeyColumnNull: A key is null.
            DuplicateKeys: Two rows have one key.
            ColumnMissing: A column is missing.
            SchemaMismatch: A column has another type.
            NaiveTimestamp: A timestamp has no zone, and ``timezone`` is not given.
            ForeignCatalog: The catalog belongs to another environment.
        """
        full = self._table(name)
        if mode not in ("merge", "overwrite"):
            near = did_you_mean(mode, ("merge", "overwrite"))
            raise WrongCall(f"{mode!r} is not a write mode", where=f"write_table({name!r})", remedy=near)
        write = self.lake.merge if mode == "merge" else self.lake.overwrite
        return write(full, to_polars(named_index_as_columns(df)), timezone=timezone)

    def read_table(
        self,
        name: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        frames: FrameKind | None = None,
    ) -> Frame:
        """Read the present rows, or those of a Delta version, in the order in which they are stored.

        Raises:
            TableNotFound: There is no such table; the message has the nearest name.
            ColumnMissing: There is no such column; the message has the nearest name.
        """
        full = self._table(name)
        rows = self.lake.read(full, version=version, columns=columns)
        came = {
            f.name: kind for f in self.lake.info(full).schema if (kind := decimal_type(f)) and f.name in rows.columns
        }
        rows = rows.with_columns(to_decimals(rows[column], kind) for column, kind in came.items())
        return convert_frame(rows, frames or self.frames)

    def get_table(self, name: str) -> TableInfo:
        """Return keys, schema, owner, descriptions and version.

        Raises:
            TableNotFound: There is no such table; the message has the nearest name.
        """
        return self.lake.info(self._table(name))

    def erase(self, name: str, keys: Frame) -> ErasureResult:
        """Erase people from every version of a table and from the training sets of live models.

        Erase gold first, then what was computed from it; the online store follows with the next
        ``publish_table``. The models are tagged with the number of rows that a rebuilt training set lacks.

        Args:
            name: The table.
            keys: Columns of the primary key, or some of them.

        Returns:
            What was erased.

        Raises:
            WrongCall: A column is not part of the key.
            TableNotFound: There is no such table.
        """
        return erase(
            self.lake, self.registry, self._table(name), to_polars(named_index_as_columns(keys)), library=self.functions
        )

    def publish_table(
        self,
        name: str,
        online_store: OnlineStore | None = None,
        *,
        sequence_length: int | None = None,
        progress: Progress = silent,
    ) -> PublishResult:
        """Bring the online store to the table's current Delta version; copies changes alone.

        Args:
            name: The table.
            online_store: The store; by default the one in the settings.
            sequence_length: Also publishes this many last rows per entity, for models that look up sequences.
            progress: Called after each part.

        Returns:
            What was published.
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
        """Join and pin the features of every row of ``df``.

        Args:
            df: The spine: keys, times and label.
            feature_lookups: Lookups and functions.
            label: The label's column.
            exclude_columns: Columns that a model does not read.

        Returns:
            The training set; ``load_df()`` returns it in the kind of ``df``.

        Raises:
            TableNotFound: There is no such feature table.
            FeatureNotFound: There is no such feature.
            LookupKeyMismatch: A lookup's key does not match its table's.
            ColumnMissing: The frame lacks a column.
            LabelNotFound: The frame lacks the label.
            EmptyTrainingSet: There are no rows, or a lookup finds none.
        """
        return create_training_set(
            self.lake,
            df,
            feature_lookups,
            label,
            _as_list(exclude_columns),
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
        """Register a fitted scikit-learn or XGBoost estimator, or a ``karat.kinds.Model``, with its lookups and pins.

        Args:
            model: The estimator.
            artifact_path: Path of the model among the run's artifacts.
            flavor: MLflow's flavor.
            training_set: The training set of the fit.
            registered_model_name: The model's name.
            signature: An ``mlflow.models.ModelSignature`` with both sides; inferred by default.
            input_example: Rows to keep as an example.
            metrics: Metrics to log.
            parameters: Parameters to log.
            tags: Tags of the version.

        Returns:
            The registered version.

        Raises:
            SignatureError: The signature does not fit; no error registers anything.
            UntrustedModel: The model holds types that are not trusted.
            WrongCall: An argument is wrong.
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
        """Rebuild the training set of a registered model, byte for byte, less erased rows (``erased_rows``).

        Raises:
            ModelNotFound: There is no such model.
            NoChampion: The model has no champion.
            RebuildFailed: A table's version is gone, or the data differ.
            FunctionChanged: A feature function's source changed.
        """
        version = self.registry.resolve(model_uri, catalog=self.catalog)
        return rebuild(self.lake, self.registry, version, self.functions)

    def score_batch(
        self, model_uri: str, df: Frame, result_type: str | None = None, *, missing: Missing = "raise"
    ) -> Frame:
        """Add prediction, model name, version, run id and time to ``df``; see ``karat.inference.score_batch``."""
        return score_batch(
            self.lake,
            self.registry,
            model_uri,
            df,
            result_type=result_type,
            catalog=self.catalog,
            missing=missing,
            library=self.functions,
            projects=ProjectCatalog(self.settings),
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
        """Compare logged features with the offline store; see ``karat.inference.consistency``."""
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


def _as_list(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _localize(rows: pl.DataFrame, timezone: str | None, name: TableName) -> pl.DataFrame:
    """Convert naive timestamps of the named zone to UTC; without a zone the lake refuses them."""
    check_zone(timezone)
    if timezone is None:
        return rows
    naive = [n for n, t in rows.schema.items() if isinstance(t, pl.Datetime) and t.time_zone is None]
    return rows.with_columns(localize(rows[n], timezone, str(name)).dt.convert_time_zone("UTC") for n in naive)


def _with_descriptions(schema: pa.Schema, descriptions: Mapping[str, str]) -> pa.Schema:
    unknown = [name for name in descriptions if name not in schema.names]
    if unknown:
        raise WrongCall(
            rf"descriptions names {unknown[0]!r}, which is not a column",
            where="create_table(descriptions=...)",
            remedy=did_you_mean(unknown[0], schema.names),
        )
    return pa.schema(
        field.with_metadata({"comment": descriptions[field.name]}) if field.name in descriptions else field
        for field in schema
    )


def _check_rows(name: TableName, schema: pa.Schema, rows: pl.DataFrame, **definition: Any) -> None:
    """Check that the rows fit the new table, so that a refused call leaves no empty table."""
    wanted = define(name, schema, **definition)
    info = TableInfo(
        name=name,
        version=-1,
        schema=wanted.visible,
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


def _arrow_schema(rows: pl.DataFrame) -> pa.Schema:
    """The columns' Arrow types. Arrow has no 128-bit integers: the lake stores those that fit 64 bits."""
    wide = [name for name, dtype in rows.schema.items() if dtype in (pl.Int128, pl.UInt128)]
    return rows.clear().with_columns(pl.col(wide).cast(pl.Int64)).to_arrow().schema
