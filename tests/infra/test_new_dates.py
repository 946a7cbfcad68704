"""``karat new project --from``: dates in other languages, weeks, quarters and headers of two rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from babel.dates import format_date

from karat.errors import KaratError, UnreadableInput, WrongCall
from karat.quality.maps import Format
from tests.infra.test_new_from_file import brought_in, file, sheet, taken

DAYS = [date(2023, 1, 3) + timedelta(days=13 * n) for n in range(40)]


@pytest.mark.parametrize("language", ["de", "fr", "es", "it", "pt", "nl", "pl", "sv", "cs", "ru"])
@pytest.mark.parametrize("form", ["long", "full", "d MMM y", "dd-MMM-y", "d MMMM y"])
def test_dates_of_other_languages_are_read_rightly(tmp_path: Path, language: str, form: str):
    lines = [f'{n};"{format_date(day, form, locale=language)}"' for n, day in enumerate(DAYS)]
    rows, reasons = brought_in(file(tmp_path, "\n".join(["id;datum", *lines])))
    assert reasons.null_count() == len(DAYS)
    assert rows["datum"].to_list() == DAYS


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "it", "pt"])
def test_months_of_other_languages_are_their_first_day(tmp_path: Path, language: str):
    lines = [f"{n};{format_date(day, 'MMMM y', locale=language)}" for n, day in enumerate(DAYS)]
    rows, _ = brought_in(file(tmp_path, "\n".join(["id;monat", *lines])))
    assert rows["monat"].to_list() == [day.replace(day=1) for day in DAYS]


def test_a_time_with_a_name_of_a_month_keeps_its_clock(tmp_path: Path):
    lines = ["1;5. März 2024 10:30", "2;7. Mai 2024 09:05"]
    rows, _ = brought_in(file(tmp_path, "\n".join(["id;zeit", *lines])))
    assert rows["zeit"].dt.strftime("%m-%d %H:%M").to_list() == ["03-05 10:30", "05-07 09:05"]
    _, _, told = taken(file(tmp_path, "\n".join(["id;zeit", *lines])))
    assert any("names of German" in line for line in told)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["5. Brachet 2024", "6. Heuet 2024", "7. Hornung 2024"], "is in no language that Karat knows"),
        (["5 listopad 2024", "6 listopad 2024", "7 listopad 2024"], "'5 November 2024' and as '5 October 2024'"),
    ],
)
def test_a_date_that_cannot_be_read_with_certainty_is_refused_with_its_column(
    tmp_path: Path, values: list[str], told: str
):
    path = file(tmp_path, "\n".join(["id;am", *(f"{n};{v}" for n, v in enumerate(values))]))
    with pytest.raises(UnreadableInput) as error:
        taken(path)
    assert "column 'am'" in error.value.what
    assert values[0] in error.value.what
    assert told in error.value.what
    assert "--set am=string" in error.value.remedy
    rows, _ = brought_in(path, types={"am": "string"})
    assert rows["am"].to_list() == values


def test_a_language_can_be_said(tmp_path: Path):
    path = file(tmp_path, "id;am\n1;5 listopad 2024\n2;6 listopad 2024\n3;7 listopad 2024\n")
    rows, _ = brought_in(path, types={"am": "date:hr:%d %B %Y"})
    assert rows["am"].to_list() == [date(2024, 10, n) for n in (5, 6, 7)]
    with pytest.raises(WrongCall, match="in a language 'xx'"):
        taken(path, types={"am": "date:xx:%d %B %Y"})


@pytest.mark.parametrize(
    "texts", [["5 Rosen 20", "6 Nelken 7"], ["Merlot 2019", "Syrah 2020"], ["12 Zimmer", "3 Küche"]]
)
def test_texts_with_numbers_stay_texts(tmp_path: Path, texts: list[str]):
    path = file(tmp_path, "\n".join(["id;was", *(f"{n};{v}" for n, v in enumerate(texts))]))
    rows, _ = brought_in(path)
    assert rows["was"].to_list() == texts


def test_weeks_and_quarters(tmp_path: Path):
    path = file(tmp_path, "id,week,day,quarter\n1,2024-W07,2024-W07-3,2024-Q1\n2,2020-W53,2020W537,Q4 2020\n")
    rows, _ = brought_in(path)
    assert rows["week"].to_list() == [date(2024, 2, 12), date(2020, 12, 28)]
    assert rows["day"].to_list() == [date(2024, 2, 14), date(2021, 1, 3)]
    assert rows["quarter"].to_list() == [date(2024, 1, 1), date(2020, 10, 1)]


def test_a_week_that_its_year_does_not_have_is_set_aside(tmp_path: Path):
    path = file(tmp_path, "id,week\n1,2024-W07\n2,2023-W53\n")
    rows, reasons = brought_in(path)
    assert rows["week"].to_list()[0] == date(2024, 2, 12)
    assert reasons.to_list()[0] is None
    assert "week" in str(reasons.to_list()[1])


TWO_ROWS = [
    ("Region", "Sales", None, "Costs", None),
    (None, "Q1", "Q2", "Q1", "Q2"),
    ("A", 1, 2, 3, 4),
    ("B", 5, 6, 7, 8),
]
NAMES = ["region", "sales_q1", "sales_q2", "costs_q1", "costs_q2"]


def workbook(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    sheet(folder / "rows.xlsx", rows)
    return folder / "rows.xlsx"


def delimited(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    return file(folder, "\n".join(",".join("" if v is None else str(v) for v in row) for row in rows))


@pytest.mark.parametrize("write", [workbook, delimited])
@pytest.mark.parametrize("filled", [False, True])
def test_a_header_of_two_rows_is_joined(tmp_path: Path, write: Callable[..., Path], filled: bool):
    head = ("Region", "Sales", "Sales", "Costs", "Costs") if filled else TWO_ROWS[0]
    path = write(tmp_path, [head, *TWO_ROWS[1:]])
    rows, reasons = brought_in(path)
    assert rows.columns == NAMES
    assert rows.rows() == [("A", 1, 2, 3, 4), ("B", 5, 6, 7, 8)]
    assert reasons.null_count() == 2
    _, chosen, told = taken(path)
    assert chosen.format.header_rows == 2
    assert any("header of 2 rows" in line for line in told)


@pytest.mark.parametrize("write", [workbook, delimited])
def test_rows_below_one_header_are_rows(tmp_path: Path, write: Callable[..., Path]):
    path = write(tmp_path, [("name", "kind", "size"), ("a", "x", 1), ("b", "y", 2), ("c", "x", 3)])
    table, chosen, _ = taken(path)
    assert chosen.format.header_rows == 1
    assert list(table.columns) == ["name", "kind", "size"]


def test_the_rows_of_a_header_can_be_said(tmp_path: Path):
    path = delimited(tmp_path, [("x", "x", "y"), ("a", "b", "c"), ("r", "s", "t"), ("u", "v", "w")])
    with pytest.raises(KaratError, match="--header-rows 2"):
        taken(path)
    rows, _ = brought_in(path, format=Format(header_rows=2))
    assert rows.columns == ["x_a", "x_b", "y_c"]
    assert rows.equals(pl.DataFrame([("r", "s", "t"), ("u", "v", "w")], schema=rows.columns, orient="row"))
