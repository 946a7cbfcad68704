"""Starts another supervisor when this process's own has died or hangs; the parts that run go on."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from contextlib import suppress

from infra.local.environment import make_folders
from infra.local.lock import platform_lock
from infra.local.supervisor import Supervisor
from karat.errors import KaratError
from karat.executors import silent
from karat.settings import Settings

#: How often it is asked whether it still answers; its death is noticed at once.
ASK_SECONDS = 30.0
#: It is taken for hanging after so many questions without an answer.
MISSES = 2
AGAIN_SECONDS = 10.0
log = logging.getLogger("guard")


def guard(settings: Settings, supervisor: int) -> None:
    """Return once the process ``supervisor`` is gone and another one runs in its place.

    The caller is a child of ``supervisor`` and then ends itself: the new one starts it again.
    """
    # A supervisor that died while this process was starting has left it to the first process of the machine.
    if supervisor != 1 or Supervisor(settings).pid() == 1:
        _await_death(settings, supervisor)
    while not revive(settings):
        time.sleep(AGAIN_SECONDS)


def revive(settings: Settings) -> bool:
    """Start a supervisor where none answers; it adopts the parts that run. Return whether one runs now."""
    if not (settings.home / "supervisor").is_dir():  # somebody has removed the home: there is nothing to guard
        return True
    with platform_lock(settings, silent):
        supervisor = Supervisor(settings)
        if supervisor.pid() is not None:
            return True
        log.warning("the supervisor is gone: starting another one")
        try:
            make_folders(settings)
            supervisor.start()
        except (KaratError, OSError) as error:
            log.error("it did not start: %s", error)
            return False
    return True


def _await_death(settings: Settings, pid: int) -> None:
    missed = 0
    while not _ends_within(pid, ASK_SECONDS):
        missed = 0 if Supervisor(settings).pid() is not None else missed + 1
        if missed >= MISSES:
            log.warning("the supervisor %d does not answer: ending it", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _ends_within(pid: int, seconds: float) -> bool:
    """Whether the parent of this process ends within so many seconds, without a look at it meanwhile."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):  # no such call in this kernel
        deadline = time.monotonic() + seconds
        while os.getppid() == pid and time.monotonic() < deadline:
            time.sleep(1)
        return os.getppid() != pid
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000)) or os.getppid() != pid
    finally:
        os.close(descriptor)
