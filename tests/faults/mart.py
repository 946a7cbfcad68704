"""What the faults of writing happen to: a small project, a work of each kind, and what all of it leaves behind.

``python -m tests.faults.mart`` imports once and then forks for every line of its input: the child does one work, and is
killed at a named call or after a time. It says how the child ended, and after how many seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import polars.testing

from karat.declare import Project, load_project
from karat.features import compute_table
from karat.features.backfilling import BackfillRequest, backfill
from karat.features.daily_statistics import statistics_name
from karat.features.quality_gate import aside_name
from karat.lake import Lake
from karat.names import TableName
from karat.online import KeySpace, open_store, publish_table
from karat.quality.results_table import quality_name
from karat.settings import Settings

FILES = {
    "project.yaml": "description: A mart\nowner: mart\n",
    "gold.py": """
from karat.declare import Column, GoldTable, between, volume

orders = GoldTable(
    name="orders",
    description="orders",
    key=("order_id",),
    event_time="at",
    columns={
        "order_id": Column(dtype="int64"),
        "customer": Column(dtype="string", nullable=False),
        "at": Column(dtype="timestamp", nullable=False),
        "amount": Column(dtype="float64", minimum=0),
    },
    checks=(between("amount", high=900), volume(low=1, on_fail="warn")),
)
""",
    "features/spend.py": """
from karat.declare import FeatureTable, aggregate, between, from_polars
import polars as pl

spend = FeatureTable(
    name="spend",
    description="spend",
    source="orders",
    entity=("customer",),
    time="day",
    rows="window",
    features=(
        aggregate("spent_1d", "sum", "amount", window="1d", description="of the day"),
        aggregate("spent_7d", "sum", "amount", window="7d", description="of the week"),
        aggregate("orders_7d", "count", window="7d", description="of the week"),
        from_polars("mean_7d", pl.col("spent_7d") / pl.col("orders_7d"), description="a mean"),
    ),
    checks=(between("spent_7d", 0, 600, on_fail="set_aside"), between("orders_7d", 1, 500)),
)
""",
}
FIRST = datetime(2024, 2, 10, tzinfo=UTC)
CUSTOMERS, DAYS = 20, 6


def write_project(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / "mart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def orders(first: int, count: int, *, factor: float = 1.0) -> pl.DataFrame:
    """Orders numbered from ``first``; the amount of one in fifty is more than the contract allows."""
    number = range(first, first + count)
    return pl.DataFrame(
        {
            "order_id": list(number),
            "customer": [f"c{n * 7 % CUSTOMERS:02}" for n in number],
            "at": [FIRST + timedelta(days=n * 5 % DAYS, minutes=n % 600) for n in number],
            "amount": [1000.0 if n % 50 == 0 else (n % 97 + 1) * factor for n in number],
        }
    )


@dataclass(frozen=True)
class Mart:
    """The project on the lake and in the online store of one folder."""

    home: Path
    projects: Path

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, projects=self.projects)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake, "dev")

    @property
    def project(self) -> Project:
        return load_project("mart", self.settings)

    @property
    def aside(self) -> TableName:
        return aside_name(self.project.table_name("spend"))

    @property
    def results(self) -> TableName:
        return quality_name(self.project.catalog)

    # ---- before any work

    def begin(self) -> None:
        """Gold alone."""
        lake, table = self.lake, self.project.gold["orders"]
        name = self.project.gold_name("orders")
        lake.create(name, table.schema, primary_key=table.key, timeseries="at", properties={"karat.origin": "sample"})
        lake.merge(name, orders(0, 300))

    def advance(self) -> None:
        """The features are of other gold than the online ones, and gold has gone on since."""
        self.lake.merge(self.project.gold_name("orders"), orders(40, 20, factor=3.0))
        self.compute()
        self.lake.merge(self.project.gold_name("orders"), orders(60, 20, factor=3.0))

    # ---- the works; each may be done again

    def merge(self) -> None:
        """New orders, and other amounts for old ones."""
        self.lake.merge(self.project.gold_name("orders"), pl.concat([orders(100, 100, factor=2.0), orders(300, 100)]))

    def compute(self) -> None:
        compute_table(self.project, "spend", self.lake, shards=2)

    def backfill(self) -> None:
        """Three days, of six of the customers."""
        some = pl.DataFrame({"customer": [f"c{n:02}" for n in range(6)]})
        first = FIRST.date() + timedelta(days=1)
        wanted = BackfillRequest(("spend",), first, first + timedelta(days=2), some)
        backfill(self.project, wanted, self.lake)

    def publish(self) -> None:
        store = open_store(self.settings)
        try:
            with mock.patch("karat.online._publish._CHUNK", 3):  # so that there are many pieces to be killed between
                publish_table(self.lake, store, self.project.table_name("spend"))
        finally:
            store.close()

    # ---- what is left behind

    def contents(self) -> dict[str, Any]:
        """Every table's rows in the order of their keys, without what differs between any two runs; what is online."""
        lake, found = self.lake, {}
        for name in lake.tables():
            rows = lake.read(name)
            if name == self.results:
                rows = _comparable(rows)
            if name == statistics_name(name.catalog):
                rows = rows.drop("table_version", "computed_at")
            found[str(name)] = rows.sort(rows.columns)
        store, name = open_store(self.settings), self.project.table_name("spend")
        state = store.state(KeySpace(str(name)))
        found["online"] = dict(store.scan(KeySpace(str(name)))) if state else {}
        found["published"] = (state.version, state.pending) if state else None
        store.close()
        return found


def _comparable(results: pl.DataFrame) -> pl.DataFrame:
    """Gold is asked again by every attempt, of the rows or of the days alone; features once a commit."""
    rows = results.drop("day", "run", "table_version", "contract", "checked_at")
    of_gold = pl.col("table_name").str.contains(".gold.", literal=True)
    return pl.concat([rows.filter(~of_gold), rows.filter(of_gold).unique()])


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Raises AssertionError with the first table that differs; floats may differ in their last bits."""
    assert one.keys() == other.keys()
    for name, rows in one.items():
        if isinstance(rows, pl.DataFrame):
            pl.testing.assert_frame_equal(rows, other[name], rel_tol=1e-9, abs_tol=1e-9)
        else:
            assert rows == other[name], name


def die_at(point: str, when: str, nth: int) -> None:
    """From now on the ``nth`` call of the function ends the process, before or after it."""
    place, _, name = point.rpartition(".")
    owner = import_module(place) if not place.endswith("Store") else _class(place)
    kept, calls = getattr(owner, name), [0]

    def dies(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = kept(*args, **kwargs)
        if calls[0] == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dies)


def _class(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)


def child(home: str, projects: str, work: str, point: list[Any] | None) -> None:
    if point:
        die_at(*point)
    act: Callable[[], None] = getattr(Mart(Path(home), Path(projects)), work)
    act()


def main() -> None:
    for line in sys.stdin:
        *call, after = json.loads(line)
        began = time.monotonic()
        process = os.fork()
        if not process:
            status = 1
            try:
                child(*call)
                status = 0
            finally:
                os._exit(status)
        timer = threading.Timer(after, os.kill, (process, signal.SIGKILL)) if after is not None else None
        if timer:
            timer.start()
        status = os.waitpid(process, 0)[1]
        if timer:
            timer.cancel()
        print(json.dumps([status, time.monotonic() - began]), flush=True)


if __name__ == "__main__":
    main()
