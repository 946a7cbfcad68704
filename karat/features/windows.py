"""Aggregations as SQL: gold rows -> daily tiles per entity -> windows over tiles.

A tile is what one entity's rows of one day come down to, so that a wide window reads at most one tile a day, however
many gold rows there are. Sums, counts, minima and maxima of tiles add up to those of the rows; variances travel as
DuckDB's aggregate states (count, mean, squared deviations), which merge without cancellation. Distinct values don't
add up: they have a path of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple

from karat.declare import FeatureTable
from karat.features.aggregates import AGGREGATES, Aggregation, form_of, or_zero
from karat.features.expressions import key_list
from karat.sql import quote

DAY_NUMBER = "__day"


@dataclass(frozen=True)
class TileWindow:
    """A window over tiles: as SQL, and where arrays can do it too, as ``function`` of the ``tile`` in ``days`` days."""

    sql: str
    function: str = ""
    tile: str = ""
    days: int = 1


@dataclass
class DailyQuery:
    """The SQL of one table: tiles and windows that features share, one output expression a feature."""

    table: FeatureTable
    order: tuple[str, ...]
    tiles: dict[str, str] = field(default_factory=dict)
    tile_windows: dict[TileWindow, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    distinct_counts: dict[str, str] = field(default_factory=dict)
    windows: dict[str, str] = field(default_factory=dict)

    def tile(self, sql: str) -> str:
        """The column of this aggregate of a day's rows."""
        return self.tiles.setdefault(sql, f"__t{len(self.tiles)}")

    def over(self, function: str, tile: str, window: timedelta | None) -> str:
        """The column of ``function`` of the tiles in the window; a window of one day, and no window, is the tile."""
        days = window.days if window else 1
        if days == 1:
            return tile
        return self._named(TileWindow(f"{function}({tile}) OVER {self._window(days)}", function, tile, days))

    def in_sql(self, function: str, tile: str, window: timedelta | None, shape: str = "{}") -> str:
        """The same where only SQL knows the function (or the tile); ``shape`` is put around it."""
        days = window.days if window else 1
        inner = tile if days == 1 else f"{function} OVER {self._window(days)}"
        return self._named(TileWindow(shape.format(inner)))

    def _named(self, over: TileWindow) -> str:
        return self.tile_windows.setdefault(over, f"__o{len(self.tile_windows)}")

    def _window(self, days: int) -> str:
        name = f"__w{days}"
        self.windows[name] = (
            f"{name} AS (PARTITION BY {key_list(self.table.entity)} ORDER BY {DAY_NUMBER} "
            f"RANGE BETWEEN {days - 1} PRECEDING AND CURRENT ROW)"
        )
        return name

    def add(self, aggregation: Aggregation) -> None:
        """Add an aggregated feature."""
        name, function = aggregation.feature.name, aggregation.feature.function
        assert function is not None
        self.outputs[name] = form_of(function, "daily", AGGREGATES[function].daily)(self, aggregation)

    def distinct(self, aggregation: Aggregation) -> str:
        """A count of the distinct values in the window."""
        window = aggregation.feature.window
        if window is None or window.days == 1:
            return or_zero(self.tile(f"count(DISTINCT {aggregation.value}){aggregation.filter}"))
        name = f"__d{len(self.distinct_counts)}"
        self.distinct_counts[name] = _distinct_sql(self.table, aggregation, window.days)
        return name

    def only(self, name: str) -> DailyQuery:
        """The same query with one feature, to find which of many fails."""
        output = self.outputs[name]
        tile_windows = {over: column for over, column in self.tile_windows.items() if _names(output, column)}
        text = " ".join([output, *(over.sql for over in tile_windows), *self.distinct_counts.values()])
        tiles = {sql: tile for sql, tile in self.tiles.items() if _names(text, tile)}
        return replace(self, outputs={name: output}, tile_windows=tile_windows, tiles=tiles)


def _names(text: str, column: str) -> bool:
    return re.search(rf"\b{column}\b", text) is not None


def _distinct_sql(table: FeatureTable, a: Aggregation, days: int) -> str:
    """Running count of distinct values: each value counts from its day until its window ends or it comes again.

    Whole numbers, so the running sum is exact; linear in the distinct (entity, day, value), whatever the window.
    """
    keys = key_list(table.entity)
    where = f"__v IS NOT NULL{f' AND ({a.feature.where}{chr(10)})' if a.feature.where else ''}"
    return f"""
    SELECT {keys}, {DAY_NUMBER}, sum(sum(__c)) OVER (PARTITION BY {keys} ORDER BY {DAY_NUMBER})::BIGINT AS __n FROM (
      SELECT {keys}, unnest([{DAY_NUMBER}, least({DAY_NUMBER} + {days}, __again)]) AS {DAY_NUMBER},
        unnest([1, -1]) AS __c FROM (
        SELECT {keys}, {DAY_NUMBER},
          lead({DAY_NUMBER}) OVER (PARTITION BY {keys}, __v ORDER BY {DAY_NUMBER}) AS __again FROM (
          SELECT DISTINCT {keys}, {DAY_NUMBER}, __v FROM (SELECT *, {a.value} AS __v FROM rows) WHERE {where})))
    GROUP BY {keys}, {DAY_NUMBER}"""


def render(query: DailyQuery, relation: str, first: int | None, last: int | None) -> str:
    """One SELECT of keys, day and aggregated features, for the days ``first`` to ``last`` (days since 1970)."""
    ctes, source = _sources(query, relation, first, last)
    ctes.append(f"windowed AS ({render_windows(query, source, query.tile_windows)})")
    return f"WITH {', '.join(ctes)} {finish(query, 'windowed', first, last)}"


def render_tiles(
    query: DailyQuery, relation: str, first: int | None, last: int | None, *, left: Collection[TileWindow]
) -> str:
    """SQL for keys, day, tiles and the windows not ``left`` to arrays, of all days, sorted by day and key."""
    ctes, source = _sources(query, relation, first, last)
    text = " ".join([*query.outputs.values(), *(over.tile for over in left)])
    read = [c for c in (*query.tiles.values(), *query.distinct_counts) if _names(text, c)]
    keys, own = key_list(query.table.entity), [over for over in query.tile_windows if over not in left]
    chosen = ", ".join([keys, DAY_NUMBER, *read, *(f"{over.sql} AS {query.tile_windows[over]}" for over in own)])
    windows = f" WINDOW {', '.join(query.windows.values())}" if query.windows else ""
    return f"WITH {', '.join(ctes)} SELECT {chosen} FROM {source}{windows} ORDER BY {DAY_NUMBER}, {keys}"


def render_windows(query: DailyQuery, relation: str, tile_windows: Collection[TileWindow]) -> str:
    """One SELECT of everything in ``relation`` (tiles, as ``render_tiles`` gives them) and the windows."""
    columns = "".join(f", {over.sql} AS {query.tile_windows[over]}" for over in tile_windows)
    windows = f" WINDOW {', '.join(query.windows.values())}" if query.windows else ""
    return f"SELECT *{columns} FROM {relation}{windows}"


class UnchangedOutput(NamedTuple):
    """A feature that is a tile or a window as it stands, or 0 where that is null."""

    column: str
    zero: bool


def unchanged_outputs(query: DailyQuery) -> dict[str, UnchangedOutput]:
    """The features for which no SQL is needed once the windows are there."""
    columns = [*query.tiles.values(), *query.tile_windows.values()]
    known = {c: UnchangedOutput(c, zero=False) for c in columns} | {
        or_zero(c): UnchangedOutput(c, zero=True) for c in columns
    }
    return {name: known[sql] for name, sql in query.outputs.items() if sql in known}


def render_outputs(query: DailyQuery, relation: str, *, left: Collection[str]) -> tuple[str, list[str]]:
    """SQL for the features not ``left`` out, over tiles and windows in ``relation``.

    Returns:
        The SELECT and the columns that it reads; both empty if no feature remains.
    """
    outputs = {name: sql for name, sql in query.outputs.items() if name not in left}
    if not outputs:
        return "", []
    chosen, text = ", ".join(f"{sql} AS {quote(name)}" for name, sql in outputs.items()), " ".join(outputs.values())
    columns = [*query.tiles.values(), *query.tile_windows.values(), *query.distinct_counts]
    return f"SELECT {chosen} FROM {relation}", [c for c in columns if _names(text, c)]


def finish(query: DailyQuery, relation: str, first: int | None, last: int | None) -> str:
    """One SELECT of keys, day and features from the tiles and windows in ``relation``."""
    keys, day = key_list(query.table.entity), [DAY_NUMBER] if query.table.time else []
    outputs = [f"{sql} AS {quote(name)}" for name, sql in query.outputs.items()]
    body = f"SELECT {', '.join([keys, *day, *outputs])} FROM {relation}"
    if query.table.time and first is not None and last is not None:
        body += f" WHERE {DAY_NUMBER} BETWEEN {first} AND {last}"
    return body


def _sources(query: DailyQuery, relation: str, first: int | None, last: int | None) -> tuple[list[str], str]:
    """What windows look upon: a row a tile, and a row for each idle day where the table has them."""
    table, keys = query.table, key_list(query.table.entity)
    known = " AND ".join(f"{quote(e)} IS NOT NULL" for e in table.entity)
    where = f" AND ({table.where}\n)" if table.where else ""
    day = [DAY_NUMBER] if table.time else []
    aggregates = [f"{sql} AS {name}" for sql, name in query.tiles.items()]
    ctes = [
        f"rows AS (SELECT * FROM {relation} WHERE {known}{where})",
        f"tiles AS (SELECT {', '.join([keys, *day, *aggregates])} FROM rows GROUP BY {', '.join([keys, *day])})",
    ]
    source = "tiles"
    if table.fills_idle_days:
        ctes += _idle_days(table, first, last)
        source = "spine"
    if query.distinct_counts:
        ctes += [f"{name} AS ({sql})" for name, sql in query.distinct_counts.items()]
        ctes.append(_joined(query, source))
        source = "joined"
    return ctes, source


def _idle_days(table: FeatureTable, first: int | None, last: int | None) -> list[str]:
    """Days without gold rows on which the widest window still reaches back to a day with some."""
    keys, days = key_list(table.entity), table.lookback.days
    begin = f"greatest({DAY_NUMBER} + 1, {first})" if first is not None else f"{DAY_NUMBER} + 1"
    end = f"least({DAY_NUMBER} + {days}, coalesce(__upcoming, {DAY_NUMBER} + {days}), {last} + 1)"
    return [
        f"gaps AS (SELECT {keys}, {DAY_NUMBER}, "
        f"lead({DAY_NUMBER}) OVER (PARTITION BY {keys} ORDER BY {DAY_NUMBER}) AS __upcoming FROM tiles)",
        f"idle AS (SELECT {keys}, unnest(range({begin}, {end}))::INTEGER AS {DAY_NUMBER} FROM gaps)",
        "spine AS (SELECT * FROM tiles UNION ALL BY NAME SELECT * FROM idle)",
    ]


def _joined(query: DailyQuery, source: str) -> str:
    """The counts of distinct values beside the tiles, as each stands on the tile's day."""
    entity = query.table.entity
    counts = ", ".join(f"coalesce({name}.__n, 0) AS {name}" for name in query.distinct_counts)
    joins = "".join(
        f" ASOF LEFT JOIN {name} ON {' AND '.join(f'{source}.{quote(e)} = {name}.{quote(e)}' for e in entity)}"
        f" AND {source}.{DAY_NUMBER} >= {name}.{DAY_NUMBER}"
        for name in query.distinct_counts
    )
    return f"joined AS (SELECT {source}.*, {counts} FROM {source}{joins})"
