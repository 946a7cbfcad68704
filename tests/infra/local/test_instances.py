"""Which process is the instance of a part, and how another supervisor's child is adopted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import stand_in as program
from infra.local.environment import make_folders
from infra.local.instances import instance_before, instances, record_instance, rotate, running_instance
from infra.local.processes import HOME_MARK, PART_MARK
from karat.settings import Settings
from tests.waiting import wait_until

SLEEP = "import time; time.sleep(600)"


def started(settings: Settings, part: str, home: str | None = None) -> subprocess.Popen[bytes]:
    marks = {HOME_MARK: home or str(settings.home.resolve()), PART_MARK: part}
    return subprocess.Popen([sys.executable, "-S", "-c", SLEEP], env=os.environ | marks, start_new_session=True)


def record(settings: Settings, part: str, pid: int, begun: float) -> None:
    path = settings.home / "supervisor" / f"{part}.instance"
    path.write_text(json.dumps({"pid": pid, "started": begun}))


@pytest.fixture
def mlflow(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    make_folders(settings)
    process = started(settings, "mlflow")
    record(settings, "mlflow", process.pid, psutil.Process(process.pid).create_time())
    wait_until(lambda: running_instance(settings, "mlflow"))  # its environment is seen a moment later
    yield process
    process.kill()
    process.wait()


def test_a_program_records_itself(settings: Settings) -> None:
    make_folders(settings)
    record_instance(settings, "mlflow")
    assert running_instance(settings, "mlflow") is None, "this process bears no mark of the platform"
    noted = json.loads((settings.home / "supervisor" / "mlflow.instance").read_text())
    assert (noted["pid"], instance_before(settings, "mlflow")) == (os.getpid(), None)
    record(settings, "mlflow", 4711, 0.0)
    record_instance(settings, "mlflow")
    assert instance_before(settings, "mlflow") == 4711


def test_the_instance_is_found_by_id_start_and_marks(settings: Settings, mlflow: subprocess.Popen[bytes]) -> None:
    found = running_instance(settings, "mlflow")
    assert found is not None
    assert found.pid == mlflow.pid
    assert set(instances(settings)) == {"mlflow"}


def test_a_stale_record_names_nobody(settings: Settings, mlflow: subprocess.Popen[bytes]) -> None:
    begun = psutil.Process(mlflow.pid).create_time()
    for part, pid, start in (
        ("mlflow", mlflow.pid, begun - 60),  # the id was used again
        ("ray", mlflow.pid, begun),  # of another part
        ("mlflow", 2**22 + 1, begun),  # nobody has that id
    ):
        record(settings, part, pid, start)
        assert running_instance(settings, part) is None
    for text in ("", "[]", "{}", '{"pid": "x", "started": 1}', "\0"):
        (settings.home / "supervisor" / "mlflow.instance").write_text(text)
        assert running_instance(settings, "mlflow") is None


def test_the_instance_of_another_home_is_not_ours(settings: Settings) -> None:
    make_folders(settings)
    other = started(settings, "mlflow", home="/elsewhere")
    try:
        record(settings, "mlflow", other.pid, psutil.Process(other.pid).create_time())
        assert running_instance(settings, "mlflow") is None
    finally:
        other.kill()
        other.wait()


def stand_in(pid: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-I", program.__file__, str(pid)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "runs on under this one" in process.stderr.readline()
    return process


def test_a_stand_in_ends_with_what_it_stands_for(mlflow: subprocess.Popen[bytes]) -> None:
    process = stand_in(mlflow.pid)
    assert process.poll() is None
    mlflow.kill()
    mlflow.wait()
    assert process.wait(timeout=20) == 0


def test_a_stand_in_passes_on_what_its_supervisor_asks(mlflow: subprocess.Popen[bytes]) -> None:
    process = stand_in(mlflow.pid)
    process.terminate()
    assert mlflow.wait(timeout=20) == -signal.SIGTERM
    assert process.wait(timeout=20) == 0


def test_a_stand_in_of_nobody_ends_at_once() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert subprocess.run([sys.executable, program.__file__, str(gone.pid)], check=False, timeout=20).returncode == 0


def test_a_log_that_is_too_long_is_shortened_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("a") as writer:
        for round_ in range(4):
            writer.write(f"{round_}\n" * 100)
            writer.flush()
            assert rotate(log, most=100) is True
            assert log.stat().st_size == 0
        writer.write("last\n")
        writer.flush()
        assert rotate(log, most=100) is False
    assert log.read_text() == "last\n"
    assert [p.read_text()[0] for p in sorted(tmp_path.glob("part.log.*"))] == ["3", "2"]
    assert rotate(tmp_path / "none.log") is False
