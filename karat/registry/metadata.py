"""A model's metadata: the content of ``karat.json`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from karat.declare.models import MissingFeatures
from karat.dtypes import Dtype
from karat.names import ModelName
from karat.training.gain_report import GainReport
from karat.training_sets.functions import PinnedFunction
from karat.training_sets.lookups import PinnedLookup
from karat.training_sets.pins import TrainingPins
from karat.training_sets.rebuild_record import TrainingSetRecord

_VERSION = 1


@dataclass(frozen=True)
class ModelMetadata:
    """What a model keeps besides its estimator: how to look its inputs up, and how it was trained.

    Fields with a default are missing from a model that Karat did not train.

    Attributes:
        task: Machine learning task.
        features: Inputs, in their frozen order.
        feature_types: Input -> declared type.
        lookups: Lookups that bring the inputs.
        functions: Feature functions that compute inputs.
        label: Column that the model predicts.
        classes: Classes of a classifier, in the order of its probabilities.
        threshold: Probability or score from which on a row counts as positive.
        pins: Versions of everything that the training set read.
        digest: Digest of the training set.
        report: Leakage report, one record per feature.
        kind: Estimator kind, or the class of an estimator fitted elsewhere.
        project: Project that declares the model.
        catalog: Catalog of the registered model.
        environment: Environment of the catalog.
        model: Name of the model.
        definition: Hash of the declaration.
        declaration: The whole declaration.
        label_definition: The label's part of it.
        metrics: Metrics on the test rows.
        baseline: Metrics of the baseline on the same rows.
        baseline_name: Name of the baseline.
        train_metrics: Metrics on the training rows.
        judgement: Gain over the baseline, with confidence intervals.
        importance: Feature -> share of its importance.
        rows: Part of the split -> number of rows.
        commit: Commit of the code.
        origin: "sample" if any gold table held sample data, else "ingest" or "".
        origins: Gold table -> "sample" or "ingest".
        warnings: What is unusual about the data or the model.
        reported: Metrics as the caller reported them, for a model that was fitted elsewhere.
        search: The search that found the parameters, or the version whose search found them.
        run_id: MLflow run.
        model_id: MLflow logged model.
        format: How the estimator is stored: "kind" or "estimator".
    """

    task: str
    features: tuple[str, ...]
    feature_types: Mapping[str, str]
    lookups: tuple[PinnedLookup, ...]
    label: str | None
    classes: list[Any]
    threshold: float
    pins: TrainingPins
    digest: str
    functions: tuple[PinnedFunction, ...] = ()
    report: list[dict[str, object]] = field(default_factory=list)
    kind: str | None = None
    project: str | None = None
    catalog: str = ""
    environment: str | None = None
    model: str = ""
    definition: str | None = None
    declaration: Mapping[str, Any] | None = None
    label_definition: Mapping[str, object] | None = None
    metrics: Mapping[str, float] | None = None
    baseline: Mapping[str, float] | None = None
    baseline_name: str | None = None
    train_metrics: Mapping[str, float] | None = None
    judgement: GainReport | None = None
    importance: Mapping[str, float] | None = None
    rows: Mapping[str, int] | None = None
    commit: str | None = None
    origin: str | None = None
    origins: Mapping[str, str] | None = None
    warnings: list[str] | None = None
    reported: Mapping[str, float] | None = None
    search: Mapping[str, Any] | None = None
    run_id: str | None = None
    model_id: str | None = None
    format: str | None = None

    @property
    def training_set(self) -> TrainingSetRecord:
        """What the model keeps of its training set."""
        return TrainingSetRecord(
            model=str(ModelName.of_short(self.catalog, self.model)),
            features=self.features,
            label=self.label,
            digest=self.digest,
            pins=self.pins,
        )

    @property
    def risk_levels(self) -> dict[str, float]:
        """Risk level -> its least prediction, rising, as declared for this version; empty without."""
        return dict((self.declaration or {}).get("risk_levels", {}))

    @property
    def held_features(self) -> frozenset[str]:
        """Features that no counterfactual changes: the protected and the immutable ones."""
        declared = self.declaration or {}
        return frozenset(self.features) & {*declared.get("protected", ()), *declared.get("immutable", ())}

    @property
    def explains(self) -> bool:
        """Whether an answer names the features that made it, unless the request declines."""
        return bool((self.declaration or {}).get("explain", True))

    @property
    def missing_features(self) -> MissingFeatures:
        """From which share of missing features on a prediction is degraded, as declared for this version."""
        return MissingFeatures.model_validate((self.declaration or {}).get("missing_features", {}))

    @property
    def spine_table(self) -> str:
        """The feature table whose rows the model predicts for; empty for a model without a declaration."""
        declared = self.declaration or {}
        lookups = declared.get("lookups") or [{}]
        return str(declared.get("spine") or lookups[0].get("table", ""))

    @property
    def spine_types(self) -> dict[str, Dtype]:
        """Time column of the training set's spine -> "date" or "timestamp"."""
        kinds: dict[str, Dtype] = {"Date": "date", "Datetime": "timestamp"}
        schema = self.pins["spine"]["schema"]
        return {c: kind for c, text in schema.items() if (kind := kinds.get(text.partition("(")[0])) is not None}

    def to_json(self) -> dict[str, object]:
        """Return the content of ``karat.json``; fields without a value are left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        record = {name: value for name, value in values.items() if value is not None}
        return record | {
            "version": _VERSION,
            "features": list(self.features),
            "label": self.label,
            "lookups": [lookup.as_json() for lookup in self.lookups],
            "functions": [function.as_json() for function in self.functions],
            **({"judgement": asdict(self.judgement)} if self.judgement else {}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelMetadata:
        """Read ``karat.json``; entries of other versions of Karat are ignored.

        Raises:
            KeyError: an entry without a default is missing.
        """
        named = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        named["features"] = tuple(record["features"])
        named["lookups"] = tuple(PinnedLookup.from_json(one) for one in record["lookups"])
        named["functions"] = tuple(PinnedFunction.from_json(one) for one in record.get("functions", ()))
        named["judgement"] = GainReport.from_json(record["judgement"]) if record.get("judgement") else None
        missing = {"task", "feature_types", "label", "classes", "threshold", "pins", "digest"} - named.keys()
        if missing:
            raise KeyError(f"karat.json has no {', '.join(sorted(missing))}")
        return cls(**named)
