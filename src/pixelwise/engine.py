"""Run a task over many items on any executor, with a bounded number in flight. Knows nothing of rasters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from typing import TypeVar

__all__ = ["map_unordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    executor: Executor, task: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[Result]:
    """Yield ``task(item)`` as each is done, at most `limit` submitted and not yet yielded.

    `Executor.map` submits everything at once, so that all results may wait in memory. Here an error, or
    closing the generator, cancels what has not begun.

    Raises
    ------
    Exception
        The first that a task raised.
    """
    remaining = iter(items)
    pending: set[Future[Result]] = set()
    try:
        for item in islice(remaining, limit):
            pending.add(executor.submit(task, item))
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            while done:
                # A future holds its result: neither outlives its turn.
                future = done.pop()
                pending.discard(future)
                result = future.result()
                del future
                # Refill first: the worker goes on while the caller uses the result.
                for item in islice(remaining, 1):
                    pending.add(executor.submit(task, item))
                yield result
                del result
    finally:
        for future in pending:
            future.cancel()
