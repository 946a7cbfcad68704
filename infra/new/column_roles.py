"""Roles of columns by their names: ids, owners and times of events, amounts that add up and levels that do not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

from karat.declare import Column

#: How columns end that name somebody or something.
IDS = ("_id", "_key", "_no", "_nr", "_number")
#: Times that say nothing of when the row was.
_OTHER_TIMES = re.compile(
    r"birth|born|dob\b|geburt|naissance|nacimiento|nascita|nascimento|expir|valid_(until|to)|due_|deadline|frist"
)
_MOMENT = re.compile(
    r"date|time|day|datum|zeit|tag\b|fecha|hora|jour|heure|giorno|(^|_)(data|dia|ora)($|_)|_(at|on|am)$"
)


@lru_cache(maxsize=1)
def _words() -> Mapping[str, frozenset[str]]:
    """The lists of ``column_words.yaml``."""
    lists: dict[str, str] = yaml.safe_load(Path(__file__).with_name("column_words.yaml").read_text())
    return {meaning: frozenset(words.split()) for meaning, words in lists.items()}


def is_id(name: str, source: str = "") -> bool:
    """Whether a column is named like an id: ``order_id``, ``Customer no.``, ``userId``."""
    return name == "id" or name.endswith(IDS) or bool(re.search(r"[a-z](Id|ID)$", source))


def is_owner(name: str) -> bool:
    """Whether a column is named like somebody or something that events are of: ``station``, ``customer_name``."""
    words, known = name.split("_"), _words()
    while len(words) > 1 and words[-1] in known["named_by"]:
        words.pop()
    return words[-1] in known["owners"]


def may_be_when(name: str) -> bool:
    """Whether a time may be that of the row: not when somebody was born, nor when something expires."""
    return not _OTHER_TIMES.search(name)


def is_moment(name: str) -> bool:
    """Whether a column is named like the time of its row."""
    return may_be_when(name) and (bool(_MOMENT.search(name)) or name in _words()["moments"])


#: What a column of numbers holds. An ``amount`` adds up over rows; a ``level`` is how things are, and does not; a
#: ``place`` is a coordinate; a ``code`` names something by digits; of an ``unknown`` one the name says nothing.
Measure = Literal["amount", "level", "place", "code", "unknown"]


@dataclass(frozen=True)
class MeasureRole:
    """What a column of numbers holds, and why it is taken so.

    Attributes:
        measure: What it holds.
        reason: The reason, in a few words.
    """

    measure: Measure
    reason: str


#: Units between brackets, or behind the name, of what does not add up.
_LEVEL_UNITS = re.compile(
    r"[%‰°℃℉]|[\[(]\s*([ckf]|k?pa|hpa|m?bar|psi|[km]?v|ma?|rpm|hz|db|lux|ppm|ppb|[^\])]*/[^\])]*)\s*[\])]"
)
_AMOUNT_UNITS = re.compile(r"[\[(]\s*([kmg]?wh|[kmg]i?b|l|km|mi|kg|t|min|s|sec|eur|usd|gbp|chf|[€$£])\s*[\])]")


def measure_of(name: str, column: Column) -> MeasureRole:
    """What a column of numbers holds, by its name and its description, which is the file's name of it.

    Args:
        name: The gold column.
        column: Its declaration.

    Returns:
        The role with its reason. Where the name says nothing, ``unknown``: a mean never misleads, a sum may.
    """
    written, known = _plain(column.description or ""), _words()
    words = [w for w in name.lower().split("_") if w]
    for meaning, measure, reason in _SURE:
        if word := next((w for w in words if w in known[meaning]), None):
            return MeasureRole(measure, reason.format(word))
    if "%" in written:
        return MeasureRole("level", _SURE[2][2].format("%"))
    if is_id(name):
        return MeasureRole("code", "digits that name something")
    if column.dtype == "int64" and (code := next((w for w in words if w in known["codes"]), None)):
        return MeasureRole("code", f"a code ({code}), not a quantity")
    if _LEVEL_UNITS.search(written):
        return MeasureRole("level", f"the unit in {column.description!r} is of a level")
    for word in reversed(words):  # the noun that is meant comes last: "sales price" is a price
        if word in known["levels"]:
            return MeasureRole("level", _LEVEL.format(word))
        if word in known["amounts"]:
            return MeasureRole("amount", _AMOUNT.format(word))
    if _AMOUNT_UNITS.search(written):
        return MeasureRole("amount", f"the unit in {column.description!r} is of an amount")
    if stem := next((s for s in known["level_stems"] if s in name), None):
        return MeasureRole("level", _LEVEL.format(stem))
    if stem := next((s for s in known["amount_stems"] if s in name), None):
        return MeasureRole("amount", _AMOUNT.format(stem))
    return MeasureRole("unknown", "its name does not say that it adds up")


_LEVEL, _AMOUNT = "a level ({}) does not add up", "an amount ({}) adds up"
#: Meanings that decide alone, whatever other words the name has: the list, what the column holds, and why.
_SURE: tuple[tuple[str, Measure, str], ...] = (
    ("places", "place", "a coordinate ({})"),
    ("summaries", "level", "a figure of other rows ({}) does not add up"),
    ("rates", "level", "a rate ({}) does not add up"),
    ("totals", "amount", _AMOUNT),
)


def _plain(text: str) -> str:
    """A text in small letters without accents."""
    found = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in found if not unicodedata.combining(c))
