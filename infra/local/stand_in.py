"""Stands in for a part's instance that runs already: waits for its end and passes signals on to it.

A supervisor has only its own children. After a kill the next one starts this program in place of each part that still
runs, and so learns of its end. It imports nothing but the standard library: one of them stands for each adopted part.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress


def main(pid: int) -> None:
    """Wait until the process ``pid`` has ended."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: _pass_on(pid, received))
    print(f"process {pid} of an earlier supervisor runs on under this one", file=sys.stderr, flush=True)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # no such call in this kernel
        while _exists(pid):
            time.sleep(1)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()  # a signal is passed on meanwhile, and the wait goes on


def _pass_on(pid: int, number: int) -> None:
    """To its whole group, as the supervisor does with a child of its own."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _exists(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]))
