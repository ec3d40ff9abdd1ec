"""Files that are being written beside a map, and its final name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.errors import OutputError
from pixelwise.grid import Block
from pixelwise.maps.publish import HALF_WRITTEN, SUFFIXES, PendingFile
from pixelwise.maps.records import PlacedTiles
from pixelwise.maps.tiles import TiledFile
from pixelwise.regular_files import check_encodable

__all__ = ["LayerFile", "Output", "check_different", "check_name", "identity_of", "relative"]


@dataclass(frozen=True)
class LayerFile:
    """A stack that is written together with a map.

    Attributes
    ----------
    kind
        What its layers are: ``fitted``, ...
    path
        A GeoTIFF.
    bands
        One per layer.

    Raises
    ------
    OutputError
        When its name is not that of a GeoTIFF.
    """

    kind: str
    path: Path
    bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        check_name(self.path, f"{self.kind} are")
        if "{band}" in self.path.name:
            raise OutputError(f"{self.path}: {self.kind} are one file with a band per date, not one per band")


@dataclass(eq=False)
class Output:
    """One file that is being written.

    Attributes
    ----------
    names
        Its final name, and its name until it is complete.
    tiled
        The raster that it holds.
    tags
        What its provenance contains in addition to the map's.
    reserve
        Bytes before the first tile, for the head, which is written last: until then this is not a TIFF.
    file
        Open and locked.
    offsets, counts
        The place of each tile; counts are 0 for missing tiles.
    end
        Where the last tile ends.
    """

    names: PendingFile
    tiled: TiledFile
    tags: Mapping[str, Any]
    reserve: int
    file: BinaryIO
    offsets: NDArray[np.int64] = field(init=False)
    counts: NDArray[np.int64] = field(init=False)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        self.offsets = np.zeros(self.tiled.tiles, dtype=np.int64)
        self.counts = np.zeros(self.tiled.tiles, dtype=np.int64)
        self.end = self.reserve

    def holds(self, block: Block, tiles: PlacedTiles) -> bool:
        """Whether there are as many tiles as a block has, none of them within the space of the head."""
        bands, grid = len(self.tiled.bands), self.tiled.grid
        rows, cols = block.row + block.height, block.col + block.width
        (height, width), whole = self.tiled.tile, (grid.height, grid.width)
        return (
            tiles.begin >= self.reserve
            and block.row % height == block.col % width == 0
            and (rows % height == 0 or rows == whole[0])
            and (cols % width == 0 or cols == whole[1])
            and tiles.counts.shape == (bands, -(-block.height // height), -(-block.width // width))
        )

    def place(self, block: Block, begin: int, counts: NDArray[np.int64]) -> None:
        """Note where the tiles of a block are: one after another from `begin`."""
        row, col = block.row // self.tiled.tile[0], block.col // self.tiled.tile[1]
        where = np.s_[:, row : row + counts.shape[1], col : col + counts.shape[2]]
        ends = begin + np.cumsum(counts).reshape(counts.shape)
        self.offsets[where], self.counts[where] = ends - counts, counts
        self.end = max(self.end, int(ends.max()))


def check_name(path: Path, what: str) -> None:
    """Refuse an output whose name cannot be that of a GeoTIFF."""
    check_encodable(path, output=True)
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: {what} a GeoTIFF: its name must end in .tif")
    # Ignoring case: some file systems do too.
    if HALF_WRITTEN.fullmatch(path.name.lower()):
        raise OutputError(f"{path}: is a name reserved for half-written maps; choose another one")


def relative(path: Path, folder: Path | None) -> str:
    """Return a path as the map names it: relative to the map's folder, if there is one."""
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
