"""Dask: blocks are computed by the workers of a scheduler, which may come and go. The only module that imports it."""

from __future__ import annotations

import contextlib
import importlib.resources
import inspect
import itertools
import json
import logging
import math
import operator
import os
import pickle
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import astuple
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import InputError, ParameterError, PixelwiseError, ResourceError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.machine import allowed_memory
from pixelwise.jobs.plan import Load, Workers, size_text
from pixelwise.jobs.probe import installed
from pixelwise.jobs.provenance import versions
from pixelwise.jobs.worker import Outcome, SharedJob, check_seen, different_versions, marks_of
from pixelwise.rasters.stamps import FileStamp
from pixelwise.regular_files import read_text
from pixelwise.surroundings import safe_children
from pixelwise.words import one_line

__all__ = ["Cluster", "is_of_dask"]

log = logging.getLogger(__name__)

#: Seconds until a scheduler must have answered, until workers must have come, and until they must have looked around.
CONNECT_SECONDS, WORKER_SECONDS, LOOK_SECONDS = 10, 10, 20
#: Seconds for which a scheduler of our own may have no worker before it is reported.
START_SECONDS = 20
#: Seconds that workers have to forget a job.
FORGET_SECONDS = 5
#: Share of a worker's memory that blocks may take: Dask moves data to disk from 60 % on, and pauses at 80 %.
MEMORY_SHARE = 0.6
#: Tasks in flight for each thread: one that runs, and one that waits at the worker, so that no thread does.
TASKS_PER_THREAD = 2
#: Protocol, host and port.
ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
#: How long the number of workers is taken to be the same.
COUNT_SECONDS = 1.0


def is_of_dask(executor: object) -> bool:
    """Whether an object is a client, cluster or executor of Dask, which is imported already then."""
    kinds = [kind for kind in type(executor).__mro__ if kind.__module__.partition(".")[0] == "distributed"]
    return any(kind.__name__ in ("Client", "Cluster", "ClientExecutor") for kind in kinds)


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
        When a worker has less memory.
    ResourceError
        When it does not answer, or has no workers.
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
        self._starts = given is None and not address
        self._said, self._alone_since = False, math.inf
        self._sized: set[str] = set()
        self._needed = 0
        if given is None and not address:
            # Workers of our own start with the job: a plan needs none.
            _import()
            limit = int(MEMORY_SHARE * allowed_memory() / jobs)
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
                raise ParameterError("executor: this client is asynchronous; pass a synchronous one")
            if given.status != "running":
                raise ParameterError(f"executor: this client is {given.status}; pass one that is connected")
            self._named = given.scheduler.address if given.scheduler else "given"
            return given
        self._owned.enter_context(_quiet())
        if given is not None:
            self._named = given.scheduler_address
        target = given if given is not None else _greeted(address)
        try:
            with warnings.catch_warnings():
                # Of other versions, in a table; `check` refuses those that matter.
                warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
                client = distributed.Client(target, timeout=CONNECT_SECONDS, set_as_default=False, name="pixelwise")
        except Exception as error:  # whatever a file or an address makes of it
            # Exit status 75: a job script may start its scheduler at the same time, and the same command then works.
            raise ResourceError(_no_answer(self._named, one_line(error))) from None
        self._owned.callback(_close, client)
        return client

    def _known(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the scheduler knows of each worker, by address."""
        # Versions of 2025 name five workers unless they are asked for more; older ones cannot be asked.
        asked = inspect.signature(self._client.scheduler_info).parameters
        found = self._client.scheduler_info(**({"n_workers": -1} if "n_workers" in asked else {}))
        workers: Mapping[str, Mapping[str, Any]] = found.get("workers", {})
        return workers

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
                f"memory {size_text(memory)} is the limit for each worker, but the worker {smallest} has "
                f"{size_text(int(least))}; start workers with more memory, or allow less"
            )
        if memory is None and least < math.inf:
            memory = int(MEMORY_SHARE * least)
        return Workers(len(known), max(one["nthreads"] for one in known.values()), memory, local=False)

    def _present(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the workers of a job that runs, of which none that came later may have too little memory.

        Raises
        ------
        ParameterError
        """
        known = self._known()
        for address in known.keys() - self._sized:
            limit, threads = known[address]["memory_limit"], known[address]["nthreads"]
            # Each thread has a block of its own.
            needed = self._needed * max(threads / self.workers.threads, 1)
            if limit and limit < needed:
                raise ParameterError(
                    f"the worker {address}, which came later, has {size_text(int(limit))} for {threads} thread(s), but "
                    f"the job needs {size_text(int(needed))} of it; start workers with as much memory as the others"
                )
        self._sized = set(known)
        return known

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
        seen = marks_of(files)
        source = f"(exec({_probe()!r}, place := {{}}), place['look'])[1]({packages!r}, {list(seen)!r})"
        try:
            found = self._client.sync(self._client._run, eval, source, on_error="return", callback_timeout=LOOK_SECONDS)
        except Exception as error:  # whatever distributed raises
            raise ResourceError(
                f"the workers of the Dask scheduler {self._named} do not answer ({_reason(error)})"
            ) from None
        for address, one in found.items():
            if isinstance(one, BaseException):
                raise ResourceError(f"the worker {address} failed when it was checked ({_reason(one)})")
            where = f"the worker {address} on {one['host']}"
            if not one["versions"]["pixelwise"]:
                raise ParameterError(f"{where} has no pixelwise: install {ours['pixelwise']} there, as here")
            if differing := different_versions(ours, one["versions"]):
                raise ParameterError(f"{where} has {differing}: install the same there as here")
            check_seen(where, seen, one["files"])

    def start(self, job: SharedJob, load: Load) -> None:
        """Hand over the job, as a task that gives it: Dask does that again where all workers that had it died."""
        self._needed = load.memory
        if self._client is None:
            self._client = self._connect(self._owned.enter_context(_local_cluster(self.workers)))
        plain = pickle.dumps((job.token, job.name, job.payload, dict(job.versions), dict(job.files)))
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
            self._counted, known = now, self._present()
            self._threads = sum(one["nthreads"] for one in known.values())
        return max(TASKS_PER_THREAD * self._threads, TASKS_PER_THREAD)

    def wait(self) -> None:
        """Look at workers that came, and say it where all are gone: those that wait in a queue may come yet."""
        if self._client.status != "running":
            return
        known = self._present()
        now = time.monotonic()
        if known:
            self._alone_since = math.inf
        elif self._alone_since == math.inf:
            self._alone_since = now
        # Workers of our own may still be starting; another scheduler's were there when the job began.
        patience = START_SECONDS if self._starts else 0
        if not known and not self._said and now - self._alone_since >= patience:
            self._said = True
            log.warning("the Dask scheduler %s has no worker left; waiting for another one", self._named)
        self._said = self._said and not known

    def recover(self, error: Exception) -> None:
        """Say in one line what broke; Dask itself does again what dead workers had."""
        if isinstance(error, PixelwiseError):  # of `width` or `wait`
            raise error
        if type(error).__name__ == "KilledWorker":
            last = getattr(getattr(error, "last_worker", None), "address", "unknown")
            raise ResourceError(
                f"worker after worker died under one task, {last} last: out of memory? Run the same command again "
                "with a smaller --memory to resume"
            ) from None
        if isinstance(error, CancelledError) or self._client.status != "running":
            raise ResourceError(
                f"the Dask scheduler {self._named} was lost; to resume, run the same command again with a running "
                "scheduler"
            ) from None
        raise ResourceError(f"the Dask cluster {self._named} failed ({_reason(error)})") from error

    def close(self, *, failed: bool) -> None:
        """Forget the job, have workers do so, and end what was started here."""
        self._job = self._pool = None
        if self._token and self._client.status == "running":
            source = f"(w := __import__('sys').modules.get('pixelwise.jobs.worker')) and w.forget({self._token!r})"
            with contextlib.suppress(Exception):  # they may be gone
                self._client.sync(self._client._run, eval, source, on_error="ignore", callback_timeout=FORGET_SECONDS)
        self._owned.close()


def _greeted(address: str) -> str:
    """Return the address of a scheduler that answers.

    distributed waits without end for a peer that accepts a connection and says nothing.

    Parameters
    ----------
    address
        That of the scheduler, or a file that it wrote.

    Raises
    ------
    ParameterError
        When it is neither.
    ResourceError
        When nobody answers, or the scheduler has not written its file yet.
    """
    named = address
    if "://" not in address:
        if address.endswith(".json") and not Path(address).exists():
            raise ResourceError(_no_answer(address, "the file does not exist"))
        try:
            found = json.loads(read_text(Path(address)))
            named = found["address"]
        except (InputError, ValueError, TypeError, KeyError):
            named = ""
    parts = ADDRESS.fullmatch(named) if isinstance(named, str) else None
    if parts is None:
        raise ParameterError(f"address {address}: expected that of a Dask scheduler, tcp://HOST:PORT, or its file")
    if parts[1] == "tcp":
        try:
            with socket.create_connection((parts[2].strip("[]"), int(parts[3])), timeout=CONNECT_SECONDS) as peer:
                # A scheduler speaks first.
                silent = not peer.recv(1)
        except (OSError, OverflowError) as error:
            raise ResourceError(_no_answer(address, error)) from None
        if silent:
            raise ResourceError(_no_answer(address, "the connection was closed"))
    return parts[0]


def _no_answer(address: str, reason: object) -> str:
    return (
        f"address {address}: no Dask scheduler answers there ({reason}); start one with `dask scheduler`, or correct "
        "the address"
    )


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
