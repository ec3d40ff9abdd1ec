"""What the engine knows of a stack, and what stacks that are made of files have in common.

The engine knows a stack only by ``grid``, ``axis`` and ``read(block)``; what it may tell besides, to be read
faster, is its `Layout`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import Problems
from pixelwise.grid import Block, Grid
from pixelwise.rasters.area import Area
from pixelwise.rasters.handles import HANDLES, OpenFiles
from pixelwise.rasters.sidecars import sidecars_of
from pixelwise.rasters.stamps import FileStamp
from pixelwise.stacks.file_reader import FileReader
from pixelwise.stacks.spec import InputSpec

__all__ = ["BlockReader", "FileStack", "LayerStack", "Layout", "Stack", "layout_of"]


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
    stored_bytes_per_pixel
        Bytes of a pixel in all files together, of all bands and masks.
    sources
        How many files are open at once while reading.
    block_bytes
        Bytes that are decoded at once beyond the window that is read: one block of a file, of all its bands
        where it interleaves pixels.
    open_file_bytes
        Bytes that GDAL keeps of one open dataset.
    scratch_bytes_per_pixel
        Bytes per pixel of the largest read that does not go straight into the array, and of the file's bytes
        before they are decoded.
    unit
        Unit of the values, empty where unknown.
    shifted
        Whether the files' blocks do not begin where the grid does, each file's elsewhere, so that windows cut them
        wherever they lie.
    largest
        The file whose block that is.
    """

    block_height: int = 256
    block_width: int = 256
    itemsize: int = 8
    stored_bytes_per_pixel: int = 0
    sources: int = 0
    block_bytes: int = 0
    open_file_bytes: int = 1 << 20
    scratch_bytes_per_pixel: int = 8
    unit: str = ""
    shifted: bool = False
    largest: str = ""


def layout_of(stack: Stack) -> Layout:
    """Return what a stack says about its layout, or the usual one where it says nothing."""
    layout = getattr(stack, "layout", None)
    return layout if isinstance(layout, Layout) else Layout()


class BlockReader(Protocol):
    """Some files of a stack, to be read by one thread at a time, and the rows that come of them."""

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the rows of these files in arrays that hold a block's upper, next, ... and lowest rows of pixels."""

    def close(self) -> None:
        """Close the datasets of its own."""


class FileStack(ABC):
    """A stack whose pixels come of files, directly or by way of another one.

    Attributes
    ----------
    grid
        Where the pixels are.
    stamps
        Size and modification time of each file when its header was read.
    area
        The pixels that are asked for.
    """

    grid: Grid
    area: Area
    stamps: Mapping[Path, FileStamp]

    @property
    @abstractmethod
    def axis(self) -> TimeAxis:
        """When the layers were observed."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The dates of the layers, as `open_stack` reads them back from the names of bands."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read` returns."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How it is best read."""

    @property
    @abstractmethod
    def extent(self) -> Block:
        """What can be read: more than the grid after `crop`, so that a halo finds its pixels."""

    @property
    @abstractmethod
    def paths(self) -> tuple[Path, ...]:
        """Every file, once, in the order of the layers."""

    @property
    def releases_gil(self) -> bool:
        """Whether threads read it in parallel."""
        return True

    @abstractmethod
    def crop(self, block: Block) -> Self:
        """Return the stack of one block of its grid."""

    @abstractmethod
    def take(self, indices: Sequence[int]) -> Self:
        """Return the stack of some of its layers, in order."""

    @abstractmethod
    def readers(self, count: int, handles: int) -> tuple[BlockReader, ...]:
        """Divide the files into at most `count` shares with datasets of their own, of which each keeps `handles`."""

    @cached_property
    @abstractmethod
    def whole(self) -> BlockReader:
        """All files, with the datasets of whichever thread reads."""

    @abstractmethod
    def warm_up(self) -> None:
        """Open one file and compile what reading needs, in this thread."""

    def __len__(self) -> int:
        return len(self.axis)

    def __repr__(self) -> str:
        # Layers and pieces of a thousand scenes would fill a notebook.
        return f"<{type(self).__name__}: {self}>"

    def read(self, block: Block) -> NDArray[Any]:
        """Return (time, y, x) of a block inside the grid, NaN where missing.

        Raises
        ------
        InputError
            When a file cannot be read, naming file, band and window.
        """
        if block.intersection(self.extent) != block:
            raise ValueError(f"{block} lies outside {self.extent}")
        out = np.empty((len(self), block.height, block.width), dtype=self.dtype)
        self.read_into(block, out)
        return out

    def read_into(self, block: Block, out: NDArray[Any]) -> None:
        """Read a block as `read` does into an array of the same shape and type.

        Memory that is used again spares the faults of fresh pages: 2 % of decoding at 22 MB a block, 15 % at
        44 MB and more (21 tiled DEFLATE files of 3000 x 3000 pixels, two threads).
        """
        with HANDLES.kept(after=False):
            self.whole.read_into(block, (out,))

    def check_unchanged(self) -> None:
        """Compare size and modification time of every file with those when its header was read.

        Raises
        ------
        InputError
            When some changed or vanished, or got a mask beside them, naming them.
        """
        # What other sidecars say, nodata and the grid, is read with the headers only; a mask with each window.
        masks = (path for path in sidecars_of(self.stamps) if path.suffix.lower() == ".msk" and path not in self.stamps)
        problems = Problems()
        problems.add(*(f"{path}: appeared since the header of its file was read" for path in masks))
        for path, then in self.stamps.items():
            try:
                now = FileStamp.of(path)
            except OSError as error:
                problems.add(f"{path}: vanished since its header was read ({error.strerror})")
                continue
            if now != then:
                problems.add(f"{path}: changed since its header was read: {then.difference(now)}")
        problems.raise_if_any()


class LayerStack(FileStack):
    """A stack of files whose layers can be read a few at a time.

    Attributes
    ----------
    spec
        How it was read.
    """

    spec: InputSpec

    @property
    @abstractmethod
    def corner(self) -> tuple[int, int]:
        """Row and column of the grid's origin on its lattice, counted from the origin of coordinates."""

    @abstractmethod
    def reader(
        self, indices: Sequence[int], handles: OpenFiles | None = None, *, first_row: int | None = None
    ) -> FileReader:
        """Prepare reading some layers."""

    @abstractmethod
    def files_together(self, index: int) -> tuple[Path, ...]:
        """Return the files of a layer of which reading other layers' bands as well costs no more."""

    @abstractmethod
    def with_spec(self, spec: InputSpec) -> Self:
        """Return the stack as if it had been read by other options."""
