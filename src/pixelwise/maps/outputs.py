"""What the files of a job hold, what is done with each while it is written, and how they may be called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.choices import Compression
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import OutputError
from pixelwise.grid import Block, Grid
from pixelwise.maps.publish import HALF_WRITTEN, SUFFIXES, Pending
from pixelwise.maps.records import Layout, PlacedTiles
from pixelwise.maps.stores import HALF_WRITTEN_FOLDER, NETCDF, STORE, WORKSHOP
from pixelwise.rasters.urls import Location, Url
from pixelwise.regular_files import check_encodable

__all__ = [
    "FORMATS",
    "Content",
    "FileFormat",
    "LayerFile",
    "Output",
    "check_different",
    "check_name",
    "identity_of",
    "relative",
]


#: What a job can write, by the end of the name, in lower case.
FORMATS = {**dict.fromkeys(SUFFIXES, "GeoTIFF"), STORE: "Zarr", NETCDF: "NetCDF"}


@dataclass(frozen=True)
class FileFormat:
    """How files are written.

    Attributes
    ----------
    compress
        ``zstd`` (the default if GDAL has it), ``deflate``, ``lzw`` or ``none``.
    zarr_format
        3 (sharded) or 2 (a file for each chunk).
    driver
        ``GTiff``, or ``COG`` for cloud-optimized maps; stacks of layers are plain GeoTIFF always.
    """

    compress: Compression | None = None
    zarr_format: int = 3
    driver: str = "GTiff"


@dataclass(frozen=True)
class LayerFile:
    """A stack that is written together with a map.

    Attributes
    ----------
    kind
        What its layers are: ``fitted``, ...
    path
        A GeoTIFF, a Zarr store or a NetCDF file.
    bands
        One per layer.
    axis
        The dates of the layers.

    Raises
    ------
    OutputError
        When its name is not that of a file that can be written.
    """

    kind: str
    path: Path
    bands: tuple[Band, ...]
    axis: TimeAxis

    def __post_init__(self) -> None:
        check_name(self.path, f"{self.kind} are")
        if "{band}" in self.path.name:
            raise OutputError(f"{self.path}: {self.kind} are one file with a band per date, not one per band")


@dataclass(frozen=True)
class Content:
    """What one file of a job is to hold.

    Attributes
    ----------
    path
        Its name.
    map_
        The map that the job makes; with ``{band}`` in its name, one file per band.
    grid, bands
        The raster.
    dtype
        Data type of the numbers of the map.
    tags
        What its provenance contains in addition to the map's.
    alone
        Whether its band has a file of its own.
    axis
        The dates of its first bands, if these are the layers of a stack.
    name
        What these layers are.
    """

    path: Path
    map_: Path
    grid: Grid
    bands: tuple[Band, ...]
    dtype: str
    tags: Mapping[str, Any]
    alone: bool = False
    axis: TimeAxis | None = None
    name: str = "value"


class Output(Protocol):
    """One file while it is written; hidden until it is complete, and the whole job with it.

    ``begin`` is called first, then, for each block, ``write``, or ``holds`` and ``place`` if an earlier run wrote it;
    ``complete`` makes it what it is to be, under its temporary name; ``close`` may follow any other call.
    """

    @property
    def content(self) -> Content:
        """What it is to hold."""

    @property
    def names(self) -> Pending:
        """Its final name, and its name until it is complete."""

    def begin(self, layout: Layout, provenance: Mapping[str, Any], reserve: int | None) -> int:
        """Create and lock it; return the bytes reserved before its first tile, which are given if a run is resumed."""

    @property
    def encoder(self) -> Callable[[Block, NDArray[Any], NDArray[Any] | None], Any]:
        """What workers apply to its (band, y, x) layers of a block, and to the (y, x) status if that is its last band.

        Available after ``begin``; picklable.
        """

    def write(self, block: Block, encoded: Any) -> PlacedTiles:
        """Accept what the encoder returned; return what ``holds`` and ``place`` need to find it again."""

    def holds(self, block: Block, tiles: PlacedTiles) -> bool:
        """Whether the tiles of a block that an earlier run wrote are intact."""

    def place(self, block: Block, tiles: PlacedTiles) -> None:
        """Take over the tiles of a block that an earlier run wrote."""

    def unsynced(self) -> Iterable[Path]:
        """Return what is to be flushed to disk now."""

    def complete(self, provenance: Mapping[str, Any]) -> None:
        """Complete it under its temporary name, flush it to disk, and check it."""

    def check_again(self) -> None:
        """Check what an earlier run completed; it was not begun in this one."""

    @property
    def in_place(self) -> bool:
        """Whether its temporary name still is that of what was written."""

    def close(self, *, keep: bool) -> None:
        """Close it, and remove it unless another run is to resume from it."""


def check_name(path: Path, what: str) -> None:
    """Refuse an output whose name is not that of a file that can be written."""
    check_encodable(path, output=True)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: {what} GeoTIFF, Zarr or NetCDF: its name must end in .tif, .zarr or .nc")
    if kind != "GeoTIFF" and "{band}" in path.name:
        raise OutputError(f"{path}: one {kind} output holds all bands: choose a name without {{band}}")
    # Ignoring case: some file systems do too.
    if any(pattern.fullmatch(path.name.lower()) for pattern in (HALF_WRITTEN, HALF_WRITTEN_FOLDER, WORKSHOP)):
        raise OutputError(f"{path}: is a name reserved for half-written maps; choose another one")


def relative(path: Location, folder: Path | None) -> str:
    """Return a path as the map names it: relative to the map's folder, if there is one; a URL as it is."""
    if isinstance(path, Url):
        return str(path)
    if folder is None:
        return path.as_posix()
    try:
        # From where the folder really is: `..` of a link leads elsewhere.
        return Path(os.path.relpath(os.path.abspath(path), os.path.realpath(folder))).as_posix()  # noqa: PTH100
    except ValueError:  # another drive on Windows
        return path.absolute().as_posix()


def check_different(paths: Sequence[Path]) -> None:
    """Refuse outputs if two of them are the same file."""
    seen = set()
    for path in paths:
        if identity_of(path) in seen:
            raise OutputError(f"{path}: is given for two outputs of one job; choose another name")
        seen.add(identity_of(path))


def identity_of(path: Path) -> Path:
    """Return the path of a file with links resolved."""
    # Path.resolve fails on links that form a loop.
    return Path(os.path.realpath(path))
