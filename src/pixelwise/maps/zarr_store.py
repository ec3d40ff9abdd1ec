"""Maps as Zarr: one array per band, whose files workers write, and metadata that makes a store of them at the end."""

from __future__ import annotations

import os
import re
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bands import STATUS_BAND
from pixelwise.errors import InputError, OutputError
from pixelwise.grid import Block
from pixelwise.maps.cf import variables_of
from pixelwise.maps.disk import refusal, sync
from pixelwise.maps.outputs import Content
from pixelwise.maps.records import Layout, PlacedTiles
from pixelwise.maps.shards import Chunking, ShardEncoder, StoredArray, WrittenPieces, write_file
from pixelwise.maps.store_reader import import_zarr, read_points, read_store
from pixelwise.maps.stores import MARK_FILE, HiddenFolder, PendingStore, files_in
from pixelwise.maps.tag import attributes_of
from pixelwise.maps.tiles import checksum
from pixelwise.rasters.conventions import geozarr_of
from pixelwise.rasters.tags import TILE_UNIT
from pixelwise.regular_files import irregular

__all__ = ["ZarrOutput"]

#: Files that are flushed to disk at a time.
SYNC_THREADS = 8

#: The end of a name of a file that a worker wrote and the parent did not take.
UNTAKEN = re.compile(r"\.[0-9a-f]{32}$")

#: What a reader sees where a file of an array is lost: no count, and no status that exists.
LOST_COUNT, LOST_STATUS = -1, 255


class ZarrOutput:
    """Lets workers write the files of a store into a hidden folder beside the output, and completes it; see `Output`.

    Parameters
    ----------
    content
        What the store is to hold.
    compress
        ``zstd``, ``deflate`` or ``none``.
    zarr_format
        3 (sharded) or 2 (a file for each chunk).
    """

    def __init__(self, content: Content, compress: str, zarr_format: int = 3) -> None:
        import_zarr()  # an installation without it is told now, not after the job
        self.content = content
        self.names = PendingStore(content.path)
        self._compress = compress
        self._format = zarr_format
        self._folder = HiddenFolder(self.names.temporary, content.path)
        self._arrays: tuple[StoredArray, ...] = ()
        #: Bytes of each file of each array; 0 for those that are missing.
        self._counts = np.zeros((0, 0, 0), dtype=np.int64)
        self._unsynced: list[Path] = []
        self._run = uuid.uuid4().hex

    def begin(self, layout: Layout, provenance: Mapping[str, Any], reserve: int | None) -> int:
        """Open and lock the hidden folder; nothing is reserved, as metadata has files of its own."""
        grid, shard = self.content.grid, layout.shard or (1, 1)
        # A journal may say anything; a shard is whole chunks, or all of the raster.
        edges = zip(shard, (grid.height, grid.width), strict=True)
        if layout.shard is None or reserve or any(edge % TILE_UNIT and edge < size for edge, size in edges):
            raise OutputError(f"{self.content.map_}: its journal is damaged; --restart computes everything again")
        self._arrays = self._cut(shard)
        self._folder.open(self.content.map_, resumed=reserve is not None)
        self._counts = np.zeros((len(self._arrays), *self._arrays[0].pieces), dtype=np.int64)
        return 0

    def _cut(self, shard: tuple[int, int]) -> tuple[StoredArray, ...]:
        """Return the arrays of the store, all with files of the same pixels."""
        content = self.content
        size = content.grid.height, content.grid.width
        layers = 0 if content.axis is None else len(content.axis)
        cut = Chunking.of(size, shard, max(layers, 1), sharded=self._format == 3)
        found = [StoredArray(content.name, content.dtype, np.nan, size, layers, cut)] if layers else []
        for band in content.bands[layers:]:
            fill = LOST_STATUS if band.name == STATUS_BAND.name else LOST_COUNT if band.integer else np.nan
            found.append(StoredArray(band.name, band.dtype(content.dtype), fill, size, None, cut))
        return tuple(found)

    @property
    def encoder(self) -> ShardEncoder:
        """What writes the files of a block, in the worker that computed it; available after `begin`."""
        folder = os.path.abspath(self._folder.path)  # noqa: PTH100 - `absolute` keeps `..`
        return ShardEncoder(
            folder, MARK_FILE, str(self.content.path), self._arrays, self._compress, self._format, self._run
        )

    def write(self, block: Block, encoded: WrittenPieces) -> PlacedTiles:
        """Accept the files that a worker wrote, and give them their names.

        Raises
        ------
        OutputError
            When they are not there.
        """
        placed, encoder = PlacedTiles(0, encoded.checksum, encoded.counts), self.encoder
        for path, size in self._files(block, placed):
            written = encoder.written(path)
            try:
                if written.stat().st_size == size:
                    written.replace(path)
                    self._unsynced.append(path)
                    continue
            except OSError:
                pass
            raise OutputError(
                f"{self.content.path}: {path} is not as a worker wrote it: do all see the same disk, and does nothing "
                "else write there?"
            )
        self.place(block, placed)
        return placed

    def _files(self, block: Block, tiles: PlacedTiles) -> Iterable[tuple[Path, int]]:
        """Return the files of a block, and their sizes."""
        encoder = self.encoder
        paths = [path for array in self._arrays for path, _ in encoder.parts(array, block)]
        return zip(paths, tiles.counts.reshape(-1).tolist(), strict=True)

    def place(self, block: Block, tiles: PlacedTiles) -> None:
        """Note that the files of a block are there."""
        height, width = self._arrays[0].cut.piece
        row, col = block.row // height, block.col // width
        _, rows, cols = tiles.counts.shape
        self._counts[:, row : row + rows, col : col + cols] = tiles.counts

    def unsynced(self) -> Iterable[Path]:
        """Return the files that were written since this was last called."""
        found, self._unsynced = self._unsynced, []
        return found

    def holds(self, block: Block, tiles: PlacedTiles) -> bool:
        """Whether the files of a block that an earlier run wrote are intact: each size, and the checksum of all.

        Raises
        ------
        OutputError
            When one cannot be read.
        """
        grid, (height, width) = self.content.grid, self._arrays[0].cut.piece
        rows, cols = block.row + block.height, block.col + block.width
        if not (
            tiles.begin == 0
            and block.row % height == block.col % width == 0
            and (rows % height == 0 or rows == grid.height)
            and (cols % width == 0 or cols == grid.width)
            and tiles.counts.shape == (len(self._arrays), *self.encoder.shape(block))
        ):
            return False
        total = 0
        for path, size in self._files(block, tiles):
            try:
                # Not even a link to the right bytes: it may lead elsewhere tomorrow.
                if irregular(path) or path.stat().st_size != size:
                    return False
                total = checksum()(path.read_bytes(), total)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise OutputError(f"{self.content.path}: {path} cannot be read ({error.strerror})") from None
        return total == tiles.checksum

    def complete(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata, flush everything to disk, and check the store.

        Raises
        ------
        OutputError
            When it cannot be written, or does not read back as written.
        """
        folder = self._folder.path
        if not self._counts.all():
            raise AssertionError(f"{folder} lacks {(self._counts == 0).sum()} files")
        try:
            for name, data in self.metadata(provenance).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, data)
            files, folders = files_in(folder)
            # Of workers that wrote a block again, or whose run was stopped.
            for path in [path for path in files if UNTAKEN.search(path.name)]:
                path.unlink()
                files.remove(path)
            # One at a time, the disk is waited for each time: half a second for a hundred files, together a fifth.
            with ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="pixelwise-sync") as pool:
                list(pool.map(sync, files))
            for path in folders:
                sync(path)
        except OSError as error:
            raise refusal(f"{self.content.path}: cannot be completed", error) from None
        self.check_again()

    def metadata(self, provenance: Mapping[str, Any]) -> dict[str, bytes]:
        """Return all files of the store except those of its bands, by name; that of the whole store is the last."""
        zarr, content = import_zarr(), self.content
        files: dict[str, Any] = {}
        group = zarr.create_group(
            zarr.storage.MemoryStore(files),
            zarr_format=self._format,
            attributes=_plain({**attributes_of({**provenance, **content.tags}), **geozarr_of(content.grid)}),
        )
        arrays = {array.name: array for array in self._arrays}
        for variable in variables_of(content):
            what = arrays[variable.name] if variable.values is None else variable.values
            self._add(group, variable.name, variable.dimensions, variable.attributes, what)
        with warnings.catch_warnings():
            # zarr-python warns that consolidated metadata is no part of the specification yet; xarray expects it.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(group.store)
        written = {name: files[name].to_bytes() for name in files}
        root = "zarr.json" if self._format == 3 else ".zmetadata"
        return {**{name: data for name, data in written.items() if name != root}, root: written[root]}

    def _add(self, group: Any, name: str, dimensions: Sequence[str], attributes: Mapping[str, Any], what: Any) -> None:
        """Add an array to a group: with its values, or as a `StoredArray` whose files workers write."""
        described = _plain(attributes)
        options: dict[str, Any] = {}
        if self._format == 3:
            options["dimension_names"] = tuple(dimensions)
        else:
            # Where Zarr 2 has no names, xarray writes and looks for this.
            described["_ARRAY_DIMENSIONS"] = list(dimensions)
        if not isinstance(what, StoredArray):
            values = np.asarray(what)
            fill = np.nan if values.dtype.kind == "f" else 0 if self._format == 3 else None
            array = group.create_array(
                name, shape=values.shape, dtype=values.dtype, chunks=tuple(max(size, 1) for size in values.shape),
                fill_value=fill, compressors=None, attributes=described, config={"write_empty_chunks": True}, **options,
            )  # fmt: skip
            array[...] = values
            return
        layers = () if what.layers is None else (what.layers,)
        # Where Zarr 2 has a fill value for whole numbers, xarray takes it for missing, and makes floats of them.
        fill = None if self._format == 2 and np.dtype(what.dtype).kind in "iu" else what.fill
        group.create_array(
            name, shape=(*layers, *what.size), dtype=what.dtype, chunks=(*layers, *what.cut.chunk),
            shards=(*layers, *what.cut.piece) if self._format == 3 else None, fill_value=fill,
            compressors=_compressor(self._compress, self._format), filters=None, attributes=described, **options,
        )  # fmt: skip

    def check_again(self) -> None:
        """Open the finished store as any reader would, and read its last pixel.

        Raises
        ------
        OutputError
            When it cannot be read.
        """
        path, grid = self._folder.path, self.content.grid
        try:
            found, text, bands = read_store(path)
            if text is None or [band.name for band in bands] != [band.name for band in self.content.bands]:
                raise OutputError(f"{self.content.path}: lost its bands or attributes while it was written")
            if differing := grid.differences(found):
                raise OutputError(f"{self.content.path}: a Zarr store cannot hold its grid ({differing[0]})")
            last = np.array([grid.height - 1]), np.array([grid.width - 1])
            read_points(path, [bands[-1].name], *last)
        except InputError as error:
            raise OutputError(f"{self.content.path}: cannot be completed ({error})") from None

    @property
    def in_place(self) -> bool:
        """Whether the hidden folder still has its name."""
        return self._folder.in_place

    def close(self, *, keep: bool) -> None:
        """Unlock the hidden folder, and remove it unless another run is to resume from it."""
        self._folder.close(keep=keep)


def _compressor(compress: str, zarr_format: int) -> Any:
    """Return the codec of `ShardEncoder` as zarr-python describes it."""
    if compress == "none":
        return None
    if zarr_format == 2:
        import numcodecs

        return numcodecs.Zstd(level=1) if compress == "zstd" else numcodecs.GZip(level=1)
    codecs = import_zarr().codecs
    return codecs.ZstdCodec(level=1) if compress == "zstd" else codecs.GzipCodec(level=1)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as JSON has them."""
    return {
        name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        for name, value in attributes.items()
    }
