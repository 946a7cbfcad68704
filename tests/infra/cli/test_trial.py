"""``karat try``: the engineer's loop, without a server, a registry or a change of the lake."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infra.cli.app import main
from karat.declare import load_project
from karat.errors import TableNotFound
from karat.lake import Lake
from karat.lifecycle.trial import try_model
from karat.settings import Settings

GOLD = """from karat.declare import Column, GoldTable

visits = GoldTable(
    name="visits",
    description="One row a visit",
    owner="club",
    key=("visit",),
    event_time="at",
    columns={
        "visit": Column(dtype="int64"),
        "member": Column(dtype="string", nullable=False),
        "at": Column(dtype="timestamp", nullable=False),
        "spent": Column(dtype="float64"),
    },
)
"""
FEATURES = """from karat.declare import FeatureTable, aggregate

by_member = FeatureTable(
    name="by_member",
    description="Visits of each member",
    source="visits",
    entity=("member",),
    time="day",
    rows="window",
    features=(
        aggregate("visits_7d", "count", window="7d", description="Visits"),
        aggregate("spent_7d", "sum", "spent", window="7d", description="Spent"),
    ),
)
"""
MODEL = """description: Whether a member comes again
task: binary
kind: logistic_regression
label: {source: visits, expression: "(count(*) > 0)::int", horizon: 3d, default: 0}
lookups: [by_member]
"""


def visits(members: int, days: int = 40) -> pl.DataFrame:
    """Members with paces of their own."""
    draw = np.random.default_rng(0)
    pace = draw.gamma(1.0, 0.3, members)
    who, day = np.nonzero(draw.random((members, days)) < pace[:, None])
    begin = datetime(2026, 5, 1, 9, tzinfo=UTC)
    return pl.DataFrame(
        {
            "visit": np.arange(len(who)),
            "member": [f"m{i}" for i in who],
            "at": pl.Series([begin + timedelta(days=int(d)) for d in day]).cast(pl.Datetime("us", "UTC")),
            "spent": draw.exponential(5, len(who)).round(2),
        }
    )


@pytest.fixture
def club(tmp_path: Path) -> Settings:
    folder = tmp_path / "projects" / "club"
    (folder / "features").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "project.yaml").write_text("description: A club\nowner: club\n")
    (folder / "gold.py").write_text(GOLD)
    (folder / "features" / "by_member.py").write_text(FEATURES)
    (folder / "models" / "returns.yaml").write_text(MODEL)
    return Settings(home=tmp_path / "home", projects=tmp_path / "projects")


def bring_in(settings: Settings, frame: pl.DataFrame) -> Lake:
    project, lake = load_project("club", settings), Lake(settings.lake, settings.environment)
    gold = project.gold["visits"]
    lake.create(project.gold_name("visits"), gold.schema, primary_key=gold.key, timeseries="at", partition_by=())
    lake.append(project.gold_name("visits"), frame)
    return lake


def test_a_sample_is_of_whole_entities_and_the_lake_stays_as_it_is(club: Settings):
    frame = visits(200)
    lake = bring_in(club, frame)
    before = {p: p.stat().st_mtime_ns for p in lake.root.rglob("*")}
    trial = try_model(load_project("club", club), "returns", lake, rows=1000)
    drawn = trial.run.training_set.data["member"].unique()
    assert 20 < len(drawn) < 200
    assert frame.filter(pl.col("member").is_in(drawn.implode())).height <= 1000
    assert "of 200 values of member, drawn by a hash" in trial.sample[0] or "of 1" in trial.sample[0]
    assert {p: p.stat().st_mtime_ns for p in lake.root.rglob("*")} == before
    assert trial.run.result.metrics["roc_auc"] > trial.run.result.baseline["roc_auc"]
    # A drawn member's windows are those of all rows: none was lost.
    whole = try_model(load_project("club", club), "returns", lake, rows=None)
    assert whole.sample == (f"all {frame.height:,} rows of visits",)
    both = whole.run.training_set.data.join(trial.run.training_set.data, on=["member", "day"], suffix="_drawn")
    assert both.height == trial.run.training_set.data.height
    assert both["spent_7d"].equals(both["spent_7d_drawn"].rename("spent_7d"))


def test_of_a_few_entities_the_latest_rows_are_read(club: Settings):
    frame = visits(20, days=200)
    trial = try_model(load_project("club", club), "returns", bring_in(club, frame), rows=500)
    assert "the latest, from" in trial.sample[0]
    assert len(trial.run.training_set.data["member"].unique()) > 10


def test_few_rows_are_a_warning_that_says_what_a_run_would_refuse(club: Settings):
    trial = try_model(load_project("club", club), "returns", bring_in(club, visits(60, days=20)), rows=None)
    assert any("minimum_rows, 1000: a version of so few is refused" in w for w in trial.warnings)


def test_without_gold_rows_the_way_to_bring_them_in_is_named(club: Settings):
    with pytest.raises(TableNotFound) as error:
        try_model(load_project("club", club), "returns", Lake(club.lake, club.environment))
    assert "karat ingest club visits FILE" in str(error.value)


def test_the_command_prints_metrics_and_writes_card_and_plots(
    club: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bring_in(club, visits(150))
    monkeypatch.setenv("KARAT_HOME", str(club.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(club.projects))
    with pytest.raises(SystemExit) as stop:
        main(["try", "club", "returns", "--rows", "900"])
    said = capsys.readouterr().out
    assert stop.value.code in (0, None)
    assert "better than the baseline" in said
    assert "Quality checks: 0 asked, all pass." not in said
    assert "Quality checks: none is declared." in said
    assert "roc_auc" in said
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("Card and plots"))
    folder = club.home / "trials" / "club" / "returns"
    assert {"model_card.md", "roc_pr.png", "feature_importance.png"} <= {p.name for p in folder.iterdir()}
    with pytest.raises(SystemExit):
        main(["try", "club", "returns", "--rows", "900", "--json"])
    assert json.loads(capsys.readouterr().out)["metrics"]["roc_auc"] > 0.5


def test_what_a_run_would_set_aside_or_refuse_is_left_out_and_told(
    club: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    frame = visits(150).with_columns(spent=pl.when(pl.col("visit") % 10 == 0).then(-1.0).otherwise("spent"))
    bring_in(club, frame)
    folder = club.projects / "club"
    # The contract is stricter than it was when the rows came in.
    (folder / "gold.py").write_text(GOLD.replace('"float64")', '"float64", minimum=0)'))
    checked = """    checks=(
        between("visits_7d", 0, 2, on_fail="set_aside"),
        not_null("spent_7d", on_fail="warn"),
        unique("member", on_fail="block"),
    ),
)
"""
    text = FEATURES.replace(
        "import FeatureTable, aggregate", "import FeatureTable, aggregate, between, not_null, unique"
    )
    (folder / "features" / "by_member.py").write_text(text.removesuffix(")\n") + checked)
    lake = Lake(club.lake, club.environment)
    before = {p: p.stat().st_mtime_ns for p in lake.root.rglob("*")}
    trial = try_model(load_project("club", club), "returns", lake, rows=None)
    assert {p: p.stat().st_mtime_ns for p in lake.root.rglob("*")} == before
    gold, features, refused = trial.checks.lines
    broken = (frame["visit"] % 10 == 0).sum()
    assert gold.startswith(f"visits: spent is at least 0: {broken:,} of {frame.height:,} fail")
    assert gold.endswith("(left out)")
    assert features.startswith("by_member: visits_7d is between 0 and 2: ")
    assert refused.endswith("(a run stops here)")
    assert trial.checks.asked == 4
    assert trial.run.training_set.data["visits_7d"].max() == 2
    monkeypatch.setenv("KARAT_HOME", str(club.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(club.projects))
    with pytest.raises(SystemExit) as stop:
        main(["try", "club", "returns"])
    said = capsys.readouterr().out
    assert not stop.value.code
    assert "Quality checks: 4 asked, of which" in said
    assert "a run stops here" in said


def test_an_unknown_model_is_named_with_the_nearest(
    club: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KARAT_HOME", str(club.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(club.projects))
    with pytest.raises(SystemExit):
        main(["try", "club", "return"])
    assert "Did you mean 'returns'?" in capsys.readouterr().err


def test_a_search_is_made_in_process_with_as_many_trials_as_are_asked_for(
    club: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bring_in(club, visits(80))
    monkeypatch.setenv("KARAT_HOME", str(club.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(club.projects))
    with pytest.raises(SystemExit) as stop:
        main(["try", "club", "returns", "--search"])
    assert stop.value.code
    assert "'returns' declares no search" in capsys.readouterr().err
    searched = MODEL + "search: {C: {low: 0.001, high: 10.0, log: true}}\nsearch_budget: {trials: 50}\n"
    (club.projects / "club" / "models" / "returns.yaml").write_text(searched)
    with pytest.raises(SystemExit) as stop:
        main(["try", "club", "returns", "--search", "--trials", "3", "--json"])
    assert not stop.value.code
    said = json.loads(capsys.readouterr().out)
    assert [t["number"] for t in said["search"]["trials"]] == [0, 1, 2]
    folder = club.home / "trials" / "club" / "returns"
    assert "3 trials of C" in (folder / "model_card.md").read_text()
    assert {"search.png", "training.log", "model_card.html"} <= {p.name for p in folder.iterdir()}
    log = (folder / "training.log").read_text()
    best = max(said["search"]["trials"], key=lambda trial: trial["value"])
    assert f"best roc_auc {best['value']:.4g} by trial {best['number']}, trials (3 of 3)" in log
    with pytest.raises(SystemExit):
        main(["try", "club", "returns", "--search", "--trials", "2"])
    assert "Search: 2 trials" in " ".join(capsys.readouterr().out.split())
