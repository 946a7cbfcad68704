"""Backfill: exactly the days asked for, once, each table in one commit, never rows of two definitions."""

from __future__ import annotations

import os
import signal
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from karat.errors import DefinitionChanged, TableNotFound, WrongCall
from karat.features import BackfillRequest, backfill, compute_frame, compute_table, is_fresh
from tests import warm

from .conftest import SPEND
from .test_on_the_fly import BURSTS

ROWS = [("x", 1, d, float(d), 1, "a") for d in (1, 2, 3, 8, 20)] + [("y", 1, d, 100.0, 2, "b") for d in (2, 3, 4)]


def day(number: int) -> date:
    return date(2024, 2, 26) + timedelta(days=number)


def fill(shop, first=2, last=4, tables=("spend",), **more):
    return backfill(shop.project, BackfillRequest(tuple(tables), day(first), day(last), **more), shop.lake)


def whole(shop, table="spend"):
    """What an undisturbed computation of everything gives."""
    project = shop.project
    declared = project.tables[table]
    gold = shop.lake.scan(project.gold_name(declared.source))
    return compute_frame(declared, gold, source=project.gold[declared.source])


def of_days(frame, first, last):
    return frame.filter(pl.col("day").is_between(day(first), day(last)))


def test_a_table_that_was_never_computed_gets_these_days_alone(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    (result,) = fill(shop)
    assert (result.changed, result.days, result.rows) == (True, (day(2), day(3), day(4)), 5)
    same_tables(shop.features("spend"), of_days(whole(shop), 2, 4))
    fresh = is_fresh(shop.project, "spend", shop.lake)
    assert (fresh.fresh, fresh.reason) == (False, "only some of its days have been backfilled")
    (more,) = fill(shop, 8, 9)
    assert more.rows == 1
    same_tables(shop.features("spend"), of_days(whole(shop), 2, 9))
    compute_table(shop.project, "spend", shop.lake)
    same_tables(shop.features("spend"), whole(shop))
    assert is_fresh(shop.project, "spend", shop.lake).fresh


def test_the_same_again_changes_nothing_even_after_others(shop, events):
    shop.gold("events", events(ROWS))
    fill(shop)
    fill(shop, 3, 8)
    version = shop.lake.version(shop.project.table_name("spend"))
    for first, last in ((2, 4), (3, 8)):
        (again,) = fill(shop, first, last)
        assert (again.changed, again.version) == (False, version)
    (forced,) = fill(shop, forced=True)
    assert forced.changed
    assert forced.version == version + 1


def test_days_that_gold_changed_besides_are_still_to_be_computed(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    before = shop.features("spend")
    assert not fill(shop)[0].changed
    shop.gold("events", events([("x", 1, 3, 64.0, 1, "c"), ("y", 1, 20, 1.0, 1, "c")], start=100))
    (result,) = fill(shop, 3, 3)
    assert result.days == (day(3),)
    now = whole(shop)
    same_tables(of_days(shop.features("spend"), 3, 3), of_days(now, 3, 3))
    same_tables(of_days(shop.features("spend"), 4, 30), of_days(before, 4, 30))
    assert not is_fresh(shop.project, "spend", shop.lake).fresh
    compute_table(shop.project, "spend", shop.lake)
    same_tables(shop.features("spend"), now)


def test_some_entities_alone_leave_the_others_as_they_are(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    before = shop.features("spend")
    shop.gold("events", events([("x", 1, 3, 64.0, 1, "c"), ("y", 1, 3, 64.0, 1, "c")], start=100))
    only = pl.DataFrame({"user": ["x", "x", None], "shop": [1, 1, 1]})
    fill(shop, 2, 5, entities=only)
    after, now = shop.features("spend"), whole(shop)
    mine = (pl.col("user") == "x") & pl.col("day").is_between(day(2), day(5))
    same_tables(after.filter(mine), now.filter(mine))
    same_tables(after.filter(~mine), before.filter(~mine))
    assert not fill(shop, 2, 5, entities=only.head(1))[0].changed


def test_several_tables_and_those_without_time(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    shop.gold("users", pl.DataFrame({"user": ["x"], "plan": ["gold"], "age": [30]}))
    seen = []
    results = backfill(
        shop.project,
        BackfillRequest(("spend", "profile"), day(2), day(4)),
        shop.lake,
        progress=lambda *a: seen.append(a),
    )
    assert [r.table.table for r in results] == ["spend", "profile"]
    assert seen == [(0, 2, "backfill spend"), (1, 2, "backfill profile"), (2, 2, "backfill")]
    same_tables(shop.features("profile"), whole(shop, "profile"))


def test_a_table_of_events(shop, events, same_tables):
    shop.declare("bursts", BURSTS)
    shop.gold("events", events([*ROWS, ("y", 1, 3, 7.0, 1, "c")]))
    (result,) = fill(shop, 2, 3, tables=["bursts"], entities=pl.DataFrame({"user": ["y"]}))
    assert result.rows == 3
    wanted = whole(shop, "bursts").filter(pl.col("at").dt.date().is_between(day(2), day(3)))
    same_tables(shop.features("bursts"), wanted.filter(user="y"))
    fill(shop, 2, 3, tables=["bursts"])
    same_tables(shop.features("bursts"), wanted)


def test_rows_of_two_definitions_never_stand_in_one_table(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    for prepare in (lambda: fill(shop, 2, 4), lambda: compute_table(shop.project, "spend", shop.lake)):
        shop.declare("spend", SPEND)
        prepare()
        before = shop.features("spend")
        shop.declare("spend", SPEND.replace('"sum", "amount", window="3d"', '"sum", "amount", window="4d"'))
        with pytest.raises(DefinitionChanged, match="karat run shop"):
            fill(shop, 3, 3)
        same_tables(shop.features("spend"), before)


def test_days_outside_of_gold_get_no_rows(shop, events):
    shop.gold("events", events(ROWS))
    assert fill(shop, -10, -5)[0] == fill(shop, 100, 200)[0]
    assert not fill(shop, 100, 200)[0].changed
    (result,) = fill(shop, 19, 200)
    assert result.days == (day(19), day(20))


def test_wrong_calls(shop, events):
    with pytest.raises(WrongCall, match="before the first"):
        fill(shop, 4, 2)
    with pytest.raises(TableNotFound, match="karat sample shop"):
        fill(shop)
    with pytest.raises(TableNotFound, match="'spend'"):
        fill(shop, tables=("spent",))


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from karat.declare import load_project
from karat.features import BackfillRequest
from karat.features import backfill as run
from karat.lake import Lake
from karat.settings import Settings
import importlib

point, after = sys.argv[2], sys.argv[3] == "after"
name = "backfilling" if point == "fill_table" else "materialize"
module = importlib.import_module(f"karat.features.{name}")
inner, calls = getattr(module, point), []

def dies(*given, **named):
    calls.append(1)
    result = None
    if after or len(calls) < 2:
        result = inner(*given, **named)
        result = list(result) if point == "stage_plan" else result
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(module, point, dies)
root = Path(sys.argv[1])
settings = Settings(home=root / "home", projects=root / "projects")
wanted = BackfillRequest(("by_visit", "spend"), date(2024, 2, 27), date(2024, 3, 20))
run(load_project("shop", settings), wanted, Lake(settings.lake, "dev"))
"""


@pytest.mark.parametrize(
    "killed",
    [("fill_table", "before"), ("stage_plan", "after"), ("commit_plan", "before"), ("commit_plan", "after")],
)
def test_killed_at_each_point_it_is_taken_up_again(shop, events, same_tables, tmp_path, killed):
    """The second table's work dies; the first one's stands, and is not done again."""
    shop.gold("events", events(ROWS))
    point, when = killed
    visits = {"visit_id": [1, 2], "user": ["x", "y"], "on": [day(2), day(5)], "amount": [1.0, 2.0]}
    shop.gold("visits", pl.DataFrame(visits).with_columns(paid=pl.lit(None, pl.Datetime("us", "UTC"))))
    done = warm.run(
        [sys.executable, "-c", KILLED, str(tmp_path), point, when],
        cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if not k.startswith("KARAT_")},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    first, second = backfill(
        shop.project, BackfillRequest(("by_visit", "spend"), date(2024, 2, 27), date(2024, 3, 20)), shop.lake
    )
    assert not first.changed
    assert second.changed is not (point == "commit_plan" and when == "after")
    same_tables(shop.features("spend"), whole(shop))
    same_tables(shop.features("by_visit"), whole(shop, "by_visit"))
