"""Dates as people write them: names of months in many languages, ISO weeks and quarters.

``add_calendar`` gives a map's SQL ``english_months``, ``parse_week`` and ``parse_quarter``. A text that has not exactly
the form is an error of its row, never another date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import duckdb
import pyarrow as pa
from babel import Locale
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

from karat.sql import literal

#: The languages whose names of months are known (CLDR), the most frequent in files first.
LANGUAGES = (
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "cs", "sk", "hu", "ro", "hr", "sl", "tr",
    "ca", "et", "lt", "lv", "el", "ru", "uk", "bg", "id",
)  # fmt: skip
#: Words that stand between the parts of a date.
_BETWEEN = frozenset(
    ("a", "de", "del", "di", "der", "den", "le", "el", "er", "o", "of", "st", "nd", "rd", "th", "г", "р")
)
#: Words of the clock.
_CLOCK = frozenset(("t", "z", "am", "pm", "utc", "gmt"))
#: The months as strptime reads them.
ENGLISH_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
            "November", "December")  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
#: The article of ``5 d'abril``.
_ELIDED = re.compile(r"\b[dD]['’]")
#: Words with the dot of a short one, and what is between.
_PARTS = re.compile(r"[^\W\d_]+\.?|(?:[\W\d_])+")
_WEEK = r"(?:19|20)[0-9]{2}[-/ ]?(?:W|KW) ?(?:(?:0[1-9]|[1-4][0-9]|5[0-3])(?:-?([1-7]))?|[1-9])"
_WEEK_FIRST = r"(?:W|KW)[ .]{0,2}(?:0?[1-9]|[1-4][0-9]|5[0-3])[-/ ](?:19|20)[0-9]{2}"
#: Texts of an ISO week, with or without a day, and of a quarter.
WEEK_PATTERN = f"^(?:{_WEEK}|{_WEEK_FIRST})$"
QUARTER_PATTERN = "^(?:(?:19|20)[0-9]{2}[-/ ]?Q[1-4]|Q[1-4][-/ ]?(?:19|20)[0-9]{2})$"


def _key(word: str) -> str:
    """A word in small letters, without accents and dots."""
    plain = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in plain if not unicodedata.combining(c)).strip(".")


@lru_cache(maxsize=len(LANGUAGES))
def month_names(language: str) -> dict[str, int]:
    """A language's names of months, short ones too: key -> month. A word for two months is left out."""
    uses = Locale.parse(language).months.values()
    written = [(n, _key(_last(name))) for use in uses for names in use.values() for n, name in names.items()]
    written += [(n, _key(_spelled(name))) for use in uses for n, name in use["wide"].items()]
    # Spreadsheets shorten to three or four letters, whatever the language's own short names are.
    written += [(n, key[:length]) for n, key in tuple(written) for length in (3, 4)]
    short = {_key(_last(name)) for use in uses for name in use["abbreviated"].values()}  # Catalan has ``ag.``
    found: dict[str, set[int]] = {}
    for month, key in written:
        if (len(key) > 2 or key in short) and _WORD.fullmatch(key):
            found.setdefault(key, set()).add(month)
    return {key: next(iter(months)) for key, months in found.items() if len(months) == 1}


def _last(name: str) -> str:
    """The last word of a name: Catalan has ``de març``."""
    return next(reversed(_WORD.findall(name)), "")


def _spelled(name: str) -> str:
    """A name with its umlauts as two letters."""
    return name.lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")


@lru_cache(maxsize=len(LANGUAGES))
def weekday_names(language: str) -> frozenset[str]:
    """The words of a language's names of weekdays, as keys."""
    days = Locale.parse(language).days
    names = (
        name for use in days.values() for width, names in use.items() if width != "narrow" for name in names.values()
    )
    return frozenset(_key(word) for name in names for word in _WORD.findall(name))


def languages_of(texts: Sequence[str]) -> list[str]:
    """The languages that know every word of some dates, and in which each date has the name of a month.

    Args:
        texts: Dates, such as ``5. März 2024``.

    Returns:
        The languages; those that read each date as an earlier one does are left out.
    """
    dates = [[_key(w) for w in _WORD.findall(_ELIDED.sub("", text))] for text in texts]
    words = {w for date in dates for w in date}
    found: dict[tuple[str, ...], str] = {}
    for language in LANGUAGES if words else ():
        months = month_names(language)
        known = words <= {*months, *weekday_names(language), *_BETWEEN, *_CLOCK}
        if known and all(any(w in months for w in date) for date in dates):
            found.setdefault(tuple(in_english(text, language) for text in texts), language)
    return list(found.values())


def in_english(text: str, language: str) -> str:
    """Write the month of a date in English, and leave out its weekday and the words between its parts.

    Args:
        text: A date, such as ``Montag, 5. März 2024``.
        language: One of ``LANGUAGES``.

    Returns:
        The text, as in ``5. March 2024``. Words that the language does not know stay.
    """
    months, weekdays = month_names(language), weekday_names(language)
    parts = _PARTS.findall(_ELIDED.sub("", text))
    count = sum(_key(part) in months for part in parts)
    for place, part in enumerate(parts):
        key = _key(part)
        if key in weekdays and (key not in months or (place == 0 and count > 1)):  # as mar, Tuesday, in "mar 5 mar"
            parts[place] = ""
        elif key in months:
            parts[place] = ENGLISH_MONTHS[months[key] - 1]
        elif key in _BETWEEN:
            parts[place] = ""
    return " ".join("".join(parts).split()).strip("-,. ")


def english_months(column: str, language: str) -> str:
    """The SQL that writes the months of a text in English, as ``in_english`` does.

    Args:
        column: The SQL of the text.
        language: One of ``LANGUAGES``.

    Returns:
        The call of the function.
    """
    return f"english_months({column}, {literal(language)})"


def _translate(texts: pa.ChunkedArray, languages: pa.ChunkedArray) -> pa.Array:
    """``in_english`` of many texts: a file's dates are few, so each is translated once."""
    pairs = list(zip(texts.to_pylist(), languages.to_pylist(), strict=True))
    for language in {one for _, one in pairs} - {*LANGUAGES, None}:
        raise ValueError(f"english_months knows no language {language!r}: they are {', '.join(LANGUAGES)}")
    known = {p: None if None in p else in_english(*p) for p in set(pairs)}
    return pa.array([known[p] for p in pairs], pa.string())


def _macros() -> tuple[str, ...]:
    """``parse_week`` and ``parse_quarter``."""
    year = "regexp_extract(value, '(19|20)[0-9]{2}')"
    week = "lpad(regexp_extract(value, '(?:W|KW)[ .]{0,2}([0-9]{1,2})', 1), 2, '0')"
    day = f"coalesce(nullif(regexp_extract(value, '^{_WEEK}$', 1), ''), '1')"
    quarter = "CAST(regexp_extract(value, 'Q([1-4])', 1) AS INTEGER)"
    fourth = f"make_date(CAST({year} AS INTEGER), 1, 4)"  # is in week 1
    monday = f"({fourth} - CAST(isodow({fourth}) - 1 AS INTEGER) + (CAST({week} AS INTEGER) - 1) * 7)"
    exact = f"strftime({monday}, '%V') = {week}"  # a year without a week 53 has none
    return (
        f"CREATE MACRO parse_week(value) AS CASE WHEN trim(value) = '' THEN NULL "
        f"WHEN regexp_matches(value, {literal(WEEK_PATTERN)}) AND {exact} THEN {monday} + CAST({day} AS INTEGER) - 1 "
        "ELSE CAST('no ISO week: ' || value AS DATE) END",
        f"CREATE MACRO parse_quarter(value) AS CASE WHEN trim(value) = '' THEN NULL "
        f"WHEN regexp_matches(value, {literal(QUARTER_PATTERN)}) "
        f"THEN make_date(CAST({year} AS INTEGER), {quarter} * 3 - 2, 1) "
        "ELSE CAST('no quarter: ' || value AS DATE) END",
    )


def add_calendar(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``english_months(text, 'de')``, ``parse_week(text)`` and ``parse_quarter(text)`` known to a connection."""
    connection.create_function("english_months", _translate, [VARCHAR, VARCHAR], VARCHAR, type=PythonUDFType.ARROW)
    for macro in _macros():
        connection.execute(macro)
