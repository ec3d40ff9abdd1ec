"""Images: bands and masks observed at once, as pieces of files on the grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from pixelwise.choices import SameDate
from pixelwise.grid import Block
from pixelwise.rasters.pieces import Line, Piece
from pixelwise.stacks.reads import Read, reads_of

__all__ = ["Image", "LayerRead"]


@dataclass(frozen=True, slots=True)
class Image:
    """What was observed at once: pieces that do not overlap, and together cover all or part of the grid.

    Attributes
    ----------
    bands
        The pieces of each band, in the order of the derivation's names; one band without a formula.
    masks
        The pieces of each quality band.
    clear
        Where the image has no such band, and needs none.
    sensor
        The sensor's name in the product.
    names
        What tables of gains call each band.
    """

    bands: tuple[tuple[Piece, ...], ...]
    masks: tuple[tuple[Piece, ...], ...] = ()
    clear: tuple[tuple[Block, ...], ...] = ()
    sensor: str = ""
    names: tuple[str, ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Pieces of the first band, which say what the image covers."""
        return self.bands[0]

    def with_lines(self, line_of: Callable[[str, Piece], Line | None]) -> Image:
        """Return the image with the line that a function gives for the name of each band and each of its pieces."""
        bands = zip(self.names, self.bands, strict=True)
        return replace(self, bands=tuple(tuple(replace(p, line=line_of(name, p)) for p in ps) for name, ps in bands))

    @property
    def uninterpolated(self) -> Image:
        """The image with stored numbers of the nearest pixels, where its bands are interpolated between them."""

        def nearest(piece: Piece) -> Piece:
            return piece if piece.warp is None else replace(piece, warp=replace(piece.warp, resampling="nearest"))

        return replace(self, bands=tuple(tuple(map(nearest, group)) for group in self.bands))

    def shift(self, rows: int, cols: int) -> Image:
        """Return the image on a grid whose origin lies elsewhere."""

        def moved(groups: tuple[tuple[Piece, ...], ...]) -> tuple[tuple[Piece, ...], ...]:
            return tuple(tuple(piece.shift(rows, cols) for piece in group) for group in groups)

        clear = tuple(tuple(block.shift(rows, cols) for block in group) for group in self.clear)
        return replace(self, bands=moved(self.bands), masks=moved(self.masks), clear=clear)


@dataclass(frozen=True, eq=False)
class LayerRead:
    """A layer that is computed: from several images, by a formula, or with masks.

    Attributes
    ----------
    row
        Row of the layer.
    images
        In the order of their names.
    reduce
        How several are combined into one.
    """

    row: int
    images: tuple[Image, ...]
    reduce: SameDate | None

    @cached_property
    def reads(self) -> tuple[tuple[Read, ...], ...]:
        """The reads of each image, into one row for each band."""
        return tuple(
            reads_of((row, piece) for row, pieces in enumerate(image.bands) for piece in pieces)
            for image in self.images
        )
