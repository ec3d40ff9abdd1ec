"""Run a task over many items on any executor, with a bounded number in flight. Knows nothing of rasters."""

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
    mend: Callable[[BrokenExecutor], None] | None = None,
) -> Iterator[Result]:
    """Yield ``task(item)`` as each is done, at most `limit` submitted and not yet yielded.

    `Executor.map` submits everything at once, so that all results may wait in memory. Here an error, or
    closing the generator, cancels what has not begun.

    Parameters
    ----------
    mend
        Called where the executor broke under its tasks, whose items are then submitted again; may raise instead.

    Raises
    ------
    Exception
        The first that a task raised.
    """
    todo = iter(items)
    while True:
        pending: dict[Future[Result], Item] = {}
        try:
            yield from _window(executor, task, todo, limit, pending)
            return
        except BrokenExecutor as error:
            if mend is None:
                raise
            mend(error)
            todo = chain([*pending.values()], todo)
        finally:
            # A future keeps its error, an error this frame: together they would keep open what a task had opened.
            pending.clear()


def _window(
    executor: Executor,
    task: Callable[[Item], Result],
    todo: Iterator[Item],
    limit: int,
    pending: dict[Future[Result], Item],
) -> Iterator[Result]:
    """Do what `map_unordered` does, leaving in `pending` what was taken and not done."""

    def submit(count: int) -> None:
        for item in islice(todo, count):
            # A broken executor takes nothing.
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
                # A future holds its result: neither outlives its turn.
                future = done.pop()
                result = future.result()
                # Refill first: the worker goes on while the caller uses the result.
                submit(1)
                del pending[future], future
                yield result
                del result
    finally:
        for other in pending:
            other.cancel()
        # An error keeps this frame: nothing in it may keep the error.
        done, future, other = set(), Future(), Future()
