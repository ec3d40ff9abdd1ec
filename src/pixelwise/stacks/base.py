"""What the engine knows about a stack, and what file-based stacks have in common.

The engine knows a stack only by ``grid``, ``axis`` and ``read(block)``; a stack may also describe its `Layout`, so
that it can be read faster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError, Problems
from pixelwise.grid import Block, Grid
from pixelwise.rasters.area import Area
from pixelwise.rasters.handles import HANDLES, OpenFiles
from pixelwise.rasters.points import Point
from pixelwise.rasters.sidecars import sidecars_of
from pixelwise.rasters.stamps import FileStamp, Stamp
from pixelwise.rasters.urls import Location
from pixelwise.stacks.file_reader import FileReader
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import first_of, html_table

if TYPE_CHECKING:
    import xarray

    from pixelwise.stacks.series import Series

__all__ = ["BlockReader", "FileStack", "LayerStack", "Layout", "Stack", "layout_of", "value_name"]


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
        Block size of most of the files; a block that straddles two windows is decoded twice.
    itemsize
        Bytes per pixel and layer of the array that ``read`` returns.
    stored_bytes_per_pixel
        Bytes per pixel in all files together, including all bands and masks.
    sources
        How many files are open at once while reading.
    block_bytes
        Bytes decoded at once beyond the window being read: one block of a file, with all its bands if they are
        pixel-interleaved.
    open_file_bytes
        Bytes that GDAL keeps for one open dataset.
    scratch_bytes_per_pixel
        Bytes per pixel of the largest read that does not go straight into the array, plus the file's bytes before
        decoding.
    unit
        Unit of the values, empty if unknown.
    shifted
        Whether the files' blocks are offset from the grid's origin, differently in each file, so that any window
        cuts some of them.
    largest
        The file with the largest block.
    serial
        Whether threads take turns at decoding, as libhdf5 makes them.
    small_chunks
        Number of chunks of all layers, if they are so small that finding each takes longer than decoding it.
    rewrite
        The line that writes arrays in other chunks.
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
    serial: bool = False
    small_chunks: int = 0
    rewrite: str = ""


def layout_of(stack: Stack) -> Layout:
    """Return a stack's own layout, or the default if it has none."""
    layout = getattr(stack, "layout", None)
    return layout if isinstance(layout, Layout) else Layout()


class BlockReader(Protocol):
    """Some files of a stack and the layers they fill; used by one thread at a time."""

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the layers of these files in `parts`, which hold successive strips of a block from top to bottom."""

    def close(self) -> None:
        """Close its own datasets."""


class FileStack(ABC):
    """A stack whose pixels come from files, directly or through another stack.

    Attributes
    ----------
    grid
        Where the pixels are.
    stamps
        Size and modification time of each file when its header was read.
    area
        The requested pixels.
    """

    grid: Grid
    area: Area
    stamps: Mapping[Location, Stamp]

    @property
    @abstractmethod
    def axis(self) -> TimeAxis:
        """When the layers were observed."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The dates of the layers, in the form that `open_stack` reads back from band names."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How best to read it."""

    @property
    @abstractmethod
    def extent(self) -> Block:
        """What can be read: after `crop`, more than the grid, so that a halo has its pixels."""

    @property
    @abstractmethod
    def paths(self) -> tuple[Location, ...]:
        """Every file, once, in the order of the layers."""

    @property
    def releases_gil(self) -> bool:
        """Whether threads can read it in parallel."""
        return True

    @abstractmethod
    def crop(self, block: Block) -> Self:
        """Return the stack of one block of its grid."""

    @abstractmethod
    def take(self, indices: Sequence[int]) -> Self:
        """Return the stack of some of its layers, in order."""

    @property
    @abstractmethod
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the layers, those together whose files are best read together."""

    @abstractmethod
    def readers(self, count: int, handles: int) -> tuple[BlockReader, ...]:
        """Divide the files into at most `count` shares with their own datasets, at most `handles` open in each."""

    @cached_property
    @abstractmethod
    def whole(self) -> BlockReader:
        """All files, read through the datasets of the calling thread."""

    @abstractmethod
    def warm_up(self) -> None:
        """Open one file and compile what reading needs, in this thread."""

    def __len__(self) -> int:
        return len(self.axis)

    def __repr__(self) -> str:
        # The layers and pieces of a thousand scenes would flood a notebook.
        return f"<{type(self).__name__}: {self}>"

    def _repr_html_(self) -> str:
        """Return what notebooks show: dates, grid and files; no pixel is read."""
        axis, paths = self.axis, self.paths
        dates = [axis.days[0], axis.days[-1]]
        rows = [
            ("layers", f"{len(self)}, {dates[0]} to {dates[1]}"),
            ("grid", str(self.grid)),
            ("bounds", ", ".join(f"{edge:.10g}" for edge in self.grid.bounds)),
            ("files", f"{len(paths)}: {first_of([str(path) for path in paths], 3)}"),
            ("summary", str(self)),
        ]
        return html_table(f"pixelwise {type(self).__name__}", rows)

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

        Reusing memory avoids page faults, which cost 2 % of the decoding time at 22 MB a block and 15 % at 44 MB
        and more (21 tiled DEFLATE files of 3000 x 3000 pixels, two threads).
        """
        with HANDLES.kept(after=False):
            self.whole.read_into(block, (out,))

    def fetch_ahead(self, block: Block) -> None:
        """Ask servers for a block that a worker of this process will read soon; of local files, nothing is read."""
        reader = self.whole
        if isinstance(reader, FileReader):
            reader.fetch_ahead(block)

    def to_xarray(self) -> xarray.DataArray:
        """Return the layers as a lazy `xarray.DataArray` (time, y, x); needs the extras ``xarray`` and ``dask``.

        Nothing is read before it is computed, chunk by chunk: a chunk is whole blocks of the files with all layers.
        Missing values, and pixels outside ``region`` or ``where``, are NaN. The time coordinate is datetime64, or dates
        of cftime in another calendar; ``spatial_ref`` holds CRS and transform, as rioxarray and GDAL expect.
        """
        # Both packages are optional, and imported only on use.
        from pixelwise.stacks.lazy import array_of

        return array_of(self)

    def series(
        self,
        x: float | None = None,
        y: float | None = None,
        *,
        crs: str | None = None,
        row: int | None = None,
        col: int | None = None,
    ) -> Series:
        """Return the series of one pixel: by a point in it, or by its row and column.

        Parameters
        ----------
        x, y
            A point in the pixel, in units of `crs`.
        crs
            The CRS of the point, such as ``EPSG:4326`` (x is the longitude); None for that of the stack.
        row, col
            The pixel, from 0 at the top left, instead of a point.

        Raises
        ------
        ParameterError
            When neither or both are given, or the pixel lies outside.
        InputError
            When a file cannot be read.

        Examples
        --------
        >>> stack.series(-151.2, 64.1, crs="EPSG:4326").fit("trend").plot()  # doctest: +SKIP
        """
        from pixelwise.stacks.series import read_series, series_at

        if row is not None and col is not None and x is None and y is None and crs is None:
            return read_series(self, [(row, col)])[0]
        if x is None or y is None or row is not None or col is not None:
            raise ParameterError("give a point (x, y), or a pixel (row=, col=)")
        return series_at(self, [Point(float(x), float(y), crs)])[0]

    def check_unchanged(self) -> None:
        """Compare size and modification time of every file with those when its header was read.

        Raises
        ------
        InputError
            When any has changed, vanished or gained a mask file, naming them.
        """
        # Other sidecars (nodata, grid) are read with the headers only; a mask is read with each window.
        # Of a file on a server, each answer says whether it is still the same.
        local = {path: self.stamps[path] for path in self.stamps if isinstance(path, Path)}
        masks = (path for path in sidecars_of(local) if path.suffix.lower() == ".msk" and path not in self.stamps)
        problems = Problems()
        problems.add(*(f"{path}: appeared since the header of its file was read" for path in masks))
        for path, then in local.items():
            try:
                now = FileStamp.of(path)
            except OSError as error:
                problems.add(f"{path}: vanished since its header was read ({error.strerror})")
                continue
            if isinstance(then, FileStamp) and now != then:
                problems.add(f"{path}: changed since its header was read: {then.difference(now)}")
        problems.raise_if_any()


class LayerStack(FileStack):
    """A stack of files whose layers can be read a few at a time.

    Attributes
    ----------
    spec
        The options it was opened with.
    """

    spec: InputSpec

    @property
    @abstractmethod
    def corner(self) -> tuple[int, int]:
        """Row and column of the grid's origin, in pixels from the origin of the coordinates."""

    @abstractmethod
    def reader(
        self, indices: Sequence[int], handles: OpenFiles | None = None, *, first_row: int | None = None
    ) -> FileReader:
        """Prepare reading some layers."""

    @abstractmethod
    def decoded_together(self, index: int) -> tuple[Hashable, ...]:
        """Return what of a layer's files is decoded for other layers too, and so is best read for all at once."""

    @abstractmethod
    def with_spec(self, spec: InputSpec) -> Self:
        """Return the stack as if it had been opened with other options."""


def value_name(stack: FileStack) -> str | None:
    """Return the name of the index, the variable or the band that a stack holds, if one was asked for."""
    layers = getattr(stack, "scenes", stack)
    asked = (layers.spec.value, layers.spec.variable, layers.spec.band) if isinstance(layers, LayerStack) else ()
    return next((name for name in asked if isinstance(name, str) and name.isidentifier()), None)
