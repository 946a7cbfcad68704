"""The log of a training: each step with its time, the losses of each round, and what libraries warn of."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from karat.clock import utc_now
from karat.executors import Progress


class TrainingLog:
    """Lines of one training, each with its time in UTC.

    Attributes:
        lines: The lines so far.
        rounds: Number of rounds that a kind has reported.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rounds = 0

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def write(self, text: str) -> None:
        """Add one fact; line breaks become spaces."""
        self.lines.append(f"{utc_now().isoformat(timespec='milliseconds')} {' '.join(text.split())}")

    def report(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Add a round of the fit; a ``Report`` of a kind."""
        self.rounds += 1
        self.write(f"round {iteration}: " + ", ".join(f"{part} {loss:.6g}" for part, loss in losses.items()))

    def add_curve(self, curve: Mapping[str, Sequence[float]]) -> None:
        """Add the rounds of a fit that could not report them, as one of several workers."""
        if self.rounds == 0:
            for k in range(max(map(len, curve.values()), default=0)):
                self.report(k + 1, {part: losses[k] for part, losses in curve.items() if k < len(losses)})

    def progress(self, tell: Progress) -> Progress:
        """Return a progress that adds each step and passes it on."""

        def told(done: int, total: int, what: str) -> None:
            self.write(f"{what} ({done} of {total})")
            tell(done, total, what)

        return told

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Meanwhile add what libraries warn of, in this thread; the warnings go where they went before, too."""
        thread = threading.get_ident()
        _WARNINGS.enter(thread, self)
        handler = _Handler(self, thread)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            _WARNINGS.leave(thread)


class _Warnings:
    """Python's warnings, which have one hook for all threads: each goes to the log of its own thread."""

    def __init__(self) -> None:
        self._logs: dict[int, TrainingLog] = {}
        self._show = warnings.showwarning
        self._lock = threading.Lock()

    def enter(self, thread: int, log: TrainingLog) -> None:
        with self._lock:
            if not self._logs:
                self._show = warnings.showwarning
                warnings.showwarning = self._hear
            self._logs[thread] = log

    def leave(self, thread: int) -> None:
        with self._lock:
            del self._logs[thread]
            if not self._logs:
                warnings.showwarning = self._show

    def _hear(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        log = self._logs.get(threading.get_ident())
        if log is not None:
            log.write(f"{category.__name__}: {message}")
        self._show(message, category, *where, **more)


_WARNINGS = _Warnings()


class _Handler(logging.Handler):
    def __init__(self, log: TrainingLog, thread: int) -> None:
        super().__init__(logging.WARNING)
        self._log, self._thread = log, thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._log.write(f"{record.levelname} {record.name}: {record.getMessage()}")
