"""Online/offline consistency check: served values against the point-in-time join for the same keys and time."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from karat.clock import utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import POLARS, arrow_type, dtype_of
from karat.errors import NoDataToCompare, WrongCall
from karat.features import Status
from karat.inference.feature_reader import FeatureReader
from karat.inference.prediction_log import as_json
from karat.inference.request import typed_values
from karat.lake import Lake
from karat.lifecycle.consistency_gate import record_consistency
from karat.names import ModelName, prediction_log_name
from karat.online import KeyValue, Value, coerce_key
from karat.registry import LoadedModel, Registry
from karat.training_sets.feature_join import join_features
from karat.training_sets.lookups import PinnedLookup

_AT = "__served_at__"
#: The time of the model's row, as a moment and as a key column of the table's own type.
_ROW_AT, _ROW_DAY = "__row_at__", "__row_day__"
_EXAMPLES = 3
#: One row of the prediction log, its JSON parsed.
LoggedRow = dict[str, Any]


@dataclass(frozen=True)
class Mismatch:
    """A served value that differs from the offline store: (value, status) online and offline."""

    prediction_id: str
    feature: str
    keys: dict[str, object]
    at: datetime
    online: tuple[object, str]
    offline: tuple[object, str]


@dataclass(frozen=True)
class Consistency:
    """Result of a consistency check.

    Attributes:
        model: The registered model.
        rows: How many predictions were compared.
        features: One row per feature: model_name, checked_at, feature, rows, mismatches, share.
        examples: Up to three mismatches per feature.
    """

    model: ModelName
    rows: int
    features: pl.DataFrame
    examples: tuple[Mismatch, ...]

    @property
    def worst(self) -> float:
        """The greatest share of mismatches of any feature."""
        return float(self.features["share"].max() or 0.0)  # type: ignore[arg-type]


def check_consistency(
    lake: Lake,
    registry: Registry,
    model: ModelName,
    *,
    share: float = 0.1,
    since: datetime | None = None,
    until: datetime | None = None,
    tolerance: float = 1e-9,
    projects: ProjectCatalog | None = None,
) -> Consistency:
    """Compares the feature values in the log of predictions with the as-of join at their moment.

    The sample is by the hash of the keys: of ``share`` of the entities every prediction, and always the same entities.
    Values that a request brought or a function computed are left out; those of a table with a row per event, which one
    of ``projects`` declares, are finished again from gold. Two numbers are the same within the relative
    ``tolerance``. What it finds is added to ``catalog.monitoring.consistency``, which a promotion can demand
    (``gates.consistency``). Raises WrongCall, NoDataToCompare, ModelNotFound.
    """
    if not 0 < share <= 1:
        raise WrongCall(f"a share of {share} is none", where="check_consistency", remedy="give 0 < share <= 1")
    served = _sampled(_logged(lake, model, since, until), share)
    if not served:
        raise NoDataToCompare(
            f"no prediction of {model} is in the sample",
            where=str(prediction_log_name(model.catalog)),
            remedy="take a greater share or a longer time; the log is written some seconds after a prediction",
        )
    groups: dict[tuple[int, tuple[str, ...]], list[LoggedRow]] = {}
    for row in served:
        groups.setdefault((row["model_version"], tuple(row["keys"])), []).append(row)
    loaded = {version: registry.load(registry.version(model, version)) for version, _ in groups}
    compared, wrong = Counter[str](), Counter[str]()
    examples: list[Mismatch] = []
    for (version, _), rows in groups.items():
        for name, mismatch in _compare(lake, loaded[version], rows, tolerance, projects or ProjectCatalog()):
            compared[name] += 1
            if mismatch is not None:
                wrong[name] += 1
                if wrong[name] <= _EXAMPLES:
                    examples.append(mismatch)
    features = _told(model, compared, wrong)
    record_consistency(lake, model, features)
    return Consistency(model, len(served), features, tuple(examples))


def _logged(lake: Lake, model: ModelName, since: datetime | None, until: datetime | None) -> list[LoggedRow]:
    name = prediction_log_name(model.catalog)
    if not lake.exists(name):
        return []
    rows = lake.scan(name).filter(pl.col("model_name") == str(model))
    if since is not None:
        rows = rows.filter(pl.col("predicted_at") >= since)
    if until is not None:
        rows = rows.filter(pl.col("predicted_at") < until)
    return rows.collect().to_dicts()


def _sampled(rows: Sequence[LoggedRow], share: float) -> list[LoggedRow]:
    """Those of the sample's keys, with their JSON read; those that looked nothing up are left out."""
    out = []
    for row in rows:
        digest = hashlib.blake2b(row["entity_keys"].encode(), digest_size=8).digest()
        if int.from_bytes(digest, "big") < share * 2**64:
            parsed = {n: json.loads(row[n]) for n in ("features", "statuses", "looked_up", "given")}
            parsed["times"] = json.loads(row["feature_times"])
            keys = json.loads(row["entity_keys"])
            if parsed["looked_up"]:
                out.append(row | parsed | {"keys": keys, "at": row["as_of"] or row["predicted_at"]})
    return out


def _compare(
    lake: Lake,
    loaded: LoadedModel,
    rows: list[LoggedRow],
    tolerance: float,
    projects: ProjectCatalog,
) -> list[tuple[str, Mismatch | None]]:
    """(feature, mismatch or None) of every value that was looked up; the rows name the same keys."""
    again = None
    names = [out for lk in loaded.lookups for out in lk.outputs]
    if any(lk.event_id and not lk.sequence_length and projects.event_table(lk.table) for lk in loaded.lookups):
        metadata = loaded.metadata
        again = FeatureReader(
            loaded.lookups, names, None, lake, projects, row_of=metadata.spine_table, row_types=metadata.spine_types
        )
    asked = [] if again is not None else _as_served(lake, loaded, rows)
    filled = join_features(lake, _spine(asked, rows), asked) if asked else None
    out: list[tuple[str, Mismatch | None]] = []
    for i, row in enumerate(rows):
        values = filled.values.row(i, named=True) if filled is not None else {}
        statuses = filled.statuses.row(i, named=True) if filled is not None else {}
        if again is not None:
            made = _finished(again, names, row)
            values, statuses = made
        for name in row["looked_up"]:
            online = (row["features"][name], row["statuses"][name])
            offline = (json.loads(as_json(values[name])), statuses[name])
            same = online[1] == offline[1] and _same(online[0], offline[0], tolerance)
            told = Mismatch(row["prediction_id"], name, row["keys"], row["at"], online, offline)
            out.append((name, None if same else told))
    return out


def _finished(reads: FeatureReader, names: list[str], row: LoggedRow) -> tuple[dict[str, Value], dict[str, Status]]:
    """Values and statuses of tables of events, as a request at that moment is finished from gold."""
    own = reads.own_types
    given = typed_values({n: v for n, v in row["given"].items() if n in own}, own, "given")
    given |= {n: v for n, v in row["given"].items() if n not in own}
    keys = {c: coerce_key(v, reads.key_types[c], c) for c, v in row["keys"].items() if c in reads.key_types}
    vector = reads.read(keys, row["at"], given)
    return dict(zip(names, vector.values, strict=True)), dict(zip(names, vector.statuses, strict=True))


def _as_served(lake: Lake, loaded: LoadedModel, rows: list[LoggedRow]) -> list[PinnedLookup]:
    """The lookups as the rows were served: the model's row as of the moment, all other tables as of that row's time.

    Puts the time of its row into each of ``rows``, under ``_ROW_AT``.
    """
    named, spine = rows[0]["keys"], loaded.metadata.spine_table
    times = [_time_column(lake, lookup) for lookup in loaded.lookups]
    of_row = [time is not None and time not in named for time in times]
    anchors = [lk for lk, unnamed in zip(loaded.lookups, of_row, strict=True) if unnamed]
    anchors = [lk for lk in anchors if lk.table.table == spine] or anchors
    columns = {*filter(None, times), *(lk.time[0] for lk in loaded.lookups if lk.time)} & named.keys()
    for row in rows:
        served = [time for lk in anchors if (time := row["times"].get(str(lk.table)))]
        row[_ROW_AT] = max(map(_moment, [*(row["keys"][c] for c in columns), *served]), default=None)
    return [
        _joined_as_served(lake, lookup, time if unnamed else None, alone=anchors == [lookup])
        for lookup, time, unnamed in zip(loaded.lookups, times, of_row, strict=True)
    ]


def _moment(text: str) -> datetime:
    """A day or a time as the log has it; a day begins at midnight UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _time_column(lake: Lake, lookup: PinnedLookup) -> str | None:
    """The request's column of the table's time, of an exact lookup."""
    time = lake.info(lookup.table).timeseries if lookup.time is None else None
    return next((column for column, key in lookup.keys.items() if key == time), None)


def _joined_as_served(lake: Lake, lookup: PinnedLookup, unnamed: str | None, *, alone: bool) -> PinnedLookup:
    """The lookup that gives what was served; ``unnamed`` is the column of its time, which the request left out."""
    if lookup.time is not None:
        return replace(lookup, time=(_ROW_AT, lookup.time[1]))
    if unnamed is None:
        return lookup
    keys = {column: key for column, key in lookup.keys.items() if column != unnamed}
    time = lookup.keys[unnamed]
    if alone:  # the newest row known at the moment is the model's row
        return replace(lookup, keys=keys, time=(_AT, time), lag=lake.info(lookup.table).lag)
    return replace(lookup, keys=keys | {_ROW_DAY: time})


def _spine(lookups: Sequence[PinnedLookup], rows: list[LoggedRow]) -> pl.DataFrame:
    types = {c: dtype_of(arrow_type(lk.schema[key])) for lk in lookups for c, key in lk.keys.items()}
    columns = [
        pl.Series(c, [_typed(row["keys"].get(c), dtype, c) for row in rows], dtype=POLARS[dtype])
        for c, dtype in types.items()
        if c != _ROW_DAY
    ]
    at = pl.Series(_AT, [row["at"] for row in rows], dtype=pl.Datetime("us", "UTC"))
    of_row = pl.Series(_ROW_AT, [row[_ROW_AT] or row["at"] for row in rows], dtype=pl.Datetime("us", "UTC"))
    if _ROW_DAY in types:
        columns.append(
            pl.Series(_ROW_DAY, [row[_ROW_AT] for row in rows], dtype=of_row.dtype).cast(POLARS[types[_ROW_DAY]])
        )
    return pl.DataFrame([*columns, at, of_row])


def _typed(value: object, dtype: str, column: str) -> KeyValue | None:
    return None if value is None else coerce_key(value, dtype, column)


def _same(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float | int):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=tolerance)
    return bool(one == other)


def _told(model: ModelName, compared: Counter[str], wrong: Counter[str]) -> pl.DataFrame:
    names = sorted(compared)
    return pl.DataFrame(
        {
            "model_name": [str(model)] * len(names),
            "checked_at": [utc_now()] * len(names),
            "feature": names,
            "rows": [compared[n] for n in names],
            "mismatches": [wrong[n] for n in names],
            "share": [wrong[n] / compared[n] for n in names],
        },
        schema_overrides={"checked_at": pl.Datetime("us", "UTC")},
    )
