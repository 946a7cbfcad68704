"""A declared model together with its project."""

from __future__ import annotations

from dataclasses import dataclass

from karat.declare.fairness import Fairness
from karat.declare.feature_tables import FeatureTable
from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.fingerprint import fingerprint
from karat.names import ModelName, TableName

#: Fields of a declaration that leave the trained model as it is.
_NOT_LEARNED = {"name", "domain", "description", "owner", "intended_use", "online", "scope", "gates", "risk_levels"}
_NOT_LEARNED |= {
    "explain",
    "tags",
    "experiment",
    "limits",
    "notes",
    "search",
    "missing_features",
    "distributed",
    "seeds",
    "immutable",
}
#: Fields that came later: at their defaults they leave the hashes of earlier versions as they were.
_UNCHANGED_BY_DEFAULT = ("calibration", "intervals", "calibration_share", "refit", "feature_selection")


@dataclass(frozen=True)
class DeclaredModel:
    """The declaration of one model and the project that it is read from.

    Attributes:
        project: The loaded project.
        spec: One of the project's models, or a copy of one with other fields.
    """

    project: Project
    spec: ModelSpec

    @property
    def name(self) -> ModelName:
        """The registered model."""
        return self.project.model_name(self.spec.name)

    @property
    def spine(self) -> FeatureTable:
        """The feature table whose keys are the rows of the model."""
        return self.project.tables[self.spec.spine_table]

    @property
    def spine_name(self) -> TableName:
        """The spine's table in the lake."""
        return self.project.table_name(self.spec.spine_table)

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """The spine's key, and the columns of its events by which lookups find their rows (a payment's terminal)."""
        own = {f.name for f in self.spine.stored if f.event}
        looked = (e for lookup in self.spec.lookups for e in self.project.tables[lookup.table].entity)
        return (*self.spine.primary_key, *dict.fromkeys(e for e in looked if e in own))

    @property
    def definition_hash(self) -> str:
        """BLAKE2 over every field that decides what is learned and how it is evaluated, used functions included."""
        meaning = self.spec.model_dump(mode="json", exclude=_NOT_LEARNED)
        del meaning["fairness"], meaning["protected"]
        meaning |= self._fairness_meaning
        for name in _UNCHANGED_BY_DEFAULT:
            if getattr(self.spec, name) == type(self.spec).model_fields[name].default:
                del meaning[name]
        if self.spec.baseline.newest == 1:
            del meaning["baseline"]["newest"]
        used = meaning.pop("functions")
        if used:
            hashes = {use.function: self.project.functions[use.function].source_hash for use in self.spec.functions}
            meaning |= {"functions": used, "function_hashes": hashes}
        return fingerprint(meaning)

    @property
    def fairness(self) -> Fairness:
        """The limits on the gaps between the groups of the protected columns."""
        return self.project.fairness_of(self.spec)

    @property
    def gates_hash(self) -> str:
        """A short BLAKE2 hash of the gates and of the fairness limits: others may decide otherwise."""
        gates, columns = self.spec.gates.definition_hash, self.spec.protected
        if not columns:
            return gates
        limits = {"metric": self.fairness.metric} | {c: self.fairness.limit(c) for c in columns}
        return fingerprint({"gates": gates, "fairness": limits})

    @property
    def _fairness_meaning(self) -> dict[str, object]:
        """What of the fairness decides what is learned and measured: the columns, and a mitigation."""
        declared, protected = self.spec.fairness, self.spec.protected
        if not protected:  # the hashes of models without protected columns stay as they were
            return {}
        if declared is None or declared.mitigation == "none":
            return {"protected": protected}
        columns = declared.mitigated_columns(protected)
        return {"protected": protected, "mitigation": [declared.mitigation, declared.metric, columns]}
