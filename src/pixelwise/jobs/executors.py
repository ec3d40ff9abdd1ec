"""Where blocks are computed: in this thread, in threads, in processes, or in any executor handed over."""

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

__all__ = ["InlineExecutor", "mender", "open_executor", "shares_memory", "usable_cores"]

log = logging.getLogger(__name__)

#: How often a worker process looks whether its parent lives.
PARENT_SECONDS = 0.5

#: How often in a row new processes are started, without any task done, before that is given up.
MOST_MENDED = 3

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
    """Whether tasks surely run in this process, so that nothing needs to be pickled for them."""
    return isinstance(executor, (InlineExecutor, ThreadPoolExecutor))


@contextmanager
def open_executor(executor: str | Executor, jobs: int) -> Iterator[Executor]:
    """Give the executor of a name, shut down at the end; or the one handed over, left open.

    Parameters
    ----------
    executor
        ``threads``, ``processes`` (loky's: no main guard needed), ``inline``, or any
        `concurrent.futures.Executor` whose workers were not forked.
    jobs
        How many workers a pool of our own gets.

    Raises
    ------
    ParameterError
        When the name is unknown, the object is no executor, or it is a forking pool.
    """
    if isinstance(executor, Executor):
        _refuse_forking(executor)
        yield executor
        return
    if executor not in get_args(ExecutorName):
        raise not_a_choice("executor", executor, get_args(ExecutorName))
    pool = _own_pool(str(executor), jobs)
    try:
        yield pool
    except BaseException:
        # Processes may be stopped at once: nobody waits for what they compute. Threads end with their block.
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


def mender(executor: Executor) -> Callable[[BrokenExecutor], None]:
    """Return what `map_unordered` calls where the executor's workers ended under their tasks.

    Own processes are started again; it gives up with a `ResourceError` when they end three times in a row. An executor
    handed over is its owner's: at once.
    """
    return executor.mend if isinstance(executor, _LokyPool) else _give_up


def _give_up(error: BrokenExecutor) -> None:
    reason = one_line(error) or type(error).__name__
    raise ResourceError(f"the executor broke ({reason}); start the job again with another one to resume") from error


def _begin(parent: int, safe: str | None) -> None:
    """Prepare a worker process, before anything of a task is imported.

    What keeps the current folder off its own path is put back to what it is in its parent: a user's function may start
    scripts.
    """
    os.environ.pop("PYTHONSAFEPATH", None)
    if safe is not None:
        os.environ["PYTHONSAFEPATH"] = safe
    set_numba_file_aside()
    _end_with_parent(parent)


def _end_with_parent(parent: int) -> None:
    """End this worker soon after its parent, which may be killed without a word: loky's workers wait for ever then.

    They hold both ends of the pipe that they wait at, so that it never breaks.
    """
    if os.name == "nt":  # a process keeps its parent's number there
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="pixelwise-parent", daemon=True).start()


class _LokyPool(Executor):
    """loky's pool with the signature of `Executor.shutdown`, and new processes where some were killed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._mended = 0
        self._pool = self._start()

    def _start(self) -> Any:
        import loky.backend.resource_tracker

        context = loky.backend.get_context("loky")
        before = os.environ.get("PYTHONSAFEPATH")
        with safe_children():
            # Workers start with the first tasks, by their own environment; the trackers by ours, for the whole process.
            loky.backend.resource_tracker.ensure_running()
            if os.name != "nt":
                multiprocessing.resource_tracker.ensure_running()
            return loky.ProcessPoolExecutor(
                self._jobs, context=context, initializer=_begin, initargs=(os.getpid(), before), env=SAFE_PATH
            )

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = self._pool.submit(fn, *args, **kwargs)
        # Tasks are given up only with their processes, and then loky gives every future an error: at one that was
        # cancelled before, its thread fails with a long traceback ("Exception in executor manager thread").
        future.cancel = lambda: False  # type: ignore[method-assign]
        future.add_done_callback(self._notice)
        return future

    def _notice(self, future: Future[Any]) -> None:
        if future.exception() is None:
            self._mended = 0

    def mend(self, error: BrokenExecutor) -> None:
        """Start new processes, unless they ended again and again."""
        self.kill()
        if self._mended == MOST_MENDED:
            raise ResourceError(
                f"worker processes end again and again ({type(error).__name__}): killed, or out of memory? "
                "Run the same command again with fewer --jobs or a smaller --memory to resume"
            ) from error
        self._mended += 1
        log.warning("a worker process ended suddenly (killed, or out of memory?); its blocks are done again")
        self._pool = self._start()

    def kill(self) -> None:
        """Stop the processes in the middle of their work."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=wait)


def _refuse_forking(executor: Executor) -> None:
    """Refuse a pool that forks: a fork after GDAL's threads ran deadlocks (rasterio issue 2979)."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    context = getattr(executor, "_mp_context", None) or multiprocessing.get_context()
    if context.get_start_method() == "fork":
        raise ParameterError(
            "this ProcessPoolExecutor forks its workers, which deadlocks after GDAL has run; "
            'use ProcessPoolExecutor(..., mp_context=multiprocessing.get_context("forkserver")) or executor="processes"'
        )
