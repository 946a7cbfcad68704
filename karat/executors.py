"""Executors run one function on many items: in this process by default, on Ray where ``ray_jobs`` brings one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: ``progress(done, total, what)``: called after each finished part of a long task.
Progress = Callable[[int, int, str], None]


class Executor(Protocol):
    """Runs a function on many items.

    Function and items must be picklable.
    """

    @property
    def workers(self) -> int:
        """How many items run at a time."""
        ...

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Run ``function`` on every item.

        Args:
            function: Takes one item.
            items: The items.

        Yields:
            (index of the item, its result), as the results arrive, in any order.

        Raises:
            Exception: The first exception of the function, after the running items have been cancelled.
        """
        ...


class LocalExecutor:
    """Runs one item after the other, in this process."""

    workers = 1

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """Run ``function`` on every item, in order; see ``Executor.map``."""
        for index, item in enumerate(items):
            yield index, function(item)


def silent(done: int, total: int, what: str) -> None:
    """A Progress that reports nothing."""
