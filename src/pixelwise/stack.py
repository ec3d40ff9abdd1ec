"""Stacks: one layer of pixels per date, read block by block.

The engine knows a stack only by ``grid``, ``axis`` and ``read(block)``; what it may tell besides, to be read
faster, is its `Layout`.
"""

from __future__ import annotations

import errno
import logging
import math
import threading
import time
import warnings
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pixelwise.errors import InputError, ParameterError, ResourceError
from pixelwise.grid import Block, Bounds, Grid
from pixelwise.headers import WHOLE_FILES, lossless_in_float32
from pixelwise.naming import read_range
from pixelwise.spec import Duplicates, InputSpec
from pixelwise.tiff import DamagedBlockError, TiffFile, open_tiff, release_buffers
from pixelwise.times import Precision, TimeAxis, iso

__all__ = [
    "Layer",
    "Layout",
    "Loss",
    "Piece",
    "RasterStack",
    "Stack",
    "chosen_layers",
    "layout_of",
    "reading",
    "reading_in_worker",
    "take_losses",
]

log = logging.getLogger("pixelwise")


@runtime_checkable
class Stack(Protocol):
    """Layers of pixels on one grid, read from files or derived from another stack."""

    @property
    def grid(self) -> Grid:
        """Where the pixels are."""

    @property
    def axis(self) -> TimeAxis:
        """When the layers were observed, ascending."""

    def read(self, block: Block) -> NDArray[Any]:
        """Return (time, y, x) float32 or float64 of a block inside the grid, NaN where missing.

        The dtype is the same for every block.
        """


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stack is best read.

    Attributes
    ----------
    block_height, block_width
        The files' own blocks, by majority: windows that cut them decode them twice.
    itemsize
        Bytes of a pixel in the array that ``read`` returns.
    stored_itemsize
        Bytes of a pixel in the files.
    sources
        How many files are open at once while reading.
    decoded
        Bytes that are decoded at once beyond the window that is read: one block of a file, of all its bands
        where it interleaves pixels.
    resident
        Bytes that GDAL keeps of one open dataset.
    converted
        Bytes per pixel of the largest read that does not go straight into the array, and of the file's bytes
        before they are decoded.
    unit
        Unit of the values, empty where unknown.
    """

    block_height: int = 256
    block_width: int = 256
    itemsize: int = 8
    stored_itemsize: int = 8
    sources: int = 0
    decoded: int = 0
    resident: int = 1 << 20
    converted: int = 8
    unit: str = ""


def layout_of(stack: Stack) -> Layout:
    """Return what a stack says about its layout, or the usual one where it says nothing."""
    layout = getattr(stack, "layout", None)
    return layout if isinstance(layout, Layout) else Layout()


@dataclass(frozen=True, slots=True)
class Piece:
    """One band of one file, placed on the stack's grid.

    Attributes
    ----------
    path, driver, band
        What to open and read.
    block
        Its place on the grid; may reach beyond it.
    dtype, nodata, scale, offset, masked
        How values are stored; `nodata` are stored values that are missing.
    georeferenced
        Whether the file has a CRS or a transform.
    """

    path: Path
    driver: str
    band: int
    block: Block
    dtype: str
    nodata: tuple[float, ...]
    scale: float
    offset: float
    masked: bool
    georeferenced: bool

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are not yet values."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def nodata_stored(self) -> NDArray[Any]:
        """Nodata in the band's own dtype; what the dtype cannot hold never occurs, NaN is missing anyway."""
        dtype = np.dtype(self.dtype)
        kept = []
        for value in self.nodata:
            if np.isnan(value):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                if dtype.kind == "f":
                    kept.append(dtype.type(value))
                elif np.iinfo(dtype).min <= value <= np.iinfo(dtype).max and float(value).is_integer():
                    kept.append(dtype.type(int(value)))
        return np.array(kept, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Layer:
    """What was observed at one date.

    Attributes
    ----------
    date, precision, rule
        When, how exactly that is known, and by which rule it was read.
    members
        Pieces that together cover the grid; several members where equal dates are reduced to one layer.
    reduce
        ``mean`` or ``max`` of several members.
    """

    date: datetime
    precision: Precision
    rule: str
    members: tuple[tuple[Piece, ...], ...]
    reduce: Duplicates | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces of all members."""
        return tuple(piece for member in self.members for piece in member)

    @property
    def iso_date(self) -> str:
        """The date in ISO 8601."""
        return iso(self.date, self.precision)


@dataclass(frozen=True, slots=True)
class Loss:
    """A block of a file that could not be read, and so counts as missing.

    Attributes
    ----------
    path, band
        Of the file.
    block
        Its place on the stack's grid, as far as it was wanted.
    reason
        What the library met.
    """

    path: Path
    band: int
    block: Block
    reason: str


@dataclass(frozen=True, eq=False)
class _Read:
    """Bands of one file that go into rows of an array in one call."""

    piece: Piece
    bands: tuple[int, ...]
    rows: tuple[int, ...]

    @cached_property
    def rows_slice(self) -> slice | None:
        """The rows where they follow each other."""
        first, last = self.rows[0], self.rows[-1]
        return slice(first, last + 1) if self.rows == tuple(range(first, last + 1)) else None

    @cached_property
    def nodata(self) -> NDArray[Any]:
        return self.piece.nodata_stored

    def goes_straight(self, dtype: np.dtype[Any]) -> bool:
        """Whether the bands of a window can be read into an array of `dtype` as they are stored."""
        return self.rows_slice is not None and self.piece.dtype == dtype

    def unpack(self, raw: NDArray[Any], valid: tuple[float, float], out: NDArray[Any]) -> None:
        """Write values of contiguous `raw` into contiguous `out`, which may be `raw` itself."""
        from pixelwise.unpack import unpack

        low, high = valid
        if self.piece.dtype == "float32" and not self.piece.scaled:
            # As stored: -0.2 of a float32 file lies a little below that of a float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        unpack(raw.reshape(-1), self.nodata, self.piece.scale, self.piece.offset, low, high, out.reshape(-1))


@dataclass(frozen=True, eq=False)
class Share:
    """Some files of a stack, to be read by one thread at a time.

    Attributes
    ----------
    reads
        What is read, and into which rows.
    reductions
        Where several rows become one: the row of the layer, those of its members, and how.
    rows
        How many rows the members need before they are reduced.
    valid
        Smallest and largest value that is not missing.
    mosaic
        Whether files may cover a block in part.
    forgiving
        Whether what cannot be read counts as missing.
    handles
        Datasets of its own; None for those of the thread.
    """

    reads: tuple[_Read, ...]
    reductions: tuple[tuple[int, tuple[int, ...], Duplicates | None], ...]
    rows: int
    valid: tuple[float, float]
    mosaic: bool
    forgiving: bool
    handles: _Table | None = None

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the rows of these files in arrays that hold a block's upper, next, ... and lowest rows of pixels.

        Parameters
        ----------
        block
            Inside the grid.
        parts
            (layer, y, x) contiguous arrays; one of them, or several of which another thread takes each.

        Raises
        ------
        InputError
            When a file cannot be read, naming file, band and window.
        """
        table = _HANDLES.open
        if self.handles is not None:
            table = self.handles
            table.turn += 1
        targets = parts
        if self.reductions:
            # Members need rows of their own before they are reduced.
            targets = [np.empty((self.rows, *part.shape[1:]), dtype=part.dtype) for part in parts]
        for read in self.reads:
            self._fill(read, block, targets, table)
        for part, members in zip(parts, targets, strict=True):
            for row, rows, how in self.reductions:
                part[row] = _reduce(members[rows[0] : rows[-1] + 1], how)

    def close(self) -> None:
        """Close the datasets of its own."""
        if self.handles is not None:
            self.handles.close()

    def converted(self, dtype: np.dtype[Any]) -> int:
        """Return bytes per pixel of the largest read that is converted to `dtype` on its way."""
        sizes = [
            len(read.rows) * np.dtype(read.piece.dtype).itemsize
            for read in self.reads
            if self.mosaic or not read.goes_straight(dtype)
        ]
        return max(sizes, default=0)

    def _fill(self, read: _Read, block: Block, parts: Sequence[NDArray[Any]], table: _Table) -> None:
        piece = read.piece
        shared = block.intersection(piece.block)
        whole = shared == block
        if not whole and not self.mosaic:
            raise ValueError(f"{block} lies outside {piece.block}, {piece.path}")
        if shared is None:
            return
        window = shared.shift(-piece.block.row, -piece.block.col)
        if whole and len(parts) == 1 and read.goes_straight(parts[0].dtype):
            values = parts[0][read.rows_slice]
            masks = self._read_window(read, window, values, table)
            read.unpack(values, self.valid, values)
            if masks is not None:
                values[masks == 0] = np.nan
            return
        raw = np.empty((len(read.rows), shared.height, shared.width), dtype=piece.dtype)
        masks = self._read_window(read, window, raw, table)
        top, columns = shared.row - block.row, shared.shift(-block.row, -block.col).slices[1]
        start = 0
        for part in parts:
            first, last = max(top, start), min(top + shared.height, start + part.shape[1])
            source = slice(first - top, last - top)
            for index, row in enumerate(read.rows) if first < last else ():
                target = part[row, first - start : last - start, columns]
                # A view of whole rows of pixels is filled in place.
                values = target if target.flags.c_contiguous else np.empty(target.shape, dtype=part.dtype)
                read.unpack(raw[index, source], self.valid, values)
                if masks is not None:
                    values[masks[index, source] == 0] = np.nan
                if values is not target:
                    target[:] = values
            start += part.shape[1]

    def _read_window(self, read: _Read, window: Block, out: NDArray[Any], table: _Table) -> NDArray[np.uint8] | None:
        """Read a window of a file into `out` (band, y, x); return masks where something is missing."""
        if not self.forgiving:
            return _read_patiently(read.piece, read.bands, window, out, table)
        if read.piece.driver == "GTiff":
            try:
                return _read_patiently(read.piece, read.bands, window, out, table)
            except _WindowError:
                pass
        # Of a VRT a window may be whole though the block around it is not: always by blocks, whatever the window.
        return _read_what_is_whole(read.piece, read.bands, window, out, table)


@dataclass(frozen=True, repr=False)
class RasterStack:
    """Layers read from raster files, sorted by date; `open_stack` makes it.

    Attributes
    ----------
    grid
        The first layer's georeferencing.
    layers
        By ascending date.
    spec
        The options that it was opened with.
    source_block
        Rows and columns of the files' own blocks, by majority.
    decoded, pixel_size, resident
        Bytes of the largest block that is decoded at once, of a pixel in it, and of what GDAL keeps of one dataset.
    stats
        Size and modification time (nanoseconds) of each file, and of those behind VRTs, when its header was read.
    unit
        Unit of the values where the files agree on one.
    """

    grid: Grid
    layers: tuple[Layer, ...]
    spec: InputSpec
    source_block: tuple[int, int]
    decoded: int = 0
    pixel_size: int = 8
    resident: int = 1 << 20
    stats: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    unit: str = ""

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        # Layers and pieces of a thousand scenes would fill a notebook.
        return f"<RasterStack: {self}>"

    def __str__(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        if self.axis.precision == "year":
            span = f"{first.date.year}..{last.date.year}"
        else:
            span = f"{first.iso_date}..{last.iso_date}"
        pieces = [piece for layer in self.layers for piece in layer.pieces]
        dtypes = "/".join(sorted({piece.dtype for piece in pieces}))
        nodata = sorted({str(f"{value:.10g}").replace("nan", "NaN") for piece in pieces for value in piece.nodata})
        missing = ", ".join(nodata) or "none"
        return f"{len(self)} layers, {span}, {self.grid}, {dtypes}, nodata {missing}"

    @cached_property
    def axis(self) -> TimeAxis:
        """When the layers were observed."""
        return TimeAxis.from_dates([layer.date for layer in self.layers], [layer.precision for layer in self.layers])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """float32 only where that loses nothing of any layer, else float64."""
        narrow = all(
            lossless_in_float32(piece.dtype) and not piece.scaled and layer.reduce != "mean"
            for layer in self.layers
            for piece in layer.pieces
        )
        return np.dtype(np.float32 if narrow else np.float64)

    @property
    def layout(self) -> Layout:
        """How it is best read."""
        pieces = [piece for layer in self.layers for piece in layer.pieces]
        compressed = math.ceil(LZW_GROWTH * self.pixel_size)
        stored = Counter(np.dtype(piece.dtype).itemsize for piece in pieces).most_common(1)[0][0]
        return Layout(
            block_height=min(self.source_block[0], self.grid.height),
            block_width=min(self.source_block[1], self.grid.width),
            itemsize=self.dtype.itemsize,
            stored_itemsize=stored,
            sources=len({piece.path for piece in pieces}),
            decoded=self.decoded,
            resident=self.resident,
            converted=self._whole.converted(self.dtype) + compressed,
            unit=self.unit,
        )

    @property
    def extent(self) -> Block:
        """What can be read: more than the grid after `crop`, so that a halo finds its pixels."""
        blocks = [piece.block for piece in self.layers[0].members[0]]
        row, col = min(b.row for b in blocks), min(b.col for b in blocks)
        bottom, right = max(b.row + b.height for b in blocks), max(b.col + b.width for b in blocks)
        return Block(row, col, bottom - row, right - col)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file, once, in the order of the layers."""
        return tuple(dict.fromkeys(piece.path for layer in self.layers for piece in layer.pieces))

    def select(
        self,
        start: str | int | None = None,
        end: str | int | None = None,
        months: Sequence[int] | None = None,
        bounds: Bounds | None = None,
    ) -> RasterStack:
        """Return a part of the stack; nothing is read.

        Parameters
        ----------
        start, end
            First and last date, as far as written: ``"1990"``, ``"2020-06"``.
        months
            Months to keep, 1 to 12.
        bounds
            Left, bottom, right, top in units of the CRS; pixels that it touches are kept.

        Raises
        ------
        InputError
            When fewer than two layers are left, or months are asked of layers that know only their year.
        ParameterError
            When a date cannot be read, or the bounds lie outside.
        """
        spec = self.spec.replace(
            start=self.spec.start if start is None else start,
            end=self.spec.end if end is None else end,
            months=self.spec.months if months is None else months,
            bounds=self.spec.bounds if bounds is None else bounds,
        )
        layers = chosen_layers(self.layers, spec)
        if len(layers) < 2:
            raise InputError(
                f"{len(layers)} of {len(self)} layers are left{words_of_choice(spec)}: a series needs at least two"
            )
        stack = replace(self, layers=layers, spec=spec)
        return stack if bounds is None else stack.crop(self.grid.block_of_bounds(bounds))

    def crop(self, block: Block) -> RasterStack:
        """Return the stack of one block of its grid."""
        layers = tuple(
            replace(
                layer,
                members=tuple(
                    tuple(replace(p, block=p.block.shift(-block.row, -block.col)) for p in member)
                    for member in layer.members
                ),
            )
            for layer in self.layers
        )
        return replace(self, grid=self.grid.crop(block), layers=layers)

    def shares(self, count: int, handles: int) -> tuple[Share, ...]:
        """Divide the files into at most `count` shares with datasets of their own, about equal in layers.

        Layers of one file are in one share: a file that interleaves its bands' pixels is decoded for all at once.
        At most `handles` datasets are open in each.
        """
        layers_of: dict[Path, list[int]] = {}
        for index, layer in enumerate(self.layers):
            layers_of.setdefault(layer.pieces[0].path, []).append(index)
        groups: list[list[int]] = [[] for _ in range(min(count, len(layers_of)))]
        for members in layers_of.values():
            min(groups, key=len).extend(members)
        return tuple(self._share(group, _Table.of_at_most(handles)) for group in groups)

    @cached_property
    def _whole(self) -> Share:
        return self._share(range(len(self.layers)))

    def _share(self, indices: Sequence[int], handles: _Table | None = None) -> Share:
        """Prepare reading some layers: which bands of which file go into which row."""
        reduced = any(len(self.layers[index].members) > 1 for index in indices)
        reductions = []
        grouped: dict[Piece, list[tuple[int, Piece]]] = {}
        row = 0
        for index in indices:
            layer = self.layers[index]
            first = row if reduced else index
            for row, member in enumerate(layer.members, first):
                for piece in member:
                    # All bands of a file that are stored alike are read at once: a pixel-interleaved file
                    # of 21 bands is else decoded 21 times.
                    grouped.setdefault(replace(piece, band=0), []).append((row, piece))
            row += 1
            if reduced:
                reductions.append((index, tuple(range(first, row)), layer.reduce))
        reads = tuple(
            _Read(items[0][1], tuple(piece.band for _, piece in items), tuple(row for row, _ in items))
            for items in grouped.values()
        )
        valid = self.spec.valid_range or (-np.inf, np.inf)
        mosaic = any(len(member) > 1 for index in indices for member in self.layers[index].members)
        forgiving = self.spec.on_read_error == "missing"
        return Share(reads, tuple(reductions), row, valid, mosaic, forgiving, handles)

    def read(self, block: Block) -> NDArray[Any]:
        """Return (time, y, x) of a block inside the grid, NaN where missing.

        Raises
        ------
        InputError
            When a file cannot be read, naming file, band and window.
        """
        out = np.empty((len(self.layers), block.height, block.width), dtype=self.dtype)
        self.read_into(block, out)
        return out

    def read_into(self, block: Block, out: NDArray[Any]) -> None:
        """Read a block as `read` does into an array of the same shape and type.

        Memory that is used again spares the faults of fresh pages: 2 % of decoding at 22 MB a block, 15 % at
        44 MB and more (21 tiled DEFLATE files of 3000 x 3000 pixels, two threads).
        """
        with _HANDLES.kept(after=False):
            self._whole.read_into(block, (out,))

    def check_unchanged(self) -> None:
        """Compare size and modification time of every file with those when its header was read.

        Raises
        ------
        InputError
            When some changed or vanished, naming them.
        """
        problems = []
        for path, (size, mtime_ns) in self.stats.items():
            try:
                now = path.stat()
            except OSError as error:
                problems.append(f"{path}: vanished since its header was read ({error.strerror})")
                continue
            if now.st_size != size:
                problems.append(f"{path}: changed since its header was read: {size} bytes, now {now.st_size}")
            elif now.st_mtime_ns != mtime_ns:
                was, is_ = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (mtime_ns, now.st_mtime_ns))
                problems.append(
                    f"{path}: changed since its header was read: modified {was:%Y-%m-%d %H:%M:%S}, "
                    f"now {is_:%Y-%m-%d %H:%M:%S} UTC"
                )
        if problems:
            raise InputError(*problems)

    def warm_up(self) -> None:
        """Open one file and compile the unpacking of every type, in this thread."""
        seen = set()
        for read in self._whole.reads:
            if read.piece.dtype not in seen:
                seen.add(read.piece.dtype)
                _HANDLES.open.opened(read.piece, gdal=True).close()
                source = _HANDLES.open.source(read.piece)
                if isinstance(source, TiffFile):
                    source.warm_up()
                raw = np.zeros(1, dtype=read.piece.dtype)
                straight = read.piece.dtype == self.dtype
                read.unpack(raw, self._whole.valid, raw if straight else np.empty(1, dtype=self.dtype))


def chosen_layers(layers: Sequence[Layer], spec: InputSpec) -> tuple[Layer, ...]:
    """Return the layers that ``start``, ``end`` and ``months`` leave.

    Raises
    ------
    InputError
        When months are asked of layers that know only their year.
    """
    kept = list(layers)
    if spec.months is not None:
        bare = [layer for layer in kept if layer.precision == "year"]
        if bare:
            raise InputError(
                f"months {list(spec.months)} cannot be chosen: {bare[0].pieces[0].path} carries only a year"
            )
        kept = [layer for layer in kept if layer.date.month in spec.months]
    if spec.start is not None:
        first = _range_of("start", spec.start)[0]
        kept = [layer for layer in kept if layer.date >= first]
    if spec.end is not None:
        last = _range_of("end", spec.end)[1]
        kept = [layer for layer in kept if layer.date <= last]
    return tuple(kept)


def _range_of(option: str, text: str) -> tuple[datetime, datetime]:
    try:
        return read_range(text)
    except ParameterError as error:
        raise ParameterError(f"{option}: {error}") from None


def words_of_choice(spec: InputSpec) -> str:
    """Say in words which dates a spec chooses, with a space before; nothing where it chooses all."""
    words = [f"{name} {getattr(spec, name)}" for name in ("start", "end") if getattr(spec, name) is not None]
    if spec.months is not None:
        words.append(f"months {','.join(map(str, spec.months))}")
    return f" with {', '.join(words)}" if words else ""


def _reduce(members: NDArray[Any], how: Duplicates | None) -> NDArray[Any]:
    """Reduce (member, y, x) to (y, x), missing only where all members are."""
    if how == "max":
        largest: NDArray[Any] = np.fmax.reduce(members, axis=0)
        return largest
    if how is None:
        return members[0]  # type: ignore[no-any-return]
    # One by one: NumPy's sum adds in another order for another shape, and no bit may depend on the block.
    total, count = np.zeros(members.shape[1:]), np.zeros(members.shape[1:])
    for member in members:
        valid = ~np.isnan(member)
        total += np.where(valid, member, 0)
        count += valid
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class _WindowError(InputError):
    """A window that cannot be read, of a file that can be opened."""


def _read_patiently(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: _Table
) -> NDArray[np.uint8] | None:
    """Read a window of several bands, again after a while where that fails: disks of networks have moments."""
    for pause in (*RETRY_SECONDS, None):
        try:
            return _read_window(piece, bands, block, out, table)
        except InputError:
            # What failed again and again is broken; nobody waits for its next window.
            if pause is None or piece.path in table.broken:
                table.broken.add(piece.path)
                raise
            time.sleep(pause)
    raise AssertionError


def _read_what_is_whole(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: _Table
) -> NDArray[np.uint8]:
    """Read a window by the file's own blocks, so that what is lost does not depend on the window; return masks."""
    masks = np.full(out.shape, 255, dtype=np.uint8)
    # The piece tells the file's size; GDAL how it is cut.
    file = Block(0, 0, piece.block.height, piece.block.width)
    with table.opened(piece, gdal=True) as dataset:
        shapes = dataset.block_shapes
    for index, band in enumerate(bands):
        for part in _blocks_around(block, shapes[band - 1], file):
            shared = part.intersection(block)
            if shared is None:
                raise AssertionError
            whole = np.empty((1, part.height, part.width), dtype=out.dtype)
            inside = (slice(0, 1), *shared.shift(-part.row, -part.col).slices)
            target = (slice(index, index + 1), *shared.shift(-block.row, -block.col).slices)
            try:
                found = _read_patiently(piece, (band,), part, whole, table)
            except _WindowError as error:
                out[target], masks[target] = 0, 0
                placed = shared.shift(piece.block.row, piece.block.col)
                _HANDLES.lost.append(Loss(piece.path, band, placed, str(error)))
                continue
            out[target] = whole[inside]
            if found is not None:
                masks[target] = found[inside]
    return masks


def _blocks_around(window: Block, shape: tuple[int, int], file: Block) -> Iterator[Block]:
    """Yield those blocks of a file that a window touches."""
    height, width = shape
    for row in range(window.row // height * height, window.row + window.height, height):
        for col in range(window.col // width * width, window.col + window.width, width):
            yield Block(row, col, min(height, file.height - row), min(width, file.width - col))


def take_losses() -> tuple[Loss, ...]:
    """Return what this thread could not read since it was asked last, and forget it."""
    losses = tuple(_HANDLES.lost)
    _HANDLES.lost.clear()
    return losses


def _read_window(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: _Table
) -> NDArray[np.uint8] | None:
    """Read a window of several bands into `out` (band, y, x); return masks where the file has some."""
    try:
        source = table.source(piece)
        if isinstance(source, TiffFile):
            # Bands of one file may have a mask or not.
            if not piece.masked and source.read(bands, block, out):
                return None
            source = table.source(piece, gdal=True)
        window = Window(block.col, block.row, block.width, block.height)
        source.read(list(bands), window=window, out=out)
        return source.read_masks(list(bands), window=window) if piece.masked else None
    except (RasterioError, DamagedBlockError) as error:
        table.pop(piece.path)[0].close()
        where = f"rows {block.row}..{block.row + block.height - 1}, columns {block.col}..{block.col + block.width - 1}"
        # The chained CPLE error says what GDAL met; rasterio's own text is "see context".
        reason = " ".join(str(error.__cause__ or error).split())
        which = f"band {bands[0]}" if len(bands) == 1 else f"bands {', '.join(map(str, bands))}"
        raise _WindowError(
            f"{piece.path}: {which} cannot be read at {where} ({reason}); is the file truncated?"
        ) from None


class _Table(OrderedDict[Path, tuple[Any, int]]):
    """Open files and when each was last used, of one thread at a time: GDAL allows no two per dataset."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    #: Counts the blocks that are read.
    turn = 0
    #: More are never open, whatever the process may open.
    most = 65536

    def __init__(self) -> None:
        super().__init__()
        #: Files that only GDAL can read, even when they are opened again.
        self.by_gdal: set[Path] = set()
        #: Files of which a window could not be read, also when it was tried again.
        self.broken: set[Path] = set()

    @classmethod
    def of_at_most(cls, most: int) -> _Table:
        """Return an empty table of at most so many datasets."""
        table = cls()
        table.most = most
        return table

    def source(self, piece: Piece, *, gdal: bool = False) -> Any:
        """Return the open file of a piece, with `gdal` one that GDAL reads.

        The process's limit is divided among all tables in use.
        """
        _TABLES.add(self)
        share = max(min(file_limit() // max(len(_TABLES), 1), self.most), 1)
        known = self.pop(piece.path, None)
        if gdal:
            self.by_gdal.add(piece.path)
            if known is not None:
                known[0].close()
                known = None
        while len(self) >= share:
            self._close_one()
        source = self.opened(piece, gdal=piece.path in self.by_gdal) if known is None else known[0]
        self[piece.path] = source, self.turn
        return source

    def opened(self, piece: Piece, *, gdal: bool) -> Any:
        """Open a file; where the process may open no more, because others in it have some too, close some first.

        Raises
        ------
        InputError, ResourceError
            When it cannot be opened.
        """
        while True:
            try:
                return _open(piece, gdal=gdal)
            except RasterioError as error:
                if not _handles_ran_out(piece.path):
                    reason = " ".join(str(error).replace(f"{piece.path}: ", "").split())
                    raise InputError(f"{piece.path}: cannot be opened ({reason})") from None
                if not len(self):
                    raise ResourceError(
                        f"{piece.path}: cannot be opened: this process may open no more files; raise the limit "
                        "(ulimit -n) and start the same command again: it goes on"
                    ) from None
                self._close_one()

    def _close_one(self) -> None:
        """Close what will not be needed soon.

        Every block needs the same files in the same order, so the one used last is needed last; closing the one
        used first would reopen all of them for every block. Other files are those of a mosaic's other parts.
        """
        _, turn = next(iter(self.values()))
        self.popitem(last=turn >= self.turn - 1)[1][0].close()

    def close(self) -> None:
        """Close all datasets."""
        while self:
            self.popitem()[1][0].close()
        self.by_gdal.clear()
        self.broken.clear()
        # That of a job that ran in this thread.
        self.most = type(self).most
        _TABLES.discard(self)


def _handles_ran_out(path: Path) -> bool:
    """Whether no file can be opened now; GDAL does not say why it could not."""
    try:
        path.open("rb").close()
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _open(piece: Piece, *, gdal: bool = False) -> Any:
    """Open a file to decode its blocks here where that is possible, else with GDAL."""
    if piece.driver == "GTiff" and not piece.masked and not gdal:
        tiff = open_tiff(piece.path, piece.block.height, piece.block.width, piece.dtype)
        if tiff is not None:
            return tiff
    with rasterio.Env(**WHOLE_FILES):
        return _open_with_gdal(piece)


def _open_with_gdal(piece: Piece) -> Any:
    if piece.georeferenced:
        return rasterio.open(piece.path, driver=piece.driver, sharing=False)
    # catch_warnings is not thread-safe: only files that would warn take this way, one at a time.
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(piece.path, driver=piece.driver, sharing=False)


class _Handles(threading.local):
    """The open datasets of one thread, and how long they stay open."""

    def __init__(self) -> None:
        self.open = _Table()
        self.lost: list[Loss] = []
        self.job = ""
        self.depth = 0

    @contextmanager
    def kept(self, *, after: bool) -> Iterator[None]:
        """Keep datasets open in this context; unless `after`, close them where the outermost one ends.

        A file may be replaced between two jobs, or between two reads of somebody who reads without a job.
        """
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if not (after or self.depth):
                self.open.close()
                release_buffers()


#: The tables in use: they share what the process may open, whoever made their threads.
_TABLES: weakref.WeakSet[_Table] = weakref.WeakSet()
_HANDLES = _Handles()
_WARNINGS = threading.Lock()

#: How long is waited before a window is read again.
RETRY_SECONDS = (0.2, 1.0)

#: GDAL's block cache while reading. Each block is read once, so 16 MiB is enough and fastest: the default of
#: 5 % of RAM is 2-3x slower in a first run and 1 GB fatter (measured on 21 files of 3000 x 3000 pixels).
CACHE_BYTES = 16 << 20

#: Noise grows by so much where it is compressed: 12 bits per byte.
LZW_GROWTH = 1.5


@cache
def file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it less a reserve for all that is no raster."""
    return max(_raised_limit() - 100, 8)


def _raised_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError):
            pass  # macOS refuses more than kern.maxfilesperproc
    return 65536 if soft == resource.RLIM_INFINITY else soft


@contextmanager
def reading(stacks: Sequence[Stack] = ()) -> Iterator[None]:
    """Read files in this context: a small GDAL cache, this thread's datasets closed at its end.

    `stacks` are made ready in this thread, before workers start: the first use of GDAL's drivers and of a
    kernel from several threads at once is where deadlocks and races come from.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), _HANDLES.kept(after=False):
        for stack in stacks:
            if isinstance(stack, RasterStack):
                stack.warm_up()
        yield


@contextmanager
def reading_in_worker(job: str, handles: int) -> Iterator[None]:
    """Read one block in any thread or process; datasets stay open until a block of another job comes.

    A worker of somebody else's pool outlives the job, and a file may be replaced before the next one. At most
    `handles` are open at once.
    """
    if _HANDLES.job != job:
        _HANDLES.open.close()
        _HANDLES.job = job
    _HANDLES.open.most = handles
    _HANDLES.open.turn += 1
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), _HANDLES.kept(after=True):
        try:
            yield
        except BaseException:
            # The error keeps its frames, and they this thread's files: for as long as somebody looks at the error.
            _HANDLES.open.close()
            raise
