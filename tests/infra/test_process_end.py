"""A program of ours ends as a Python does: threads, exit handlers, output and exit status."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time
from infra.process_end import run_to_the_end

def program():
    atexit.register(lambda: print("handler"))
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    print("said")
    {end}

run_to_the_end(program)
"""


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("return", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("sys.exit('why')", 1, "why\n"),
        ("raise ValueError('why')", 1, "ValueError: why\n"),
    ],
)
def test_it_ends_as_a_python_does(end: str, code: int, error: str) -> None:
    for program in (PROGRAM, PROGRAM.replace("run_to_the_end(program)", "program()")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(end=end)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (code, "said\nthread\nhandler\n")
        assert done.stderr.endswith(error)
        assert bool(done.stderr) == bool(error)
