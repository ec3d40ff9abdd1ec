"""Dask: blocks are computed by the workers of a scheduler, which may come and go. The only module that imports it."""

from __future__ import annotations

import contextlib
import importlib.resources
import itertools
import logging
import math
import operator
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import astuple
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import InputError, ParameterError, ResourceError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.plan import Workers, physical_memory, size_text
from pixelwise.jobs.probe import installed
from pixelwise.jobs.provenance import versions
from pixelwise.jobs.worker import Outcome, SharedJob, different_versions
from pixelwise.rasters.stamps import FileStamp
from pixelwise.surroundings import safe_children
from pixelwise.words import one_line

__all__ = ["Cluster", "is_of_dask"]

log = logging.getLogger(__name__)

#: Seconds until a scheduler must have answered, until workers must have come, and until they must have looked around.
CONNECT_SECONDS, WORKER_SECONDS, LOOK_SECONDS = 10, 10, 20
#: Share of a worker's memory that blocks may take: Dask moves data to disk from 60 % on, and pauses at 80 %.
MEMORY_SHARE = 0.6
#: Tasks in flight for each thread: one that runs, and one that waits at the worker, so that no thread does.
TASKS_PER_THREAD = 2
#: How long the number of workers is taken to be the same.
COUNT_SECONDS = 1.0
#: Network disks keep times in less than ours: FAT in two seconds.
CLOCK_SECONDS = 2.0


def is_of_dask(executor: object) -> bool:
    """Whether an object is a client, cluster or executor of Dask, which is imported already then."""
    return any(kind.__module__.partition(".")[0] == "distributed" for kind in type(executor).__mro__)


class Cluster(Engine):
    """The workers of a Dask scheduler.

    Parameters
    ----------
    given
        A client or a cluster; None for one of our own.
    address
        Of the scheduler to connect to, or its file; empty to start workers on this machine.
    jobs
        Number of workers that are started.
    memory
        Bytes that each worker may use; None for most of what Dask lets it have.

    Raises
    ------
    ParameterError
        When no scheduler answers, or a worker has less memory.
    ResourceError
        When it has no workers.
    """

    breaks = (Exception,)

    def __init__(self, given: Any, address: str, jobs: int, memory: int | None) -> None:
        self._owned = contextlib.ExitStack()
        self._client: Any = None
        self._named = address or "on this machine"
        self._job: Any = None
        self._pool: Any = None
        self._token = ""
        self._numbers = itertools.count()
        self._counted, self._threads = -math.inf, 0
        self._said = False
        if given is None and not address:
            # Workers of our own start with the job: a plan needs none.
            _import()
            limit = int(MEMORY_SHARE * physical_memory() / jobs)
            self.workers = Workers(jobs, 1, memory or limit, local=False)
            return
        try:
            self._client = self._connect(given, address)
            self.workers = self._describe(memory)
        except BaseException:
            self._owned.close()
            raise

    def _connect(self, given: Any, address: str = "") -> Any:
        distributed = _import()
        if isinstance(given, distributed.Client):
            if given.asynchronous:
                raise ParameterError("executor: this client is asynchronous; pass one that is not")
            self._named = given.scheduler.address if given.scheduler else "given"
            return given
        self._owned.enter_context(_quiet())
        if given is not None:
            self._named = given.scheduler_address
        elif "://" not in address and not Path(address).is_file():
            raise ParameterError(f"address {address}: expected that of a Dask scheduler, tcp://HOST:PORT, or its file")
        target = {"address": given} if given is not None else _target(address)
        try:
            with warnings.catch_warnings():
                # Of other versions, in a table; `check` refuses those that matter.
                warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
                client = distributed.Client(**target, timeout=CONNECT_SECONDS, set_as_default=False, name="pixelwise")
        except Exception as error:  # whatever a file or an address makes of it
            raise ParameterError(
                f"address {self._named}: no Dask scheduler answers there ({one_line(error)}); start one with "
                "`dask scheduler`, or mend the address"
            ) from None
        self._owned.callback(_close, client)
        return client

    def _known(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the scheduler knows of each worker, by address."""
        found: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info()["workers"]
        return found

    def _describe(self, memory: int | None) -> Workers:
        """Wait for workers, and say what each may use."""
        until = time.monotonic() + WORKER_SECONDS
        while not (known := self._known()):
            if time.monotonic() > until:
                raise ResourceError(
                    f"the Dask scheduler {self._named} has no worker: start some (`dask worker {self._named}`), or "
                    "wait for those in a queue (client.wait_for_workers(1))"
                )
            time.sleep(0.1)
        least, smallest = min((one["memory_limit"] or math.inf, address) for address, one in known.items())
        if memory is not None and least < memory:
            raise ParameterError(
                f"memory {size_text(memory)} is that of each worker, but the worker {smallest} has "
                f"{size_text(int(least))}; start workers with more memory, or allow less"
            )
        if memory is None and least < math.inf:
            memory = int(MEMORY_SHARE * least)
        return Workers(len(known), max(one["nthreads"] for one in known.values()), memory, local=False)

    def check(self, files: Mapping[Path, FileStamp]) -> None:
        """Have each worker say what it has and sees.

        Raises
        ------
        ParameterError, InputError, ResourceError
            When one lacks packages, has other versions, does not see files, or does not answer.
        """
        if self._client is None:  # workers of our own, on this machine
            return
        packages = [name for name in versions() if name not in ("python", "gdal")]
        # As they are installed, here and there; what a task finds on import is checked when the job arrives.
        ours = installed(packages)
        paths = [str(path.absolute()) for path in files]
        source = f"(exec({_probe()!r}, place := {{}}), place['look'])[1]({packages!r}, {paths!r})"
        try:
            found = self._client.sync(self._client._run, eval, source, on_error="return", callback_timeout=LOOK_SECONDS)
        except Exception as error:  # whatever distributed raises
            raise ResourceError(
                f"the workers of the Dask scheduler {self._named} do not answer ({_reason(error)})"
            ) from None
        for address, one in found.items():
            if isinstance(one, BaseException):
                raise ResourceError(f"the worker {address} failed when it was asked what it has ({_reason(one)})")
            where = f"the worker {address} on {one['host']}"
            if not one["versions"]["pixelwise"]:
                raise ParameterError(f"{where} has no pixelwise: install {ours['pixelwise']} there, as here")
            if differing := different_versions(ours, one["versions"]):
                raise ParameterError(f"{where} has {differing}: install the same there as here")
            _check_seen(where, files, one["files"])

    def start(self, job: SharedJob, at_once: int) -> None:
        """Hand over the job, as a task that gives it: Dask does that again where all workers that had it died."""
        if self._client is None:
            self._client = self._connect(self._owned.enter_context(_local_cluster(self.workers)))
        plain = pickle.dumps((job.token, job.name, job.payload, dict(job.versions)))
        self._pool = self._client.get_executor(pure=False)
        self._token = job.token
        task = partial(_sent("run"), plain)
        self._job = self._client.submit(_sent("same"), task, key=f"pixelwise-job-{job.token}", pure=False)

    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        """Have a worker compute some blocks of the job that was started."""
        # Of such keys the first part names a group, of which the scheduler keeps one account.
        key = f"pixelwise-{self._token}", next(self._numbers)
        numbers = np.array([astuple(block) for block in blocks], dtype=np.int64).tobytes()
        future: Future[Outcome] = self._pool.submit(operator.call, self._job, numbers, key=key)
        return future

    def width(self, planned: int) -> int:
        """Return how many tasks keep the present workers busy."""
        now = time.monotonic()
        if now - self._counted > COUNT_SECONDS:
            self._counted = now
            self._threads = sum(one["nthreads"] for one in self._known().values())
        return max(TASKS_PER_THREAD * self._threads, TASKS_PER_THREAD)

    def wait(self) -> None:
        """Say it where all workers are gone: others may come, such as those that wait in a queue."""
        if self._client.status == "running" and not self._known():
            if not self._said:
                log.warning("the Dask scheduler %s has no worker left; waiting for another one", self._named)
            self._said = True

    def recover(self, error: Exception) -> None:
        """Say in one line what broke; Dask itself does again what dead workers had."""
        if type(error).__name__ == "KilledWorker":
            last = getattr(getattr(error, "last_worker", None), "address", "unknown")
            raise ResourceError(
                f"worker after worker died under one task, {last} last: out of memory? Run the same command again "
                "with a smaller --memory to resume"
            ) from None
        if isinstance(error, CancelledError) or self._client.status != "running":
            raise ResourceError(
                f"the Dask scheduler {self._named} was lost; run the same command again, with one that runs, to resume"
            ) from None
        raise ResourceError(f"the Dask cluster {self._named} failed ({_reason(error)})") from error

    def close(self, *, failed: bool) -> None:
        """Forget the job, and end what was started here."""
        self._job = self._pool = None
        self._owned.close()


def _check_seen(where: str, files: Mapping[Path, FileStamp], seen: Mapping[str, Any]) -> None:
    """Refuse a worker that does not see the same files as this process."""
    wrong = []
    for path, stamp in files.items():
        found = seen[str(path.absolute())]
        if isinstance(found, str):
            wrong.append(f"{path}: {found}")
        elif not path.is_dir() and (differing := _difference(stamp, FileStamp(*found))):
            wrong.append(f"{path}: {differing}")
    if wrong:
        more = f" ({len(wrong)} files in all)" if len(wrong) > 1 else ""
        raise InputError(
            f"{where} does not see {wrong[0]}{more}; put the files on a disk that all workers share, or on each at the "
            "same path with its time (cp -p)"
        )


def _difference(here: FileStamp, there: FileStamp) -> str:
    """Say how a file differs at a worker; nothing if it is the same."""
    if here.size != there.size:
        return f"{here.size} bytes here, {there.size} there"
    if abs(here.mtime_ns - there.mtime_ns) <= CLOCK_SECONDS * 1e9:
        return ""
    own, other = (datetime.fromtimestamp(stamp.mtime_ns / 1e9, UTC) for stamp in (here, there))
    return f"modified {own:%Y-%m-%d %H:%M:%S} here, {other:%Y-%m-%d %H:%M:%S} there (UTC)"


def _target(address: str) -> dict[str, str]:
    return {"address": address} if "://" in address else {"scheduler_file": address}


def _close(client: Any) -> None:
    """Close a client; a scheduler that is gone cannot say goodbye."""
    with contextlib.suppress(Exception):
        client.close(timeout=2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep distributed from logging what is said here in one line."""
    # Each has a level of its own, by Dask's configuration.
    own = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {logger: logger.level for logger in map(logging.getLogger, own)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def _local_cluster(workers: Workers) -> Iterator[Any]:
    """Start workers of one thread each on this machine."""
    _import()
    # Dask's own limit is for leaks: it pauses a worker long before.
    limit = int((workers.memory or 0) / MEMORY_SHARE) or None
    options = {"n_workers": workers.count, "threads_per_worker": 1, "silence_logs": logging.CRITICAL}
    with safe_children():
        if os.name == "nt":
            from distributed import LocalCluster

            # Port 8787, where a dashboard usually is, may be taken.
            cluster = LocalCluster(dashboard_address=":0", memory_limit=limit, **options)
        else:
            # Processes of their own: those of LocalCluster run the user's script again, which fails without a guard.
            from distributed.deploy.subprocess import SubprocessCluster

            cluster = SubprocessCluster(
                dashboard_address=":0", worker_kwargs={"memory_limit": limit, "dashboard": False}, **options
            )
    with cluster:
        yield cluster


def _import() -> Any:
    try:
        import distributed
    except ImportError:
        raise ParameterError("executor dask needs distributed: pip install 'pixelwise[dask]'") from None
    return distributed


@cache
def _probe() -> str:
    return importlib.resources.files("pixelwise.jobs").joinpath("probe.py").read_text(encoding="utf-8")


@cache
def _sent(name: str) -> Callable[..., Any]:
    """Return a function of `probe` that is pickled by value: by name, a worker without pixelwise could not load it."""
    place: dict[str, Any] = {"__name__": "__main__"}
    exec(_probe(), place)  # noqa: S102 - our own text
    found: Callable[..., Any] = place[name]
    return found


def _reason(error: BaseException) -> str:
    return one_line(error) or type(error).__name__
