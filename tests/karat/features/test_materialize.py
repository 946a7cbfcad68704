"""A feature table follows gold through real Delta tables: incremental, idempotent, exact."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import CodeMismatch, DeclarationError, SchemaMismatch, TableNotFound
from karat.executors import LocalExecutor
from karat.features import compute_frame, compute_table, is_fresh, statistics
from karat.features.shard import compute_shard
from tests import warm
from tests.profiles import examples

ROWS = [
    ("x", 1, 1, 1.0, 1, "a"),
    ("x", 1, 2, 2.0, 5, "b"),
    ("x", 1, 8, 4.0, 2, "a"),
    ("x", 2, 2, 8.0, 3, "a"),
    ("y", 1, 5, 16.0, 1, None),
]


def day(number: int) -> date:
    return date(2024, 2, 26) + timedelta(days=number)


def files_of(shop, table):
    name = shop.project.table_name(table)
    return {str(p) for p in shop.lake.path(name).rglob("*.parquet")}


def expected(shop, table="spend"):
    """What an undisturbed full computation gives."""
    project = shop.project
    declared = project.tables[table]
    gold = shop.lake.scan(project.gold_name(declared.source))
    return compute_frame(declared, gold, source=project.gold[declared.source])


def test_the_first_run_computes_all_and_the_second_nothing(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    seen = []
    first = compute_table(shop.project, "spend", shop.lake, progress=lambda *a: seen.append(a), shards=3)
    assert (first.changed, first.full, first.rows) == (True, True, 5)
    assert [s[:2] for s in seen] == [(1, 3), (2, 3), (3, 3)]
    same_tables(shop.features("spend"), expected(shop))
    before = files_of(shop, "spend")
    second = compute_table(shop.project, "spend", shop.lake)
    assert (second.changed, second.version, second.days) == (False, first.version, ())
    assert files_of(shop, "spend") == before


@pytest.mark.parametrize(("limits", "shards"), [((5, 3), 1), ((5, 2), 2), ((5, 1), 3), ((2, 5), 3), ((1, 5), 6)])
def test_shards_are_as_many_as_memory_and_workers_want(shop, events, monkeypatch, limits, shards):
    monkeypatch.setattr("karat.features.materialize.ROWS_A_SHARD", limits[0])
    monkeypatch.setattr("karat.features.materialize.WORTH_A_WORKER", limits[1])

    class Three(LocalExecutor):
        workers = 3

    shop.gold("events", events(ROWS[:5]))
    seen = []
    compute_table(shop.project, "spend", shop.lake, executor=Three(), progress=lambda *a: seen.append(a))
    assert seen[-1][:2] == (shards, shards)
    assert shop.features("spend").height == expected(shop).height


def test_what_the_table_says_of_itself(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    project = shop.project
    info = shop.lake.info(project.table_name("spend"))
    assert info.primary_key == ("user", "shop", "day")
    assert info.timeseries == "day"
    assert info.lag == timedelta(days=1) == info.grain
    assert info.owner == "team"
    assert info.comments["amount_3d"] == "of three days"
    assert info.properties["karat.definition_hash"] == project.tables["spend"].definition_hash
    assert [f.name for f in info.schema if not f.nullable] == ["user", "shop", "day"]


def test_a_late_row_touches_exactly_the_days_of_its_windows(shop, events, same_tables):
    shop.gold("events", events([*ROWS, ("y", 2, 20, 1.0, 1, "a")]))
    compute_table(shop.project, "spend", shop.lake)
    project = shop.project
    table = shop.lake.path(project.table_name("spend"))
    before = {p: p.stat().st_mtime_ns for p in table.rglob("*.parquet")}
    shop.gold("events", events([("x", 1, 3, 32.0, 0, "c")], start=100))
    late = compute_table(shop.project, "spend", shop.lake)
    assert late.days == tuple(day(n) for n in range(3, 10))
    assert not late.full
    same_tables(shop.features("spend"), expected(shop))
    new = {p for p in table.rglob("*.parquet") if p not in before}
    assert {p.parent.name for p in new} == {f"day={day(n)}" for n in (3, 5, 8)}


def test_days_that_vanished_from_gold_vanish_from_the_features(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    project = shop.project
    gold = project.gold_name("events")
    shop.lake.overwrite(gold, events([]), days=[day(5), day(8)])
    result = compute_table(project, "spend", shop.lake)
    assert not result.full
    assert set(shop.features("spend")["day"]) == {day(1), day(2)}
    same_tables(shop.features("spend"), expected(shop))
    shop.lake.overwrite(gold, events([]))
    compute_table(project, "spend", shop.lake)
    assert shop.features("spend").is_empty()
    shop.gold("events", events(ROWS))
    compute_table(project, "spend", shop.lake)
    same_tables(shop.features("spend"), expected(shop))


def test_a_changed_definition_and_a_changed_origin_compute_all_of_it(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    first = compute_table(shop.project, "spend", shop.lake)
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace('pl.col("amount_3d") * 2', 'pl.col("amount_3d") * 3'))
    changed = compute_table(shop.project, "spend", shop.lake)
    assert changed.full
    assert changed.definition_hash != first.definition_hash
    assert shop.features("spend")["double"].to_list() == [v * 3 for v in shop.features("spend")["amount_3d"]]
    shop.gold("events", events([]), origin="ingest")
    assert "sample and is ingest" in is_fresh(shop.project, "spend", shop.lake).reason
    assert compute_table(shop.project, "spend", shop.lake).full
    assert not compute_table(shop.project, "spend", shop.lake).changed
    assert compute_table(shop.project, "spend", shop.lake, full=True).changed
    same_tables(shop.features("spend"), expected(shop))


def test_gold_that_was_removed_and_made_anew_is_another_gold(shop, events, same_tables):
    shop.gold("events", events(ROWS))
    first = compute_table(shop.project, "spend", shop.lake)
    shutil.rmtree(shop.lake.path(shop.project.gold_name("events")))
    shop.gold("events", events(ROWS[:2]))
    assert shop.lake.version(shop.project.gold_name("events")) == first.gold_version
    assert is_fresh(shop.project, "spend", shop.lake).reason == "gold was made anew"
    assert compute_table(shop.project, "spend", shop.lake).full
    same_tables(shop.features("spend"), expected(shop))


def test_a_table_may_gain_features_and_not_lose_them(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    path = shop.path / "features" / "spend.py"
    text = path.read_text()
    one_more = 'aggregate("items_3d", "sum", "items", window="3d", dtype="int64", description="items"),\n    ),'
    path.write_text(text.replace("    ),\n)", f"    {one_more}\n)"))
    assert compute_table(shop.project, "spend", shop.lake).full
    assert shop.features("spend")["items_3d"].null_count() == 0
    path.write_text(text)
    before = shop.features("spend")
    with pytest.raises(SchemaMismatch, match="items_3d"):
        compute_table(shop.project, "spend", shop.lake)
    assert shop.features("spend").equals(before)


def test_a_table_without_time_is_computed_whole_when_gold_changes(shop):
    users = pl.DataFrame({"user": ["x", "y"], "plan": ["free", None], "age": [30, 40]})
    shop.gold("users", users)
    assert compute_table(shop.project, "profile", shop.lake, shards=2).full
    assert shop.features("profile").rows() == [("x", "free", 30), ("y", None, 40)]
    assert not compute_table(shop.project, "profile", shop.lake).changed
    shop.gold("users", pl.DataFrame({"user": ["y"], "plan": ["paid"], "age": [41]}))
    assert compute_table(shop.project, "profile", shop.lake).changed
    assert shop.features("profile").rows() == [("x", "free", 30), ("y", "paid", 41)]


def visits_of(*rows):
    return pl.DataFrame(
        [
            (n, u, day(on), None if paid is None else datetime(2024, 2, 26, 12, tzinfo=UTC) + timedelta(days=paid), a)
            for n, u, on, paid, a in rows
        ],
        schema={
            "visit_id": pl.Int64,
            "user": pl.String,
            "on": pl.Date,
            "paid": pl.Datetime("us", "UTC"),
            "amount": pl.Float64,
        },
        orient="row",
    )


@pytest.mark.parametrize("table", ["by_visit", "by_payment"])
def test_gold_by_date_and_a_time_that_gold_is_not_partitioned_by(shop, table, same_tables):
    shop.gold("visits", visits_of((1, "x", 1, 3, 1.0), (2, "x", 4, 9, 2.0), (3, "y", 9, None, 4.0)))
    assert compute_table(shop.project, table, shop.lake).full
    same_tables(shop.features(table), expected(shop, table))
    shop.gold("visits", visits_of((2, "x", 5, 7, 2.0), (4, "y", 2, 2, 8.0)))
    assert not is_fresh(shop.project, table, shop.lake).fresh
    late = compute_table(shop.project, table, shop.lake, shards=2)
    assert late.changed
    assert not late.full
    same_tables(shop.features(table), expected(shop, table))
    assert is_fresh(shop.project, table, shop.lake).fresh


def test_a_changed_lag_or_owner_is_told_to_readers_and_recomputes_nothing(shop, events):
    shop.gold("events", events(ROWS))
    first = compute_table(shop.project, "spend", shop.lake)
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace('source="events",', 'source="events", lag="2d", owner="else",'))
    files = files_of(shop, "spend")
    second = compute_table(shop.project, "spend", shop.lake)
    assert not second.changed
    assert second.definition_hash == first.definition_hash
    info = shop.lake.info(shop.project.table_name("spend"))
    assert (info.lag, info.owner) == (timedelta(days=2), "else")
    assert files_of(shop, "spend") == files


# ---- incremental equals full, whatever the order of appends and replacements

gold_rows = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from([1, 2]),
        st.integers(1, 20),
        st.one_of(st.none(), st.integers(-999, 999).map(lambda n: n / 7)),
        st.one_of(st.none(), st.integers(-3, 3)),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=6,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), gold_rows),
        st.tuples(st.just("correct"), gold_rows),
        st.tuples(st.just("replace"), st.sets(st.integers(1, 20), min_size=1, max_size=4), gold_rows),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kept", ["active", "window"])
@settings(max_examples=examples(6), deadline=None)
@given(data=st.data())
def test_any_sequence_of_changes_equals_a_full_computation(data, kept, fresh_shop, events, same_tables):
    shop, start, changes = fresh_shop(), data.draw(gold_rows), data.draw(steps)
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace('rows="active"', f'rows="{kept}"'))
    shop.gold("events", events(start))
    numbered, project = 1000, shop.project
    gold = project.gold_name("events")
    compute_table(project, "spend", shop.lake)
    for step in changes:
        if step[0] == "append":
            shop.gold("events", events(step[1], start=numbered))
        elif step[0] == "correct":  # the same keys with other values, at times on other days
            shop.gold("events", events(step[1], start=0))
        else:
            days = [day(n) for n in step[1]]
            rows = events(step[2], start=numbered).filter(pl.col("at").dt.date().is_in(days))
            shop.lake.overwrite(gold, rows, days=days)
        numbered += 100
        if data.draw(st.booleans()):
            compute_table(project, "spend", shop.lake, shards=data.draw(st.integers(1, 2)))
    compute_table(project, "spend", shop.lake)
    same_tables(shop.features("spend"), expected(shop))
    assert is_fresh(project, "spend", shop.lake).fresh
    assert not compute_table(project, "spend", shop.lake).changed


# ---- killed, spread, concurrent

KILLED = """
import sys, time
from pathlib import Path
from karat.declare import load_project
from karat.executors import LocalExecutor
from karat.features import compute_table
from karat.lake import Lake
from karat.settings import Settings

class Stuck(LocalExecutor):
    def map(self, function, items):
        for index, result in super().map(function, items):
            if index == 2:
                print("staged", flush=True)
                time.sleep(600)
            yield index, result

settings = Settings(home=Path(sys.argv[1]), projects=Path(sys.argv[2]))
compute_table(load_project("shop", settings), "spend", Lake(settings.lake, "dev"), executor=Stuck(), shards=4)
"""


def kill_in_the_middle(shop):
    process = warm.Popen(
        [sys.executable, "-c", KILLED, shop.settings.home, shop.settings.projects],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout.readline() == "staged\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_late_row_opens_no_gold_file_of_other_days(shop, events, same_tables):
    """Its days and those that their windows look back on: every other file is away while it is computed."""
    rows = [("x", 1, n, float(n), n, "a") for n in range(1, 31)]
    shop.gold("events", events(rows))
    compute_table(shop.project, "spend", shop.lake)
    shop.gold("events", events([*rows, ("y", 1, 15, 1.0, 1, "b")]))
    gold = shop.project.gold_name("events")
    needed = {f"_day={day(n)}" for n in range(9, 22)}  # windows of 7 days: row 15 is in those of 15 to 21
    others = [p for p in shop.lake.path(gold).rglob("*.parquet") if p.parent.name not in needed]
    assert len(others) >= 17
    for path in others:
        path.rename(path.with_suffix(".away"))
    late = compute_table(shop.project, "spend", shop.lake)
    for path in others:
        path.with_suffix(".away").rename(path)
    assert late.days == tuple(day(n) for n in range(15, 22))
    same_tables(shop.features("spend"), expected(shop))


@pytest.mark.parametrize("already", [False, True], ids=["first-run", "late-rows"])
def test_killed_in_the_middle_of_the_write_then_run_again(shop, events, same_tables, already):
    many = [(f"u{n % 9}", n % 2, 1 + n % 11, float(n), n % 4, "a") for n in range(60)]
    shop.gold("events", events(many))
    before = None
    if already:
        compute_table(shop.project, "spend", shop.lake)
        before = shop.features("spend")
        shop.gold("events", events([(f"u{n}", 1, 4, 99.0, 9, "b") for n in range(9)], start=500))
    staged = files_of(shop, "spend") if already else set()
    kill_in_the_middle(shop)
    assert files_of(shop, "spend") > staged, "nothing was staged before the kill"
    if before is None:
        assert shop.features("spend").is_empty()
    else:
        assert shop.features("spend").equals(before)
    result = compute_table(shop.project, "spend", shop.lake, shards=4)
    assert result.changed
    same_tables(shop.features("spend"), expected(shop))


FULL_DISK = """
import resource, sys
from pathlib import Path
from karat.declare import load_project
from karat.errors import DiskFull
from karat.features import compute_table
from karat.lake import Lake
from karat.settings import Settings

settings = Settings(home=Path(sys.argv[1]), projects=Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    compute_table(load_project("shop", settings), "spend", Lake(settings.lake, "dev"), full=True, shards=4)
except DiskFull as error:
    print("full:", error.remedy)
"""


def test_a_full_disk_leaves_the_table_and_no_files(shop, events, same_tables):
    shop.gold("events", events([(f"u{n}", n % 2, 1 + n % 3, n / 7, n, "a") for n in range(900)]))
    compute_table(shop.project, "spend", shop.lake)
    before, files = shop.features("spend"), files_of(shop, "spend")
    done = warm.run(
        [sys.executable, "-c", FULL_DISK, shop.settings.home, shop.settings.projects],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    assert done.stdout.startswith("full: ")
    assert shop.features("spend").equals(before)
    assert files_of(shop, "spend") == files
    assert compute_table(shop.project, "spend", shop.lake, full=True).changed
    same_tables(shop.features("spend"), expected(shop))


class Processes:
    """Shards in other processes, as on a cluster."""

    workers = 1

    def map(self, function, items):
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield from enumerate(pool.map(function, items))


def test_shards_run_in_other_processes(shop, events, same_tables):
    shop.gold("events", events([(f"u{n % 9}", n % 2, 1 + n % 11, float(n), n % 4, "a") for n in range(60)]))
    compute_table(shop.project, "spend", shop.lake, executor=Processes(), shards=2)
    same_tables(shop.features("spend"), expected(shop))


class Meeting(LocalExecutor):
    """Holds the commit back until ``before_commit`` returns."""

    def __init__(self, before_commit) -> None:
        self.before_commit = before_commit

    workers = 1

    def map(self, function, items):
        yield from super().map(function, items)
        wait, self.before_commit = self.before_commit, lambda: None
        wait()


@pytest.mark.parametrize("first_time", [True, False])
def test_two_runs_at_once_lose_nothing_and_double_nothing(shop, events, same_tables, first_time):
    shop.gold("events", events(ROWS))
    if not first_time:
        compute_table(shop.project, "spend", shop.lake)
        shop.gold("events", events([("x", 1, 3, 32.0, 0, "c")], start=100))
    project, barrier, results, errors = shop.project, threading.Barrier(2, timeout=60), [], []

    def run():
        try:
            results.append(compute_table(project, "spend", shop.lake, executor=Meeting(barrier.wait), shards=2))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(r.changed for r in results) == [False, True]
    same_tables(shop.features("spend"), expected(shop))


def test_a_slow_run_on_older_gold_does_not_undo_a_newer_one(shop, events, same_tables):
    shop.gold("events", events(ROWS))

    def meanwhile():
        shop.gold("events", events([("x", 1, 2, 32.0, 0, "c"), ("y", 1, 9, 1.0, 1, "a")], start=100))
        assert compute_table(shop.project, "spend", shop.lake).changed

    result = compute_table(shop.project, "spend", shop.lake, executor=Meeting(meanwhile))
    assert not result.changed
    same_tables(shop.features("spend"), expected(shop))


# ---- what is wrong, before anything is written


def test_no_gold_says_how_to_get_some(shop):
    with pytest.raises(TableNotFound, match=r"shop_dev\.gold\.events") as caught:
        compute_table(shop.project, "spend", shop.lake)
    assert "karat sample shop" in caught.value.remedy
    assert "karat ingest shop events" in caught.value.remedy


def test_an_unknown_feature_table_names_the_nearest(shop):
    with pytest.raises(TableNotFound) as caught:
        compute_table(shop.project, "spendd", shop.lake)
    assert "'spend'" in caught.value.remedy
    with pytest.raises(TableNotFound):
        is_fresh(shop.project, "spendd", shop.lake)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"sum", "amount", window="1d"', '"sum", "amuont", window="1d"', "amount_1d"),
        ('"isodow(day)"', '"isodow(dya)"', "weekday"),
        ('pl.col("amount_3d") * 2', 'pl.col("amount_3") * 2', "double"),
        ("return total / count", "return total / cuont", "mean_3d"),
    ],
)
def test_a_wrong_definition_names_feature_and_file_and_leaves_the_table(shop, events, old, new, what):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    before, files = shop.features("spend"), files_of(shop, "spend")
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DeclarationError, match=f"'{what}'") as caught:
        compute_table(shop.project, "spend", shop.lake)
    assert caught.value.where.startswith("shop/features/spend.py")
    assert shop.features("spend").equals(before)
    assert files_of(shop, "spend") == files


def test_a_shard_that_fails_leaves_no_files_behind(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    shop.gold("events", events([("x", 1, 3, 32.0, 0, "c")], start=100))
    files, version = files_of(shop, "spend"), shop.lake.version(shop.project.table_name("spend"))

    class Failing(LocalExecutor):
        def map(self, function, items):
            for index, result in super().map(function, items):
                yield index, result
                if index == 1:
                    raise RuntimeError("a worker died")

    with pytest.raises(RuntimeError, match="a worker died"):
        compute_table(shop.project, "spend", shop.lake, executor=Failing(), shards=4)
    assert files_of(shop, "spend") == files
    assert shop.lake.version(shop.project.table_name("spend")) == version


def test_a_worker_with_another_declaration_refuses(shop, events):
    shop.gold("events", events(ROWS))
    pieces = []

    class Keeping(LocalExecutor):
        def map(self, function, items):
            pieces.extend(items)
            return super().map(function, items)

    compute_table(shop.project, "spend", shop.lake, executor=Keeping())
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace("* 2", "* 5"))
    with pytest.raises(CodeMismatch, match="'spend'"):
        compute_shard(pieces[0])


# ---- what the catalogue and inference ask


def test_freshness_says_what_is_missing(shop, events):
    assert "no gold table" in is_fresh(shop.project, "spend", shop.lake).reason
    shop.gold("events", events(ROWS))
    assert "never been computed" in is_fresh(shop.project, "spend", shop.lake).reason
    compute_table(shop.project, "spend", shop.lake)
    now = is_fresh(shop.project, "spend", shop.lake)
    assert (now.fresh, now.reason, now.last_day) == (True, "", day(8))
    assert now.gold_version == now.computed_gold_version
    shop.gold("events", events([("x", 1, 8, 32.0, 0, "c")], start=100))
    late = is_fresh(shop.project, "spend", shop.lake)
    assert (late.fresh, late.reason) == (False, "gold changed for 1 days")
    path = shop.path / "features" / "spend.py"
    path.write_text(path.read_text().replace("* 2", "* 5"))
    assert "definition" in is_fresh(shop.project, "spend", shop.lake).reason


def test_statistics_of_every_feature(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    found = statistics(shop.lake, shop.project.table_name("spend"))
    rows = {r["feature"]: r for r in found.to_dicts()}
    assert list(rows) == [f.name for f in shop.project.tables["spend"].stored]
    amount, spread, what = rows["amount_1d"], rows["deviation_7d"], rows["last_what_7d"]
    assert (amount["count"], amount["null_rate"], amount["min"], amount["max"]) == (5, 0.0, 1.0, 16.0)
    assert amount["mean"] == pytest.approx(6.2)
    assert amount["std"] == pytest.approx(pl.Series([1.0, 2, 4, 8, 16]).std())
    assert (spread["count"], spread["null_rate"]) == (2, 0.6)
    assert (what["dtype"], what["min"], what["distinct"]) == ("string", None, 2)
    assert rows["events_3d"]["dtype"] == "int64"
