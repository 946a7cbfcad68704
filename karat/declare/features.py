"""Feature tables: aggregations over windows of a gold table, and columns derived from them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, PlainSerializer, model_validator

from karat.clock import DAY, MICROSECOND
from karat.declare.base import Declaration, Duration, FieldErrors, format_duration, parse_duration
from karat.declare.checks import AnyCheck, attached
from karat.dtypes import Dtype
from karat.errors import did_you_mean
from karat.fingerprint import fingerprint
from karat.sql import columns_read

Function = Literal["sum", "count", "mean", "min", "max", "std", "variance", "count_distinct", "share", "first", "last"]
Closed = Literal["left", "right"]
_NONE = timedelta(0)


def _parse_grain(value: object) -> object:
    return value if value == "event" else parse_duration(value)


def _format_grain(value: timedelta | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


#: A span of time, or "event": one row for every gold event.
Grain = Annotated[
    timedelta | Literal["event"], BeforeValidator(_parse_grain), PlainSerializer(_format_grain, return_type=str)
]


class Feature(Declaration):
    """One feature; made by ``aggregate``, ``from_event``, ``from_polars``, ``from_sql`` or ``from_python``, never
    directly.

    Exactly one definition is set: ``function`` (an aggregation of ``column`` over ``window``), ``event`` (an expression
    over the event's own gold row), ``polars``, ``sql`` or ``python``. The last three read the key and the features
    declared before them, row by row. ``closed`` and ``delay`` None: as the table has them.
    """

    name: str
    description: str
    dtype: Dtype = "float64"
    function: Function | None = None
    column: str | None = None
    window: Duration | None = None
    where: str | None = None
    closed: Closed | None = None
    delay: Duration | None = None
    event: str | None = None
    polars: pl.Expr | None = None
    sql: str | None = None
    python: Callable[..., Any] | None = None
    inputs: tuple[str, ...] = ()
    deprecated: str | None = None
    intermediate: bool = False

    @property
    def definition(self) -> str:
        """The feature's meaning as text: what is hashed, and what the catalogue shows."""
        if self.function:
            what = f"{self.function}({self.column or '*'})"
            where = f" where {self.where}" if self.where else ""
            return f"{what}{where} over {format_duration(self.window) if self.window else 'all rows'}{self._shifted}"
        if self.event:
            return f"event: {self.event}"
        if self.polars is not None:
            return f"polars: {self.polars.meta.tree_format(return_as_string=True)}"
        if self.sql:
            return f"sql: {self.sql}"
        assert self.python is not None
        return f"python: {textwrap.dedent(inspect.getsource(self.python))}"

    def reads(self, before: list[str]) -> set[str]:
        """The features of ``before`` that this one reads."""
        if self.polars is not None:
            return set(self.polars.meta.root_names()) & set(before)
        if self.sql is not None:
            return set(columns_read([self.sql], before))
        return set(self.inputs) & set(before)

    @property
    def derived(self) -> bool:
        """Whether it is computed from the features before it, not from gold."""
        return self.function is None and self.event is None

    @property
    def _shifted(self) -> str:
        closed = f", closed {self.closed}" if self.closed else ""
        return closed + (f", {format_duration(self.delay)} back" if self.delay is not None else "")


def aggregate(
    name: str,
    function: Function,
    column: str | None = None,
    *,
    window: str | timedelta | None = None,
    description: str,
    where: str | None = None,
    closed: Closed | None = None,
    delay: str | timedelta | None = None,
    dtype: Dtype | None = None,
    deprecated: str | None = None,
    intermediate: bool = False,
) -> Feature:
    """``function`` of the gold ``column`` (an SQL expression over gold columns) within ``window``.

    ``where`` is an SQL condition on gold rows. ``share`` is the mean of a condition: ``column`` is that condition.
    ``count`` without a column counts rows. A sum or count of no rows is 0, every other aggregation null.
    ``intermediate`` features feed later ones and are not stored. ``window=None`` (all rows) is for tables without time.
    ``closed`` and ``delay`` are for tables of events, where this feature's differ from the table's.
    """
    counted = function in ("count", "count_distinct")
    return Feature(
        name=name,
        description=description,
        dtype=dtype or ("int64" if counted else "float64"),
        function=function,
        column=column,
        window=window,
        where=where,
        closed=closed,
        delay=delay,
        deprecated=deprecated,
        intermediate=intermediate,
    )


def from_event(
    name: str, expression: str | None = None, *, description: str, dtype: Dtype = "float64", **more: Any
) -> Feature:
    """An SQL expression over the event's own gold row (the column ``name`` by default); for tables of events.

    It is known when the event is: online it comes with the request. What is only known later (whether the payment was
    a fraud) belongs in an aggregation with a delay.
    """
    return Feature(name=name, description=description, dtype=dtype, event=expression or name, **more)


def from_polars(name: str, expression: pl.Expr, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """A Polars expression over the columns before it, one value a row (no aggregation over rows)."""
    return Feature(name=name, description=description, dtype=dtype, polars=expression, **more)


def from_sql(name: str, expression: str, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """An SQL (DuckDB) expression over the columns before it, one value a row."""
    return Feature(name=name, description=description, dtype=dtype, sql=expression, **more)


def from_python(
    name: str,
    function: Callable[..., Any],
    inputs: tuple[str, ...],
    *,
    description: str,
    dtype: Dtype = "float64",
    **more: Any,
) -> Feature:
    """A Python function of the ``inputs`` by position, each a Polars Series of one block of rows; gives a Series."""
    return Feature(name=name, description=description, dtype=dtype, python=function, inputs=inputs, **more)


class FeatureTable(Declaration):
    """A feature table: one row per entity and day (daily grain), per gold event (``grain="event"``), or per entity
    where ``time`` is None.

    Daily: ``time`` names the timeseries column, a date; a gold timestamp is cut to its UTC day. ``rows``: ``"active"``
    makes a row for each day on which the entity has a gold row, ``"window"`` one for each day on which the widest
    window is not empty, so that an idle entity's sums go down instead of going stale. Row D covers [D+1d-w, D+1d) and
    is known at D + ``lag`` (one grain by default).

    Event: the key is (entity, ``time``, ``event_id``), gold's columns all; the id tells events of one time apart.
    The row of an event at t covers [t-delay-w, t-delay), with ``closed="right"`` (t-delay-w, t-delay]: the event itself
    counts then, and so does every other one of the same time, for a window is one of time. It is known at once.

    ``checks`` are asked of computed rows before they are committed.
    """

    name: str
    description: str
    owner: str = ""
    source: str
    entity: tuple[str, ...]
    time: str | None = None
    event_time: str | None = None
    event_id: str | None = None
    grain: Grain = DAY
    closed: Closed = "left"
    delay: Duration = _NONE
    lag: Duration = DAY
    rows: Literal["active", "window"] = "active"
    where: str | None = None
    online: bool = True
    features: tuple[Feature, ...]
    checks: tuple[AnyCheck, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _known_at_once(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("grain") == "event" and "lag" not in data:
            return {**data, "lag": _NONE}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> FeatureTable:
        if found := [*self._problems()]:
            raise FieldErrors(((), text) for text in found)
        self.declared_checks  # noqa: B018 - raises what is wrong with them
        return self

    def _problems(self) -> Iterator[str]:
        if self.by_event:
            yield from self._event_problems()
        elif self.event_id or self.closed != "left" or self.delay:
            yield f"event_id, closed and delay are of tables with grain='event', which {self.name!r} is not"
        elif self.time and self.grain != DAY:
            yield f"the grain of {self.name!r} must be 1d, or 'event'"
        seen: set[str] = set()
        for name in self.primary_key:
            if name in seen:
                yield f"the key column {name!r} of {self.name!r} is named twice"
            seen.add(name)
        for feature in self.features:
            if feature.name in seen:
                yield f"feature {feature.name!r} of {self.name!r} is declared twice, or is a key column"
            seen.add(feature.name)
            yield from self._window_problems(feature)
            unknown = [i for i in feature.inputs if i not in seen]
            if unknown:
                near = did_you_mean(unknown[0], seen - {feature.name})
                yield f"feature {feature.name!r} reads {unknown}, which no feature before it is named. {near}"

    def _event_problems(self) -> Iterator[str]:
        if not self.time or not self.event_id:
            yield f"{self.name!r} has a row per event: name its time and its event_id"
        if self.event_time:
            yield f"{self.name!r} has a row per event: its time is the gold column, so leave out event_time"
        if self.rows != "active" or self.lag:
            yield f"{self.name!r} has a row per event, known at once: leave out rows and lag"

    def _window_problems(self, feature: Feature) -> Iterator[str]:
        if feature.function and self.time and feature.window is None:
            yield f"feature {feature.name!r} of {self.name!r} needs a window"
        if feature.function and not self.time and feature.window is not None:
            yield f"feature {feature.name!r}: {self.name!r} has no time, so no window can be kept"
        if isinstance(self.grain, str):
            if feature.window is not None and feature.window <= _NONE:
                yield f"the window of {feature.name!r} is empty"
            return
        if feature.event or feature.closed or feature.delay is not None:
            yield f"feature {feature.name!r}: from_event, closed and delay need a row per event (grain='event')"
        if feature.window is not None and (feature.window % self.grain or feature.window < self.grain):
            yield f"the window of {feature.name!r} is not a whole number of grains ({format_duration(self.grain)})"

    @property
    def by_event(self) -> bool:
        """Whether it has a row per gold event."""
        return self.grain == "event"

    @property
    def primary_key(self) -> tuple[str, ...]:
        return (*self.entity, *([self.time] if self.time else []), *([self.event_id] if self.event_id else []))

    @property
    def stored(self) -> tuple[Feature, ...]:
        """The features that the table holds."""
        return tuple(f for f in self.features if not f.intermediate)

    @property
    def declared_checks(self) -> tuple[AnyCheck, ...]:
        """``checks`` with their defaults. The types of keys are gold's, and not known here."""
        dtypes: dict[str, str | None] = dict.fromkeys(self.primary_key) | {f.name: f.dtype for f in self.stored}
        return attached(self.checks, f"feature table {self.name!r}", dtypes, self.time, gold=False)

    def closed_of(self, feature: Feature) -> Closed:
        return feature.closed or self.closed

    def delay_of(self, feature: Feature) -> timedelta:
        return self.delay if feature.delay is None else feature.delay

    @property
    def lookback(self) -> timedelta:
        """How far back a row reads: the widest window, with its delay."""
        return max((f.window + self.delay_of(f) for f in self.features if f.window), default=_NONE)

    @property
    def reach(self) -> timedelta:
        """How many whole days before its own a row reads."""
        return timedelta(days=self.touched[-1])

    @property
    def touched(self) -> tuple[int, ...]:
        """How many days after a gold row's own the feature rows are that it may be in, ascending; 0 is among them."""
        found = {0}
        for feature in self.features:
            if feature.window and not self.by_event:
                found.update(range(feature.window // DAY))
            elif feature.window:
                delay = self.delay_of(feature)
                end = delay + feature.window + DAY - MICROSECOND
                found.update(range(delay // DAY, end // DAY + 1))
        return tuple(sorted(found))

    @property
    def definition_hash(self) -> str:
        """BLAKE2 over everything that gives the values their meaning (descriptions and owner do not)."""
        features = [(f.name, f.dtype, f.definition, f.inputs, f.intermediate) for f in self.features]
        return _hashed(self._frame | {"features": features}, 16)

    @property
    def meanings(self) -> dict[str, str]:
        """Stored feature -> BLAKE2 over everything that gives its values their meaning: which rows there are, its own
        definition, and those of the features that it is derived from."""
        found: dict[str, str] = {}
        for place, feature in enumerate(self.features):
            read = sorted(feature.reads([f.name for f in self.features[:place]]))
            parts = [self._frame, feature.dtype, feature.definition, feature.inputs, [found[r] for r in read]]
            found[feature.name] = _hashed(parts, 8)
        return {f.name: found[f.name] for f in self.stored}

    @property
    def _frame(self) -> dict[str, Any]:
        """What all features have in common."""
        frame: dict[str, Any] = {
            "source": self.source,
            "entity": self.entity,
            "time": self.time,
            "event_time": self.event_time,
            "grain": _format_grain(self.grain),
            "rows": self.rows,
            "where": self.where,
        }
        if self.by_event:
            frame |= {"event_id": self.event_id, "closed": self.closed, "delay": format_duration(self.delay)}
        return frame


def _hashed(meaning: Any, size: int) -> str:
    return fingerprint(meaning, size=size)
