"""Where blocks are computed: in this thread, in threads, in processes of our own, or by an executor of the caller."""

from __future__ import annotations

import logging
import multiprocessing.resource_tracker
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, get_args

from pixelwise.choices import ExecutorName
from pixelwise.errors import ParameterError, ResourceError
from pixelwise.grid import Block
from pixelwise.jobs.cluster import Cluster, is_of_dask
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.mpi import Ranks
from pixelwise.jobs.plan import Load, Workers
from pixelwise.jobs.worker import Outcome, SharedJob, compute_elsewhere, compute_here, compute_taken, take
from pixelwise.surroundings import SAFE_PATH, safe_children, set_numba_file_aside
from pixelwise.words import not_a_choice, one_line

__all__ = [
    "InlineExecutor",
    "check_executor",
    "engine_of",
    "is_elsewhere",
    "open_engine",
    "shares_memory",
    "usable_cores",
]

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


def shares_memory(executor: object) -> bool:
    """Whether tasks are known to run in this process, so that nothing needs to be pickled."""
    return executor in ("inline", "threads") or isinstance(executor, (InlineExecutor, ThreadPoolExecutor))


def is_elsewhere(executor: object) -> bool:
    """Whether workers may be on other machines."""
    return executor in ("dask", "mpi") or is_of_dask(executor)


def check_executor(executor: object) -> None:
    """Refuse an unknown name, an object that is not an executor, and a forking pool.

    Raises
    ------
    ParameterError
    """
    if isinstance(executor, Executor):
        _refuse_forking(executor)
        if is_of_dask(executor):
            raise ParameterError("executor=client.get_executor() hides the client: pass the client itself")
    elif not is_of_dask(executor) and executor not in get_args(ExecutorName):
        raise not_a_choice("executor", executor, get_args(ExecutorName))


def engine_of(executor: Any, jobs: int, *, memory: int | None = None, address: str = "") -> Engine:
    """Return the engine of a name or an executor; nothing is started yet, but a cluster is connected to.

    Parameters
    ----------
    executor
        ``threads``, ``processes`` (loky's: no main guard needed), ``inline``, ``dask``, ``mpi``, any
        `concurrent.futures.Executor` whose workers were not forked, or a client or cluster of Dask.
    jobs
        Number of workers of a pool that is created here, or of blocks that an executor computes at a time.
    memory
        Bytes that all local processes, or each worker of a cluster, may use; None if nobody set a limit.
    address
        Address of Dask's scheduler, or its file.

    Raises
    ------
    ParameterError
        When the name is unknown, the object is not an executor, it is a forking pool, or a cluster does not answer.
    """
    check_executor(executor)
    if address and executor != "dask":
        raise ParameterError(f"address {address} is that of a Dask scheduler: expected executor dask, not {executor}")
    if executor == "mpi":
        return Ranks(memory)
    if is_elsewhere(executor):
        return Cluster(None if executor == "dask" else executor, address, jobs, memory)
    if executor == "processes":
        return Processes(jobs, memory)
    if shares_memory(executor):
        return InProcess(executor, jobs, memory)
    return Foreign(executor, jobs, memory)


@contextmanager
def open_engine(engine: Engine) -> Iterator[Engine]:
    """Yield an engine, and close what it started at the end."""
    try:
        yield engine
    except BaseException:
        engine.close(failed=True)
        raise
    engine.close(failed=False)


class InProcess(Engine):
    """Computes in the calling thread, or in threads of this process."""

    in_process = True
    breaks = ()

    def __init__(self, executor: str | Executor, jobs: int, memory: int | None) -> None:
        self.workers = Workers(1, jobs, memory)
        self.of_threads = executor == "threads"
        self._executor = executor
        self._pool: Executor | None = None
        self._token = ""

    def start(self, job: SharedJob, load: Load) -> None:
        self._token = job.token
        if isinstance(self._executor, Executor):
            self._pool = self._executor
        elif self._executor == "inline":
            self._pool = InlineExecutor()
        else:
            self._pool = ThreadPoolExecutor(load.jobs // load.team, thread_name_prefix="pixelwise")

    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        assert self._pool is not None  # noqa: S101 - `start` comes first
        return self._pool.submit(compute_here, self._token, blocks)

    def recover(self, error: Exception) -> None:
        raise error

    def close(self, *, failed: bool) -> None:
        # Threads finish their block.
        if self._pool is not None and self._pool is not self._executor:
            self._pool.shutdown(wait=True, cancel_futures=True)


class Foreign(Engine):
    """An executor that the caller passed, whose workers are other processes, on whatever machine."""

    def __init__(self, executor: Executor, jobs: int, memory: int | None) -> None:
        # Of these alone is it known that they share this machine, and so its memory.
        local = isinstance(executor, ProcessPoolExecutor)
        self.workers = Workers(jobs, 1, memory, local=local, beside=local)
        self._executor = executor
        self._task: Callable[[tuple[Block, ...]], Outcome] | None = None

    def start(self, job: SharedJob, load: Load) -> None:
        # There is no other way to its workers than its tasks.
        self._task = partial(compute_elsewhere, job)

    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        assert self._task is not None  # noqa: S101 - `start` comes first
        return self._executor.submit(self._task, blocks)

    def recover(self, error: Exception) -> None:
        reason = one_line(error) or type(error).__name__
        raise ResourceError(f"the executor broke ({reason}); start the job again with another one to resume") from error

    def close(self, *, failed: bool) -> None:
        """Leave the executor to its owner."""


def _begin(parent: int, safe: str | None, job: SharedJob) -> None:
    """Prepare a worker process before it imports anything for a task, and take the job for its tasks.

    PYTHONSAFEPATH, which keeps the current folder off the path, gets the value of the parent again: a user's function
    may start scripts.
    """
    os.environ.pop("PYTHONSAFEPATH", None)
    if safe is not None:
        os.environ["PYTHONSAFEPATH"] = safe
    set_numba_file_aside()
    _end_with_parent(parent)
    take(job)


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


class Processes(Engine):
    """Processes of our own: loky's, which need no main guard. If some are killed, new ones are started.

    The job travels with the start of a process, not with each task.
    """

    def __init__(self, jobs: int, memory: int | None) -> None:
        self.workers = Workers(jobs, 1, memory, beside=True)
        self._jobs = jobs
        self._recoveries = 0
        self._job: SharedJob | None = None
        self._pool: Any = None

    def start(self, job: SharedJob, load: Load) -> None:
        self._job, self._jobs = job, load.jobs
        self._start()

    def _start(self) -> None:
        import loky.backend.resource_tracker

        context = loky.backend.get_context("loky")
        before = os.environ.get("PYTHONSAFEPATH")
        with safe_children():
            # Workers start with the first tasks, in the environment given below; trackers start now, in ours.
            loky.backend.resource_tracker.ensure_running()
            if os.name != "nt":
                multiprocessing.resource_tracker.ensure_running()
            self._pool = loky.ProcessPoolExecutor(
                self._jobs, context=context, initializer=_begin, initargs=(os.getpid(), before, self._job),
                env=SAFE_PATH,
            )  # fmt: skip

    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        future: Future[Outcome] = self._pool.submit(compute_taken, blocks)
        # Tasks are abandoned only when their processes are killed, and loky then sets an error on every future. On a
        # cancelled one its thread fails with a long traceback ("Exception in executor manager thread").
        future.cancel = lambda: False  # type: ignore[method-assign]
        future.add_done_callback(self._notice)
        return future

    def _notice(self, future: Future[Any]) -> None:
        if future.exception() is None:
            self._recoveries = 0

    def recover(self, error: Exception) -> None:
        """Start new processes, unless they died too many times in a row."""
        self._kill()
        if self._recoveries == MOST_RECOVERIES:
            raise ResourceError(
                f"worker processes keep dying ({type(error).__name__}): killed, or out of memory? "
                "Run the same command again with fewer --jobs or a smaller --memory to resume"
            ) from error
        self._recoveries += 1
        log.warning("a worker process died (killed, or out of memory?); its blocks are computed again")
        self._start()

    def _kill(self) -> None:
        """Kill the processes, whatever they are doing."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def close(self, *, failed: bool) -> None:
        if self._pool is None:
            return
        # Processes can be killed at once: nobody waits for their results.
        if failed:
            self._kill()
        self._pool.shutdown(wait=True)


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
