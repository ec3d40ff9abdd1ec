"""Stacks of files: one layer of pixels per date, read block by block."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine

from pixelwise.choices import Every
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError
from pixelwise.grid import Block, Bounds, Grid, around_all
from pixelwise.method import Method
from pixelwise.rasters.area import Area
from pixelwise.rasters.checked import MaskedTiff
from pixelwise.rasters.handles import HANDLES, OpenFiles
from pixelwise.rasters.headers import lossless_in_float32
from pixelwise.rasters.nodata import spelled
from pixelwise.rasters.pieces import ArrayPlace, Piece
from pixelwise.rasters.stamps import Stamp
from pixelwise.rasters.tiff import TiffFile
from pixelwise.rasters.urls import Location
from pixelwise.rasters.windows import AHEAD_BYTES
from pixelwise.stacks.base import LayerStack, Layout, Stack, layout_of
from pixelwise.stacks.chunks import grouped, line_that_rewrites, small_chunks
from pixelwise.stacks.composite import CompositeStack, composited
from pixelwise.stacks.file_reader import Derivation, FileReader
from pixelwise.stacks.gains import AppliedGains
from pixelwise.stacks.images import LayerRead
from pixelwise.stacks.layers import Layer, chosen_layers, words_of_choice
from pixelwise.stacks.reads import reads_of
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import first_of

__all__ = [
    "MOST_LISTED",
    "Layer",
    "Layout",
    "RasterStack",
    "Stack",
    "chosen_layers",
    "layout_of",
    "log",
    "words_of_choice",
]

log = logging.getLogger(__name__)


#: Noise grows by this factor when it is compressed: 12 bits per byte.
LZW_GROWTH = 1.5
#: At most this many nodata values are listed to describe a stack; 100 000 are possible.
MOST_LISTED = 20


@dataclass(frozen=True, repr=False)
class RasterStack(LayerStack):
    """Layers read from raster files, sorted by date; `open_stack` makes it.

    Attributes
    ----------
    grid
        The first layer's georeferencing.
    layers
        In ascending order of date.
    spec
        The options that it was opened with.
    source_block
        Rows and columns of the blocks in most of the files.
    derivation
        How values are derived from what the files hold.
    block_bytes, pixel_size, open_file_bytes
        Bytes of the largest block that is decoded at once, of a pixel in it, and of what GDAL keeps for a dataset.
    largest
        The file with that block.
    stamps
        Size and modification time of each file when its header was read, and of all others that GDAL reads for it:
        sources of VRTs, data files of headers, sidecars.
    unit
        Unit of the values, if the files agree on one.
    interleaved
        Files whose bands are all decoded together.
    alpha_read
        Files whose alpha band is read as data and masks nothing.
    alpha_masks
        Files whose alpha band says what is missing, with its number and the number of bands.
    written
        Files that pixelwise wrote.
    remarks
        What a user should know about how files were read or which were left out; one line each.
    area
        The requested pixels; `read` reads all pixels regardless.
    gains
        What made the scenes comparable; None if nothing did.
    behind
        Other files that are read for a file, such as the sources of a VRT.
    """

    grid: Grid
    layers: tuple[Layer, ...]
    spec: InputSpec
    source_block: tuple[int, int]
    derivation: Derivation = field(default_factory=Derivation)
    block_bytes: int = 0
    pixel_size: int = 8
    open_file_bytes: int = 1 << 20
    stamps: Mapping[Location, Stamp] = field(default_factory=dict)
    unit: str = ""
    interleaved: frozenset[Location] = frozenset()
    alpha_read: frozenset[Location] = frozenset()
    alpha_masks: Mapping[Location, tuple[int, int]] = field(default_factory=dict)
    written: frozenset[Location] = frozenset()
    remarks: tuple[str, ...] = ()
    area: Area = field(default_factory=Area)
    largest: Location | None = None
    gains: AppliedGains | None = None
    behind: Mapping[Location, tuple[Location, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        if self.axis.precision == "year":
            span = f"{first.date.year}..{last.date.year}"
        else:
            span = f"{first.iso_date}..{last.iso_date}"
        if self.axis.calendar != "standard":
            span += f" ({self.axis.calendar})"
        pieces = [piece for layer in self.layers for piece in layer.pieces]
        dtypes = "/".join(sorted({piece.dtype for piece in pieces}))
        nodata = sorted({spelled(value).replace("nan", "NaN") for piece in pieces for value in piece.nodata})
        missing = first_of(nodata, MOST_LISTED) or "none"
        return f"{len(self)} layers, {span}, {self.grid}, {dtypes}, nodata {missing}"

    @cached_property
    def axis(self) -> TimeAxis:
        """When the layers were observed."""
        dates, precisions, excess = zip(*((one.date, one.precision, one.excess) for one in self.layers), strict=True)
        return TimeAxis.from_dates(dates, precisions, self.layers[0].calendar, excess)

    @property
    def names(self) -> tuple[str, ...]:
        """The dates of the layers, in the form that `open_stack` reads back from band names."""
        return tuple(str(layer.date.year) if layer.precision == "year" else layer.iso_date for layer in self.layers)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """float32 only if that loses nothing in any layer, else float64; with gains, whatever they are, float64."""
        narrow = (
            self.derivation.expression is None
            and self.gains is None
            and all(
                lossless_in_float32(piece.dtype) and not piece.scaled and layer.reduce != "mean"
                for layer in self.layers
                for piece in layer.pieces
            )
        )
        return np.dtype(np.float32 if narrow else np.float64)

    @cached_property
    def layout(self) -> Layout:
        """How best to read it."""
        pieces = [piece for layer in self.layers for piece in layer.pieces]
        compressed = math.ceil(LZW_GROWTH * self.pixel_size)
        stored = Counter(np.dtype(piece.dtype).itemsize for piece in pieces).most_common(1)[0][0]
        stored *= max(len(self.derivation.names), 1)
        masks = Counter(piece.dtype for layer in self.layers for piece in layer.masks)
        stored += sum(np.dtype(kind).itemsize for kind, count in masks.items() if 2 * count > len(self.layers))
        return Layout(
            block_height=min(self.source_block[0], self.grid.height),
            block_width=min(self.source_block[1], self.grid.width),
            itemsize=self.dtype.itemsize,
            stored_bytes_per_pixel=len(self.layers) * stored,
            sources=len(self.paths),
            block_bytes=self.block_bytes + (AHEAD_BYTES if self.whole.is_remote else 0),
            largest="" if self.largest is None else str(self.largest),
            open_file_bytes=self.open_file_bytes,
            scratch_bytes_per_pixel=self.whole.converted(self.dtype) + compressed,
            unit=self.unit,
            shifted=2 * sum(map(self._is_shifted, pieces)) > len(pieces),
            serial=any(piece.driver == "NetCDF" for piece in pieces),
            small_chunks=small_chunks(pieces[0], len(self.layers), self.block_bytes),
            rewrite=line_that_rewrites(pieces[0], len(self.layers)),
        )

    def _is_shifted(self, piece: Piece) -> bool:
        """Whether the blocks of a file are offset from blocks that start at the grid's origin."""
        height, width = self.source_block
        if piece.array is not None and piece.warp is None:
            # Turned round, an array begins with what may be a part of a chunk.
            south, east = piece.array.flipped
            if (south and piece.block.height % height) or (east and piece.block.width % width):
                return True
        # A file with one column of blocks is read at full width anyway.
        across = piece.block.col % width and width < piece.block.width
        return bool(piece.warp is None and (piece.block.row % height or across))

    def with_spec(self, spec: InputSpec) -> RasterStack:
        """Return the stack as if it had been opened with other options."""
        return replace(self, spec=spec)

    def decoded_together(self, index: int) -> tuple[Hashable, ...]:
        """Return what of a layer's files is decoded for other layers too, and so is best read for all at once."""
        pieces = self.layers[index].pieces
        chunks = (piece.chunk for piece in pieces if piece.array is not None and piece.array.time_chunk > 1)
        return tuple(dict.fromkeys((*({piece.path for piece in pieces} & self.interleaved), *chunks)))

    @property
    def arrays(self) -> tuple[ArrayPlace, ...]:
        """The arrays that are read, one for each variable; none for rasters."""
        pieces = (piece for layer in self.layers for piece in (*layer.pieces, *layer.masks) if piece.array is not None)
        found = {piece.array.variable: piece.array for piece in pieces if piece.array is not None}
        return tuple(found.values())

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the grid's origin, in pixels from the origin of the coordinates."""
        t = self.grid.transform
        col, row = ~Affine(t.a, t.b, 0, t.d, t.e, 0) @ (t.c, t.f)
        # Usually whole or half numbers, far from where this rounds, however the grid is cropped.
        return math.floor(row + 0.3), math.floor(col + 0.3)

    @cached_property
    def extent(self) -> Block:
        """What can be read: after `crop`, more than the grid, so that a halo has its pixels."""
        return around_all([self.grid.block, *(piece.block for layer in self.layers for piece in layer.pieces)])

    @property
    def paths(self) -> tuple[Location, ...]:
        """Every file, once, in the order of the layers."""
        return tuple(dict.fromkeys(piece.path for layer in self.layers for piece in (*layer.pieces, *layer.masks)))

    def select(
        self,
        start: str | int | None = None,
        end: str | int | None = None,
        months: Sequence[int] | None = None,
        bounds: Bounds | None = None,
    ) -> RasterStack:
        """Return part of the stack; nothing is read.

        Parameters
        ----------
        start, end
            First and last date, to the year, month or day: ``"1990"``, ``"2020-06"``.
        months
            Months to keep, 1 to 12.
        bounds
            Left, bottom, right, top in units of the CRS; pixels that they touch are kept.

        Raises
        ------
        InputError
            When fewer than two layers are left, or months are selected but some layer has only a year.
        ParameterError
            When a date cannot be read, or the bounds lie outside.
        """
        spec = self.spec.replace(
            start=self.spec.start if start is None else start,
            end=self.spec.end if end is None else end,
            months=self.spec.months if months is None else months,
            bounds=self.spec.bounds if bounds is None else bounds,
        )
        layers = chosen_layers(self.layers, spec.dates)
        if len(layers) < 2:
            chosen = words_of_choice(spec.dates)
            raise InputError(f"{len(layers)} of {len(self)} layers are left{chosen}: a series needs at least two")
        stack = replace(self, layers=layers, spec=spec)
        return stack if bounds is None else stack.crop(self.grid.block_of_bounds(bounds))

    def crop(self, block: Block) -> RasterStack:
        """Return the stack of one block of its grid."""
        layers = tuple(
            replace(
                layer,
                images=tuple(image.shift(-block.row, -block.col) for image in layer.images),
            )
            for layer in self.layers
        )
        return replace(self, grid=self.grid.crop(block), layers=layers, area=self.area.crop(block))

    @cached_property
    def unrectified(self) -> RasterStack:
        """The stack without its gains: the same layers, of values as the files have them."""
        if self.gains is None:
            return self
        return replace(self, layers=tuple(layer.unrectified for layer in self.layers), gains=None)

    @property
    def uninterpolated(self) -> RasterStack:
        """The stack with stored numbers of the nearest pixels, where `align` would interpolate between them."""
        return replace(self, layers=tuple(layer.uninterpolated for layer in self.layers))

    @property
    def unmasked(self) -> RasterStack:
        """The stack without what rejects pixels."""
        layers = tuple(layer.unmasked for layer in self.layers)
        return replace(self, layers=layers, derivation=replace(self.derivation, qualities=()))

    def take(self, indices: Sequence[int]) -> RasterStack:
        """Return the stack of some of its layers, in order."""
        return replace(self, layers=tuple(self.layers[index] for index in indices))

    @cached_property
    def groups(self) -> list[list[int]]:
        """Layers of one file, decoded for all of them at once if its bands are interleaved; or of one chunk."""
        return grouped(layer.pieces[0].chunk for layer in self.layers)

    def readers(self, count: int, handles: int) -> tuple[FileReader, ...]:
        """Divide the files into at most `count` shares with their own datasets, about equal in layers.

        What is best read together is in one share. At most `handles` datasets are open in each.
        """
        groups: list[list[int]] = [[] for _ in range(min(count, len(self.groups)))]
        for members in self.groups:
            if self.layers[members[0]].pieces[0].array is not None:  # consecutive steps cost zarr few calls of 1 ms
                groups[members[0] * len(groups) // len(self.layers)].extend(members)
            else:
                min(groups, key=len).extend(members)
        return tuple(self.reader(group, OpenFiles.of_at_most(handles)) for group in groups if group)

    def composite(
        self,
        how: str | Method | Callable[..., Any] = "max",
        every: Every = "year",
        season: str | None = None,
        min_count: int = 1,
        by: RasterStack | None = None,
        equal_count: int | None = None,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
    ) -> CompositeStack:
        """Reduce the layers of each calendar period to one; nothing is read.

        Parameters
        ----------
        how
            ``max``, ``min``, ``mean``, ``sum``, ``median``, ``p1`` to ``p99``, ``count``, ``date_of_max``,
            ``medoid``; or a function as for `apply`, which turns a period's series into one value.
        every
            ``year``, ``season`` (DJF, MAM, JJA, SON), ``month`` or ``dekad``.
        season
            Days of each year that count: ``"05-01..09-30"``. A season that crosses the new year belongs to the
            year in which it ends.
        min_count
            A pixel with fewer observations in a period is missing there.
        by
            Another stack with the same dates and grid: for each period, take the value of the layer in which that
            stack is largest (``how="max"``) or smallest (``"min"``).
        equal_count
            Use exactly this many observations for each pixel and period, drawn at random; a pixel with fewer is
            missing. A maximum of more observations is larger: a growing number of them looks like a trend.
        seed
            Seed of the draw, which depends only on it, on the pixel and on the period.
        parameters
            Keyword parameters of a function; strings are parsed by the type of the parameter's default.

        Returns
        -------
        CompositeStack
            One layer for each period that has any; incomplete periods (see `make_periods`) are dropped and logged.

        Raises
        ------
        ParameterError
            When an option is unknown or impossible.
        InputError
            When fewer than two periods are left, or the dates are not known exactly enough.
        """
        return composited(
            self, how, every, season, by=by, min_count=min_count, equal_count=equal_count, seed=seed,
            parameters=parameters or {},
        )  # fmt: skip

    @cached_property
    def whole(self) -> FileReader:
        """All files, read through the datasets of the calling thread."""
        return self.reader(range(len(self.layers)))

    def reader(
        self, indices: Sequence[int], handles: OpenFiles | None = None, *, first_row: int | None = None
    ) -> FileReader:
        """Prepare reading some layers: which bands of which file go into which row.

        Parameters
        ----------
        indices
            Indices of the layers.
        handles
            Its own datasets; None to use those of the calling thread.
        first_row
            Row of the first layer, the others following it; None to put each into the row of its index.
        """
        rows = indices if first_row is None else range(first_row, first_row + len(indices))
        chosen = [(row, self.layers[index]) for row, index in zip(rows, indices, strict=True)]
        computed = tuple(
            LayerRead(index, layer.images, layer.reduce) for index, layer in chosen if self._is_computed(layer)
        )
        plain = [(index, layer) for index, layer in chosen if not self._is_computed(layer)]
        sparse = tuple(index for index, layer in plain if not self._covers_all(layer))
        reads = reads_of((index, piece) for index, layer in plain for piece in layer.pieces)
        return FileReader(reads, computed, self.derivation, sparse, self.spec.on_read_error == "missing", handles)

    def _is_computed(self, layer: Layer) -> bool:
        """Whether more than reading is needed."""
        return layer.reduce is not None or not self.derivation.plain

    def _covers_all(self, layer: Layer) -> bool:
        """Whether a layer's pieces, which do not overlap, cover everything that can be read."""
        shared = [piece.block.intersection(self.extent) for piece in layer.pieces]
        return sum(block.pixels for block in shared if block) == self.extent.pixels

    def masked(self, block: Block) -> tuple[int, int]:
        """Count the pixels of images in a block, and how many of them masks reject.

        Raises
        ------
        InputError
            When a mask cannot be read.
        """
        with HANDLES.kept(after=False):
            return self.whole.masked(block)

    def warm_up(self) -> None:
        """Open one file and compile the unpacking of every type, in this thread."""
        self.area.warm_up()
        seen = set()
        for read in self.whole.all_reads():
            kind = (read.piece.dtype, bool(read.lines))
            if kind not in seen:
                seen.add(kind)
                HANDLES.open_files.open(read.piece, gdal=True).close()
                source = HANDLES.open_files.source(read.piece)
                if isinstance(source, TiffFile | MaskedTiff):
                    source.warm_up()
                # Masks are not unpacked, but cost little here.
                raw = np.zeros(1, dtype=read.piece.dtype)
                straight = read.piece.dtype == self.dtype
                read.unpack(raw, raw if straight else np.empty(1, dtype=self.dtype), 0)
