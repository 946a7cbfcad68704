"""Karat's own tags of a model version: the only reader and writer of ``karat.*`` keys in MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from karat.names import ARCHIVED, CHALLENGER, CHAMPION

_PREFIX = "karat."
#: Tag of a registered model, and of a run whose process was killed.
PROJECT, KILLED = f"{_PREFIX}project", f"{_PREFIX}killed"


class DecisionStatus(StrEnum):
    """Result of the promotion gates for one version."""

    PROMOTED = "promoted"
    REFUSED = "refused"


@dataclass(frozen=True)
class DecisionTag:
    """The last decision of the promotion gates on a version.

    Attributes:
        status: Whether the version became champion.
        reason: Which gates it passed or missed, with figures.
    """

    status: DecisionStatus
    reason: str

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"

    @classmethod
    def parse(cls, text: str) -> DecisionTag:
        """Read a tag's text; a text without a known status counts as a refusal."""
        status, _, reason = text.partition(": ")
        known = status in tuple(DecisionStatus)
        return cls(DecisionStatus(status), reason) if known else cls(DecisionStatus.REFUSED, text)


@dataclass(frozen=True)
class AliasTags:
    """When and why a version got one alias, and when and why it lost it; times in ISO format, UTC."""

    reason: str | None = None
    since: str | None = None
    ended: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class VersionTags:
    """Karat's own tags of a model version; None: the version has no such tag.

    Attributes:
        project: Project that declares the model.
        domain: Domain of the model within the project.
        environment: Environment of the catalog.
        kind: Estimator kind.
        task: Machine learning task.
        owner: Owner of the model.
        origin: "sample" if any gold table held sample data, else "ingest" or "".
        origins: Gold table -> "sample" or "ingest".
        digest: Digest of the training set.
        definition: Hash of the declaration.
        commit: Commit of the code.
        baseline: Name of the baseline.
        metric: Primary metric.
        rows: Part of the split -> number of rows.
        definitions: Feature table -> hash of its definition.
        pins: Feature table -> Delta version.
        why: Why the gain is not clear or not larger.
        user_model: Whether the model was fitted outside Karat.
        decision: Last decision of the promotion gates.
        gates: Hash of the gates that made the decision.
        fairness: Protected column -> rate -> the widest gap between two groups on the test rows, and its lower bound.
        stage: "champion" or "archived".
        replaces: Version of the champion before it.
        released: When retention released the training set.
        keep: Set by a person: retention keeps the training set.
        erased: Record of erased rows (``ErasedRows``), as JSON.
        rebuildable: The same, in words.
        model_id: MLflow's logged model.
        process: Host, process id and start time of the process that trains.
        aliases: Alias -> when and why the version got and lost it.
    """

    project: str | None = None
    domain: str | None = None
    environment: str | None = None
    kind: str | None = None
    task: str | None = None
    owner: str | None = None
    origin: str | None = None
    origins: Mapping[str, str] | None = None
    digest: str | None = None
    definition: str | None = None
    commit: str | None = None
    baseline: str | None = None
    metric: str | None = None
    rows: Mapping[str, int] | None = None
    definitions: Mapping[str, str] | None = None
    pins: Mapping[str, int] | None = None
    why: str | None = None
    user_model: bool | None = None
    decision: DecisionTag | None = None
    gates: str | None = None
    fairness: Mapping[str, Mapping[str, tuple[float, float | None]]] | None = None
    stage: str | None = None
    replaces: int | None = None
    released: str | None = None
    keep: str | None = None
    erased: str | None = None
    rebuildable: str | None = None
    model_id: str | None = None
    process: str | None = None
    aliases: Mapping[str, AliasTags] = field(default_factory=dict)

    @classmethod
    def from_mlflow(cls, tags: Mapping[str, str]) -> VersionTags:
        """Read the tags of a run or a version; a value that MLflow's length limit cut off counts as missing."""
        values: dict[str, Any] = {}
        for name in _OWN:
            text = tags.get(_PREFIX + name)
            if text is not None:
                with suppress(ValueError):
                    values[name] = _READ.get(name, str)(text)
        return cls(**values, aliases=_alias_tags(tags))

    def to_mlflow(self) -> dict[str, str]:
        """Return the tags that are set, by their names in MLflow."""
        values = {name: getattr(self, name) for name in _OWN}
        tags = {_PREFIX + name: _write(value) for name, value in values.items() if value is not None}
        for alias, record in self.aliases.items():
            parts = ((f.name, getattr(record, f.name)) for f in fields(record))
            tags |= {f"{_PREFIX}{alias}.{part}": value for part, value in parts if value is not None}
        return tags

    @property
    def was_champion(self) -> bool:
        """Whether the version is or ever was champion."""
        return self.alias(CHAMPION).since is not None

    def alias(self, name: str) -> AliasTags:
        """Return the record of one alias; empty if the version never had it."""
        return self.aliases.get(name, AliasTags())


def _alias_tags(tags: Mapping[str, str]) -> dict[str, AliasTags]:
    found = {}
    for alias in (CHAMPION, CHALLENGER, ARCHIVED):
        parts = {f.name: tags.get(f"{_PREFIX}{alias}.{f.name}") for f in fields(AliasTags)}
        if any(value is not None for value in parts.values()):
            found[alias] = AliasTags(**parts)
    return found


#: The fields that are one tag each, named ``karat.FIELD``.
_OWN = tuple(f.name for f in fields(VersionTags) if f.name != "aliases")
#: How to read the fields that are no text.
_READ: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("origins", "rows", "definitions", "pins", "fairness"), json.loads),
    "user_model": lambda text: text == "true",
    "decision": DecisionTag.parse,
    "replaces": int,
}


def _write(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
