"""Names of months in many languages, ISO weeks and quarters: read exactly, or an error of the row."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import pytest
from babel.dates import format_date
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.quality.calendar_text import LANGUAGES, in_english, languages_of
from karat.quality.mapping import isolated_connection
from tests.profiles import examples


def asked(sql: str, text: str | None) -> object:
    with isolated_connection(None) as connection:
        return connection.execute(f"SELECT {sql}", [text]).fetchone()[0]  # type: ignore[index]


@settings(max_examples=examples(150), deadline=None)
@given(
    language=st.sampled_from([one for one in LANGUAGES if one != "en"]),
    day=st.dates(date(1990, 1, 1), date(2040, 12, 31)),
    form=st.sampled_from(["d MMMM y", "d. MMMM y", "d MMM y", "EEEE, d MMMM y", "EEE d MMM y"]),
)
def test_a_date_of_each_language_becomes_the_english_one(language: str, day: date, form: str):
    english = in_english(format_date(day, form, locale=language), language)
    assert english.replace(". ", " ") == f"{day.day} {day:%B} {day.year}"


@pytest.mark.parametrize(
    ("text", "language", "english"),
    [
        ("Montag, 05. März 2024 10:00", "de", "05. March 2024 10:00"),
        ("5. Maerz 2024", "de", "5. March 2024"),
        ("mar. 5 mars 2024", "fr", "5 March 2024"),
        ("1er août 2024", "fr", "1 August 2024"),
        ("5-fév-2024", "fr", "5-February-2024"),
        ("martes, 5 de marzo de 2024", "es", "5 March 2024"),
        ("mar 5 mar 2024", "es", "5 March 2024"),
        ("segunda-feira, 4 de março de 2024", "pt", "4 March 2024"),
        ("1º gennaio 2024", "it", "1 January 2024"),
        ("March 3rd, 2024", "en", "March 3, 2024"),
        ("5. Quintilis 2024", "de", "5. Quintilis 2024"),
    ],
)
def test_dates_as_people_write_them(text: str, language: str, english: str):
    assert in_english(text, language) == english
    assert asked(f"english_months(?, '{language}')", text) == english


def test_a_language_is_one_that_knows_every_word():
    assert languages_of(["5. März 2024", "6. Mai 2024"]) == ["de"]
    assert languages_of(["5. März 2024", "6. Rosen 2024"]) == []
    assert languages_of(["5 listopad 2024"]) == ["pl", "hr"]  # November in Polish, October in Croatian
    assert languages_of([]) == []


def test_no_text_has_no_month_and_an_unknown_language_is_an_error():
    assert asked("english_months(?, 'de')", None) is None
    with pytest.raises(duckdb.Error, match="knows no language 'xx'"):
        asked("english_months(?, 'xx')", "5. März 2024")


@settings(max_examples=examples(60), deadline=None)
@given(day=st.dates(date(1970, 1, 5), date(2060, 12, 20)), mark=st.sampled_from(["-W", "W"]), whole=st.booleans())
def test_iso_weeks_are_those_of_python(day: date, mark: str, whole: bool):
    year, week, weekday = day.isocalendar()
    if not 1970 <= year <= 2060:
        return
    text = f"{year}{mark}{week:02}" + ("" if whole else f"-{weekday}" if mark == "-W" else str(weekday))
    assert asked("parse_week(?)", text) == (day - timedelta(days=weekday - 1) if whole else day)


@pytest.mark.parametrize("text", ["2023-W53", "2024-W00", "2024-W54", "2024-W07-8", "W7", "2024-07", "x2024-W07"])
def test_what_is_no_week_is_an_error(text: str):
    with pytest.raises(duckdb.Error):
        asked("parse_week(?)", text)


@pytest.mark.parametrize(
    ("text", "day"), [("2024-Q1", date(2024, 1, 1)), ("2024Q3", date(2024, 7, 1)), ("Q4 2023", date(2023, 10, 1))]
)
def test_a_quarter_is_its_first_day(text: str, day: date):
    assert asked("parse_quarter(?)", text) == day
    for wrong in (text.replace("Q", "K"), f"{text}5", text.replace("Q", "Q7")):
        with pytest.raises(duckdb.Error):
            asked("parse_quarter(?)", wrong)
