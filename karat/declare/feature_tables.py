"""Feature tables: which rows they have, how far a row looks back, and which days a change of gold touches.

``FeatureTable(...)`` gives one of three kinds: ``DailyFeatureTable`` (a row per entity and day), ``EventFeatureTable``
(a row per gold event) or ``StaticFeatureTable`` (a row per entity). What differs between them is a property or a method
of the table, so that callers ask the table and never test for its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, JsonValue, PlainSerializer, model_validator
from typing_extensions import override

from karat.clock import DAY, MICROSECOND
from karat.declare.base import Declaration, Duration, FieldErrors, format_duration, parse_duration
from karat.declare.checks import AnyCheck, attached
from karat.declare.features import Closed, Feature
from karat.declare.gold import GoldTable
from karat.declare.models import Label
from karat.dtypes import Dtype
from karat.errors import did_you_mean
from karat.fingerprint import fingerprint

_ZERO = timedelta(0)


def _parse_grain(value: object) -> object:
    return value if value == "event" else parse_duration(value)


def _format_grain(value: timedelta | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


#: A span of time, or "event": one row for every gold event.
Grain = Annotated[
    timedelta | Literal["event"], BeforeValidator(_parse_grain), PlainSerializer(_format_grain, return_type=str)
]


class LabelWindow(Enum):
    """What the label of a feature row is computed from."""

    OWN_ROW = "the gold rows of the row's own key"
    DAYS = "whole days, counted from the row's day"
    MOMENT = "windows of time, counted from the row's own time"


class FeatureTable(Declaration):
    """A feature table; ``FeatureTable(...)`` gives the kind that ``grain`` and ``time`` ask for.

    - ``time`` without ``grain="event"``: a ``DailyFeatureTable``.
    - ``grain="event"``: an ``EventFeatureTable``.
    - neither: a ``StaticFeatureTable``.

    ``source`` is the gold table, ``entity`` its key columns, ``where`` an SQL condition on its rows, ``online`` whether
    the table is published. ``checks`` are asked of computed rows before they are committed.
    """

    model_config = ConfigDict(title="FeatureTable")

    #: What one row stands for, in words.
    row_unit: ClassVar[str] = ""
    #: The type and the meaning of the time column; None without one.
    time_dtype: ClassVar[Dtype | None] = None
    time_description: ClassVar[str] = ""
    #: The span that one row covers; None where a row is no span of time.
    row_span: ClassVar[timedelta | None] = None
    #: How long after its row's time a label may begin at the earliest; None without a time.
    least_label_offset: ClassVar[timedelta | None] = None
    #: How long after a row's time plus ``label.offset`` the label's first window begins.
    label_start: ClassVar[timedelta] = _ZERO

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
    delay: Duration = _ZERO
    lag: Duration = DAY
    rows: Literal["active", "window"] = "active"
    where: str | None = None
    online: bool = True
    features: tuple[Feature, ...]
    checks: tuple[AnyCheck, ...] = ()

    def __new__(cls, *_: object, **fields: object) -> Self:
        """Makes a table of the kind that the fields ask for.

        Returns:
            An instance of a subclass, which ``__init__`` then fills and validates.
        """
        chosen: type[FeatureTable] = cls
        if cls is FeatureTable and fields:
            timed = DailyFeatureTable if fields.get("time") else StaticFeatureTable
            chosen = EventFeatureTable if fields.get("grain") == "event" else timed
        made: Self = object.__new__(chosen)  # type: ignore[assignment]  # a subclass of FeatureTable, if not of cls
        return made

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := [*self._problems()]:
            raise FieldErrors(((), text) for text in found)
        self.declared_checks  # noqa: B018 - raises what is wrong with them
        return self

    def _problems(self) -> Iterator[str]:
        yield from self._row_problems()
        seen: set[str] = set()
        for name in self.primary_key:
            if name in seen:
                yield f"the key column {name!r} of {self.name!r} is named twice"
            seen.add(name)
        for feature in self.features:
            if feature.name in seen:
                yield f"feature {feature.name!r} of {self.name!r} is declared twice, or is a key column"
            seen.add(feature.name)
            yield from self._feature_problems(feature)
            unknown = [i for i in feature.inputs if i not in seen]
            if unknown:
                near = did_you_mean(unknown[0], seen - {feature.name})
                yield f"feature {feature.name!r} reads {unknown}, which no feature before it is named. {near}"

    def _row_problems(self) -> Iterator[str]:
        """Fields that a table of this kind can't have."""
        if self.event_id or self.closed != "left" or self.delay:
            yield f"event_id, closed and delay are of tables with grain='event', which {self.name!r} is not"

    def _feature_problems(self, feature: Feature) -> Iterator[str]:
        """What a feature of a table of this kind can't have."""
        if feature.event or feature.closed or feature.delay is not None:
            yield f"feature {feature.name!r}: from_event, closed and delay need a row per event (grain='event')"

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns that tell the rows apart: entity, then time, then event id, as far as the table has them."""
        raise NotImplementedError

    @property
    def stored(self) -> tuple[Feature, ...]:
        """The features that the table holds."""
        return tuple(f for f in self.features if not f.intermediate)

    @property
    def declared_checks(self) -> tuple[AnyCheck, ...]:
        """``checks`` with their defaults. The types of keys are gold's, and not known here."""
        dtypes: dict[str, str | None] = dict.fromkeys(self.primary_key) | {f.name: f.dtype for f in self.stored}
        return attached(self.checks, f"feature table {self.name!r}", dtypes, self.time, gold=False)

    @property
    def publication_lag(self) -> timedelta:
        """How long after its time a row is known."""
        return _ZERO

    @property
    def stored_grain(self) -> timedelta | Literal["event"] | None:
        """The grain that the table in the lake is made with; None without time."""
        return None

    @property
    def fills_idle_days(self) -> bool:
        """Whether an entity has a row on days without gold rows, as long as its widest window is not empty."""
        return False

    @property
    def lookback(self) -> timedelta:
        """How far back a row reads: the widest window, with its delay."""
        return _ZERO

    @property
    def day_lookback(self) -> timedelta:
        """How many whole days before its own a row reads."""
        return timedelta(days=self.affected_offsets[-1])

    @property
    def affected_offsets(self) -> tuple[int, ...]:
        """How many days after a gold row's own day the feature rows are that it may be in.

        Returns:
            Numbers of days, ascending; 0 is among them.
        """
        return (0,)

    def gold_time(self, source: GoldTable | None) -> str | None:
        """The gold column by which rows fall into days; None for a table without time.

        Args:
            source: The table's gold table, whose event time counts where the table names none.
        """
        return None

    @property
    def gold_time_columns(self) -> tuple[str, ...]:
        """The gold columns, besides the entity's, that the table names for its rows."""
        return (self.event_time,) if self.event_time else ()

    def source_problems(self, source: GoldTable) -> Iterator[tuple[str, str]]:
        """What the rows of the table need and its gold table does not have.

        Yields:
            (the word of the declaration that is wrong, the text of the error).
        """
        yield from ()

    def label_window(self, label: Label) -> LabelWindow:
        """What the label of a row of this table is computed from."""
        return LabelWindow.OWN_ROW

    def label_key(self, label: Label) -> tuple[str, ...]:
        """The key columns by which a row finds the gold rows of its label."""
        return self.entity

    def label_problems(self, label: Label, *, supervised: bool) -> Iterator[tuple[tuple[str, ...], str]]:
        """Why a label can't be of this table's rows: it must lie after its row's features.

        Args:
            label: The label of a model whose spine this table is.
            supervised: Whether the model learns the label; others only measure with it, so it may overlap.

        Yields:
            (the place in the model's declaration, the text of the error).
        """
        if label.horizon is not None and supervised and label.offset < DAY:
            yield ("label", "offset"), "the label overlaps its features: its offset must be at least one grain (1d)"

    @property
    def definition_hash(self) -> str:
        """BLAKE2 over everything that gives the values their meaning (descriptions and owner do not)."""
        features = [(f.name, f.dtype, f.definition, f.inputs, f.intermediate) for f in self.features]
        return fingerprint({**self._row_definition, "features": features}, size=16)

    @property
    def meanings(self) -> dict[str, str]:
        """The hash of each stored feature's meaning.

        Returns:
            Feature name -> BLAKE2 over which rows there are, its own definition, and the definitions of the features
            that it is derived from.
        """
        found: dict[str, str] = {}
        for place, feature in enumerate(self.features):
            read = sorted(feature.reads([f.name for f in self.features[:place]]))
            parts = [self._row_definition, feature.dtype, feature.definition, feature.inputs, [found[r] for r in read]]
            found[feature.name] = fingerprint(parts, size=8)
        return {f.name: found[f.name] for f in self.stored}

    @property
    def _row_definition(self) -> Mapping[str, JsonValue]:
        """Which rows the table has: the part of their meaning that all features share."""
        return {
            "source": self.source,
            "entity": list(self.entity),
            "time": self.time,
            "event_time": self.event_time,
            "grain": _format_grain(self.grain),
            "rows": self.rows,
            "where": self.where,
        }


class DailyFeatureTable(FeatureTable):
    """One row per entity and day. The row of day D covers [D + 1d - w, D + 1d) and is known at D + ``lag``.

    ``time`` names the timeseries column, a date; a gold timestamp is cut to its UTC day. ``rows``: ``"active"`` makes a
    row for each day on which the entity has a gold row, ``"window"`` one for each day on which the widest window is not
    empty, so that an idle entity's sums go down instead of going stale. ``lag`` is one day by default.
    """

    row_unit = "day"
    time_dtype = "date"
    time_description = "day, UTC"
    row_span = DAY
    least_label_offset = DAY

    time: str
    grain: Duration = DAY

    def _row_problems(self) -> Iterator[str]:
        found = [*super()._row_problems()]
        yield from found
        if not found and self.grain != DAY:
            yield f"the grain of {self.name!r} must be 1d, or 'event'"

    def _feature_problems(self, feature: Feature) -> Iterator[str]:
        if feature.function and feature.window is None:
            yield f"feature {feature.name!r} of {self.name!r} needs a window"
        yield from super()._feature_problems(feature)
        if feature.window is not None and (feature.window % self.grain or feature.window < self.grain):
            yield f"the window of {feature.name!r} is not a whole number of grains ({format_duration(self.grain)})"

    @property
    @override
    def primary_key(self) -> tuple[str, ...]:
        return (*self.entity, self.time)

    @property
    @override
    def publication_lag(self) -> timedelta:
        return self.lag

    @property
    @override
    def stored_grain(self) -> timedelta:
        return self.grain

    @property
    @override
    def fills_idle_days(self) -> bool:
        return self.rows == "window"

    @property
    @override
    def lookback(self) -> timedelta:
        return max((f.window for f in self.features if f.window), default=_ZERO)

    @property
    @override
    def affected_offsets(self) -> tuple[int, ...]:
        return tuple(range(max(1, self.lookback // DAY)))

    @override
    def gold_time(self, source: GoldTable | None) -> str:
        return self.event_time or (source.event_time if source else None) or self.time

    @override
    def source_problems(self, source: GoldTable) -> Iterator[tuple[str, str]]:
        if not (self.event_time or source.event_time):
            yield self.time, f"it has a time, but gold table {source.name!r} declares no event_time"

    @override
    def label_window(self, label: Label) -> LabelWindow:
        return LabelWindow.DAYS if label.steps is None else LabelWindow.MOMENT

    @override
    def label_problems(self, label: Label, *, supervised: bool) -> Iterator[tuple[tuple[str, ...], str]]:
        if label.horizon is None:
            yield ("label",), f"{self.name!r} has a time, so the label needs a horizon, as in 'horizon: 7d'"
        yield from super().label_problems(label, supervised=supervised)


class EventFeatureTable(FeatureTable):
    """One row per gold event. The row of an event at t covers [t - delay - w, t - delay), and is known at once.

    The key is (entity, ``time``, ``event_id``), gold's columns all; the id tells events of one time apart. Where an
    entity has one event at a time (a reading each hour), leave ``event_id`` out: it is the time then. With
    ``closed="right"`` the row covers (t - delay - w, t - delay]: the event itself counts then, and so does every other
    event of the same time, for a window is one of time.
    """

    row_unit = "event"
    time_dtype = "timestamp"
    time_description = "time of the event, UTC"
    least_label_offset = _ZERO
    label_start = MICROSECOND  # the event itself is in no window of its label

    time: str = ""
    event_id: str = ""
    grain: Literal["event"] = "event"
    lag: Duration = _ZERO

    @model_validator(mode="before")
    @classmethod
    def _time_is_id(cls, fields: Any) -> Any:
        """Without an event id the time tells the events of an entity apart."""
        if isinstance(fields, Mapping) and not fields.get("event_id"):
            return {**fields, "event_id": fields.get("time") or ""}
        return fields

    def _row_problems(self) -> Iterator[str]:
        if not self.time:
            yield f"{self.name!r} has a row per event: name its time"
        if self.event_time:
            yield f"{self.name!r} has a row per event: its time is the gold column, so leave out event_time"
        if self.rows != "active" or self.lag:
            yield f"{self.name!r} has a row per event, known at once: leave out rows and lag"

    def _feature_problems(self, feature: Feature) -> Iterator[str]:
        if feature.function and feature.window is None:
            yield f"feature {feature.name!r} of {self.name!r} needs a window"
        if feature.window is not None and feature.window <= _ZERO:
            yield f"the window of {feature.name!r} is empty"

    @property
    @override
    def primary_key(self) -> tuple[str, ...]:
        beside = dict.fromkeys((self.time, self.event_id))
        return (*self.entity, *filter(None, beside))

    @property
    @override
    def stored_grain(self) -> Literal["event"]:
        return self.grain

    def closed_of(self, feature: Feature) -> Closed:
        """The side on which the window of ``feature`` is closed."""
        return feature.closed or self.closed

    def delay_of(self, feature: Feature) -> timedelta:
        """How long before the event the window of ``feature`` ends."""
        return self.delay if feature.delay is None else feature.delay

    @property
    @override
    def lookback(self) -> timedelta:
        return max((f.window + self.delay_of(f) for f in self.features if f.window), default=_ZERO)

    @property
    @override
    def affected_offsets(self) -> tuple[int, ...]:
        found = {0}
        for feature in self.features:
            if feature.window:
                delay = self.delay_of(feature)
                end = delay + feature.window + DAY - MICROSECOND
                found.update(range(delay // DAY, end // DAY + 1))
        return tuple(sorted(found))

    @override
    def gold_time(self, source: GoldTable | None) -> str:
        return self.time

    @property
    @override
    def gold_time_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.time, self.event_id)))

    @override
    def source_problems(self, source: GoldTable) -> Iterator[tuple[str, str]]:
        if not set(self.primary_key) <= set(source.columns):
            return  # that is told by itself
        dtype = source.columns[self.time].dtype
        if dtype != "timestamp":
            yield self.time, f"its time {self.time!r} is a {dtype}; events have a timestamp"
        beside = [column for column in source.key if column not in self.primary_key]
        if beside:
            yield (
                self.event_id,
                f"several rows of gold table {source.name!r}, which differ in {', '.join(beside)}, may have the "
                f"same {', '.join(self.primary_key)}; name as event_id the column that tells them apart",
            )

    @override
    def label_window(self, label: Label) -> LabelWindow:
        counted = label.steps is not None or label.horizon is not None
        return LabelWindow.MOMENT if counted else LabelWindow.OWN_ROW

    @override
    def label_key(self, label: Label) -> tuple[str, ...]:
        return self.primary_key if self.label_window(label) is LabelWindow.OWN_ROW else self.entity

    @override
    def label_problems(self, label: Label, *, supervised: bool) -> Iterator[tuple[tuple[str, ...], str]]:
        if label.horizon is None:
            return
        if label.expressions:
            yield ("label", "expressions"), f"{self.name!r} has a row per event: of what comes after it, one label"
        if label.offset < _ZERO:
            yield ("label", "offset"), "the label overlaps its features: its offset must not be negative"

    @property
    def _row_definition(self) -> Mapping[str, JsonValue]:
        own = {"event_id": self.event_id, "closed": self.closed, "delay": format_duration(self.delay)}
        return {**super()._row_definition, **own}


class StaticFeatureTable(FeatureTable):
    """One row per entity, without time: gold as it is now."""

    row_unit = "entity, without time"

    def _feature_problems(self, feature: Feature) -> Iterator[str]:
        if feature.function and feature.window is not None:
            yield f"feature {feature.name!r}: {self.name!r} has no time, so no window can be kept"
        yield from super()._feature_problems(feature)

    @property
    @override
    def primary_key(self) -> tuple[str, ...]:
        return self.entity
