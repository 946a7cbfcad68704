"""Live progress of a Prefect run: a table of its pipelines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from infra.prefect_api import Prefect, Run
from karat.errors import ServiceDown

POLL_SECONDS = 0.7
#: How long a silent server is asked again. The supervisor restarts it within that time, or a person has to look.
PATIENCE_SECONDS = 120.0
#: Log lines reach Prefect in batches and out of order; each poll looks back this far for late ones.
LATE = timedelta(seconds=15)
#: So many more looks at a run that has ended, and at a pipeline, before its end is told: for its last lines.
LAST_LOOKS = 2
# What Prefect and Ray log about every task.
_CHATTER = ("Finished in state", "Created task run", "job_manager.py", "Running entrypoint for job")
_MARKS = {"COMPLETED": "[green]done[/]", "FAILED": "[red]failed[/]", "CRASHED": "[red]crashed[/]"}
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


@dataclass
class Follower:
    """Shows the progress of one run on one console."""

    api: Prefect
    console: Console
    seen: set[str] = field(default_factory=set)
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=1))

    def follow(self, run: Run) -> Run:
        """Follow a run to its end and show its last lines.

        Args:
            run: The run to follow.

        Returns:
            The run in its final state.

        Raises:
            ServiceDown: Prefect is silent for longer than ``PATIENCE_SECONDS``.
        """
        with self._steps() as show:
            silent_since: float | None = None
            looks_since_end = 0
            while looks_since_end <= LAST_LOOKS:
                try:
                    run = self.api.run(run.id)
                    children = self.api.children(run.id)
                    self._lines(run, children)
                    show(run, children)
                except ServiceDown as error:
                    silent_since = self._be_patient(error, silent_since)
                else:
                    silent_since = None
                    looks_since_end += run.is_final
                time.sleep(POLL_SECONDS)
            return run

    def _be_patient(self, error: ServiceDown, since: float | None) -> float:
        """Return since when the server is silent, or raise ``error`` after too long. The run goes on without it."""
        if since is None:
            self.console.print(Text(f"{error.what}; the run goes on; trying again", style="yellow"), soft_wrap=True)
            return time.monotonic()
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise error
        return since

    def _lines(self, run: Run, children: list[Run]) -> None:
        for line in self.api.logs([run.id, *(c.id for c in children)], self.since - LATE):
            if line.id in self.seen:
                continue
            self.seen.add(line.id)
            self.since = max(self.since, line.timestamp)
            if line.level >= logging.WARNING or (line.task_run_id and not _is_chatter(line.message)):
                shown = f"{line.timestamp.astimezone():%H:%M:%S} {brief(line.message)}"
                self.console.print(Text(shown, style=_STYLES.get(line.level, "")), soft_wrap=True)

    @contextmanager
    def _steps(self) -> Iterator[Callable[[Run, list[Run]], None]]:
        """Yield the display of the pipelines: a live table on a terminal, a line per change elsewhere."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            with Live(console=self.console, refresh_per_second=4, transient=True) as live:
                yield lambda run, children: live.update(_table(run, children))
        else:
            yield StateLines(self.console)


def _is_chatter(message: str) -> bool:
    """Whether Prefect or Ray say it of every task. A retry has a line of its own, with the wait and the reason."""
    is_retry = message.startswith("Task run failed with") and " - Retry " in message
    return is_retry or message.startswith(_CHATTER)


def brief(message: str) -> str:
    """A message without the traceback that Prefect appends; Prefect's page has all of it."""
    return message.partition("\nTraceback (most recent call last):")[0]


class StateLines:
    """Prints a line whenever a run or one of its pipelines changes its state.

    Log lines reach Prefect later than states. So the end of a run is told ``LAST_LOOKS`` calls after it is known, or
    when the next pipeline begins, and that of its pipelines before its own.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, str | None] = {}
        self._ended: Counter[str] = Counter()

    def __call__(self, run: Run, children: list[Run]) -> None:
        """Print the runs whose state differs from the last call."""
        ended, others = ([c for c in children if c.is_final is final] for final in (True, False))
        next_begins = any(c.id not in self._last for c in others)
        for one in (*ended, *others, run) if run.is_final else (*ended, run, *others):
            self._ended[one.id] += one.is_final
            if one.is_final and self._ended[one.id] <= LAST_LOOKS and not next_begins:
                continue
            if one.state_type == "PENDING":  # a pipeline that is just being begun has no name of its own yet
                continue
            if self._last.get(one.id) != one.state_name:
                self._last[one.id] = one.state_name
                self._console.print(f"{datetime.now():%H:%M:%S} {one.name}: {one.state_name}", highlight=False)


def _table(run: Run, children: list[Run]) -> Table:
    table = Table.grid(padding=(0, 2))
    for one in (run, *children):
        mark = _MARKS.get(one.state_type or "", f"[cyan]{escape((one.state_name or '').lower())}[/]")
        table.add_row(escape(one.name), mark, f"{_seconds(one):.0f} s")
    return table


def _seconds(run: Run) -> float:
    if run.start_time is None:
        return 0.0
    return ((run.end_time or datetime.now(UTC)) - run.start_time).total_seconds()
