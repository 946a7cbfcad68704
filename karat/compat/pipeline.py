"""Feature pipeline: feature sets for many entities, a model's inputs for one, and exports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from karat.boundary import public_verbs
from karat.compat.engineer import Day, Entity, FeatureEngineer, FeatureSet, entity_frame
from karat.compat.exports import export
from karat.errors import EmptyTrainingSet, LookupKeyMismatch, SchemaMismatch
from karat.registry import open_registry
from karat.training_sets.frames import Frame, convert_frame


@public_verbs
class FeaturePipeline:
    """Datasets over a FeatureEngineer; frames are of the kind that its client returns."""

    def __init__(self, feature_engineer: FeatureEngineer | None = None) -> None:
        self.engineer = feature_engineer or FeatureEngineer()

    def create_training_dataset(
        self, entity_ids: Iterable[Entity], feature_sets: str | Sequence[str], as_of_date: Day | None = None
    ) -> Frame:
        """Return one row per entity, in order: its key and the features of the sets as known at ``as_of_date``.

        A set is a feature table (``behavioral`` for ``behavioral_features``) or a single feature; all have one
        key. Unknown entities have nulls.

        Args:
            entity_ids: The entities, each as in ``compute_feature``.
            feature_sets: Feature tables or features, all of one key.
            as_of_date: A time, a day (00:00 UTC) or text of either; now by default.

        Returns:
            A frame of the client's kind.

        Raises:
            EmptyTrainingSet: No entity is known.
            LookupKeyMismatch: The sets have different keys.
            TableNotFound: There is no such set; the message has the nearest name.
        """
        ids = list(entity_ids)
        found = self.engineer.select(feature_sets)
        keys = {f.table.entity for f in found}
        if len(keys) > 1:
            raise LookupKeyMismatch(
                "the feature sets have different keys",
                where="; ".join(f"{f.table.name}: {', '.join(f.table.entity)}" for f in found),
                remedy="make one dataset for each key, or join them over a spine: create_training_set",
            )
        frames, statuses = [entity_frame(found[0], ids)], []
        for one in found:
            looked, _ = self.engineer.join(one, ids, as_of_date)
            _check_distinct(frames, looked.values, one.table.name)
            frames.append(looked.values)
            statuses.append(looked.statuses)
        known = [s for frame in statuses for c in frame for s in c.cast(pl.String) if s != "NOT_FOUND"]
        if not known:
            raise EmptyTrainingSet(
                f"no data in the training set: none of {len(ids)} entities was known then",
                where=f"feature sets {', '.join(f.table.name for f in found)}; as of {as_of_date or 'now'}",
                remedy="compare the ids and the date with the gold tables",
            )
        return convert_frame(pl.concat(frames, how="horizontal"), self.engineer.client.frames)

    def create_prediction_features(
        self, entity_id: Entity, model_type: str, as_of_date: Day | None = None
    ) -> FeatureSet:
        """Return what a declared model reads of one entity, in the order of its lookups, by default now.

        Args:
            entity_id: Value of the only key column, or key column -> value.
            model_type: Name of a declared model, in any spelling.
            as_of_date: A time, a day (00:00 UTC) or text of either; now by default.

        Returns:
            Values by feature, with their statuses.

        Raises:
            UnknownModel: No project declares the model.
            InvalidRequest: A table has another key than ``entity_id``.
        """
        project, spec = self.engineer.declared.model(model_type)
        names = [
            f"{project.name}.{lookup.table}:{f.name}"
            for lookup in spec.lookups
            for f in project.tables[lookup.table].stored
            if (lookup.features == "*" or f.name in lookup.features) and f.name not in lookup.exclude
        ]
        return self.engineer.compute_feature_set(names, entity_id, None, as_of_date)

    def feature_importance(self, model_type: str) -> dict[str, float]:
        """Return the importance of features in the model's champion, the greatest first.

        Args:
            model_type: Name of a declared model, in any spelling.

        Returns:
            Feature -> importance.
        """
        project, spec = self.engineer.declared.model(model_type)
        registry = open_registry(self.engineer.client.settings)
        version = registry.resolve(str(project.model_name(spec.name)))
        return dict(registry.metadata(version).importance or {})

    def export(self, df: Frame, path: str | Path, format: str | None = None) -> Path:
        """Write ``df`` as Parquet, CSV or JSON, by the path's suffix unless ``format`` is given.

        Args:
            df: A Polars, pandas or Arrow frame.
            path: The file.
            format: ``parquet``, ``csv`` or ``json``; by default the path's suffix.

        Returns:
            The path of the file.
        """
        return export(df, path, format)


def _check_distinct(frames: Sequence[pl.DataFrame], values: pl.DataFrame, table: str) -> None:
    taken = {name for frame in frames for name in frame.columns}
    same = [name for name in values.columns if name in taken]
    if same:
        raise SchemaMismatch(
            f"two feature sets have a feature {same[0]!r}", where=f"feature table {table!r}", remedy="name one of them"
        )
