"""How a job is executed: nothing of it changes a pixel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from pixelwise.choices import Compression
from pixelwise.errors import ParameterError
from pixelwise.jobs.executors import check_executor
from pixelwise.jobs.plan import parse_size
from pixelwise.words import shown

__all__ = ["Execution", "Progress"]

#: No machine has more cores; and each worker takes memory, also where it has nothing to do.
MOST_JOBS = 4096

#: Called with pixels done and pixels in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Execution:
    """How a job is executed; see `apply`.

    Attributes
    ----------
    executor
        Its name, or one handed over; None for the one that suits the job.
    jobs
        Workers; None for as many as there are cores, and memory for.
    memory
        What all local processes may use together; None for no limit.
    compress
        Of the GeoTIFF; None for the default.
    overwrite
        Whether a finished map may be replaced.
    restart
        Whether what a stopped run left is dropped.
    trust_function
        Whether a user's function is taken for the same in each run where that cannot be told.
    strict
        Whether a failing function stops the job.
    progress
        Called after each block.

    Raises
    ------
    ParameterError
        When the executor is unknown or forks, or the number of workers or the amount of memory is impossible.
    """

    executor: str | Executor | None = None
    jobs: int | None = None
    memory: int | str | None = None
    compress: Compression | None = None
    overwrite: bool = False
    restart: bool = False
    trust_function: bool = False
    strict: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.executor is not None:
            check_executor(self.executor)
        if self.jobs is not None and (not isinstance(self.jobs, int) or not 1 <= self.jobs <= MOST_JOBS):
            most = f"and at most {MOST_JOBS}"
            raise ParameterError(f"jobs {shown(self.jobs)} is impossible: at least one worker is needed, {most}")
        if self.memory is not None:
            parse_size(self.memory)  # it refuses what is no amount

    @property
    def memory_bytes(self) -> int | None:
        """What all local processes may use together, in bytes."""
        return None if self.memory is None else parse_size(self.memory)
