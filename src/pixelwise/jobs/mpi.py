"""MPI: blocks are computed by the other ranks of ``mpiexec``, through `mpi4py.futures`, which only this imports."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from typing import Any

from pixelwise.errors import ParameterError, ResourceError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.machine import allowed_memory
from pixelwise.jobs.plan import Load, Workers
from pixelwise.jobs.worker import Outcome, SharedJob, compute_taken, take
from pixelwise.words import one_line

__all__ = ["Ranks"]

#: Share of a machine's memory that its ranks may use together if nobody says so.
MEMORY_SHARE = 0.5
#: What Open MPI and MPICH call the number of ranks on this machine.
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")


class Ranks(Engine):
    """The ranks of an MPI job; the first one runs the command, and all others wait for tasks.

    If a rank dies, MPI ends all of them: the same command resumes.

    Parameters
    ----------
    memory
        Bytes that each rank may use; None for a share of the machine's.

    Raises
    ------
    ParameterError
        When this process was not started by `mpi4py.futures`: each rank would then run the whole job.
    """

    def __init__(self, memory: int | None) -> None:
        if "mpi4py.futures" not in sys.orig_argv:
            raise ParameterError(
                "executor mpi needs ranks to compute: run mpiexec -n 4 python -m mpi4py.futures -m pixelwise ..."
            )
        self._pool = _open_pool()
        count: int = self._pool.num_workers
        beside = max(int(found) for name in LOCAL_RANKS if (found := os.environ.get(name, "1")).isdigit())
        share = int(MEMORY_SHARE * allowed_memory() / max(beside - 1, 1))
        self.workers = Workers(count, 1, share if memory is None else memory, local=False)

    def start(self, job: SharedJob, load: Load) -> None:
        """Hand the job to all ranks."""
        self._pool.shutdown()
        self._pool = _open_pool(initializer=take, initargs=(job,))

    def submit(self, blocks: tuple[Block, ...]) -> Future[Outcome]:
        """Have a rank compute some blocks."""
        future: Future[Outcome] = self._pool.submit(compute_taken, blocks)
        return future

    def recover(self, error: Exception) -> None:
        """Say what failed."""
        reason = one_line(error) or type(error).__name__
        raise ResourceError(f"the MPI job failed ({reason}); run the same command again to resume") from error

    def close(self, *, failed: bool) -> None:
        """Let the ranks wait for another job."""
        self._pool.shutdown(wait=not failed, cancel_futures=True)


def _open_pool(**options: Any) -> Any:
    try:
        from mpi4py.futures import MPIPoolExecutor
    # RuntimeError: without an MPI library.
    except (ImportError, RuntimeError) as error:
        raise ParameterError(
            f"executor mpi needs mpi4py and an MPI library ({one_line(error)}): pip install 'pixelwise[mpi]'"
        ) from None
    return MPIPoolExecutor(**options)
