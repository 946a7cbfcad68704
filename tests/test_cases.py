"""Every program in ``../shared/cases`` ends with 0: small inputs from public bug reports, each with its right value.

A program says what it checks, what it got and what is right. They call ``karat`` some hundred times, so the command is
one that hands its words to a process with the imports of seconds (``tests.warm``).
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.code import ROOT
from tests import warm

FOLDER = ROOT.parent / "shared" / "cases"
CASES = sorted(FOLDER.glob("[0-9]*.py"))

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not CASES, reason="needs ../shared/cases, which is not there"),
]

#: What stands at .venv/bin/karat: a Python without site-packages, so that it starts at once.
CLIENT = """#!{python} -SEs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    request = {{"words": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
    asked.sendall(json.dumps(request).encode() + b"\\n")
    said = json.loads(asked.makefile().readline())
sys.stdout.write(said["out"])
sys.stderr.write(said["err"])
sys.exit(said["code"])
"""
PROGRAM = "import runpy, sys; sys.path.insert(0, {folder!r}); runpy.run_path({case!r}, run_name='__main__')"


class Asked(socketserver.StreamRequestHandler):
    """One call of ``karat``."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        done = warm.run(
            [sys.executable, "-m", "infra.cli.app", *request["words"]],
            env=request["env"],
            cwd=request["cwd"],
            capture_output=True,
            text=True,
        )
        said = {"out": done.stdout, "err": done.stderr, "code": done.returncode}
        self.wfile.write(json.dumps(said).encode() + b"\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a case takes for the project's root: a folder with the command."""
    folder = tmp_path_factory.mktemp("root")
    command = folder / ".venv" / "bin" / "karat"
    command.parent.mkdir(parents=True)
    address = str(folder / "asked")
    command.write_text(CLIENT.format(python=sys.executable, address=address))
    command.chmod(0o755)
    with socketserver.ThreadingUnixStreamServer(address, Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_it_says_what_is_right(case: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARAT_ROOT", str(root))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = warm.run(
        [sys.executable, "-c", PROGRAM.format(folder=str(FOLDER), case=str(case))],
        cwd=ROOT,
        stdout=warm.PIPE,
        stderr=warm.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
