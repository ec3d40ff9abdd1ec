"""Where tasks are computed, whichever engine does it, and how a bounded number of them is kept in flight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from pixelwise.grid import Block
from pixelwise.jobs.plan import Load, Workers
from pixelwise.jobs.worker import Outcome, SharedJob
from pixelwise.rasters.stamps import FileStamp

__all__ = ["Engine", "map_unordered"]

#: How often workers are looked after while nothing is done.
IDLE_SECONDS = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Computes the blocks of one job: in this process, in others, or on a cluster.

    Attributes
    ----------
    in_process
        Whether tasks run in this process, so that nothing is pickled, and their errors are raised as they are.
    of_threads
        Whether threads of our own compute, which can work on one block together.
    workers
        Who computes; for a cluster, who does now.
    breaks
        Errors of a future which say that workers failed rather than their task.
    """

    in_process = False
    of_threads = False
    workers: Workers
    breaks: tuple[type[Exception], ...] = (BrokenExecutor,)

    def check(self, files: Mapping[Path, FileStamp]) -> None:
        """Refuse workers that cannot compute a job of these files; by default, all can.

        Raises
        ------
        ParameterError, InputError
            Which worker, and why.
        """
        del files  # processes of this machine see them

    @abstractmethod
    def start(self, job: SharedJob, load: Load) -> None:
        """Hand a job to the workers, once; `load` says how many of our own there will be.

        Raises
        ------
        ResourceError
            When they cannot be reached.
        """

    @abstractmethod
    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        """Have a worker compute some blocks of the job that was started."""

    def width(self, planned: int) -> int:
        """Return how many tasks to keep in flight, now; `planned` is what the plan says."""
        return planned

    def wait(self) -> None:
        """Look after the workers; called every few seconds while no task is done."""
        return

    @abstractmethod
    def recover(self, error: Exception) -> None:
        """Replace workers that failed, so that their tasks can be submitted again.

        Raises
        ------
        ResourceError
            When that is impossible; what is done is kept.
        """

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """Release whatever was started here; at once if the job `failed`."""


def map_unordered(
    submit: Callable[[Item], Future[Result]],
    items: Iterable[Item],
    limit: int | Callable[[], int],
    breaks: tuple[type[Exception], ...] = (),
    recover: Callable[[Exception], None] = lambda error: None,
    idle: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Yield the result of each item as it is done, with at most `limit` submitted and not yet yielded.

    `Executor.map` submits everything at once, so all results may pile up in memory. Here an error, or closing the
    generator, cancels the tasks that have not started.

    Parameters
    ----------
    submit
        Starts the task of an item.
    items
        Taken one by one, as tasks end.
    limit
        A number, or a function that returns it, asked before each task: workers come and go.
    breaks
        Errors which say that workers failed rather than their task.
    recover
        Called with such an error; the unfinished items are then submitted again. May raise instead.
    idle
        Called every few seconds while nothing is done.

    Raises
    ------
    Exception
        The first exception that a task raised.
    """
    todo = iter(items)
    now: Callable[[], int] = limit if callable(limit) else lambda: limit
    while True:
        pending: dict[Future[Result], Item] = {}
        try:
            yield from _window(submit, todo, now, pending, idle)
            return
        except breaks as error:
            recover(error)
            todo = chain([*pending.values()], todo)
        finally:
            # A future holds its error and an error holds this frame: together they would keep files of a task open.
            pending.clear()


def _window(
    submit: Callable[[Item], Future[Result]],
    todo: Iterator[Item],
    limit: Callable[[], int],
    pending: dict[Future[Result], Item],
    idle: Callable[[], None],
) -> Iterator[Result]:
    """Do the work of `map_unordered`, leaving in `pending` the items that were taken but not finished."""

    def fill(free: int) -> None:
        for item in islice(todo, max(free, 0)):
            # A broken executor raises here: the item must not get lost.
            untaken: Future[Result] = Future()
            pending[untaken] = item
            future = submit(item)
            del pending[untaken]
            pending[future] = item

    try:
        fill(limit())
        while pending:
            done, _ = wait(pending, timeout=IDLE_SECONDS, return_when=FIRST_COMPLETED)
            if not done:
                idle()
            while done:
                # A future holds its result: drop both before the next turn.
                future = done.pop()
                result = future.result()
                # Refill first: the worker keeps busy while the caller uses the result.
                fill(limit() + 1 - len(pending))
                del pending[future], future
                yield result
                del result
    finally:
        for other in pending:
            other.cancel()
        # An error holds this frame, so nothing in the frame may hold the error.
        done, future, other = set(), Future(), Future()
