"""Karat's executor on Ray: each item is a task of one CPU; results come as they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayExecutor:
    """Executor (``karat.executors``) that runs each item as a Ray task.

    Ray repeats a task up to three times if its worker or node died: functions must be idempotent. At most
    ``in_flight`` tasks are submitted at a time, by default two per CPU.
    """

    def __init__(self, *, num_cpus: float = 1, in_flight: int | None = None) -> None:
        self._cpus = num_cpus
        self._in_flight = in_flight

    @property
    def workers(self) -> int:
        """Number of tasks that the cluster runs at a time."""
        return max(1, int(ray.cluster_resources().get("CPU", 1) / self._cpus))

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        lost: Callable[[Item, RayError], Result] | None = None,
        cpus: Callable[[Item], float] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Call the function on each item and yield ``(index, result)`` in the order of completion.

        Args:
            function: Called in a worker.
            items: Its arguments, read as tasks are submitted.
            lost: Returns the result of an item whose worker died every time (out of memory, killed, node gone);
                without it that is an exception like any other.
            cpus: CPUs of an item, where they differ from the executor's.

        Raises:
            Exception: the first exception of a task, as it was raised there; the other tasks are cancelled.
        """
        name = getattr(function, "__name__", "task")
        task: Any = _call
        bound = self._in_flight or 2 * self.workers
        waiting = iter(enumerate(items))
        running: dict[ray.ObjectRef[Result], tuple[int, Item]] = {}
        try:
            while True:
                while len(running) < bound and (following := next(waiting, None)) is not None:
                    index, item = following
                    needed = self._cpus if cpus is None else cpus(item)
                    running[task.options(num_cpus=needed, name=name).remote(function, item)] = index, item
                if not running:
                    return
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                index, item = running.pop(ready)
                try:
                    result = ray.get(ready)
                except RayTaskError as error:
                    raise error.cause or error from None
                except RayError as error:
                    if lost is None:
                        raise
                    result = lost(item, error)
                yield index, result
        finally:
            for reference in running:
                ray.cancel(reference)


@ray.remote
def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)
