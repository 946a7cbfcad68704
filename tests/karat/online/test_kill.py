"""kill -9 in the middle of a publication: the next one goes on behind what is written, and nothing is half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

from karat.clock import microseconds
from karat.lake import Lake
from karat.online import KeySpace, RowReader, open_store, publish_table
from karat.settings import Settings
from tests import warm

from .conftest import SALES, day, sales

SPACE = KeySpace(str(SALES))
PUBLISH = f"""
import importlib
import karat.online._publish as publishing
from karat.lake import Lake
from karat.names import TableName
from karat.online import open_store
from karat.settings import Settings
publishing._CHUNK = 20
settings = Settings()
importlib.import_module(f"karat.online.{{settings.online.kind}}").LOCK_SECONDS = 1.0  # by which Redis learns of a death
publishing.publish_table(Lake(settings.lake, "dev"), open_store(settings), TableName.parse({str(SALES)!r}),
                         lambda done, total, what: print(done, total, flush=True))
"""


def killed_after(settings: Settings, pieces: int) -> None:
    """A process of its own publishes, and is killed when it has told of so many pieces."""
    environment = {**os.environ, **settings.as_environment(), **settings.secrets(), "PYTHONPATH": os.getcwd()}
    process = warm.Popen([sys.executable, "-c", PUBLISH], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(pieces):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_publication_is_resumed(table, lake: Lake, stored: Settings) -> None:
    lake.merge(table(), sales(*((f"s{i}", 1, 3, 1.0) for i in range(20_000))))
    killed_after(stored, 2)
    store = open_store(stored)
    state, online = store.state(SPACE), dict(store.scan(SPACE))
    assert state is not None
    assert (state.version, state.pending) == (None, (lake.version(SALES),))
    assert 40 <= len(online) < 20_000
    done = publish_table(lake, store, SALES)
    assert done.written == 20_000 - len(online)

    lake.overwrite(SALES, sales(*((f"s{i}", 1, 4, 2.0) for i in range(10_000))))
    killed_after(stored, 2)
    state = store.state(SPACE)
    assert state is not None
    assert (state.version, state.pending) == (done.version, (lake.version(SALES),))
    lake.merge(SALES, sales(("s1", 1, 5, 5.0)))  # and the table goes on before anybody resumes
    publish_table(lake, store, SALES)
    reader = RowReader(store, SPACE, ["sum_7d"])
    now = microseconds(datetime.combine(day(28), datetime.min.time(), UTC))
    assert len(dict(store.scan(SPACE))) == 10_000
    assert {reader.read((f"s{i}", 1), now).values for i in range(10_000) if i != 1} == {(2.0,)}
    assert reader.read(("s1", 1), now).values == (5.0,)
    assert publish_table(lake, store, SALES).changed is False
    store.close()
