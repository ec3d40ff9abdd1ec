"""From windows of files to rows of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.rasters.handles import HANDLES, OpenFiles
from pixelwise.rasters.nodata import is_among
from pixelwise.rasters.pieces import Piece, WindowError
from pixelwise.rasters.urls import Url
from pixelwise.rasters.windows import Ahead, Wanted, cuts_blocks, read_intact_blocks, read_with_retries
from pixelwise.stacks.combining import combined, nothing
from pixelwise.stacks.formula import Expression
from pixelwise.stacks.images import Image, LayerRead
from pixelwise.stacks.masks import MaskRule
from pixelwise.stacks.masks import grow as grow_rejected
from pixelwise.stacks.reads import Read

__all__ = ["Derivation", "FileReader", "Quality"]


@dataclass(frozen=True, slots=True)
class Quality:
    """What rejects pixels.

    Attributes
    ----------
    band
        The mask, as a user or a product names it.
    rule
        What its values mean.
    source
        The rule in words: a preset with its version and the document it follows, or what it keeps or drops.
    """

    band: str
    rule: MaskRule
    source: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """How values are derived from what the files of an image hold.

    Attributes
    ----------
    names
        Band names, as in the formula; empty without one.
    expression
        The formula; None if the values of the one band are used as they are.
    qualities
        What rejects pixels.
    grow
        How many pixels around rejected ones, in every direction, are rejected too.
    valid
        Smallest and largest result of the formula that counts as valid.
    product
        Name, version and source of the product that the files belong to; empty if not given.
    families
        Groups of the product's sensors that have the same bands.
    """

    names: tuple[str, ...] = ()
    expression: Expression | None = None
    qualities: tuple[Quality, ...] = ()
    grow: int = 0
    valid: tuple[float, float] = (-np.inf, np.inf)
    product: str = ""
    families: tuple[tuple[str, ...], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether values are those of one band, unchanged."""
        return self.expression is None and not self.qualities

    def describe(self) -> dict[str, Any]:
        """Return what provenance records about it."""
        found: dict[str, Any] = {}
        if self.product:
            found["product"] = self.product
        if self.expression is not None:
            found["formula"] = self.expression.text
        if self.qualities:
            found["masks"] = [[quality.band, quality.source, quality.rule.describe()] for quality in self.qualities]
        return found


@dataclass(frozen=True, eq=False)
class FileReader:
    """Some files of a stack; used by one thread at a time.

    Attributes
    ----------
    reads
        Reads that go into rows of layers unchanged.
    layers
        Layers that are computed.
    derivation
        How they are computed.
    sparse
        Rows of layers whose pieces do not cover everything that can be read.
    forgiving
        Whether what cannot be read counts as missing.
    handles
        Its own datasets; None to use those of the calling thread.
    """

    reads: tuple[Read, ...]
    layers: tuple[LayerRead, ...]
    derivation: Derivation
    sparse: tuple[int, ...]
    forgiving: bool
    handles: OpenFiles | None = None

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]], table: OpenFiles | None = None) -> None:
        """Fill the layers of these files in `parts`, which hold successive strips of a block from top to bottom.

        Parameters
        ----------
        block
            Inside what can be read.
        parts
            (layer, y, x) contiguous arrays: one, or several, each for another thread.
        table
            Datasets to use instead of its own.

        Raises
        ------
        InputError
            When a file cannot be read, naming file, band and window.
        """
        if table is None:
            table = HANDLES.open_files if self.handles is None else self.handles
            if self.handles is not None:
                table.turn += 1
        for part in parts:
            for row in self.sparse:
                part[row] = np.nan
        if not self.is_remote:
            self._read_all(block, parts, table, lambda number: None)
            return
        ahead = Ahead(self._steps(block), table)
        try:
            self._read_all(block, parts, table, ahead.before)
        finally:
            ahead.close()

    def _read_all(
        self, block: Block, parts: Sequence[NDArray[Any]], table: OpenFiles, before: Callable[[int], None]
    ) -> None:
        """Read one file, and compute one layer, after the other; each is announced by its number."""
        for number, read in enumerate(self.reads):
            before(number)
            self._fill(read, block, parts, table)
        for number, layer in enumerate(self.layers, len(self.reads)):
            before(number)
            values = self._compute_layer(layer, block, parts[0].dtype, table)
            start = 0
            for part in parts:
                part[layer.row] = values[start : start + part.shape[1]]
                start += part.shape[1]

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for a block that a worker will read soon, if any file is on one."""
        if self.is_remote:
            Ahead(self._steps(block), HANDLES.open_files).all()

    @cached_property
    def is_remote(self) -> bool:
        """Whether any file is on a server."""
        return any(isinstance(read.piece.path, Url) for read in self.all_reads())

    def _steps(self, block: Block) -> list[list[Wanted]]:
        """Return the windows of files on servers that reading a block needs, for each read and each layer."""
        grow = block.pad(self.derivation.grow)
        steps = [[*self._wanted(read, block)] for read in self.reads]
        for layer in self.layers:
            masks = (Read(piece, (piece.band,), (0,)) for i in layer.images for group in i.masks for piece in group)
            step = [one for read in masks for one in self._wanted(read, grow)]
            steps.append(
                [*step, *(one for reads in layer.reads for read in reads for one in self._wanted(read, block))]
            )
        return steps

    @staticmethod
    def _wanted(read: Read, block: Block) -> Iterator[Wanted]:
        piece = read.piece
        shared = block.intersection(piece.block)
        if shared is not None and isinstance(piece.path, Url) and piece.warp is None and piece.array is None:
            yield piece, read.bands, shared.shift(-piece.block.row, -piece.block.col).coarsened(piece.zoom)

    def close(self) -> None:
        """Close its own datasets."""
        if self.handles is not None:
            self.handles.close()

    def masked(self, block: Block) -> tuple[int, int]:
        """Count the pixels of images in a block, and how many of them masks reject."""
        count = total = 0
        for image in (image for layer in self.layers for image in layer.images):
            rejected = None
            for piece in image.pieces:
                shared = piece.block.intersection(block)
                if shared is not None:
                    rejected = self._rejected(image, block, HANDLES.open_files) if rejected is None else rejected
                    total += shared.pixels
                    if rejected is not None:
                        count += int(np.count_nonzero(rejected[shared.shift(-block.row, -block.col).slices]))
        return total, count

    def all_reads(self) -> Iterator[Read]:
        """Yield every call that reads a file."""
        yield from self.reads
        for layer in self.layers:
            for reads, image in zip(layer.reads, layer.images, strict=True):
                yield from reads
                yield from (Read(piece, (piece.band,), (0,)) for pieces in image.masks for piece in pieces)

    def converted(self, dtype: np.dtype[Any]) -> int:
        """Return the bytes per pixel of the largest read that is converted to `dtype` on its way."""
        sizes = [
            len(read.rows) * np.dtype(read.piece.dtype).itemsize
            for read in self.reads
            if len(self.sparse) or not read.goes_straight(dtype)
        ]
        # Besides an image's bands: the raw band being read, the result, the rejected pixels, a sum and a count.
        sizes += [
            max(
                len(image.bands) * self._dtype_of_bands(dtype).itemsize
                + max(np.dtype(piece.dtype).itemsize for group in (*image.bands, *image.masks) for piece in group)
                for image in layer.images
                if image.pieces
            )
            + 3 * dtype.itemsize
            + 4
            + (16 if layer.reduce else 0)
            for layer in self.layers
        ]
        return max(sizes, default=0)

    def _dtype_of_bands(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type that bands are read as for values of `dtype`."""
        return dtype if self.derivation.expression is None else np.dtype(np.float64)

    def _compute_layer(self, layer: LayerRead, block: Block, dtype: np.dtype[Any], table: OpenFiles) -> NDArray[Any]:
        """Return (y, x) of a layer that is computed."""

        def images() -> Iterator[tuple[Image, NDArray[Any]]]:
            for image, reads in zip(layer.images, layer.reads, strict=True):
                if any(piece.block.intersection(block) for piece in image.pieces):
                    values = self._values(image, reads, block, dtype, table)
                    if values is not None or layer.reduce == "first":
                        yield image, nothing(block, dtype) if values is None else values

        if layer.reduce is not None:
            return combined(images(), layer.reduce, block, dtype)
        for _, values in images():
            return values
        return nothing(block, dtype)

    def _values(
        self, image: Image, reads: Sequence[Read], block: Block, dtype: np.dtype[Any], table: OpenFiles
    ) -> NDArray[Any] | None:
        """Return (y, x) of one image; None if masks reject every pixel."""
        rejected = self._rejected(image, block, table)
        # If forgiving, read it though it is not needed: which pixels are lost must not depend on the block.
        if rejected is not None and rejected.all() and not self.forgiving:
            return None
        bands = self._bands(image, reads, block, self._dtype_of_bands(dtype), table)
        values: NDArray[Any] = bands[0]
        expression = self.derivation.expression
        if expression is not None:
            values = expression(dict(zip(self.derivation.names, bands, strict=True)))
            low, high = self.derivation.valid
            if (low, high) != (-np.inf, np.inf):
                values[(values < low) | (values > high)] = np.nan
        if rejected is not None:
            values[rejected] = np.nan
        return values

    def _bands(
        self, image: Image, reads: Sequence[Read], block: Block, dtype: np.dtype[Any], table: OpenFiles
    ) -> NDArray[Any]:
        """Return (band, y, x) of one image, without masks."""
        bands = np.full((len(image.bands), block.height, block.width), np.nan, dtype=dtype)
        for read in reads:
            self._fill(read, block, (bands,), table)
        return bands

    def bands_of(self, image: Image, reads: Sequence[Read], block: Block) -> NDArray[np.float64] | None:
        """Return (band, y, x) of one image before any formula, NaN where masked; None if nothing of it is in the block.

        Parameters
        ----------
        image, reads
            The image, and the reads of its bands, as in `LayerRead`.
        block
            What is read.
        """
        if not any(piece.block.intersection(block) for piece in image.pieces):
            return None
        table = HANDLES.open_files
        rejected = self._rejected(image, block, table)
        if rejected is not None and rejected.all() and not self.forgiving:
            return None
        bands = self._bands(image, reads, block, np.dtype(np.float64), table)
        if rejected is not None:
            bands[:, rejected] = np.nan
        return bands

    def _rejected(self, image: Image, block: Block, table: OpenFiles) -> NDArray[np.bool_] | None:
        """Return (y, x) of the pixels that masks reject or do not cover; None without masks."""
        unusable = None
        grow = self.derivation.grow
        around = block.pad(grow)
        inner = block.shift(-around.row, -around.col).slices
        for quality, pieces, clear in zip(self.derivation.qualities, image.masks, image.clear, strict=True):
            rejected = np.zeros((around.height, around.width), dtype=bool)
            covered = np.zeros((around.height, around.width), dtype=bool)
            for piece in pieces:
                self._reject(piece, quality.rule, around, rejected, covered, table)
            for part in clear:
                shared = part.intersection(around)
                if shared is not None:
                    covered[shared.shift(-around.row, -around.col).slices] = True
            found = grow_rejected(rejected, grow)[inner] | ~covered[inner]
            unusable = found if unusable is None else unusable | found
        return unusable

    def _reject(
        self,
        piece: Piece,
        rule: MaskRule,
        around: Block,
        rejected: NDArray[np.bool_],
        covered: NDArray[np.bool_],
        table: OpenFiles,
    ) -> None:
        """Mark what part of a block a piece of a mask covers, and what it rejects there."""
        shared = around.intersection(piece.block)
        if shared is None:
            return
        # Whole pixels of the mask, of which the block may need only a part.
        wanted = shared.shift(-piece.block.row, -piece.block.col)
        window = wanted.coarsened(piece.zoom)
        stored = np.empty((1, window.height, window.width), dtype=piece.dtype)
        valid = self._read_window(Read(piece, (piece.band,), (0,)), window, stored, table)
        found = rule.rejected(stored[0]) | is_among(stored[0], piece.nodata_bounds)
        # Pixels without a value, or unreadable, are not usable either, but say nothing about their neighbours.
        known = np.ones(found.shape, dtype=bool) if valid is None else valid[0] != 0
        if piece.zoom > 1:
            part = wanted.shift(-window.row * piece.zoom, -window.col * piece.zoom).slices
            found, known = (
                array.repeat(piece.zoom, axis=0).repeat(piece.zoom, axis=1)[part] for array in (found, known)
            )
        inside = shared.shift(-around.row, -around.col).slices
        rejected[inside] |= found & known
        covered[inside] |= known

    def _fill(self, read: Read, block: Block, parts: Sequence[NDArray[Any]], table: OpenFiles) -> None:
        piece = read.piece
        shared = block.intersection(piece.block)
        if shared is None:
            return
        window = shared.shift(-piece.block.row, -piece.block.col)
        if shared == block and len(parts) == 1 and read.goes_straight(parts[0].dtype):
            values = parts[0][read.rows_slice]
            masks = self._read_window(read, window, values, table)
            read.unpack(values, values)
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
                read.unpack(raw[index, source], values, index)
                if masks is not None:
                    values[masks[index, source] == 0] = np.nan
                if values is not target:
                    target[:] = values
            start += part.shape[1]

    def _read_window(self, read: Read, window: Block, out: NDArray[Any], table: OpenFiles) -> NDArray[np.uint8] | None:
        """Read a window of a file into `out` (band, y, x); return masks where something is missing."""
        if not self.forgiving:
            return read_with_retries(read.piece, read.bands, window, out, table)
        piece = read.piece
        # The blocks of a mask may differ from those of the values that it belongs to.
        simple = piece.driver == "GTiff" and piece.warp is None
        if simple and not (piece.masked and cuts_blocks(piece, read.bands, window, table)):
            try:
                return read_with_retries(read.piece, read.bands, window, out, table)
            except WindowError:
                pass
        # In a VRT, a window may be intact though the block around it is not: always read whole blocks.
        return read_intact_blocks(read.piece, read.bands, window, out, table)
