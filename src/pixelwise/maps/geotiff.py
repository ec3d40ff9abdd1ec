"""Maps as GeoTIFF: one file with all bands, or one file per band."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pixelwise.bands import Band
from pixelwise.choices import Compression
from pixelwise.errors import InputError, OutputError
from pixelwise.grid import Block, Grid, same_crs
from pixelwise.maps.disk import (
    BackgroundSync,
    append,
    check_folder,
    check_target,
    close,
    create,
    drop,
    has_name,
    open_locked,
    refusal,
    remove,
    sync,
    write,
)
from pixelwise.maps.map import Map, Timings, encode_provenance, is_map, open_map, open_quietly
from pixelwise.maps.outputs import LayerFile, Output, check_different, check_name, identity_of
from pixelwise.maps.publish import HEAD_SLACK, PendingFile, is_hardly_begun, is_ours, is_own_sidecar, mark, pam, publish
from pixelwise.maps.records import DoneBlock, Layout, PlacedTiles, Seal
from pixelwise.maps.tiles import EncodedTiles, TiledFile, TileEncoder, checksum, default_compression
from pixelwise.rasters.datasets import files_behind
from pixelwise.rasters.headers import TAG

__all__ = ["GeoTiffSink"]

#: How many bytes, or seconds of output, may pass before it is flushed to disk while the job runs: the rest then takes
#: only a moment at the end, and a power failure loses no more than this.
SYNC_BYTES = 32 << 20
SYNC_SECONDS = 2.0


class GeoTiffSink:
    """Appends encoded tiles to a temporary file beside the output, completes it, checks it, and renames it.

    Parameters
    ----------
    path
        The output; with ``{band}`` in its name, one file per band, each with its own type.
    beside
        Stacks that are published with the map or not at all. Their layers come first among the bands of a block.
    inputs
        Files of the input: none of them may be the output.
    overwrite
        Whether a finished map may be replaced; it stays until the new one is complete.
    compress
        ``zstd`` (the default if GDAL has it), ``deflate``, ``lzw`` or ``none``.

    Raises
    ------
    OutputError
        When the output cannot be written there.
    """

    def __init__(
        self,
        path: str | Path,
        beside: Sequence[LayerFile] = (),
        *,
        inputs: Collection[Path] = (),
        overwrite: bool = False,
        compress: Compression | None = None,
    ) -> None:
        self.path = Path(path)
        self._beside = tuple(beside)
        self.compress: Compression = compress or default_compression()
        self._overwrite = overwrite
        self._inputs = tuple(inputs)
        self._outputs: list[Output] = []
        self._grid: Grid | None = None
        self._unsynced, self._synced = 0, time.monotonic()
        self._syncing = BackgroundSync(str(path))
        check_name(self.path, "a map is")
        paths = [self.path, *(file.path for file in self._beside)]
        for place in paths:
            check_folder(place)
        check_different(paths)

    @property
    def per_band(self) -> bool:
        """Whether each band gets its own file."""
        return "{band}" in self.path.name

    def check(self) -> None:
        """Check that the output may be written, as far as its name is known before its bands are.

        Raises
        ------
        OutputError
            When it exists or is an input.
        """
        for path in (*(file.path for file in self._beside), *([] if self.per_band else [self.path])):
            self._check_target(path)

    def _check_target(self, target: Path) -> None:
        names = PendingFile(target)
        if self._is_input(target):
            raise OutputError(f"{target}: is one of the inputs; choose another output")
        exists = check_target(target)
        if exists and not self._overwrite:
            raise OutputError(f"{target}: already exists; --overwrite replaces it when the new map is complete")
        if exists and not is_map(target):
            raise OutputError(f"{target}: is not a pixelwise map, and only maps are replaced; choose another name")
        names.check_beside(overwrite=self._overwrite)

    def _is_input(self, target: Path) -> bool:
        """Whether a file is read, directly or through a VRT; links and hard links count."""
        try:
            identity, status = identity_of(target), target.stat()
        except OSError:
            return False

        def same(file: Path) -> bool:
            try:
                return identity_of(file) == identity or os.path.samestat(file.stat(), status)
            except OSError:
                return False

        return any(same(file) for input_ in self._inputs for file in files_behind(input_))

    def begin(
        self,
        grid: Grid,
        tile: tuple[int, int],
        bands: tuple[Band, ...],
        dtype: str,
        provenance: Mapping[str, Any],
        layout: Layout | None,
    ) -> Layout:
        """Open and lock the temporary files; see `Sink`.

        Raises
        ------
        OutputError
            When a file exists, cannot be created, or is written by another run.
        """
        self._grid = grid
        for index, (names, group, layers) in enumerate(self._files(bands)):
            # An integer band in its own file has no missing pixels.
            alone = self.per_band and layers is None
            nodata = None if alone and group[0].integer else np.nan
            kind = group[0].dtype(dtype) if alone else dtype
            tiled = TiledFile(grid, group, kind, nodata, tile, self.compress)
            self._check_target(names.final)
            tags = self._tags(layers)
            try:
                least = _head_size(tiled, {**provenance, **tags}) + HEAD_SLACK
            except RasterioError as error:
                raise OutputError(f"{names.final}: cannot be created ({' '.join(str(error).split())})") from None
            reserve = least
            if layout:  # the machine that started it may report more about itself
                reserve = layout.reserve[index] if index < len(layout.reserve) else 0
            if abs(reserve - least) > HEAD_SLACK // 2:
                raise OutputError(f"{self.path}: its journal is damaged; --restart computes everything again")
            file = open_locked(names.temporary, names.final)
            try:
                if layout is None and not is_ours(file) and not is_hardly_begun(file):
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
            output = Output(names, tiled, tags, reserve, file)
            self._outputs.append(output)
            names.drop_sidecar()
            try:
                if layout is None:
                    output.file.truncate(0)
                output.file.seek(0)
                write(output.file, mark(self.path, names.final))
                if layout is None:
                    output.file.truncate(reserve)
            except OSError as error:
                raise refusal(f"{names.final}: cannot be created", error) from None
        return Layout(tile, tuple(output.reserve for output in self._outputs))

    def _files(self, bands: tuple[Band, ...]) -> list[tuple[PendingFile, tuple[Band, ...], LayerFile | None]]:
        """Return each file's names, its bands, and the stack that it holds, if any.

        The map comes last and so gets its name last: once it has its name, everything is there.
        """
        groups = [(band,) for band in bands] if self.per_band else [bands]
        maps = [(Path(str(self.path).replace("{band}", group[0].name)), group, None) for group in groups]
        files = [*((file.path, file.bands, file) for file in self._beside), *maps]
        check_different([path for path, _, _ in files])
        return [(PendingFile(path), group, layers) for path, group, layers in files]

    def _map_of(self, files: Sequence[PendingFile]) -> Path:
        return files[len(self._beside)].final

    def _tags(self, layers: LayerFile | None) -> dict[str, Any]:
        """Return what a file's provenance says about the file; paths in it are relative to the map."""
        if layers is not None:
            map_ = os.path.relpath(os.path.realpath(self.path), os.path.realpath(layers.path.parent))
            return {"written": layers.kind, "map": Path(map_).as_posix(), "bands": [band.name for band in layers.bands]}
        return {"files": self.path.name} if self.per_band else {}

    @property
    def encode(self) -> TileEncoder:
        """The encoder that workers apply to a block; available after `begin`."""
        tiled = self._outputs[0].tiled
        files = tuple((output.tiled.dtype, len(output.tiled.bands)) for output in self._outputs)
        return TileEncoder(tiled.tile, tiled.compress, files)

    def write(self, block: Block, encoded: tuple[EncodedTiles, ...]) -> tuple[PlacedTiles, ...]:
        """Append the tiles of one block; return their places, sizes and checksums.

        Raises
        ------
        OutputError
            When the file system refuses.
        """
        files = []
        for output, tiles in zip(self._outputs, encoded, strict=True):
            begin = output.end
            try:
                append(output.file, tiles.data, begin)
            except OSError as error:
                raise refusal(f"{output.names.final}: cannot be written", error) from None
            output.place(block, begin, tiles.counts)
            self._unsynced += len(tiles.data)
            files.append(PlacedTiles(begin, tiles.checksum, tiles.counts))
        late = time.monotonic() - self._synced > SYNC_SECONDS
        if (late or self._unsynced >= SYNC_BYTES) and self._syncing.idle:
            self._unsynced, self._synced = 0, time.monotonic()
            self._syncing.start(output.names.temporary for output in self._outputs)
        return tuple(files)

    def restore(self, done: DoneBlock) -> bool:
        """Accept the tiles of a block that an earlier run appended; False if they are damaged.

        Raises
        ------
        OutputError
            When the file cannot be read.
        """
        if len(done.files) != len(self._outputs):
            return False
        for output, tiles in zip(self._outputs, done.files, strict=True):
            if not output.holds(done.block, tiles):
                return False
            try:
                if tiles.begin + tiles.size > os.fstat(output.file.fileno()).st_size:
                    return False
                output.file.seek(tiles.begin)
                data = output.file.read(tiles.size)
            except OSError as error:
                raise OutputError(
                    f"{output.names.final}: {output.names.temporary.name} cannot be read ({error.strerror})"
                ) from None
            if checksum()(data) != tiles.checksum:
                return False
        for output, tiles in zip(self._outputs, done.files, strict=True):
            output.place(done.block, tiles.begin, tiles.counts)
        return True

    def finish(self, provenance: Mapping[str, Any], timings: Timings, commit: Callable[[Sequence[Seal]], None]) -> Map:
        """Complete, flush, check and rename all files; return the map.

        Raises
        ------
        OutputError
            When a file cannot be completed or renamed, or does not read back as written.
        """
        self._syncing.wait()
        for output in self._outputs:
            self._complete(output, provenance)
        files = [output.names for output in self._outputs]
        try:
            commit([file.seal() for file in files])
            moved = [o.names for o in self._outputs if not has_name(o.file, o.names.temporary)]
        except (InputError, ValueError) as error:
            raise OutputError(f"{self.path}: cannot be completed ({error})") from None
        if moved:
            raise OutputError(f"{moved[0].final}: {moved[0].temporary.name} beside it was replaced by another file")
        if os.name == "nt":  # open files cannot be renamed there
            for output in self._outputs:
                output.file.close()
        publish(files, files, overwrite=self._overwrite)
        written = open_map(self._map_of(files))
        return Map(written.grid, written.bands, written.provenance, timings, written.files)

    def end(self, bands: tuple[Band, ...], grid: Grid, seals: Sequence[Seal]) -> Map:
        """Rename the files that an earlier run completed but could not rename any more.

        Parameters
        ----------
        bands, grid
            As in `begin`.
        seals
            The seals that that run handed to `commit`.

        Raises
        ------
        OutputError
            When a file is gone or was replaced, or cannot be renamed.
        """
        self._grid = grid
        files = [names for names, *_ in self._files(bands)]
        if len(seals) != len(files):
            raise OutputError(f"{self.path}: its journal is damaged; --restart computes the map again")
        waiting = [file for file, seal in zip(files, seals, strict=True) if file.is_waiting(seal)]
        for file in waiting:
            try:
                self._check_written(file)  # which restores a sidecar that alone got its name
            except (RasterioError, OSError) as error:
                raise OutputError(f"{file.final}: cannot be read any more ({' '.join(str(error).split())})") from None
        publish(files, waiting, overwrite=self._overwrite)
        return open_map(self._map_of(files))

    def _complete(self, output: Output, provenance: Mapping[str, Any]) -> None:
        if not output.counts.all():
            raise AssertionError(f"{output.names.temporary} lacks {(output.counts == 0).sum()} tiles")
        try:
            head = output.tiled.head(_encoded({**provenance, **output.tags}), output.offsets, output.counts)
            if len(head) > output.reserve:
                raise AssertionError(f"the head has {len(head)} bytes, {output.reserve} are reserved")
            output.file.truncate(output.end)
            # The mark is overwritten last: a run killed here leaves a file that says what it is, and not yet a TIFF.
            marked = len(mark(self.path, output.names.final))
            head += bytes(max(marked - len(head), 0))
            output.file.seek(marked)
            write(output.file, head[marked:])
            output.file.seek(0)
            write(output.file, head[:marked])
            sync(output.names.temporary)
            self._check_written(output.names)
        except RasterioError as error:
            raise OutputError(f"{output.names.final}: cannot be completed ({' '.join(str(error).split())})") from None
        except OSError as error:
            raise refusal(f"{output.names.final}: cannot be completed", error) from None

    def _check_written(self, names: PendingFile) -> None:
        """Open a finished file as any reader would, and read its last block."""
        path = names.temporary
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
            lost = self._grid is not None and not same_crs(dataset.crs, self._grid.crs)
        if lost and self._grid is not None and self._grid.crs is not None:
            # GeoTIFF has no code for some systems (rotated poles); GDAL reads them from a sidecar.
            sidecar = pam(path)
            with create(sidecar) as file:
                write(file, f"<PAMDataset><SRS>{escape(self._grid.crs.to_wkt())}</SRS></PAMDataset>\n".encode())
            sync(sidecar)
            with open_quietly(path) as dataset:
                if not same_crs(dataset.crs, self._grid.crs):
                    raise OutputError(f"{self.path}: a GeoTIFF cannot hold the CRS {self._grid.crs_name}")

    def abort(self, *, keep: bool) -> None:
        """Close the temporary files, and remove them unless another run is to resume from them."""
        self._syncing.close()
        for output in self._outputs:
            if keep:
                close(output.file)
            else:
                if is_own_sidecar(sidecar := pam(output.names.temporary)):
                    remove(sidecar)
                drop(output.file, output.names.temporary)
        self._outputs = []


def _head_size(tiled: TiledFile, provenance: Mapping[str, Any]) -> int:
    nothing = np.zeros(tiled.tiles, dtype=np.int64)
    return len(tiled.head(_encoded(provenance), nothing, nothing))


def _encoded(provenance: Mapping[str, Any]) -> dict[str, str]:
    return {TAG: encode_provenance(provenance)}
