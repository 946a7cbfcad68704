"""How our programs end: as a Python does, but without taking down what they have imported."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def end_process(code: int, last: Callable[[], object] = lambda: None) -> NoReturn:
    """End this process once its threads have ended, its exit handlers have run and its output is written.

    An interpreter that holds MLflow, Ray and scikit-learn takes up to a second of a core to free their modules. The
    operating system frees them at once.

    Args:
        code: The exit status, 0 to 255.
        last: Called when all of that is done.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  waits for the threads that are no daemons
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    last()
    os._exit(code)


def run_to_the_end(program: Callable[[], object]) -> NoReturn:
    """Run a program as the main program of this process, and end the process with its exit status."""
    end_process(exit_status(program))


def exit_status(program: Callable[[], object]) -> int:
    """Run a program as the main program of this process; return the exit status that Python would end with."""
    code = 0
    try:
        program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    return code & 0xFF
