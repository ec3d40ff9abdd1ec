"""What is sent to workers (stacks and a bound method) and what comes back (one block of a map)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import ANSWERED, Status
from pixelwise.errors import InputError, PixelwiseError
from pixelwise.grid import Block
from pixelwise.jobs.layer_digests import sums_of
from pixelwise.method import BoundMethod, rounded_whole_numbers
from pixelwise.rasters.handles import reading_in_worker, take_losses
from pixelwise.rasters.pieces import Loss
from pixelwise.stacks.base import BlockReader, FileStack, Stack, layout_of

__all__ = ["Done", "Job", "Result", "Work", "Workspace"]

#: Shares of the files, and parts of the pixels, per thread of a team: so that the threads finish together.
READERS_PER_THREAD = 4


class Done(Protocol):
    """What a worker gives for one block."""

    @property
    def seconds(self) -> float:
        """How long it took."""


DoneT_co = TypeVar("DoneT_co", bound=Done, covariant=True)


class Work(Protocol[DoneT_co]):
    """What an engine has its workers do: the same for every block, whatever a block of it is."""

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that it reads."""

    @property
    def team(self) -> int:
        """How many threads work on one block together."""

    @property
    def handles(self) -> int:
        """How many datasets one thread keeps open."""

    def compute(self, block: Block, workspace: Workspace) -> DoneT_co:
        """Do the work for one block."""

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for what a worker of this process will soon read for a block."""

    def kernels(self, name: str) -> str:
        """Name the kernels that `try_out` compiles: equal texts for the same."""

    def try_out(self) -> None:
        """Compile all kernels that it needs."""


@dataclass(frozen=True)
class Result:
    """One finished block.

    Attributes
    ----------
    encoded
        What the sink writes.
    answered
        Whether any pixel has values.
    read, kernel, encode
        Seconds, summed over all threads of a team.
    failure
        Traceback of the first pixel at which a user's function failed, if any.
    lost
        What could not be read and counts as missing.
    rounded
        Names of bands with whole numbers that the type of the map cannot hold, each with one such number.
    sums
        What the values of each band add to its digest, if the job records these.
    """

    block: Block
    encoded: Any
    answered: bool
    read: float
    kernel: float
    encode: float
    failure: str | None = None
    lost: tuple[Loss, ...] = ()
    rounded: tuple[tuple[str, float], ...] = ()
    sums: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.read + self.kernel + self.encode


@dataclass(frozen=True)
class _Answered:
    """The results of a method for some pixels.

    Attributes
    ----------
    values
        (band, pixel) in the map's type.
    status
        (pixel,).
    rounded, failure
        As in `Result`.
    """

    values: NDArray[Any]
    status: NDArray[np.uint8]
    rounded: tuple[tuple[str, float], ...] = ()
    failure: str | None = None


@dataclass(frozen=True)
class Job:
    """Stacks, the response first, and the method bound to them.

    Attributes
    ----------
    dtype
        Data type of the map.
    encode
        Turns a block, its (band, y, x) values of that type and (y, x) status into what the sink accepts.
    team
        How many threads work on one block together; 1 if each block has its own worker.
    handles
        How many datasets one thread keeps open.
    digested
        Whether the map records a digest of the values of each band.
    """

    stacks: tuple[Stack, ...]
    bound: BoundMethod
    dtype: str
    encode: Callable[[Block, NDArray[Any], NDArray[np.uint8]], Any]
    team: int = 1
    handles: int = 65536
    digested: bool = False

    def compute(self, block: Block, workspace: Workspace | None = None) -> Result:
        """Read a block of every stack and apply the method."""
        workspace = workspace or Workspace(self)
        if workspace.pool is not None:
            return self._compute_together(block, workspace, workspace.pool)
        take_losses()  # discards those of earlier reads in this thread
        began = time.perf_counter()
        halo = self.bound.halo
        inside = self._inside(block)
        if inside is not None and not inside.any():
            return self._nothing_of(block, time.perf_counter() - began)
        with workspace.arrays(block.pad(halo)) as arrays:
            inputs = tuple(read_padded(s, block, halo, out) for s, out in zip(self.stacks, arrays, strict=True))
            if not halo:
                inputs = tuple(array.reshape(len(array), -1) for array in inputs)
            read = time.perf_counter() - began
            answer = self._apply(inputs, block.pixels)
        kernel = time.perf_counter() - began - read
        if inside is not None:
            answer = self._without_outside(answer, inside.reshape(-1))
        return self._result(block, answer, read, kernel, take_losses())

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for the bytes of a block."""
        for stack in self.stacks:
            if not isinstance(stack, FileStack) or not stack.area.touches(block):
                continue
            inside = block.pad(self.bound.halo).intersection(stack.extent)
            # The worker tells what cannot be read.
            with suppress(InputError):
                stack.fetch_ahead(block if inside is None else inside)

    def kernels(self, name: str) -> str:
        """Name the kernels of the method `name` for these types."""
        return repr((name, self.dtype, [str(t) for t in self._types], [band.name for band in self.bound.bands]))

    def try_out(self) -> None:
        """Apply the method to one pixel without a value."""
        size: tuple[int, ...] = (1 + 2 * self.bound.halo,) * 2 if self.bound.halo else (1,)
        kinds = zip(self.stacks, self._types, strict=True)
        self.bound(tuple(np.full((len(stack.axis), *size), np.nan, kind) for stack, kind in kinds), self.dtype)

    @property
    def _types(self) -> list[np.dtype[Any]]:
        return [np.dtype(np.float32 if layout_of(stack).itemsize == 4 else np.float64) for stack in self.stacks]

    def _inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return a (y, x) mask of the requested pixels; None for all."""
        stack = self.stacks[0]
        return stack.area.inside(block) if isinstance(stack, FileStack) else None

    def _nothing_of(self, block: Block, seconds: float) -> Result:
        """Return a block without any requested pixel."""
        values = np.zeros((len(self.bound.bands), block.pixels), dtype=self.dtype)
        status = np.zeros(block.pixels, dtype=np.uint8)
        nothing = self._without_outside(_Answered(values, status), np.zeros(block.pixels, dtype=bool))
        return self._result(block, nothing, seconds, 0.0, take_losses())

    def _without_outside(self, answer: _Answered, inside: NDArray[np.bool_]) -> _Answered:
        """Blank the pixels that are not requested; their counts become 0, because counts have no nodata."""
        missing = np.array([[0.0 if band.integer else np.nan] for band in self.bound.bands], dtype=answer.values.dtype)
        values = np.where(inside, answer.values, missing)
        return replace(answer, values=values, status=np.where(inside, answer.status, np.uint8(Status.OUTSIDE)))

    def _result(self, block: Block, answer: _Answered, read: float, kernel: float, lost: tuple[Loss, ...]) -> Result:
        began = time.perf_counter()
        shape = (block.height, block.width)
        status = answer.status.reshape(shape)
        if lost:
            status = self._with_losses(block, status, lost)
            # Losses in the halo are counted by the neighbouring block.
            inside = [(loss, loss.block.intersection(block)) for loss in lost]
            lost = tuple(replace(loss, block=shared) for loss, shared in inside if shared is not None)
        sums = sums_of(block, self.stacks[0].grid.width, answer.values) if self.digested else ()
        encoded = self.encode(block, answer.values.reshape(-1, *shape), status)
        answered = any((status == code).any() for code in ANSWERED)
        seconds = time.perf_counter() - began
        return Result(block, encoded, answered, read, kernel, seconds, answer.failure, lost, answer.rounded, sums)

    def _with_losses(self, block: Block, status: NDArray[np.uint8], lost: tuple[Loss, ...]) -> NDArray[np.uint8]:
        """Return the status with pixels marked that lost dates but are otherwise fine."""
        touched = np.zeros(status.shape, dtype=bool)
        for loss in lost:
            # The result of a pixel depends on all neighbours within the halo.
            shared = loss.block.pad(self.bound.halo).intersection(block)
            if shared is not None:
                touched[shared.shift(-block.row, -block.col).slices] = True
        return np.where(touched & (status == Status.OK), np.uint8(Status.DATES_LOST), status)

    def _apply(self, inputs: tuple[NDArray[Any], ...], pixels: int) -> _Answered:
        values, status = self.bound(inputs, self.dtype)
        expected = (len(self.bound.bands), pixels)
        if values.shape != expected or status.shape != expected[1:]:
            raise PixelwiseError(
                f"the method returned values {values.shape} and status {status.shape} "
                f"instead of {expected} and {expected[1:]}"
            )
        # A method may return a view of its input.
        lent = any(np.may_share_memory(values, array) for array in inputs)
        rounded = tuple((self.bound.bands[i].name, value) for i, value in rounded_whole_numbers(values, self.dtype))
        with np.errstate(over="ignore", under="ignore"):
            values = values.astype(self.dtype, copy=lent)
        return _Answered(values, status, rounded, self._failure(inputs, status))

    def _failure(self, inputs: tuple[NDArray[Any], ...], status: NDArray[np.uint8]) -> str | None:
        """Run the first failing pixel of the block again and return its traceback."""
        traceback_of = getattr(self.bound, "traceback_of", None)
        if traceback_of is None:
            return None
        failed = np.flatnonzero(status == Status.FUNCTION_FAILED)
        if not len(failed):
            return None
        text: str | None = traceback_of(inputs[0][:, failed[0]])
        return text

    def _compute_together(self, block: Block, workspace: Workspace, pool: ThreadPoolExecutor) -> Result:
        """Compute one block with all threads of the team: each reads some files, then fits some rows of pixels.

        A source block of many dates is large. With one of them in memory at a time, each is still decoded only once.
        """
        began = time.perf_counter()
        with reading_in_worker(workspace.token, self.handles):
            inside = self._inside(block)
        if inside is not None and not inside.any():
            return self._nothing_of(block, time.perf_counter() - began)
        heights = _split(block.height, READERS_PER_THREAD * self.team)

        def read(reader: BlockReader, parts: list[NDArray[Any]]) -> tuple[float, tuple[Loss, ...]]:
            take_losses()
            began = time.perf_counter()
            with reading_in_worker(workspace.token, self.handles):
                reader.read_into(block, parts)
            return time.perf_counter() - began, take_losses()

        def fit(inputs: tuple[NDArray[Any], ...]) -> tuple[_Answered, float]:
            began = time.perf_counter()
            flat = tuple(array.reshape(len(array), -1) for array in inputs)
            return self._apply(flat, flat[0].shape[1]), time.perf_counter() - began

        with workspace.arrays(block, heights) as arrays:
            tasks = [
                (reader, parts) for readers, parts in zip(workspace.readers, arrays, strict=True) for reader in readers
            ]
            reads, losses = zip(*pool.map(read, *zip(*tasks, strict=True)), strict=True)
            answers, kernels = zip(*pool.map(fit, zip(*arrays, strict=True)), strict=True)
        together = _Answered(
            np.concatenate([answer.values for answer in answers], axis=1),
            np.concatenate([answer.status for answer in answers]),
            tuple(dict(band for answer in answers for band in answer.rounded).items()),
            next((answer.failure for answer in answers if answer.failure is not None), None),
        )
        if inside is not None:
            together = self._without_outside(together, inside.reshape(-1))
        lost = tuple(loss for some in losses for loss in some)
        return self._result(block, together, sum(reads), sum(kernels), lost)


def _split(height: int, count: int) -> list[int]:
    """Divide rows of pixels into at most `count` parts of roughly equal height."""
    edges = np.linspace(0, height, min(count, height) + 1).astype(int)
    return [int(size) for size in np.diff(edges)]


def read_padded(stack: Stack, block: Block, halo: int, out: NDArray[Any] | None) -> NDArray[Any]:
    """Read a block with `halo` pixels around it, NaN outside the image; into `out` if the stack supports that."""
    padded = block.pad(halo)
    inside = padded if not halo else padded.intersection(getattr(stack, "extent", stack.grid.block))
    if inside is None:
        raise ValueError(f"{block} lies outside {stack.grid}")
    if inside == padded and out is not None and isinstance(stack, FileStack):
        stack.read_into(padded, out)
        return out
    pixels = stack.read(inside)
    if inside == padded:
        return pixels
    if out is None:
        out = np.empty((len(pixels), padded.height, padded.width), dtype=pixels.dtype)
    out[:] = np.nan
    rows, cols = inside.shift(-padded.row, -padded.col).slices
    out[:, rows, cols] = pixels
    return out


class Workspace:
    """What a process keeps of a job between blocks: buffers to read into, and the team if there is one."""

    def __init__(self, job: Work[Any], token: str = "") -> None:
        self.job = job
        self.token = token
        self._free: list[list[NDArray[Any]]] = []
        self.pool: ThreadPoolExecutor | None = None
        self.readers: tuple[tuple[BlockReader, ...], ...] = ()
        if job.team > 1:
            self.pool = ThreadPoolExecutor(job.team, thread_name_prefix="pixelwise-team")
            count = READERS_PER_THREAD * job.team
            self.readers = tuple(
                stack.readers(count, max(job.handles * job.team // count, 1))
                for stack in job.stacks
                if isinstance(stack, FileStack)
            )

    @contextmanager
    def arrays(self, block: Block, heights: Sequence[int] = ()) -> Iterator[list[Any]]:
        """Lend memory for a block of every stack.

        Allocating it anew for each block would cost page faults worth 2 to 15 % of decoding.

        Returns
        -------
        list
            For each stack a (layer, y, x) array, or None if the stack allocates its own; with `heights`, a list of
            arrays with those numbers of rows.
        """
        try:
            flat = self._free.pop()
        except IndexError:  # asking first would not do: another thread may take the last one in between
            flat = [np.empty(0) for _ in self.job.stacks]
        for index, stack in enumerate(self.job.stacks):
            size = len(stack.axis) * block.pixels
            if isinstance(stack, FileStack) and flat[index].size < size:
                flat[index] = np.empty(size, dtype=stack.dtype)
        try:
            yield [
                _shaped(array, len(stack.axis), block, heights) if isinstance(stack, FileStack) else None
                for stack, array in zip(self.job.stacks, flat, strict=True)
            ]
        finally:
            self._free.append(flat)

    def close(self) -> None:
        """End the team and close its datasets."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
        for reader in (reader for readers in self.readers for reader in readers):
            reader.close()


def _shaped(flat: NDArray[Any], layers: int, block: Block, heights: Sequence[int]) -> Any:
    if not heights:
        return flat[: layers * block.pixels].reshape(layers, block.height, block.width)
    parts, start = [], 0
    for height in heights:
        size = layers * height * block.width
        parts.append(flat[start : start + size].reshape(layers, height, block.width))
        start += size
    return parts
