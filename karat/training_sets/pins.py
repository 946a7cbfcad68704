"""JSON records of what a model pins of its training set: the spine, tables and functions, each at its version."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class StoredSpineRecord(TypedDict):
    """A stored spine (``StoredSpine.as_json``)."""

    table: str
    version: int
    columns: dict[str, str]
    schema: str


class LookupRecord(TypedDict):
    """A pinned lookup (``PinnedLookup.as_json``); times are in seconds."""

    table: str
    version: int
    keys: dict[str, str]
    time: list[str] | None
    lag_seconds: float
    lookback_seconds: float | None
    columns: dict[str, str]
    defaults: dict[str, object]
    schema: dict[str, str]
    definition_hash: str
    sequence_length: int | None
    step_seconds: float | None
    short: str
    event_id: str | None
    mask: str | None
    meanings: dict[str, str]


class FunctionRecord(TypedDict):
    """A pinned feature function (``PinnedFunction.as_json``)."""

    name: str
    project: str
    source_hash: str
    inputs: dict[str, str]
    output: str
    types: dict[str, str]
    dtype: str


class SpinePins(TypedDict):
    """The spine's digest, number of rows and Polars types, and where it is stored."""

    digest: str
    rows: int
    schema: dict[str, str]
    stored: NotRequired[StoredSpineRecord]


class TrainingPins(TypedDict):
    """Everything that a training set read; ``sources`` are further tables, ``columns`` the digest of each column."""

    spine: SpinePins
    lookups: list[LookupRecord]
    functions: NotRequired[list[FunctionRecord]]
    sources: dict[str, int]
    columns: NotRequired[dict[str, str]]
