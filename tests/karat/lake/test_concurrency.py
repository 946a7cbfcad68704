"""Many writers: whoever loses a race plans anew, and no key ever stands twice."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import polars as pl
import pytest

from karat.lake import Lake, Work
from karat.lake.transaction import CommitLost, CommitPlan, attempt_commit
from karat.names import TableName
from tests import warm

WRITER = textwrap.dedent(
    """
    import sys, time
    from datetime import date
    from pathlib import Path
    import polars as pl
    from karat.lake import Lake, Work
    from karat.names import TableName

    root, who, rounds, start = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    lake, name = Lake(root, "dev"), TableName.parse(sys.argv[5])
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    rows = [{"shop": s, "day": d, "revenue": float(ord(who))} for s in "abc" for d in days]
    frame = pl.DataFrame(rows).cast({"day": pl.Date})
    time.sleep(max(0, start - time.time()))
    for n in range(rounds):
        if sys.argv[6] == "overwrite":
            lake.overwrite(name, frame, days=days, work=Work("w" + who, str(n)))
        elif sys.argv[6] == "merge":
            lake.merge(name, frame.with_columns(revenue=pl.lit(ord(who) + n / 10)))
        else:
            staged = lake.stage(name, frame, label=who)
            lake.commit(name, staged, replace=days, work=Work("w" + who, str(n)))
    """
)


@pytest.mark.parametrize("verb", ["overwrite", "merge", "commit"])
def test_two_processes_write_the_same_days_at_once(lake, daily, verb):
    start = str(time.time() + 0.5)
    writers = [
        warm.Popen([sys.executable, "-c", WRITER, str(lake.root), who, "5", start, str(daily), verb]) for who in "xy"
    ]
    assert [w.wait(timeout=120) for w in writers] == [0, 0]
    rows = lake.read(daily)
    assert rows.height == 6
    assert rows.select("shop", "day").is_unique().all()
    assert rows["revenue"].n_unique() == 1  # one writer's rows, never a mixture
    assert lake.version(daily) == 10  # all ten commits came about, one after the other


def test_of_two_stale_overwrites_of_an_empty_partition_one_is_refused(lake, daily, sales):
    first, second = lake._open_for_commit(daily), lake._open_for_commit(daily)  # both have read the same version
    staged = [lake.stage(daily, sales("a", [1], v), label="x") for v in (1.0, 2.0)]
    attempt_commit(*first, CommitPlan(add=staged[0], rows=1))
    with pytest.raises(CommitLost):
        attempt_commit(*second, CommitPlan(add=staged[1], rows=1))
    assert lake.read(daily)["revenue"].to_list() == [1.0]


def test_threads_that_merge_different_keys_lose_nothing(lake, daily, sales):
    def write(shop: str) -> None:
        Lake(lake.root, "dev").merge(daily, sales(shop, [1, 2]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, "abcdef"))
    assert sorted(lake.read(daily)["shop"].unique()) == list("abcdef")
    assert lake.count(daily) == 12


def test_two_creators_at_once(settings, sales):
    name = TableName("shop_dev", "features", "new")
    schema = sales("a", [1]).to_arrow().schema

    def create(_: int) -> int:
        return Lake(settings.lake, "dev").create(name, schema, primary_key=("shop", "day"), timeseries="day").version

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(create, range(8))) == {0}


def test_a_definition_follows_while_others_write(lake, daily, sales):
    """Columns, properties and rows at once: every change comes about."""
    schema = sales("a", [1]).to_arrow().schema

    def widen(n: int) -> None:
        own = Lake(lake.root, "dev")
        own.create(
            daily, own.info(daily).schema, primary_key=("shop", "day"), timeseries="day", properties={f"p{n}": str(n)}
        )

    def write(n: int) -> None:
        Lake(lake.root, "dev").merge(daily, sales("abcdef"[n], [1]))

    assert lake.info(daily).schema.names == schema.names
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: (widen if n % 2 else write)(n // 2), range(8)))
    assert {f"karat.p{n}" for n in range(4)} <= set(lake.info(daily).properties)
    assert lake.count(daily) == 4


def test_the_same_work_from_two_drivers_is_done_once(lake, daily, sales):
    def commit(_: int) -> bool:
        own = Lake(lake.root, "dev")
        staged = own.stage(daily, sales("ab", [1]), label="x")
        return own.commit(daily, staged, replace=[date(2024, 1, 1)], work=Work("features", "same")).changed

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(commit, range(4))) == [False, False, False, True]
    assert lake.version(daily) == 1
    assert len(list(lake.path(daily).rglob("*.parquet"))) == 1


def test_a_foreign_writer_is_noticed(lake, daily, sales):
    """Somebody appends with plain deltalake between reading and committing."""
    table, info = lake._open_for_commit(daily)
    sales("q", [5]).write_delta(str(lake.path(daily)), mode="append")
    staged = lake.stage(daily, sales("a", [1]), label="x")
    with pytest.raises(CommitLost):
        attempt_commit(table, info, CommitPlan(add=staged, rows=1))
    lake.commit(daily, staged, replace=[date(2024, 1, 1)], work=Work("w", "1"))
    assert sorted(lake.read(daily)["shop"]) == ["a", "q"]


def test_a_commit_whose_aftermath_fails_is_still_a_commit(lake, daily, sales):
    """The log entry is what counts; whoever repeats the work finds it done."""
    work = Work("features", "k")
    lake.overwrite(daily, sales("a", [1]), work=work)
    entry = json.loads((lake.path(daily) / "_delta_log" / f"{1:020d}.json").read_text().splitlines()[0])
    assert entry["commitInfo"]["karat.work"]["key"] == "k"
    assert not lake.overwrite(daily, sales("b", [1]), work=work).changed
    assert lake.read(daily)["shop"].to_list() == ["a"]
    assert pl.DataFrame(lake.history(daily))["version"].to_list() == [1, 0]
