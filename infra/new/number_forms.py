"""Forms of numbers: which of them the texts of a column have, and the SQL of a map that reads them."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import polars as pl

from infra.new.dates import epoch_reading
from karat.dtypes import Dtype
from karat.quality.numbers import BLANKS, MINUS, Mark, is_unit, number_pattern, number_sql, unit_of
from karat.quality.text_parsing import parse

#: The share of a column's values that must be of its type; the others' rows will be set aside.
NEARLY = 0.98
#: Names of forms that ``--set COLUMN=float64:FORM`` takes, and the decimal mark of each; None if the values say it.
FORMS: dict[str, Mark | None] = {
    "point": ".",
    "comma": ",",
    "spaces": None,
    "percent": None,
    "money": None,
    "money_comma": ",",
}
#: Digits that every double holds.
_EXACT = 15
#: Digits of a code that is written in groups, such as a phone number.
_CODE = 7
_MARKS: tuple[Mark, Mark] = (".", ",")
_Reading = tuple[str | None, Dtype, str]


class _Form(NamedTuple):
    """A way to read numbers: how many of the values it reads, its decimal mark, and the unit beside the digits."""

    read: int
    dtype: Dtype
    mark: Mark | None = None
    unit: str = ""


def number_reading(values: pl.Series, column: str, *, forced: bool = False) -> _Reading | None:
    """Find the form of numbers that most of the values have; of forms that read as many, the simplest.

    Args:
        values: Texts without missing ones.
        column: The SQL that gives the text.
        forced: Whether the user says that they are numbers.

    Returns:
        The SQL that converts them (None if a contract reads them as they are), the type, and what is to be told: type
        ``string`` if they look like numbers and are asked for. None if they are no numbers.
    """
    if values.str.contains(r"^[-+]?[0-9]+$").all():
        return epoch_reading(values, column) or (None, "int64", "")
    form = _form(values)
    if form.read < NEARLY * len(values):
        asked = "" if forced else _asked_unit(values)
        return (None, "string", asked) if asked else None
    if not forced:
        asked = _mixed_code(values, form) if form.read < len(values) else _asked(values, form)
        if asked:
            return None, "string", asked
    if form.mark is None and (epoch := epoch_reading(values, column)):
        return epoch
    whole = form.mark is not None and not form.unit and _whole(values, form.mark)
    if whole and not forced and values.str.replace_all(r"[^0-9]", "").str.len_chars().max() > 18:  # type: ignore[operator]
        return None, "string", "more digits than an int64 holds exactly"
    told = [_told(values, form), _ambiguous(values, form, column), _inexact(values, form, whole=whole)]
    if form.read < len(values):
        told.append(f"{len(values) - form.read} of {len(values)} values are no such numbers; their rows are set aside")
    sql = None if form.mark is None else number_sql(column, form.mark, form.unit, whole=whole)
    return sql, "int64" if whole else form.dtype, "; ".join(filter(None, told))


def reading_by_form(values: pl.Series, column: str, name: str, *, whole: bool) -> str:
    """The SQL that reads numbers of a form that the user names.

    Args:
        values: Texts without missing ones.
        column: The SQL that gives the text.
        name: A name of ``FORMS``.
        whole: Whether the numbers are integers.

    Returns:
        The SQL. Signs of several currencies are dropped.
    """
    unit = unit_of(values) or ""
    named = FORMS[name]
    mark: Mark = named if named is not None else max(_MARKS, key=lambda m: _matching(values, m, unit))
    if name in ("percent", "money", "money_comma") and not unit:
        column = f"regexp_replace({column}, '[^-+0-9.,()]', '', 'g')"
    return number_sql(column, mark, unit, whole=whole)


def _form(values: pl.Series) -> _Form:
    """The form that reads most values; of those that read as many, the first."""
    forms = [_Form(_read_as(values, d), d) for d in _PLAIN]
    if max(f.read for f in forms) == len(values):
        return max(forms, key=lambda f: f.read)
    remainders = Counter(unit_of([v]) or "" for v in values.head(1000))
    unit = remainders.most_common(1)[0][0]
    if unit and not is_unit(unit.strip()):
        unit = ""
    forms += [_Form(_matching(values, m, unit), "float64", m, unit) for m in _MARKS]
    return max(forms, key=lambda f: f.read)


_PLAIN: tuple[Dtype, Dtype] = ("int64", "float64")


def _matching(values: pl.Series, mark: Mark, unit: str) -> int:
    return int(values.str.contains(number_pattern(mark, unit)).sum())


def _read_as(values: pl.Series, dtype: Dtype) -> int:
    return parse(values, dtype, "UTC").problem.null_count()


def _whole(values: pl.Series, mark: Mark) -> bool:
    return not values.str.contains(rf"{re.escape(mark)}|[0-9][eE]").any()


def _asked_unit(values: pl.Series) -> str:
    """Numbers with several units, or with one beside which it is not certain what the number means."""
    units = {unit_of([v]) or "" for v in values.head(1000)}
    if len(units) > 5 or not all(_matching(values, m, "") < len(values) for m in _MARKS):
        return ""
    read = [values.str.contains(number_pattern(m, u)) for u in units for m in _MARKS]
    if (
        not pl.DataFrame([s.alias(str(n)) for n, s in enumerate(read)])
        .select(pl.any_horizontal(pl.all()))
        .to_series()
        .all()
    ):
        return ""
    known = sorted(u for u in units if u)
    if len(known) > 1 and all(map(is_unit, known)):
        return f"numbers with several units ({', '.join(known[:5])}) stay text"
    if len(known) == 1 and is_unit(known[0]):
        return f"some numbers have the sign {known[0]} and others none: text (--set says float64:money or :percent)"
    if len(known) == 1 and "" not in units and values.str.contains(rf"\d[{BLANKS}]{re.escape(known[0])}$").all():
        return f"numbers with the unit {known[0]} stay text"
    return ""


def _mixed_code(values: pl.Series, form: _Form) -> str:
    """A value with digits that is no number, as C536379 among invoices; empty if there is none."""
    if form.mark is None:
        read = parse(values, form.dtype, "UTC").problem.is_null()
    else:
        read = values.str.contains(number_pattern(form.mark, form.unit))
    codes = values.filter(~read & values.str.contains(r"\d"))
    return "" if codes.is_empty() else f"{codes[0]!r} is no number, so all of them are codes"


def _asked(values: pl.Series, form: _Form) -> str:
    """Why numbers of this form are asked for rather than read."""
    if form.mark is None:
        return ""
    if values.str.contains(r"\(").all() or values.str.contains(f"[{MINUS}][^0-9]*$").all():
        return f"every value is written as {values[0]}: a note, or a negative number (--set says float64)"
    other: Mark = "," if form.mark == "." else "."
    if form.unit and _matching(values, other, form.unit) == len(values) and values.str.contains("[.,]").any():
        shown = values.filter(values.str.contains("[.,]"))[0]
        return f"{shown} can be read both ways: --set says float64:point or float64:comma"
    digits = values.str.replace_all("[^0-9]", "").str.len_chars()
    grouped = values.str.contains(rf"[0-9][{BLANKS}.'][0-9]").all() and _whole(values, form.mark)
    if not form.unit and grouped and len(values) > 1 and digits.n_unique() == 1 and digits[0] >= _CODE:
        return f"each value has {digits[0]} digits in groups: a code as well as a number (--set says int64)"
    return ""


def _told(values: pl.Series, form: _Form) -> str:
    """What the form does with signs and marks."""
    if form.mark is None:
        return ""
    told = []
    if form.unit in ("%", "‰"):
        told.append(f"the number before the {form.unit} sign is kept: 12{form.unit} is 12")
    elif form.unit:
        told.append(f"the currency {form.unit} is dropped")
    if form.mark == "," and values.str.contains(",").any():
        told.append("decimal comma")
    if values.str.contains(rf"[0-9][{BLANKS}'’][0-9]{{3}}").any():
        told.append("thousands set apart")
    if values.str.contains(r"[0-9],[0-9]{2},[0-9]").any():
        told.append("lakh and crore set apart")
    if (negative := values.filter(values.str.contains(r"\("))).len():
        told.append(f"{negative[0]} is negative")
    if (negative := values.filter(values.str.contains(f"[0-9][^0-9]*[{MINUS}][^0-9]*$"))).len():
        told.append(f"{negative[0]} is negative")
    return "; ".join(told)


def _ambiguous(values: pl.Series, form: _Form, column: str) -> str:
    """1,234 and 1.234 are numbers both ways: what to tell if nothing in the column speaks against either."""
    if form.unit or form.mark == "," or _matching(values, ",", "") < len(values):
        return ""
    marked = values.filter(values.str.contains("[.,]"))
    if marked.is_empty() or (form.mark is None and not marked.str.contains(r"\.").all()):
        return ""
    if form.mark and _matching(values, ".", "") < len(values):
        return ""
    shown = re.sub(r"[^-0-9.,]", "", marked[0])
    read, other = shown.replace(",", ""), shown.replace(".", "").replace(",", ".")
    if float(read) == float(other):
        return ""
    return f"{column} {marked[0]} is read as {_shown(read)}, and could be {_shown(other)}"


def _shown(number: str) -> str:
    return f"{float(number):.15g}"


def _inexact(values: pl.Series, form: _Form, *, whole: bool) -> str:
    """Digits that the type or the file does not keep."""
    if form.dtype == "int64" or whole:
        shown = values.filter(values.str.contains(r"[eE]\+?(1[1-9]|[2-9]\d)$"))
        return f"{shown[0]}: a spreadsheet may have cut its digits" if len(shown) else ""
    digits = values.str.replace(r"[eE].*$", "").str.replace_all(r"[^0-9]", "").str.strip_chars_start("0")
    long = values.filter(digits.str.len_chars() > _EXACT + 2)
    return f"{long[0]} has more digits than a double holds (--set says string)" if len(long) else ""
