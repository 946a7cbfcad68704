"""One change of a home's platform at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from karat.executors import Progress
from karat.settings import Settings


@contextlib.contextmanager
def platform_lock(settings: Settings, progress: Progress) -> Iterator[None]:
    """Waits for another ``up``, ``down`` or revival of a home; the kernel lets go of a dead holder's lock."""
    with open(settings.home / "supervisor" / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(0, 1, "waiting for another karat up or down")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
