"""Programs as forks of the fork server: as if Python itself had started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from infra.code import ROOT
from infra.local import fork_client, forks
from infra.local.forks import await_fork_server
from karat.settings import Settings

SERVER = "import sys; from infra.local.fork_server import main; main(sys.argv[1], ('json', 'probe'), ())"
#: Says who started it, and what it was given.
PROBE = """
import os, sys, time
def main():
    print("forked" if "infra.local.fork_server" in sys.modules else "started", *sys.argv[1:], os.environ.get("MARK"))
    print("problem", file=sys.stderr)
    if "wait" in sys.argv:
        sys.stdout.flush()
        time.sleep(60)
    sys.exit(7)
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """The socket of a fork server in ``tmp_path``, where the program ``probe`` lies."""
    path = tmp_path / "forks.sock"
    (tmp_path / "probe.py").write_text(PROBE)
    environment = os.environ | {"KARAT_PLATFORM_ROOM": "." * 20_000, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path), " " * 200], stdin=subprocess.PIPE, env=environment
    )
    while not path.exists():
        time.sleep(0.02)
    yield path
    process.stdin.close()  # type: ignore[union-attr]  # its parent is gone: it ends by itself
    assert process.wait(20) == 0


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-S", "-E", fork_client.__file__, str(path), "-m", "probe", *arguments]
    environment = os.environ | {"MARK": "given", "PYTHONPATH": str(path.parent)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=path.parent)


def fork_of(client: subprocess.Popen[str]) -> psutil.Process:
    """The program's own process, found as the platform finds its own: by what the kernel shows of it."""
    assert client.stdout is not None
    assert client.stdout.readline() == "forked wait given\n"
    (found,) = (p for p in psutil.process_iter() if p.pid != client.pid and is_probe(p))
    return found


def is_probe(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-3:] == ["-m", "probe", "wait"] and process.environ().get("MARK") == "given"
    except psutil.Error:
        return False


def await_end(process: psutil.Process) -> None:
    deadline = time.monotonic() + 20
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"{process} lives on"
            time.sleep(0.02)


def test_a_fork_has_the_programs_streams_environment_and_exit_status(server: Path) -> None:
    client = start(server, "one", "two words")
    assert client.communicate(timeout=20) == ("forked one two words given\n", "problem\n")
    assert client.returncode == 7


def test_a_program_starts_where_no_fork_server_runs(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    client = start(tmp_path / "none.sock", "one")
    assert client.communicate(timeout=20)[0] == "started one given\n"
    assert client.returncode == 7


def test_one_can_wait_until_the_server_is_ready(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "socket_path", lambda settings: server)
    assert await_fork_server(Settings())
    assert start(server, "after it").communicate(timeout=20)[0].startswith("forked")
    monkeypatch.setattr(forks, "socket_path", lambda settings: server.with_name("none"))
    assert not await_fork_server(Settings())


def test_a_fork_dies_with_its_client(server: Path) -> None:
    client = start(server, "wait")
    fork = fork_of(client)
    client.kill()
    await_end(fork)
    client.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_fork_and_its_client_ends_like_it(server: Path, number: signal.Signals) -> None:
    client = start(server, "wait")
    fork = fork_of(client)
    client.send_signal(number)
    await_end(fork)
    client.communicate(timeout=20)
    assert client.returncode in (-number, 1)  # Python makes an exception of the second


def test_a_killed_fork_is_told_to_who_waits(server: Path) -> None:
    client = start(server, "wait")
    fork_of(client).kill()
    client.communicate(timeout=20)
    assert client.returncode == -signal.SIGKILL


def test_changed_code_is_never_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.local.fork_server import ForkServer

    (tmp_path / "own.py").write_text("VALUE = 1\n")
    monkeypatch.setattr("infra.local.fork_server.ROOT", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forks = ForkServer(str(tmp_path / "s"))
    forks.load(("own",))
    assert not forks.is_stale()
    (tmp_path / "own.py").write_text("VALUE = 22\n")
    assert forks.is_stale()


def test_each_fork_tells_rays_library_whose_worker_it_is() -> None:
    """The library reads two variables when it is loaded; without this, a forked worker would end Ray's start."""
    program = """
import os
from infra.local.ray_flags import MARKS, find_flags, set_flags
os.environ |= MARKS
import ray
flags = find_flags()
assert flags is not None
os.environ |= {"RAY_JOB_ID": "02000000", "RAY_RAYLET_PID": "4194304"}
set_flags(flags)
import ctypes
print(*(ctypes.string_at(address).decode() for address in flags.values()), find_flags())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("02000000 4194304 None\n", 0), done.stderr


def test_no_two_forks_draw_the_same_random_ids() -> None:
    """Ray's library has drawn one before the fork, as it does when Serve's modules are imported."""
    program = """
import os
import ray
from infra.local.fork_server import DISTINCT_FORKS, _begin_anew
ray.ObjectRef.from_random()
for number in (1, 2, 3, DISTINCT_FORKS - 1):
    if not os.fork():
        _begin_anew(number)
        os.write(1, "".join(ray.ObjectRef.from_random().hex() + " " for _ in range(20)).encode())
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    ids = done.stdout.split()
    assert len(ids) == 80, done.stderr
    assert len(set(ids)) == 80
