"""Numbers in the ways in which people write them: thousands, decimal comma, accounting negatives, currency signs.

``MACROS`` gives a map's SQL ``parse_number`` and ``parse_integer``. A text that has not exactly the declared form is an
error of its row, never another number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Mark = Literal[".", ","]

#: Blanks, no-break, thin and narrow no-break spaces.
BLANKS = r" \x{a0}\x{2009}\x{202f}"
#: Minus signs: hyphen, minus, en dash.
MINUS = r"\-\x{2212}\x{2013}"
#: Units that may stand before or after a number, besides every sign of a currency.
UNITS = frozenset(
    {
        *("%", "‰", "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "PLN"),
        *("CZK", "HUF", "RON", "BRL", "MXN", "ZAR", "TRY", "RUB", "KRW", "SGD", "HKD", "kr", "kr.", "zł", "Kč", "Ft"),
        *("lei", "Rs", "Rs.", "R$", "US$", "C$", "A$", "NZ$", "HK$", "S$", "Fr.", "fr."),
    }
)
_NUMBER = re.compile(r"(?:[0-9,'’\s+\-()\u2212\u2013\u00a0\u2009\u202f]|(?<![A-Za-z])\.)+")
_EXPONENT = re.compile(r"(?<=[0-9.,])[eE][-+]?[0-9]+")
#: Stands for the escaped unit in a pattern.
_UNIT = "<unit>"


def number_pattern(mark: Mark, unit: str = "") -> str:
    """The pattern of a whole text that is a number.

    Args:
        mark: The decimal mark; the other one may set thousands apart.
        unit: What stands before or after the number; empty for nothing.

    Returns:
        A regular expression for Polars and DuckDB.
    """
    blank, sign = f"[{BLANKS}]*", f"[+{MINUS}][{BLANKS}]*"
    groups = [r"[0-9]+", rf"[1-9][0-9]{{0,2}}(?:[{BLANKS}][0-9]{{3}})+", r"[1-9][0-9]{0,2}(?:['’][0-9]{3})+"]
    groups += [r"[1-9][0-9]{0,2}(?:,[0-9]{3})+", r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"] if mark == "." else []
    groups += [r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+"] if mark == "," else []
    point = re.escape(mark)
    number = rf"(?:(?:{'|'.join(groups)})(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][-+]?[0-9]+)?"
    before, after = f"{_UNIT}{blank}", f"{blank}{_UNIT}"
    minus = f"[{MINUS}]"
    shapes = [f"(?:{sign})?{before}{number}", f"{before}{sign}{number}", f"{before}{number}{minus}"]
    shapes += [rf"\({before}{number}\)", rf"{before}\({number}\)"]
    shapes += [f"(?:{sign})?{number}{after}", f"{number}{minus}{after}", f"{number}{after}{minus}"]
    shapes += [rf"\({number}{after}\)", rf"\({number}\){after}"]
    return f"^{blank}(?:{'|'.join(shapes)}){blank}$".replace(_UNIT, re.escape(unit) if unit else "")


def unit_of(values: Iterable[str]) -> str | None:
    """What stands beside the digits of every value.

    Args:
        values: Texts.

    Returns:
        The unit, empty if there is none; None if the values have several, or not all have it.
    """
    found = {_NUMBER.sub("", _EXPONENT.sub("", value)) for value in values}
    return found.pop() if len(found) == 1 else None


def is_unit(text: str) -> bool:
    """Whether a text beside a number is a currency or a percent sign: the number has one meaning without it."""
    return text in UNITS or bool(re.fullmatch(r"[$¢£¤¥֏؋৲৳૱௹฿៛\u20a0-\u20cf﷼﹩＄￠￡￥￦]", text))


def number_sql(column: str, mark: Mark, unit: str = "", *, whole: bool = False) -> str:
    """The SQL of a map that reads a column of numbers.

    Args:
        column: The SQL of the text.
        mark: The decimal mark.
        unit: What stands before or after the number.
        whole: Whether the numbers are integers.

    Returns:
        The call of a macro.
    """
    options = [f"mark := '{mark}'"] if mark != "." else []
    options += [f"unit := '{unit}'"] if unit else []
    return f"{'parse_integer' if whole else 'parse_number'}({', '.join([column, *options])})"


def _macros() -> tuple[str, ...]:
    """``number_digits``: the number as SQL reads it, else a text that no cast takes; then the two casts."""
    point, comma = (number_pattern(m, _UNIT).replace(re.escape(_UNIT), _UNIT).replace("'", "''") for m in (".", ","))
    pattern = f"replace(CASE mark WHEN ',' THEN '{comma}' ELSE '{point}' END, '{_UNIT}', regexp_escape(unit))"
    bare = "replace(value, unit, '')"
    sign = (
        rf"CASE WHEN regexp_matches(regexp_replace({bare}, '[eE][-+]?[0-9]+', ''), '[({MINUS}]') THEN '-' ELSE '' END"
    )
    digits = f"regexp_replace(regexp_replace({bare}, '[eE].*$', ''), '[^0-9' || mark || ']', '', 'g')"
    number = rf"{sign} || replace({digits}, mark, '.') || regexp_extract({bare}, '[eE][-+]?[0-9]+')"
    arguments = "(value, mark := '.', unit := '')"
    passed = "(value, mark := mark, unit := unit)"
    return (
        f"CREATE MACRO number_digits{arguments} AS CASE WHEN trim(value) = '' THEN NULL "
        f"WHEN regexp_matches(value, {pattern}) THEN {number} "
        "ELSE 'no such number: ' || value END",
        f"CREATE MACRO parse_number{arguments} AS CAST(number_digits{passed} AS DOUBLE)",
        f"CREATE MACRO parse_integer{arguments} AS CAST(CASE WHEN regexp_matches(number_digits{passed}, "
        rf"'^-?[0-9]+(\.0*)?$') THEN regexp_replace(number_digits{passed}, '\.0*$', '') "
        "ELSE 'no integer: ' || value END AS BIGINT)",
    )


#: SQL that makes ``parse_number(text, mark := '.', unit := '')`` and ``parse_integer`` known to a connection.
MACROS = _macros()
