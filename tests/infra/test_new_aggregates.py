"""``karat new features``: what is computed of a column follows from what it holds, is shown, and can be said."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from infra.cli.app import main
from karat.declare import load_project
from karat.features import compute_table
from karat.lake import Lake
from karat.settings import Settings

Call = Callable[..., tuple[int, str]]
HEADER = ("at", "station", "riders", "temperature", "latitude", "wet_share", "status_code", "zip", "note")
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def karat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """karat("new", ...) -> exit status and both outputs, in a folder with the readings of four stations."""
    draw = random.Random(5)
    with (tmp_path / "readings.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(HEADER)
        for hour in range(24 * 20):
            for station in "abcd":
                at = BEGIN + timedelta(hours=hour)
                measured = (draw.randrange(9), round(draw.gauss(15, 4), 1), 52.5, round(draw.random(), 2))
                texts = (draw.choice((200, 404)), f"{draw.randrange(100_000):05}", f"n{draw.randrange(10**6)}")
                rows.writerow((f"{at:%Y-%m-%d %H:%M}", station, *measured, *texts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setattr("infra.cli.app.console.width", 80, raising=False)

    def typed(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    return typed


def begun(karat: Call) -> tuple[Settings, str]:
    """A project on the readings, which are ingested; what the first command said."""
    status, said = karat("new", "project", "p", "--from", "readings.csv")
    assert status == 0, said
    assert karat("ingest", "p", "readings", "readings.csv")[0] == 0
    return Settings(), said


def test_days_sum_what_adds_up_and_average_what_does_not(karat: Call):
    settings, _ = begun(karat)
    status, said = karat("new", "features", "days", "--project", "p", "--windows", "1d,7d")
    assert status == 0, said
    shown = {line.split()[0]: line for line in said.splitlines() if line and line.split()[0] in HEADER}
    for column, made, reason in (
        ("riders", "sum", "an amount (riders) adds up"),
        ("temperature", "mean, min, max", "a level (temperature) does not add up"),
        ("latitude", "mean", "a coordinate (latitude)"),
        ("wet_share", "mean, min, max", "a rate (share) does not add up"),
        ("status_code", "count_distinct", "a code (status), not a quantity"),
    ):
        assert made in shown[column], shown
        assert reason in shown[column], shown
    assert all(len(line) <= 80 for line in said.splitlines() if "taken:" not in line and "karat" not in line), said
    project = load_project("p", settings)
    table = project.tables["days"]
    assert {f.name for f in table.stored if f.column == "temperature"} == {
        "temperature_mean_1d",
        "temperature_mean_7d",
        "temperature_min_7d",
        "temperature_max_7d",
    }
    assert {"riders_1d", "riders_7d", "riders_trend"} <= {f.name for f in table.stored}
    lake = Lake(settings.lake, settings.environment)
    compute_table(project, "days", lake)
    rows = lake.read(project.table_name("days"))
    gold = lake.read(project.gold_name("readings"))
    day = date(2026, 5, 9)
    (one,) = rows.filter((rows["station"] == "b") & (rows["day"] == day)).to_dicts()
    own = gold.filter((gold["station"] == "b") & (gold["at"].dt.date() == day))
    assert one["riders_1d"] == own["riders"].sum()
    assert one["temperature_mean_1d"] == pytest.approx(own["temperature"].mean())
    assert one["latitude_mean_7d"] == pytest.approx(52.5)
    assert (one["weekday"], one["month"]) == (6, 5)  # a Saturday in May


def test_aggregates_can_be_said_for_a_column(karat: Call):
    settings, _ = begun(karat)
    status, said = karat(
        *("new", "features", "days", "--project", "p", "--windows", "7d"),
        *("--aggregate", "temperature=sum,max", "--aggregate", "riders=avg"),
    )
    assert status == 0, said
    assert "as --aggregate says" in said
    table = load_project("p", settings).tables["days"]
    made = {f.name for f in table.stored if f.column in ("temperature", "riders")}
    assert made == {"temperature_7d", "temperature_max_7d", "riders_mean_7d"}


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (("--aggregate", "temperature"), "no COLUMN=FUNCTION", "--aggregate price=mean"),
        (("--aggregate", "temperature=sun"), "no such aggregate", "sum"),
        (("--aggregate", "temprature=mean"), "has no column 'temprature'", "temperature"),
        (("--aggregate", "station=count_distinct"), "becomes no feature", "--columns"),
    ],
)
def test_a_wrong_aggregate_is_refused_with_the_remedy(karat: Call, words: tuple[str, ...], message: str, remedy: str):
    begun(karat)
    status, said = karat("new", "features", "days", "--project", "p", *words)
    said = " ".join(said.split())
    assert status, said
    assert message in said
    assert remedy in said


def test_a_text_of_too_many_values_is_told_of_when_the_draft_is_written(karat: Call):
    settings, said = begun(karat)
    assert "different texts in 1,920 rows" in " ".join(said.split())
    status, said = karat("new", "features", "rows", "--project", "p", "--grain", "event", "--windows", "7d")
    assert status == 0, said
    assert "left out: note (" in said
    assert "--columns takes it all the same" in said
    names = {f.name for f in load_project("p", settings).tables["rows"].stored}
    assert "note" not in names
    status, said = karat(
        *("new", "features", "codes", "--project", "p", "--grain", "event", "--windows", "7d", "--columns", "note,zip")
    )
    assert status == 0, said
    assert "note" in {f.name for f in load_project("p", settings).tables["codes"].stored}


def test_a_table_without_time_says_that_it_looks_ahead(karat: Call):
    begun(karat)
    status, said = karat("new", "features", "whole", "--project", "p", "--grain", "entity", "--entity", "station")
    assert status == 0, said
    assert "also those after the row that is foretold" in said


def test_a_gold_table_without_a_time_names_the_time_that_it_has(karat: Call, tmp_path: Path):
    lines = ["ticket,opened_at,minutes", *(f"{n},2026-05-{1 + n % 28:02} 10:00,{n * 7 % 90}" for n in range(120))]
    (tmp_path / "tickets.csv").write_text("\n".join(lines))
    status, said = karat("new", "project", "q", "--from", "tickets.csv")
    assert status == 0, said
    assert "opened_at is a column as others" in said
    assert "--entity series (all rows are of one thing)" in said
    status, said = karat("new", "features", "days", "--project", "q", "--grain", "day")
    said = " ".join(said.split())
    assert status == 2, said
    assert "has the time opened_at" in said
    assert 'event_time="opened_at"' in said
    status, said = karat("new", "project", "r", "--from", "tickets.csv", "--entity", "series")
    assert status == 0, said
    assert "karat new features NAME --project r --entity series" in said
    status, said = karat("new", "features", "days", "--project", "r", "--entity", "series")
    assert status == 0, said
