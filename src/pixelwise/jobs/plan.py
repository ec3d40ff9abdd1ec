"""Cut a job into blocks, so that each source block is decoded once and memory stays bounded."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.jobs.limits import Limits
from pixelwise.jobs.machine import allowed_memory, free_memory
from pixelwise.maps.tiles import TILE
from pixelwise.rasters.handles import CACHE_BYTES
from pixelwise.rasters.tags import TILE_UNIT
from pixelwise.stacks.base import Layout
from pixelwise.words import count, shown

__all__ = [
    "Demand",
    "Load",
    "OutputDemand",
    "Plan",
    "Workers",
    "check_blocks",
    "make_plan",
    "parse_size",
    "size_text",
    "smaller_blocks",
]

#: Interpreter with NumPy, numba and GDAL: measured 190-240 MB, the most just after compiling kernels.
PROCESS_BYTES = 280 << 20
#: Source blocks per block if those of the files are not aligned: a square of 4 x 4 decodes 1.6 times what it needs.
SHIFTED_UNITS = 16
#: Memory that the open files of one worker may hold. 1000 files of 512 x 512 ZSTD would hold 2.4 GB, and reading them
#: was slower (21 s) than with 200 of them open at a time (16 s).
HANDLES_BYTES = 256 << 20
#: Without a memory limit, blocks and files may need the memory that is allowed divided by this.
MEMORY_SHARE = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """What one input stack costs: its layers, and how they are stored."""

    layers: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class OutputDemand:
    """What the output costs.

    Attributes
    ----------
    bands
        Number of bands, ``status`` included.
    itemsize
        Bytes of a value.
    in_memory
        Whether the whole output is kept in memory.
    tile
        Rows and columns of its tiles, if part of it is written already.
    """

    bands: int
    itemsize: int = 4
    in_memory: bool = False
    tile: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers that compute a job.

    Attributes
    ----------
    count
        Number of processes that compute blocks; on a cluster, those that are there now.
    threads
        Blocks that each of them computes at a time.
    memory
        Bytes that all processes may use together if they are `local`, else bytes of one worker, of which there may be
        any number; None if nobody set a limit.
    local
        Whether all of them run on this machine, beside this process or in it.
    beside
        Whether local ones are processes of their own, so that this one takes memory too.
    teamwork
        Whether the threads can work on one block together: they share memory, and the stacks can be divided.
    """

    count: int = 1
    threads: int = 1
    memory: int | None = None
    local: bool = True
    beside: bool = False
    teamwork: bool = False

    @property
    def jobs(self) -> int:
        """Blocks that are computed at a time."""
        return self.count * self.threads

    @property
    def together(self) -> int:
        """Blocks that are computed at a time in the memory that is planned: of this machine, or of one worker."""
        return self.jobs if self.local else self.threads

    @property
    def processes(self) -> int:
        """Processes in that memory."""
        return self.count + self.beside if self.local else 1


@dataclass(frozen=True, kw_only=True)
class Load:
    """What an engine must know of a job, whatever its blocks are.

    Attributes
    ----------
    workers
        Who computes; of a cluster, who did when it was planned.
    team
        How many threads work on one block together: 1, or all.
    limit
        Maximum number of blocks in flight.
    memory
        Estimated bytes that all local processes need together; on a cluster, those that one worker needs.
    result_bytes
        Bytes of a finished block, before compression.
    """

    workers: Workers
    team: int = 1
    limit: int
    memory: int
    result_bytes: int

    @property
    def jobs(self) -> int:
        """Number of blocks computed at a time."""
        return self.workers.jobs


@dataclass(frozen=True, kw_only=True)
class Plan(Load):
    """The blocks of a map.

    Attributes
    ----------
    grid
        The grid that is cut.
    block_height, block_width
        Size of a block; blocks at the lower and right edge are smaller.
    tile_height, tile_width
        Size of the output's tiles; a block consists of whole tiles, so that each tile is written once.
    handles
        Number of datasets that one thread keeps open.
    redecode
        Ratio of decoded to needed pixels: 1 if no source block crosses the edge of a block.
    uncut
        Bytes of memory with which no source block would be cut; 0 if none is.
    """

    grid: Grid
    block_height: int
    block_width: int
    tile_height: int
    tile_width: int
    handles: int
    redecode: float
    uncut: int = 0

    def __len__(self) -> int:
        return math.ceil(self.grid.height / self.block_height) * math.ceil(self.grid.width / self.block_width)

    def blocks(self) -> Iterator[Block]:
        """Cut the grid, row by row."""
        return self.grid.blocks(self.block_height, self.block_width)


@dataclass(frozen=True)
class _Costs:
    """Memory costs of a job, in bytes, whatever its blocks."""

    fixed: int
    jobs: int
    halo: int
    input_per_pixel: int
    scratch_per_pixel: int
    output_per_pixel: int
    kept_per_pixel: int
    encoded_per_pixel: int
    handle: int

    @classmethod
    def of(cls, pixels: int, demands: Sequence[Demand], output: OutputDemand, workers: Workers, halo: int) -> _Costs:
        """Return the costs of a job with this number of pixels."""
        decoded = max(demand.layout.block_bytes for demand in demands)
        # A map in memory grows in this process, not in workers elsewhere.
        kept = pixels * output.bands * output.itemsize if output.in_memory and workers.local else 0
        return cls(
            fixed=workers.processes * (PROCESS_BYTES + CACHE_BYTES)
            # Each worker decodes one block at a time, inside GDAL's cache or in its place.
            + max(workers.together * decoded - CACHE_BYTES, 0)
            + kept,
            jobs=workers.together,
            halo=halo,
            input_per_pixel=sum(demand.layers * demand.layout.itemsize for demand in demands),
            scratch_per_pixel=max(demand.layout.scratch_bytes_per_pixel for demand in demands) + 1,
            # A method may return float64, which is then copied into the output's type.
            output_per_pixel=output.bands * (8 + output.itemsize),
            kept_per_pixel=output.bands * output.itemsize,
            # The assembled bands, and twice the tiles that GDAL makes from them.
            encoded_per_pixel=0 if output.in_memory else 3 * output.bands * output.itemsize,
            handle=max(demand.layout.open_file_bytes for demand in demands),
        )

    @property
    def per_pixel(self) -> int:
        return self.input_per_pixel + self.output_per_pixel

    def memory(self, height: int, width: int, team: int, handles: int) -> int:
        """Return what all local processes, or one worker elsewhere, need for blocks of that size."""
        at_once = self.jobs // team
        inputs = (height + 2 * self.halo) * (width + 2 * self.halo) * self.input_per_pixel
        pixels = height * width
        # Results that wait for the parent: two per worker, and the one being written.
        waiting = (2 * at_once + 1) * self.kept_per_pixel
        return (
            self.fixed
            + at_once * (inputs + pixels * (self.output_per_pixel + self.encoded_per_pixel))
            + pixels * (self.jobs * self.scratch_per_pixel + waiting)
            + self.jobs * handles * self.handle
        )


def check_blocks(layouts: Sequence[Layout], memory: int | None) -> None:
    """Refuse files when not even one block fits into memory, judging by their headers before anything is read.

    Parameters
    ----------
    layouts
        Layouts of all input stacks.
    memory
        Bytes that all local processes may use together; None for half of the memory that is free now.

    Raises
    ------
    InputError
        Names the file.
    """
    layout = max(layouts, key=lambda layout: layout.block_bytes)
    needed = PROCESS_BYTES + max(layout.block_bytes, CACHE_BYTES)
    room = free_memory() // 2 if memory is None else memory
    if layout.largest and layout.block_bytes > CACHE_BYTES and needed > room:
        path = layout.largest
        raise InputError(
            f"{path}: one block of it takes {size_text(layout.block_bytes)} when decoded, so a job needs at least "
            f"{size_text(needed)} of memory, but only {size_text(room)} may be used{_why(memory)}; "
            f"rewrite the file in smaller blocks, on a machine with enough memory: {smaller_blocks(path)}"
        )


def smaller_blocks(path: Path | str) -> str:
    """Return the command that rewrites a file in small blocks."""
    # `tiled=yes` alone would keep the tile size of a file that is tiled already.
    tiles = ["--co", "tiled=yes", "--co", "blockxsize=256", "--co", "blockysize=256"]
    return shlex.join(["rio", "convert", str(path), f"{PurePosixPath(path).stem}_tiled.tif", *tiles])


def _why(memory: int | None) -> str:
    return " (half of what is free; --memory allows more)" if memory is None else ""


def make_plan(
    grid: Grid,
    demands: Sequence[Demand],
    output: OutputDemand,
    workers: Workers,
    limits: Limits,
    *,
    halo: int = 0,
) -> Plan:
    """Choose the blocks of a job.

    Parameters
    ----------
    grid
        Grid of the response.
    demands
        Demands of the input stacks, the response first: the blocks of its files decide.
    output, workers, limits
        The output, the workers with their memory, and the sizes to aim at.
    halo
        Pixels that the method reads around a block.

    Raises
    ------
    ParameterError
        When not even the smallest block fits into the memory allowed.

    Notes
    -----
    If memory is short, the cheapest remedy comes first: fewer source blocks per block; one block at a time, on which
    all workers work together; datasets reopened for each block; source blocks cut, and so decoded repeatedly.
    """
    source, jobs, memory, tile = demands[0].layout, workers.together, workers.memory, output.tile
    sources = max(sum(demand.layout.sources for demand in demands), 1)
    costs = _Costs.of(grid.block.pixels, demands, output, workers, halo)
    budget = costs.fixed + allowed_memory() // MEMORY_SHARE if memory is None else memory
    cell = tile or (TILE_UNIT, TILE_UNIT)
    unit = _unit(source.block_height, grid.height, cell[0]) * _unit(source.block_width, grid.width, cell[1])
    # At least four blocks per worker, so that all finish at about the same time, but no source block is cut. On a
    # cluster, workers come and go: blocks do not depend on their number.
    least, share = limits.window_bytes // source.itemsize, grid.height * grid.width // (4 * workers.jobs)
    wished = min(unit * SHIFTED_UNITS, grid.height * grid.width) if source.shifted else unit
    largest = limits.block_bytes // costs.per_pixel
    pixels = max(min(max(share, least), largest) if workers.local else max(largest, least), wished)
    team = jobs if workers.teamwork and wished * costs.per_pixel > limits.block_bytes else 1
    most_handles = max(HANDLES_BYTES // costs.handle, 1)
    handles, uncut = min(math.ceil(sources / team), most_handles), 0
    while True:
        height, width = block_shape(grid, source.block_height, source.block_width, pixels, cell, shifted=source.shifted)
        needed = costs.memory(height, width, team, handles)
        if needed <= budget:
            break
        if pixels > unit:
            pixels = max(pixels // 2, unit)
        elif team == 1 and workers.teamwork and jobs > 1:
            team, handles = jobs, min(math.ceil(sources / jobs), most_handles)
        elif handles > 1:
            room = budget - costs.memory(height, width, team, 0)
            handles = max(min(room // (jobs * costs.handle), handles - 1), 1)
        elif pixels // 2 >= cell[0] * cell[1]:
            uncut = uncut or needed
            pixels //= 2
        elif memory is None:
            break
        else:
            raise ParameterError(
                _too_little(workers, demands[0].layers, needed)
                + (f" (the unfinished map has tiles of {tile[1]} x {tile[0]}; --restart discards it)" if tile else "")
            )
    return Plan(
        grid=grid,
        block_height=height,
        block_width=width,
        tile_height=tile[0] if tile else _tile(height, grid.height),
        tile_width=tile[1] if tile else _tile(width, grid.width),
        workers=workers,
        team=team,
        limit=2 * workers.jobs // team,
        handles=handles,
        memory=needed,
        result_bytes=height * width * costs.kept_per_pixel,
        redecode=redecode(grid.height, height, source.block_height, shifted=source.shifted)
        * redecode(grid.width, width, source.block_width, shifted=source.shifted),
        uncut=uncut,
    )


def _too_little(workers: Workers, layers: int, needed: int) -> str:
    """Say that workers have too little memory for even the smallest block."""
    memory, least = size_text(workers.memory or 0), math.ceil(needed / (1 << 20))
    with_layers = f"with {count(range(layers), 'layer')}"
    if workers.local:
        return (
            f"memory {memory} is too little: {count(range(workers.jobs), 'worker')} {with_layers} "
            f"need{'s' if workers.jobs == 1 else ''} at least {least} MiB; allow more or use fewer --jobs"
        )
    return (
        f"a worker may use {memory}, which is too little: {count(range(workers.threads), 'thread')} {with_layers} "
        f"need{'s' if workers.threads == 1 else ''} at least {least} MiB; start workers with more memory or "
        "fewer threads"
    )


def block_shape(
    grid: Grid,
    source_height: int,
    source_width: int,
    pixels: int,
    cell: tuple[int, int] = (TILE_UNIT, TILE_UNIT),
    *,
    shifted: bool = False,
) -> tuple[int, int]:
    """Return the rows and columns of blocks of about `pixels` or less that cut no source block if possible.

    For strips, a block is some strips over the full width; for tiles, some tiles in a row, then whole rows of tiles.
    Heights and widths are multiples of a `cell`, as the output's tiles need, or the whole raster. If the files' blocks
    are `shifted`, source blocks are cut on all sides, and squares cut the fewest.
    """
    unit_height = _unit(source_height, grid.height, cell[0])
    unit_width = _unit(source_width, grid.width, cell[1])
    if unit_height * unit_width > pixels:
        # A strip that is cut into columns is decoded once per column, so rows are cut first; by halving, so that the
        # cuts meet the edges of source blocks.
        height = min(_halved(pixels // unit_width, cell[0]), unit_height)
        width = min(_halved(pixels // height, cell[1]), unit_width)
        return height, width
    if shifted and unit_width < grid.width:
        height = min(unit_height * math.isqrt(pixels // (unit_height * unit_width)), grid.height)
        return height, min(_floor(pixels // height, unit_width), grid.width)
    if unit_width * unit_height * math.ceil(grid.width / unit_width) > pixels:
        return unit_height, _floor(pixels // unit_height, unit_width)
    return min(_floor(pixels // grid.width, unit_height), grid.height), grid.width


def _unit(source: int, size: int, cell: int) -> int:
    """Return the smallest multiple of a source block that is whole output tiles, at most the whole size."""
    return min(math.lcm(source, cell), size)


def _floor(value: int, unit: int) -> int:
    """Return the largest multiple of `unit` up to `value`, at least one unit."""
    return max(value // unit, 1) * unit


def _halved(value: int, cell: int) -> int:
    """Return the largest cell x 2^k up to `value`, at least a cell."""
    return int(cell << max((value // cell).bit_length() - 1, 0))


def _tile(block: int, size: int) -> int:
    """Return an edge of output tiles that divides that of a block; any edge if one block covers the size."""
    if block >= size:
        return min(TILE, math.ceil(size / TILE_UNIT) * TILE_UNIT)
    return math.gcd(block, TILE)


def redecode(size: int, block: int, source: int, *, shifted: bool = False) -> float:
    """Return the ratio of decoded to needed length along one axis: 1 if blocks end at edges of source blocks.

    If source blocks are `shifted` from file to file, return the mean over all shifts.
    """
    if shifted:
        return 1.0 if block >= size else (block + source - 1) / block
    decoded = sum(
        math.ceil(min(start + block, size) / source) * source - start // source * source
        for start in range(0, size, block)
    )
    whole = math.ceil(size / source) * source
    return decoded / whole


_UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "KIB": 2**10, "M": 10**6, "MB": 10**6, "MIB": 2**20}
_UNITS |= {"G": 10**9, "GB": 10**9, "GIB": 2**30, "T": 10**12, "TB": 10**12, "TIB": 2**40}


def parse_size(size: int | str) -> int:
    """Return the number of bytes in ``"4GiB"``, ``"500 MB"`` or a plain number.

    Raises
    ------
    ParameterError
        When it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size if isinstance(size, str) else shown(size))
    if match is None or match[2].upper() not in _UNITS:
        raise ParameterError(f"memory={shown(size)} is not a size; expected 4GiB, 500MB or a number of bytes")
    amount = float(match[1]) * _UNITS[match[2].upper()]
    if not amount < 2**63:
        raise ParameterError(f"memory={shown(size)} is more than any machine has")
    return int(amount)


def size_text(size: int) -> str:
    """Return a number of bytes in readable form."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit in ("B", "KiB") or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError(size)
