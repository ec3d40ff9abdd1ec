"""What travels to workers: stacks and a bound method; and what comes back: one block of a map."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import PixelwiseError
from pixelwise.grid import Block
from pixelwise.method import BoundMethod, Status
from pixelwise.stack import Stack, reading_in_worker

__all__ = ["Job", "Result", "task_of"]


@dataclass(frozen=True)
class Result:
    """One finished block.

    Attributes
    ----------
    values, status
        (band, y, x) in the map's type, (y, x) uint8.
    read, kernel
        Seconds.
    failure
        Traceback of the first pixel at which a user's function failed, if any did.
    """

    block: Block
    values: NDArray[Any]
    status: NDArray[np.uint8]
    read: float
    kernel: float
    failure: str | None = None


@dataclass(frozen=True)
class Job:
    """Stacks, the response first, and the method bound to them; `dtype` is that of the map."""

    stacks: tuple[Stack, ...]
    bound: BoundMethod
    dtype: str

    def compute(self, block: Block) -> Result:
        """Read a block of every stack and apply the method."""
        began = time.perf_counter()
        halo = self.bound.halo
        inputs = tuple(read_padded(stack, block, halo) for stack in self.stacks)
        if not halo:
            inputs = tuple(array.reshape(len(array), -1) for array in inputs)
        ready = time.perf_counter()
        values, status = self.bound(inputs)
        expected = (len(self.bound.bands), block.pixels)
        if values.shape != expected or status.shape != expected[1:]:
            raise PixelwiseError(
                f"the method returned values {values.shape} and status {status.shape} "
                f"instead of {expected} and {expected[1:]}"
            )
        shape = (block.height, block.width)
        with np.errstate(over="ignore", under="ignore"):
            narrow = values.astype(self.dtype).reshape(-1, *shape)
        return Result(
            block,
            narrow,
            status.reshape(shape),
            read=ready - began,
            kernel=time.perf_counter() - ready,
            failure=self._failure(inputs, status),
        )

    def _failure(self, inputs: tuple[NDArray[Any], ...], status: NDArray[np.uint8]) -> str | None:
        """Return the traceback of the block's first failing pixel, by running that pixel again."""
        failed = np.flatnonzero(status == Status.FUNCTION_FAILED)
        traceback_of = getattr(self.bound, "traceback_of", None)
        if not len(failed) or traceback_of is None:
            return None
        text: str | None = traceback_of(inputs[0][:, failed[0]])
        return text


def read_padded(stack: Stack, block: Block, halo: int) -> NDArray[Any]:
    """Read a block with `halo` pixels around it, NaN beyond the image."""
    if not halo:
        return stack.read(block)
    padded = block.pad(halo)
    extent = getattr(stack, "extent", stack.grid.block)
    inside = padded.intersection(extent)
    if inside is None:
        raise ValueError(f"{block} lies outside {stack.grid}")
    pixels = stack.read(inside)
    if inside == padded:
        return pixels
    out = np.full((len(pixels), padded.height, padded.width), np.nan, dtype=pixels.dtype)
    rows, cols = inside.shift(-padded.row, -padded.col).slices
    out[:, rows, cols] = pixels
    return out


#: Jobs of this process by token; those of other processes arrive pickled, the last few are kept.
_JOBS: OrderedDict[str, Job] = OrderedDict()
_KEPT = 2


def task_of(job: Job, *, in_process: bool) -> tuple[Callable[[Block], Result], Callable[[], None]]:
    """Return the task that an executor maps over blocks, and what to call when the job is over.

    The job is pickled once, to bytes, which a worker unpickles once; where tasks run in this process nothing
    is pickled at all. Neither an open file nor pixels travel.
    """
    token = uuid.uuid4().hex
    _JOBS[token] = job
    payload = b"" if in_process else cloudpickle.dumps(job)
    return partial(_compute, token, payload), lambda: _forget(token)


def _forget(token: str) -> None:
    _JOBS.pop(token, None)


def _compute(token: str, payload: bytes, block: Block) -> Result:
    job = _JOBS.get(token)
    with reading_in_worker(token):
        if job is None:
            job = cloudpickle.loads(payload)
            while len(_JOBS) >= _KEPT:
                _JOBS.popitem(last=False)
            _JOBS[token] = job
        return job.compute(block)
