"""Where a function is run many times over: here by default, on a Ray cluster when ``ray_jobs`` brings one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: ``progress(done, total, what)``: called after each finished piece of a long work.
Progress = Callable[[int, int, str], None]


class Executor(Protocol):
    """Runs ``function`` on every item; results come as they finish, in any order, each with its item's index.

    ``function`` and the items must be picklable. The first exception is raised after what runs has been let go.
    ``workers`` is how many items it runs at a time.
    """

    @property
    def workers(self) -> int: ...

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]: ...


class LocalExecutor:
    """One item after the other, in this process."""

    workers = 1

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        for index, item in enumerate(items):
            yield index, function(item)


def silent(done: int, total: int, what: str) -> None:
    """A Progress that says nothing."""
