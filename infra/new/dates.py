"""Formats of dates and times: which of them the texts of a column have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product

import duckdb
import polars as pl
from babel import Locale

from karat.dtypes import Dtype
from karat.errors import WrongCall
from karat.quality.calendar_text import (
    ENGLISH_MONTHS,
    LANGUAGES,
    QUARTER_PATTERN,
    WEEK_PATTERN,
    english_months,
    in_english,
    languages_of,
)
from karat.quality.text_parsing import parse
from karat.sql import literal

_Reading = tuple[str | None, Dtype, str]
#: The share of the values that must have a format.
NEARLY = 0.98
#: Values on which formats are tried first.
_TRIED = 500
#: Values whose shape is looked at before any format is tried.
_SHOWN = 20
_ORDERS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d", "%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")
_NAMED = (
    "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%d %b %y", "%d %B %Y", "%d-%B-%Y", "%d. %B %Y", "%b %d, %Y",
    "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d", "%Y %b %d", "%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y",
    "%Y年%m月%d日", "%d %B, %Y", "%d/%B/%Y", "%d.%B %Y", "%d. %b %Y", "%Y. %B %d",
)  # fmt: skip
_DAYS = (*(order.format(mark) for mark, order in product("./-", _ORDERS)), *_NAMED, "%Y%m%d")
_CLOCKS = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M", ", %H:%M", ", %H:%M:%S", " %H.%M.%S",
    " %H:%M:%S,%f", " %H:%M:%S %z", "T%H:%M:%S%z",
)  # fmt: skip
_HALF_DAYS = (" %I:%M %p", " %I:%M:%S %p", ", %I:%M %p", ", %I:%M:%S %p", " %I:%M%p")
#: Without separators, as ISO 8601 has it.
_BASIC = ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M", "%Y%m%d %H%M%S", "%Y%m%d %H%M", "%Y%m%d%H%M%S")
#: Months without a day: the format, and what every value must look like.
_YEAR, _MONTH = r"(19|20)\d{2}", r"(0[1-9]|1[0-2])"
_SHORT, _LONG = "|".join(m[:3] for m in ENGLISH_MONTHS), "|".join(ENGLISH_MONTHS)
_MONTHS: Mapping[str, str] = {
    "%Y-%m": f"^{_YEAR}-{_MONTH}$",
    "%Y/%m": f"^{_YEAR}/{_MONTH}$",
    "%m/%Y": f"^{_MONTH}/{_YEAR}$",
    "%m.%Y": f"^{_MONTH}\\.{_YEAR}$",
    "%b %Y": f"^({_SHORT}) {_YEAR}$",
    "%b-%Y": f"^({_SHORT})-{_YEAR}$",
    "%B %Y": f"^({_LONG}) {_YEAR}$",
    "%B-%Y": f"^({_LONG})-{_YEAR}$",
}
_OTHERS = ("%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S,%f")
#: A unit of epochs, and how many of it make a microsecond, as SQL over the number.
EPOCHS: Mapping[str, str] = {
    "epoch": "CAST({} AS BIGINT) * 1000000",
    "epoch_ms": "CAST({} AS BIGINT) * 1000",
    "epoch_us": "CAST({} AS BIGINT)",
    "epoch_ns": "CAST({} AS BIGINT) // 1000",
    "epoch_fraction": "CAST(CAST({} AS DECIMAL(18, 6)) * 1000000 AS BIGINT)",
}
#: A unit of epochs, and its digits between 2001 and 2286; those of seconds between 1973 and 2001 have one less.
_EPOCH_DIGITS = {"epoch": "(?:1[0-9]{9}|[1-9][0-9]{8})", "epoch_ms": "1[0-9]{12}", "epoch_us": "1[0-9]{15}"} | {
    "epoch_ns": "1[0-9]{18}",
    "epoch_fraction": r"1[0-9]{9}\.[0-9]{1,6}",
}
_UNITS = {"epoch_ms": "milliseconds", "epoch_us": "microseconds", "epoch_ns": "nanoseconds"}
_TIME_WORDS = re.compile(r"(?i)(^|[^a-z])(time|timestamp|ts|date|epoch|unix|created|updated|at)([^a-z]|$)")
_SHAPES = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%H": r"\d{1,2}", "%I": r"\d{1,2}",
    "%M": r"\d{2}", "%S": r"\d{2}", "%f": r"\d{1,6}", "%b": r"[A-Za-z]{3}", "%B": r"[A-Za-z]{3,9}",
    "%a": r"[A-Za-z]{3}", "%A": r"[A-Za-z]{6,9}", "%p": r"[AaPp][Mm]", "%z": r"[+-]\d{2}:?\d{2}",
}  # fmt: skip


def date_reading(values: pl.Series, column: str) -> _Reading | None:
    """The format of dates or times that the values have.

    Args:
        values: Texts without missing ones.
        column: The SQL that gives the text.

    Returns:
        The SQL that converts them (None for ISO 8601, which a contract reads), the type, and what is to be told; None
        if they are no times.

    Raises:
        UnreadDates: They are dates with names of months in a language that is not known, or in one of several.
    """
    tried: tuple[Dtype, ...] = ("date", "timestamp")
    for dtype in tried:
        if (read := parse(values, dtype, "UTC").problem.null_count()) >= NEARLY * len(values):
            notes = (_unread(len(values) - read, len(values)), *_told_of_iso(values))
            return None, dtype, "; ".join(filter(None, notes))
    if not values.str.contains(r"^\D{0,20}\d").head(_TRIED).any():
        return None
    for form, pattern, told in _PERIODS:
        if values.str.contains(pattern).all():
            return reading_by_format(column, "date", form), "date", told
    return _by_names(values, column) if values.head(_TRIED).str.contains(_NAME).mean() == 1 else _usual(values, column)


#: A word of letters, other than the T and Z of ISO 8601 and the halves of a day.
_NAME = r"(?i)\p{L}{3,}"
_PERIODS = (
    ("week", WEEK_PATTERN, "ISO weeks: their day, or their Monday"),
    ("quarter", QUARTER_PATTERN, "quarters: their first day"),
)
#: A date with a word for its month: the day beside the word, and a year.
_WORDED = (
    r"^(?:\p{L}+(?:-\p{L}+)?[.,]*\s+)?\d{1,2}(?:\.|\p{L}{1,2})?[\s\-/.']*(?:\p{L}{1,3}\s+)?\p{L}{3,}\.?,?[\s\-/.']+"
    r"(?:\p{L}{1,3}\s+)?(?:19|20)\d{2}(?:\D.*)?$|^\p{L}{3,}\.?\s+\d{1,2}(?:\p{L}{2})?,\s*(?:19|20)\d{2}(?:\D.*)?$"
)
#: Different words that names of months and weekdays may be.
_NAMES = 26


class UnreadDates(Exception):
    """Dates whose names of months are of no language that is known, or of several."""


def _by_names(values: pl.Series, column: str) -> _Reading | None:
    """Dates with names of months: English ones, else those of the only language in which a format fits.

    Raises UnreadDates if none or several do.
    """
    if usual := _usual(values, column):
        return usual
    some = values.head(_TRIED).to_list()
    found: list[tuple[_Reading, list[str]]] = []  # each with the dates in English
    for language in languages_of(some):
        english = pl.Series(values.name, [in_english(v, language) for v in values.to_list()], dtype=pl.String)
        if reading := _usual(english, english_months(column, language)):
            sql, dtype, told = reading
            told = told.replace(english_months(column, language), column)
            found.append(((sql, dtype, f"{told}; names of {_language_name(language)}"), english.to_list()))
    if len(found) == 1 or (found and len({tuple(e) for _, e in found}) == 1):
        return found[0][0]
    if found:
        other = next(n for n, (a, b) in enumerate(zip(found[0][1], found[1][1], strict=True)) if a != b)
        raise UnreadDates(f"{values[other]!r} can be read as {found[0][1][other]!r} and as {found[1][1][other]!r}")
    words = {w for v in some for w in re.findall(r"[^\W\d_]{3,}", v.lower())}
    if len(words) <= _NAMES and len(values) > 2 and values.str.contains(_WORDED).mean() >= NEARLY:  # type: ignore[operator]
        raise UnreadDates(f"{values[0]!r} looks like a date, and its month is in no language that Karat knows")
    return None


def _language_name(language: str) -> str:
    return Locale.parse(language).get_display_name("en") or language


def _usual(values: pl.Series, column: str) -> _Reading | None:
    """The first of the usual formats that fits."""
    if month := next((form for form, shape in _MONTHS.items() if values.str.contains(shape).all()), None):
        return reading_by_format(column, "date", month), "date", f"months, as {month}: their first day"
    fitting = _fitting(values)
    if not fitting:
        return None
    chosen, *others = fitting
    told = [f"{column} is read as {chosen}"]
    if other := next((o for o in others if o != chosen and o.replace("%B", "%b") != chosen.replace("%B", "%b")), None):
        told = [f"{column} is read as {chosen}, and could be {other}"]
    if "%y" in chosen:
        told.append("years 69 to 99 are 1969 to 1999")
    dtype: Dtype = "timestamp" if re.search("%[HI]", chosen) else "date"
    plain = not other and "%y" not in chosen and not chosen.startswith("%Y%m%d")
    unread = _unread(round((1 - _shares(values, [chosen])[chosen]) * len(values)), len(values))
    told = [f"as {chosen}" if plain else "; ".join(told), unread]
    return reading_by_format(column, dtype, chosen), dtype, "; ".join(filter(None, told))


def _told_of_iso(values: pl.Series) -> tuple[str, str]:
    """Of times as ISO 8601 has them: those without a zone beside others, and digits that are cut."""
    zoned = values.str.contains(r"\d[Zz]$|UTC$|:\d{2}(\.\d+)?\s*[+-]\d{2}(:?\d{2})?$").sum()
    finer = values.filter(values.str.contains(r"\.\d{6}\d*[1-9]"))
    mixed = (
        f"{zoned} of {len(values)} times name a zone; the others are of the map's" if 0 < zoned < len(values) else ""
    )
    return mixed, f"{finer[0]} is cut to microseconds" if len(finer) else ""


def _unread(number: int, of: int) -> str:
    return f"{number} of {of} values are no such times; their rows are set aside" if number else ""


def reading_by_format(column: str, dtype: Dtype, form: str) -> str:
    """The SQL that reads a text as a date or time of a format, or a number as an epoch.

    Args:
        column: The SQL of the text.
        dtype: ``date`` or ``timestamp``.
        form: A format of strptime, with a language before it if months have names (``de:%d. %B %Y``); a name of
            ``EPOCHS``, ``week`` or ``quarter``.

    Returns:
        The SQL.

    Raises:
        WrongCall: There is no such language.
    """
    if form in ("week", "quarter"):
        day = f"parse_{form}({column})"
        return day if dtype == "date" else f"CAST({day} AS TIMESTAMP)"
    if match := re.fullmatch(r"([a-z]{2}):(.*)", form):
        if match[1] not in LANGUAGES:
            raise WrongCall(
                f"{dtype}:{form}: there are no names of months in a language {match[1]!r}",
                remedy=f"the languages are {', '.join(LANGUAGES)}",
            )
        column, form = english_months(column, match[1]), match[2]
    if form in EPOCHS:  # an epoch is UTC, whatever zone the file's other times have
        moment = f"make_timestamp({EPOCHS[form].format(column)})"
        return f"{moment}::date" if dtype == "date" else f"strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    if form.endswith("Z"):
        return f"strftime(strptime({column}, {literal(form)}), '%Y-%m-%dT%H:%M:%SZ')"
    read = f"strptime({column}, {literal(form)})"
    return f"{read}::date" if dtype == "date" else read


def epoch_reading(values: pl.Series, column: str) -> _Reading | None:
    """Seconds since 1970 or parts of them, if the column's name says that it is a time."""
    if _TIME_WORDS.search(column.replace("_", " ")):
        for unit, digits in _EPOCH_DIGITS.items():
            if not values.str.contains(rf"^{digits}(\.0)?$").all():
                continue
            exact = (
                f"CAST({column} AS DOUBLE)" if values.str.ends_with(".0").any() and unit != "epoch_fraction" else column
            )
            told = f"{column} is read as {_UNITS.get(unit, 'seconds')} since 1970 (UTC)"
            return reading_by_format(exact, "timestamp", unit), "timestamp", told
    if values.str.contains(r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d){2})?$").all():
        read = date_reading(values, column)
        return None if read is None else (read[0], read[1], f"{read[2]}, and could be a number")
    return None


def _fitting(values: pl.Series) -> list[str]:
    """The formats that nearly all values have, the most usual first."""
    some = values.head(_TRIED)
    first = some.head(_SHOWN).to_list()
    shaped = [f for f, shape in _forms() if sum(bool(shape.match(v)) for v in first) >= len(first) * 0.8]
    for part in (some, values):
        shares = _shares(part, shaped)
        shaped = [f for f in shaped if shares[f] >= (NEARLY if part is values else NEARLY * 0.9)]
    return shaped


@lru_cache(maxsize=1)
def _forms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Every format with its shape."""
    forms = [day + clock for clock in (*_CLOCKS, *_HALF_DAYS) for day in _DAYS] + [*_BASIC, *_OTHERS]
    return tuple((f, re.compile(_shape(f))) for f in forms)


def _shape(form: str) -> str:
    return "^" + re.sub(r"%[A-Za-z]|[^%]", lambda m: _SHAPES.get(m[0]) or re.escape(m[0]), form) + "$"


def _shares(values: pl.Series, forms: Sequence[str]) -> dict[str, float]:
    """Of each format the share of the values that have it; ``%Y`` has four digits, ``%y`` two."""
    if not forms:
        return {}
    asked = ", ".join("avg((try_strptime(v, ?) IS NOT NULL AND regexp_full_match(v, ?))::int)" for _ in forms)
    with duckdb.connect() as connection:
        connection.register("given", values.alias("v").to_frame().to_arrow())
        row = connection.execute(f"SELECT {asked} FROM given", [x for f in forms for x in (f, _shape(f))]).fetchone()
    return dict(zip(forms, row or (), strict=True))
