"""Maps as GeoTIFF: one file, whose tiles are appended as blocks are finished, and whose head is written last."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pixelwise.choices import Compression
from pixelwise.crs import same_crs
from pixelwise.errors import OutputError
from pixelwise.grid import Block
from pixelwise.maps.disk import append, close, create, drop, has_name, open_locked, refusal, remove, sync, write
from pixelwise.maps.map import open_quietly
from pixelwise.maps.outputs import Content
from pixelwise.maps.publish import HEAD_SLACK, PendingFile, is_hardly_begun, is_ours, is_own_sidecar, mark, pam
from pixelwise.maps.records import Layout, PlacedTiles
from pixelwise.maps.tag import encode_provenance
from pixelwise.maps.tiles import EncodedTiles, TiledFile, TileEncoder, checksum
from pixelwise.rasters.headers import TAG

__all__ = ["GeoTiffOutput", "check_geotiff"]


class GeoTiffOutput:
    """Appends encoded tiles to a temporary file beside the output, and completes it; see `Output`.

    Parameters
    ----------
    content
        What the file is to hold.
    compress
        ``zstd``, ``deflate``, ``lzw`` or ``none``.
    names
        Its names, if they do not follow from those of the content.
    """

    def __init__(self, content: Content, compress: Compression, names: PendingFile | None = None) -> None:
        self.content = content
        self.names = names or PendingFile(content.path)
        self._compress = compress
        self._tiled: TiledFile | None = None
        #: Bytes before the first tile, for the head: until that is written, this is not a TIFF.
        self._reserve = 0
        #: Open and locked; none before `begin`.
        self._file: BinaryIO | None = None
        #: The place of each tile; counts are 0 for missing tiles.
        self._offsets = self._counts = np.zeros((0, 0, 0), dtype=np.int64)
        #: Where the last tile ends.
        self._end = 0

    @property
    def tiled(self) -> TiledFile:
        """The raster that it holds; available after `begin`."""
        if self._tiled is None:
            raise RuntimeError("tiled comes after begin()")
        return self._tiled

    @property
    def file(self) -> BinaryIO:
        """The temporary file, open and locked; available after `begin`."""
        if self._file is None:
            raise RuntimeError("file comes after begin()")
        return self._file

    def begin(self, layout: Layout, provenance: Mapping[str, Any], reserve: int | None) -> int:
        """Open and lock the temporary file; return the bytes reserved for its head, `reserve` in an earlier run."""
        content, names = self.content, self.names
        # An integer band in its own file has no missing pixels.
        whole = content.alone and content.bands[0].integer
        kind = content.bands[0].dtype(content.dtype) if content.alone else content.dtype
        nodata = None if whole else np.nan
        tiled = TiledFile(content.grid, content.bands, kind, nodata, layout.tile, self._compress)
        try:
            nothing = np.zeros(tiled.tiles, dtype=np.int64)
            head = tiled.head(_encoded({**provenance, **content.tags}), nothing, nothing)
        except RasterioError as error:
            raise OutputError(f"{names.final}: cannot be created ({' '.join(str(error).split())})") from None
        least = len(head) + HEAD_SLACK
        self._reserve = least if reserve is None else reserve
        # The machine that started it may report more about itself.
        if abs(self._reserve - least) > HEAD_SLACK // 2:
            raise OutputError(f"{content.map_}: its journal is damaged; --restart computes everything again")
        file = open_locked(names.temporary, names.final)
        try:
            if reserve is None and not is_ours(file) and not is_hardly_begun(file):
                raise OutputError(
                    f"{names.final}: {names.temporary.name} beside it is not a half-written pixelwise map; "
                    "remove it, or choose another output"
                )
        except BaseException as error:
            close(file)
            if isinstance(error, OSError):
                raise refusal(f"{names.final}: {names.temporary.name} cannot be read", error) from None
            raise
        # From here on the file is ours to remove.
        self._file, self._tiled, self._end = file, tiled, self._reserve
        self._offsets, self._counts = np.zeros((2, *tiled.tiles), dtype=np.int64)
        names.drop_sidecar()
        try:
            if reserve is None:
                file.truncate(0)
            file.seek(0)
            write(file, mark(content.map_, names.final))
            if reserve is None:
                file.truncate(self._reserve)
        except OSError as error:
            raise refusal(f"{names.final}: cannot be created", error) from None
        return self._reserve

    @property
    def encoder(self) -> TileEncoder:
        """The encoder that workers apply to a block; available after `begin`."""
        return TileEncoder(self.tiled.tile, self._compress, self.tiled.dtype)

    def write(self, block: Block, encoded: EncodedTiles) -> PlacedTiles:
        """Append the tiles of one block; return their places, sizes and checksums.

        Raises
        ------
        OutputError
            When the file system refuses.
        """
        placed = PlacedTiles(self._end, encoded.checksum, encoded.counts)
        try:
            append(self.file, encoded.data, self._end)
        except OSError as error:
            raise refusal(f"{self.names.final}: cannot be written", error) from None
        self.place(block, placed)
        return placed

    def place(self, block: Block, tiles: PlacedTiles) -> None:
        """Note where the tiles of a block are: one after another."""
        counts = tiles.counts
        row, col = block.row // self.tiled.tile[0], block.col // self.tiled.tile[1]
        where = np.s_[:, row : row + counts.shape[1], col : col + counts.shape[2]]
        ends = tiles.begin + np.cumsum(counts).reshape(counts.shape)
        self._offsets[where], self._counts[where] = ends - counts, counts
        self._end = max(self._end, int(ends.max()))

    def unsynced(self) -> Iterable[Path]:
        """Return the file, which is flushed to disk as a whole."""
        return (self.names.temporary,)

    def holds(self, block: Block, tiles: PlacedTiles) -> bool:
        """Whether the tiles that an earlier run appended are intact, and as many as a block has.

        Raises
        ------
        OutputError
            When the file cannot be read.
        """
        grid, (height, width) = self.content.grid, self.tiled.tile
        rows, cols = block.row + block.height, block.col + block.width
        if not (
            tiles.begin >= self._reserve  # not within the space of the head
            and block.row % height == block.col % width == 0
            and (rows % height == 0 or rows == grid.height)
            and (cols % width == 0 or cols == grid.width)
            and tiles.counts.shape == (len(self.content.bands), -(-block.height // height), -(-block.width // width))
        ):
            return False
        try:
            if tiles.begin + tiles.size > os.fstat(self.file.fileno()).st_size:
                return False
            self.file.seek(tiles.begin)
            data = self.file.read(tiles.size)
        except OSError as error:
            raise OutputError(
                f"{self.names.final}: {self.names.temporary.name} cannot be read ({error.strerror})"
            ) from None
        return checksum()(data) == tiles.checksum

    def complete(self, provenance: Mapping[str, Any]) -> None:
        """Write the head, flush the file to disk, and check it.

        Raises
        ------
        OutputError
            When it cannot be written, or does not read back as written.
        """
        names = self.names
        if not self._counts.all():
            raise AssertionError(f"{names.temporary} lacks {(self._counts == 0).sum()} tiles")
        try:
            tags = _encoded({**provenance, **self.content.tags})
            head = self.tiled.head(tags, self._offsets, self._counts)
            if len(head) > self._reserve:
                raise AssertionError(f"the head has {len(head)} bytes, {self._reserve} are reserved")
            self.file.truncate(self._end)
            # The mark is overwritten last: a run killed here leaves a file that says what it is, and not yet a TIFF.
            marked = len(mark(self.content.map_, names.final))
            head += bytes(max(marked - len(head), 0))
            self.file.seek(marked)
            write(self.file, head[marked:])
            self.file.seek(0)
            write(self.file, head[:marked])
            sync(names.temporary)
            check_geotiff(names, self.content)
        except RasterioError as error:
            raise OutputError(f"{names.final}: cannot be completed ({' '.join(str(error).split())})") from None
        except OSError as error:
            raise refusal(f"{names.final}: cannot be completed", error) from None

    def check_again(self) -> None:
        """Check a file that an earlier run completed.

        Raises
        ------
        OutputError
            When it cannot be read any more.
        """
        try:
            check_geotiff(self.names, self.content)
        except (RasterioError, OSError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(f"{self.names.final}: cannot be read any more ({reason})") from None

    @property
    def in_place(self) -> bool:
        """Whether the file still has its name."""
        return has_name(self.file, self.names.temporary)

    def close(self, *, keep: bool) -> None:
        """Close the temporary file, and remove it unless another run is to resume from it."""
        if self._file is None:
            return
        if keep:
            close(self._file)
        else:
            if is_own_sidecar(sidecar := pam(self.names.temporary)):
                remove(sidecar)
            drop(self._file, self.names.temporary)
        self._file = None


def check_geotiff(names: PendingFile, content: Content) -> None:
    """Open a finished file as any reader would, and read its last block."""
    path, grid = names.temporary, content.grid
    names.drop_sidecar()
    with open_quietly(path) as dataset:
        if strange := [file for file in dataset.files if Path(file) != path]:
            raise OutputError(f"{strange[0]}: would be read as part of the new map; remove it")
        height, width = dataset.block_shapes[-1]
        window = Window(
            (dataset.width - 1) // width * width, (dataset.height - 1) // height * height, width, height
        ).intersection(Window(0, 0, dataset.width, dataset.height))
        dataset.read(dataset.count, window=window)
        if TAG not in dataset.tags():
            raise OutputError(f"{path}: lost its tags while it was written")
        lost = not same_crs(dataset.crs, grid.crs)
    if lost and grid.crs is not None:
        # GeoTIFF has no code for some systems (rotated poles); GDAL reads them from a sidecar.
        sidecar = pam(path)
        with create(sidecar) as file:
            write(file, f"<PAMDataset><SRS>{escape(grid.crs.to_wkt())}</SRS></PAMDataset>\n".encode())
        sync(sidecar)
        with open_quietly(path) as dataset:
            if not same_crs(dataset.crs, grid.crs):
                raise OutputError(f"{names.final}: a GeoTIFF cannot hold the CRS {grid.crs_name}")


def _encoded(provenance: Mapping[str, Any]) -> dict[str, str]:
    return {TAG: encode_provenance(provenance)}
