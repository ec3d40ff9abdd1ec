"""Methods on dask arrays: a lazy table of bands, chunk by chunk, by the same bound method as in any job."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.errors import ParameterError
from pixelwise.jobs.job import Job
from pixelwise.jobs.worker import compile_kernels
from pixelwise.labelled.stack import ArrayStack, Decoding, grid_without_place
from pixelwise.maps.memory import as_they_are
from pixelwise.method import BoundMethod, say_rounded
from pixelwise.run import BoundJob

try:
    import dask.array
except ImportError as error:  # pragma: no cover - the tests' environment has it
    raise ParameterError('lazy arrays need dask: pip install "pixelwise[dask]"') from error

__all__ = ["bands_of_chunks", "check_chunks"]

log = logging.getLogger(__name__)

#: What this process has said about lazy results: their tokens, and topics.
_SAID: set[tuple[str, str]] = set()


def check_chunks(values: Any, name: str, dim: str) -> None:
    """Refuse a lazy array whose series are cut.

    Raises
    ------
    ParameterError
        Names the line that puts them together.
    """
    chunks = getattr(values, "chunks", None)
    if chunks is not None and not isinstance(values, dask.array.Array):
        raise ParameterError(f"{name} is a lazy array of {type(values).__module__}; expected NumPy or dask")
    if chunks is not None and len(chunks[0]) > 1:
        raise ParameterError(
            f"{name}: its dimension {dim!r} is cut into {len(chunks[0])} chunks, but a pixel needs its whole series: "
            f'array.chunk({{"{dim}": -1}}) puts them together, which moves all data once'
        )


@dataclass(frozen=True, eq=False)
class _Chunks:
    """What is done to each chunk: a bound method, applied to the pixels of the chunk as to those of any block.

    Attributes
    ----------
    stacks
        The response, then the covariates, without their values.
    bound, dtype
        As in `Job`.
    token
        Different for different results.
    """

    stacks: tuple[ArrayStack, ...]
    bound: BoundMethod
    dtype: str
    token: str

    def __call__(self, *series: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return (band, ..., y, x) values and (..., y, x) status of (time, ..., y, x), the only chunk of its series."""
        chunks = [chunk for [chunk] in series]
        grid = grid_without_place(chunks[0])
        stacks = tuple(replace(one, values=c, grid=grid) for one, c in zip(self.stacks, chunks, strict=True))
        result = Job(stacks, self.bound, self.dtype, as_they_are).compute(grid.block)
        if result.failure is not None:
            self._say_once("", f"the function failed at some pixels (status 5); the first:\n{result.failure}")
        for band, number in result.rounded:
            self._say_once(band, say_rounded(band, number))
        values, status = result.encoded
        shape, halo = chunks[0].shape[1:], self.bound.halo
        inner = (..., slice(halo, -halo or None), slice(halo, -halo or None))
        return values.reshape(-1, *shape)[inner], status.reshape(shape)[inner]

    def _say_once(self, topic: str, text: str) -> None:
        """Log what concerns many chunks once in this process."""
        if (self.token, topic) not in _SAID:
            _SAID.add((self.token, topic))
            log.warning(text)


def bands_of_chunks(job: BoundJob, dtype: str, ndim: int) -> dict[str, Any]:
    """Return a lazy array for each band of a job; nothing is computed.

    Parameters
    ----------
    job
        Its response and covariates have the same shape, and at least one of them is on dask: the first one's chunks are
        those of the results.
    dtype
        Type of the map.
    ndim
        Dimensions that the results have: 2 and more are those of the stacks, fewer lack rows, or rows and columns.
    """
    stacks, bound, bands = [*job.stacks], job.answer.simplest, job.bands
    # In this thread, before those of dask, or its processes, all do.
    compile_kernels(Job(job.stacks, bound, dtype, as_they_are), job.method.name)
    halo, ndims = bound.halo, stacks[0].values.ndim
    lazy = next(stack.values for stack in stacks if isinstance(stack.values, dask.array.Array))
    chunks = (len(stacks[0].axis), *lazy.chunks[1:])
    arrays = [dask.array.asarray(stack.values, chunks=chunks).rechunk(chunks) for stack in stacks]
    if halo:
        arrays = [_with_halo(values, stack.decoding, halo) for values, stack in zip(arrays, stacks, strict=True)]
        stacks = [replace(stack, decoding=Decoding(stack.decoding.name)) for stack in stacks]
    empty = tuple(replace(stack, values=None) for stack in stacks)
    token = dask.base.tokenize(bound, dtype, [stack.decoding for stack in stacks], *arrays)
    # Its chunks are pairs of arrays, which only `_pick` sees. Without `concatenate`, dask copies nothing: series come
    # as lists of their chunks, of which there is one.
    axes = tuple(range(1, ndims))
    table = dask.array.blockwise(
        _Chunks(empty, bound, dtype, token), axes, *(part for array in arrays for part in (array, (0, *axes))),
        adjust_chunks={axis: tuple(size - 2 * halo for size in arrays[0].chunks[axis]) for axis in axes[-2:]},
        concatenate=False, dtype=dtype, meta=np.empty((0,) * len(axes), dtype), name=f"pixelwise-{token}",
    )  # fmt: skip
    return {band.name: _band_of(table, number, band, dtype, ndim) for number, band in enumerate(bands)}


def _with_halo(values: Any, decoding: Decoding, halo: int) -> Any:
    """Return values whose chunks share pixels with their neighbours, NaN beyond the edge."""
    dtype = decoding.dtype(values.dtype)
    decoded = dask.array.map_blocks(decoding, values, dtype=dtype, meta=np.empty((0,) * values.ndim, dtype))
    depth = dict.fromkeys(range(values.ndim), 0)
    for axis in (values.ndim - 2, values.ndim - 1):
        if values.shape[axis] >= halo:
            depth[axis] = halo
            continue
        # dask's overlap refuses arrays that are smaller: one chunk needs no neighbours.
        width = [(halo, halo) if one == axis else (0, 0) for one in range(values.ndim)]
        decoded = dask.array.pad(decoded, width, constant_values=np.nan).rechunk({axis: -1})
    return dask.array.overlap.overlap(decoded, depth=depth, boundary=np.nan)


def _band_of(table: Any, number: int, band: Band, dtype: str, ndim: int) -> Any:
    kind, axes = band.dtype(dtype), tuple(range(table.ndim))
    return dask.array.blockwise(
        _pick, axes[table.ndim - ndim :], table, axes, number=number, lacking=table.ndim - ndim, kind=kind,
        concatenate=False, dtype=kind, meta=np.empty((0,) * ndim, kind),
        name=f"{band.name}-{dask.base.tokenize(table.name, number, kind)}",
    )  # fmt: skip


def _pick(results: Any, number: int, lacking: int, kind: str) -> NDArray[Any]:
    """Return one band of a chunk, without dimensions that the array does not have: lists of one."""
    for _ in range(lacking):
        [results] = results
    values, status = results
    band: NDArray[Any] = (values[number] if number < len(values) else status)[(0,) * lacking]
    # A copy: a view would keep all bands in memory.
    return band.astype(kind)
