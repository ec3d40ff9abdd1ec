"""Run a task over many items on any executor, with a bounded number in flight. Independent of rasters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import chain, islice
from typing import TypeVar

__all__ = ["map_unordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    executor: Executor,
    task: Callable[[Item], Result],
    items: Iterable[Item],
    limit: int,
    recover: Callable[[BrokenExecutor], None] | None = None,
) -> Iterator[Result]:
    """Yield ``task(item)`` as each is done, with at most `limit` submitted and not yet yielded.

    `Executor.map` submits everything at once, so all results may pile up in memory. Here an error, or closing the
    generator, cancels the tasks that have not started.

    Parameters
    ----------
    recover
        Called when the executor broke; its unfinished items are then submitted again. May raise instead.

    Raises
    ------
    Exception
        The first exception that a task raised.
    """
    todo = iter(items)
    while True:
        pending: dict[Future[Result], Item] = {}
        try:
            yield from _window(executor, task, todo, limit, pending)
            return
        except BrokenExecutor as error:
            if recover is None:
                raise
            recover(error)
            todo = chain([*pending.values()], todo)
        finally:
            # A future holds its error and an error holds this frame: together they would keep files of a task open.
            pending.clear()


def _window(
    executor: Executor,
    task: Callable[[Item], Result],
    todo: Iterator[Item],
    limit: int,
    pending: dict[Future[Result], Item],
) -> Iterator[Result]:
    """Do the work of `map_unordered`, leaving in `pending` the items that were taken but not finished."""

    def submit(count: int) -> None:
        for item in islice(todo, count):
            # A broken executor raises here: the item must not get lost.
            untaken: Future[Result] = Future()
            pending[untaken] = item
            future = executor.submit(task, item)
            del pending[untaken]
            pending[future] = item

    try:
        submit(limit)
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            while done:
                # A future holds its result: drop both before the next turn.
                future = done.pop()
                result = future.result()
                # Refill first: the worker keeps busy while the caller uses the result.
                submit(1)
                del pending[future], future
                yield result
                del result
    finally:
        for other in pending:
            other.cancel()
        # An error holds this frame, so nothing in the frame may hold the error.
        done, future, other = set(), Future(), Future()
