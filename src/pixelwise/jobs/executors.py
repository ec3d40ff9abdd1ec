"""Where blocks are computed: in this thread, in threads, in processes, or in an executor that the caller passes."""

from __future__ import annotations

import logging
import multiprocessing.resource_tracker
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

from pixelwise.choices import ExecutorName
from pixelwise.errors import ParameterError, ResourceError
from pixelwise.surroundings import SAFE_PATH, safe_children, set_numba_file_aside
from pixelwise.words import not_a_choice, one_line

__all__ = ["InlineExecutor", "check_executor", "open_executor", "recovery", "shares_memory", "usable_cores"]

log = logging.getLogger(__name__)

#: How often, in seconds, a worker process checks that its parent is alive.
PARENT_SECONDS = 0.5

#: How many times in a row new processes are started, without a task finished, before giving up.
MOST_RECOVERIES = 3

Result = TypeVar("Result")


class InlineExecutor(Executor):
    """Computes each task when it is submitted, in the calling thread: for debugging and tests."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Call `fn` now and return its finished future."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares_memory(executor: Executor) -> bool:
    """Whether tasks are known to run in this process, so that nothing needs to be pickled."""
    return isinstance(executor, (InlineExecutor, ThreadPoolExecutor))


def check_executor(executor: str | Executor) -> None:
    """Refuse an unknown name, an object that is not an executor, and a forking pool.

    Raises
    ------
    ParameterError
    """
    if isinstance(executor, Executor):
        _refuse_forking(executor)
    elif executor not in get_args(ExecutorName):
        raise not_a_choice("executor", executor, get_args(ExecutorName))


@contextmanager
def open_executor(executor: str | Executor, jobs: int) -> Iterator[Executor]:
    """Yield the executor of a name, shut down at the end; or the given one, left open.

    Parameters
    ----------
    executor
        ``threads``, ``processes`` (loky's: no main guard needed), ``inline``, or any
        `concurrent.futures.Executor` whose workers were not forked.
    jobs
        Number of workers of a pool that is created here.

    Raises
    ------
    ParameterError
        When the name is unknown, the object is not an executor, or it is a forking pool.
    """
    check_executor(executor)
    if isinstance(executor, Executor):
        yield executor
        return
    pool = _own_pool(executor, jobs)
    try:
        yield pool
    except BaseException:
        # Processes can be killed at once: nobody waits for their results. Threads finish their block.
        if isinstance(pool, _LokyPool):
            pool.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _own_pool(name: str, jobs: int) -> Executor:
    if name == "inline":
        return InlineExecutor()
    if name == "threads":
        return ThreadPoolExecutor(jobs, thread_name_prefix="pixelwise")
    return _LokyPool(jobs)


def recovery(executor: Executor) -> Callable[[BrokenExecutor], None]:
    """Return the function that `map_unordered` calls when the workers of the executor died.

    Our own processes are started again, until they die three times in a row: then it raises a `ResourceError`. An
    executor that the caller passed is not ours to restart, so it raises at once.
    """
    return executor.recover if isinstance(executor, _LokyPool) else _give_up


def _give_up(error: BrokenExecutor) -> None:
    reason = one_line(error) or type(error).__name__
    raise ResourceError(f"the executor broke ({reason}); start the job again with another one to resume") from error


def _begin(parent: int, safe: str | None) -> None:
    """Prepare a worker process before it imports anything for a task.

    PYTHONSAFEPATH, which keeps the current folder off the path, gets the value of the parent again: a user's function
    may start scripts.
    """
    os.environ.pop("PYTHONSAFEPATH", None)
    if safe is not None:
        os.environ["PYTHONSAFEPATH"] = safe
    set_numba_file_aside()
    _end_with_parent(parent)


def _end_with_parent(parent: int) -> None:
    """End this worker soon after its parent dies: if the parent is killed, loky's workers wait forever.

    They hold both ends of the pipe that they wait on, so it never breaks.
    """
    if os.name == "nt":  # the parent's process ID never changes there
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="pixelwise-parent", daemon=True).start()


class _LokyPool(Executor):
    """loky's pool with the signature of `Executor.shutdown`, that starts new processes if some were killed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._recoveries = 0
        self._pool = self._start()

    def _start(self) -> Any:
        import loky.backend.resource_tracker

        context = loky.backend.get_context("loky")
        before = os.environ.get("PYTHONSAFEPATH")
        with safe_children():
            # Workers start with the first tasks, in the environment given below; trackers start now, in ours.
            loky.backend.resource_tracker.ensure_running()
            if os.name != "nt":
                multiprocessing.resource_tracker.ensure_running()
            return loky.ProcessPoolExecutor(
                self._jobs, context=context, initializer=_begin, initargs=(os.getpid(), before), env=SAFE_PATH
            )

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = self._pool.submit(fn, *args, **kwargs)
        # Tasks are abandoned only when their processes are killed, and loky then sets an error on every future. On a
        # cancelled one its thread fails with a long traceback ("Exception in executor manager thread").
        future.cancel = lambda: False  # type: ignore[method-assign]
        future.add_done_callback(self._notice)
        return future

    def _notice(self, future: Future[Any]) -> None:
        if future.exception() is None:
            self._recoveries = 0

    def recover(self, error: BrokenExecutor) -> None:
        """Start new processes, unless they died too many times in a row."""
        self.kill()
        if self._recoveries == MOST_RECOVERIES:
            raise ResourceError(
                f"worker processes keep dying ({type(error).__name__}): killed, or out of memory? "
                "Run the same command again with fewer --jobs or a smaller --memory to resume"
            ) from error
        self._recoveries += 1
        log.warning("a worker process died (killed, or out of memory?); its blocks are computed again")
        self._pool = self._start()

    def kill(self) -> None:
        """Kill the processes, whatever they are doing."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=wait)


def _refuse_forking(executor: Executor) -> None:
    """Refuse a pool that forks: forking after GDAL's threads have run deadlocks (rasterio issue 2979)."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    context = getattr(executor, "_mp_context", None) or multiprocessing.get_context()
    if context.get_start_method() == "fork":
        raise ParameterError(
            "this ProcessPoolExecutor forks its workers, which deadlocks after GDAL has run; "
            'use ProcessPoolExecutor(..., mp_context=multiprocessing.get_context("forkserver")) or executor="processes"'
        )
