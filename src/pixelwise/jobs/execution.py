"""How a job is executed: none of this changes a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pixelwise.choices import Compression, TiffDriver, ZarrFormat
from pixelwise.errors import ParameterError
from pixelwise.jobs import limits as job_limits
from pixelwise.jobs.executors import check_executor
from pixelwise.jobs.limits import Limits
from pixelwise.jobs.parts import Part
from pixelwise.jobs.plan import parse_size
from pixelwise.words import not_a_choice, shown

__all__ = ["Execution", "Progress"]

#: No machine has more cores; and each worker takes memory even if it has nothing to do.
MOST_JOBS = 4096

#: Called with the number of finished pixels and of all pixels.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Execution:
    """How a job is executed; see `apply`.

    Attributes
    ----------
    executor
        Name of an executor, an executor object, or a client or cluster of Dask; None for what suits the job.
    jobs
        Number of workers; None for as many as there are cores, and memory for.
    memory
        Memory limit for all local processes together, or for each worker of a cluster; None for no limit.
    compress
        Compression of the output; None for the default.
    zarr_format
        Version of the format of Zarr stores.
    driver
        What makes a map whose name ends in .tif.
    overwrite
        Whether a finished map may be replaced.
    restart
        Whether the progress of an interrupted run is discarded.
    trust_function
        Whether to assume that a user's function is the same in each run if that cannot be determined.
    strict
        Whether a failing function stops the job.
    progress
        Called after each block; None for a bar in notebooks, False for none at all.
    address
        Address of Dask's scheduler, or its file; empty for workers on this machine.
    part
        Which part of the map is computed; None for all of it.
    limits
        Sizes from which the job is cut, checked and journalled.

    Raises
    ------
    ParameterError
        When the executor is unknown or forks, or the number of workers or the amount of memory is invalid.
    """

    executor: Any = None
    jobs: int | None = None
    memory: int | str | None = None
    compress: Compression | None = None
    zarr_format: int = 3
    driver: str = "GTiff"
    overwrite: bool = False
    restart: bool = False
    trust_function: bool = False
    strict: bool = False
    progress: Progress | Literal[False] | None = None
    address: str = ""
    part: Part | None = None
    limits: Limits = field(default_factory=lambda: job_limits.LIMITS)

    def __post_init__(self) -> None:
        if self.compress is not None and self.compress not in get_args(Compression):
            raise not_a_choice("compress", self.compress, get_args(Compression))
        if self.zarr_format not in get_args(ZarrFormat):
            raise not_a_choice("zarr_format", str(self.zarr_format), list(map(str, get_args(ZarrFormat))))
        if self.driver not in get_args(TiffDriver):
            raise not_a_choice("driver", self.driver, get_args(TiffDriver))
        if self.executor is not None:
            check_executor(self.executor)
        if self.jobs is not None and (not isinstance(self.jobs, int) or not 1 <= self.jobs <= MOST_JOBS):
            raise ParameterError(f"jobs {shown(self.jobs)} is invalid; expected a number from 1 to {MOST_JOBS}")
        if self.memory is not None:
            parse_size(self.memory)  # refuses anything that is not an amount

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit, in bytes."""
        return None if self.memory is None else parse_size(self.memory)
