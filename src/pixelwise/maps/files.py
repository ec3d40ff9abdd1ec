"""Maps in files: what a job writes, from the first block to the final names, whatever the format of each file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.choices import Compression
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.cf import check_names
from pixelwise.maps.cog import CloudOptimized
from pixelwise.maps.converted import ConvertedOutput
from pixelwise.maps.disk import BackgroundSync, check_folder, check_target
from pixelwise.maps.geotiff import GeoTiffOutput
from pixelwise.maps.map import Map, Timings, is_map, open_map
from pixelwise.maps.netcdf import NetCdf, compression
from pixelwise.maps.outputs import (
    FORMATS,
    Content,
    FileFormat,
    LayerFile,
    Output,
    check_different,
    check_name,
    identity_of,
)
from pixelwise.maps.publish import Pending, PendingFile, publish
from pixelwise.maps.records import DoneBlock, Layout, PlacedTiles, Seal
from pixelwise.maps.stores import STORE, PendingStore, check_store_target
from pixelwise.maps.tiles import default_compression
from pixelwise.maps.zarr_store import ZarrOutput
from pixelwise.rasters.datasets import files_behind

__all__ = ["Encoder", "FileSink"]

#: How many bytes, or seconds of output, may pass before it is flushed to disk while the job runs: the rest then takes
#: only a moment at the end, and a power failure loses no more than this.
SYNC_BYTES = 32 << 20
SYNC_SECONDS = 2.0


@dataclass(frozen=True)
class Encoder:
    """Encodes blocks for all files of a job; see `Encode`.

    Attributes
    ----------
    files
        For each file, its number of bands and what encodes them. Together they have the bands of the values, then the
        status.
    """

    files: tuple[tuple[int, Callable[[Block, NDArray[Any], NDArray[Any] | None], Any]], ...]

    def __call__(self, block: Block, values: NDArray[Any], status: NDArray[Any]) -> tuple[Any, ...]:
        """Encode (band, y, x) values and (y, x) status, for each file."""
        encoded, first = [], 0
        for count, encode in self.files:
            # The status is the last band of the last file.
            last = status if first + count > len(values) else None
            encoded.append(encode(block, values[first : first + count], last))
            first += count
        return tuple(encoded)


class FileSink:
    """Writes each file of a map under a hidden name beside the output, completes it, checks it, and renames it.

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
    form
        How the files are written.
    axis
        The dates of all bands, if the output is a stack of layers rather than a map.

    Raises
    ------
    OutputError
        When the output cannot be written there.
    ParameterError
        When its format has no such compression.
    """

    def __init__(
        self,
        path: str | Path,
        beside: Sequence[LayerFile] = (),
        *,
        inputs: Collection[Path] = (),
        overwrite: bool = False,
        form: FileFormat | None = None,
        axis: TimeAxis | None = None,
    ) -> None:
        self.path = Path(path)
        self._beside = tuple(beside)
        self._form = form or FileFormat()
        self._compress: Compression = self._form.compress or default_compression()
        self._axis = axis
        self._overwrite = overwrite
        self._inputs = tuple(inputs)
        self._outputs: list[Output] = []
        self._unsynced, self._synced = 0, time.monotonic()
        self._syncing = BackgroundSync(str(path))
        check_name(self.path, "a map is")
        paths = [self.path, *(file.path for file in self._beside)]
        for place in paths:
            check_folder(place)
            self._check_form(place)
        if self._form.zarr_format != 3 and not any(map(_is_store, paths)):
            raise ParameterError(
                f"zarr_format {self._form.zarr_format}: {self.path} is not a Zarr store: leave zarr_format out"
            )
        check_different(paths)

    def _check_form(self, path: Path) -> None:
        """Refuse what the format of an output does not have."""
        kind = FORMATS[path.suffix.lower()]
        if kind == "Zarr" and self._form.compress == "lzw":
            raise ParameterError(f"{path}: compress lzw: Zarr has no LZW; expected zstd, deflate or none")
        if kind == "NetCDF":
            compression(self._form.compress, path)
        if self._form.driver == "COG" and path == self.path and kind != "GeoTIFF":
            raise ParameterError(f"{path}: driver COG makes GeoTIFFs: expected a name that ends in .tif, or no driver")

    @property
    def identity(self) -> dict[str, Any]:
        """How the files are written, as far as another run that resumes this one must do the same."""
        found: dict[str, Any] = {"compress": self._compress}
        if any(_is_store(path) for path in (self.path, *(file.path for file in self._beside))):
            found["zarr_format"] = self._form.zarr_format
        if self._form.driver != "GTiff":
            found["driver"] = self._form.driver
        return found

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
            self._check_target(PendingStore(path) if _is_store(path) else PendingFile(path))

    def check_anew(self, grid: Grid, bands: tuple[Band, ...], dtype: str) -> None:
        """Check that all files may be written by a job that does not resume what an earlier run left.

        Parameters
        ----------
        grid, bands, dtype
            As in `begin`.

        Raises
        ------
        OutputError
            When one exists or is an input. What a killed job was replacing has its name back by then.
        """
        outputs = self._make(grid, bands, dtype)
        for output in outputs:
            output.names.recover()
        for output in outputs:
            self._check_target(output.names)

    def _check_target(self, names: Pending) -> None:
        target = names.final
        self._check_apart(target)
        exists = check_store_target(target) if _is_store(target) else check_target(target)
        if exists and not self._overwrite:
            raise OutputError(
                f"{target}: already exists; --overwrite replaces it when the new map is complete, `pixelwise run` only "
                "if it is out of date"
            )
        if exists and not is_map(target):
            raise OutputError(f"{target}: is not a pixelwise map, and only maps are replaced; choose another name")
        names.check_beside(overwrite=self._overwrite)

    def _check_apart(self, target: Path) -> None:
        """Refuse an output that is an input, lies in one, or holds one."""
        if self._is_input(target):
            raise OutputError(f"{target}: is one of the inputs; choose another output")
        output, store = identity_of(target), _is_store(target)
        for input_ in self._inputs:
            own = identity_of(input_)
            if own in output.parents and own.is_dir():
                raise OutputError(f"{target}: is inside {input_}, which is one of the inputs; choose another output")
            if store and output in own.parents:
                raise OutputError(f"{target}: contains {input_}, which is one of the inputs; choose another output")

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

        # A store is a folder, and has nothing behind it.
        behind = (file for one in self._inputs for file in ((one,) if one.is_dir() else files_behind(one)))
        return any(map(same, behind))

    def begin(
        self,
        grid: Grid,
        layout: Layout,
        bands: tuple[Band, ...],
        dtype: str,
        provenance: Mapping[str, Any],
        *,
        resumed: bool,
    ) -> Layout:
        """Open and lock the temporary files; see `Sink`.

        Raises
        ------
        OutputError
            When a file exists, cannot be created, or is written by another run.
        """
        self._outputs = self._make(grid, bands, dtype)
        reserves = layout.reserve if resumed else (None,) * len(self._outputs)
        if len(reserves) != len(self._outputs):
            raise OutputError(f"{self.path}: its journal is damaged; --restart computes everything again")
        for output in self._outputs:
            output.names.recover()
        begun = []
        for output, reserve in zip(self._outputs, reserves, strict=True):
            self._check_target(output.names)
            begun.append(output.begin(layout, provenance, reserve))
        stores = any(_is_store(output.names.final) for output in self._outputs)
        return replace(layout, reserve=tuple(begun), shard=layout.shard if stores else None)

    def _make(self, grid: Grid, bands: tuple[Band, ...], dtype: str) -> list[Output]:
        """Return all files: those of layers first.

        The map comes last and so gets its name last: once it has its name, everything is there.
        """
        groups = [(band,) for band in bands] if self.per_band else [bands]
        contents = [
            *(
                Content(f.path, self.path, grid, f.bands, dtype, self._tags(f), axis=f.axis, name=f.kind)
                for f in self._beside
            ),
            *(
                Content(Path(str(self.path).replace("{band}", own[0].name)), self.path, grid, own, dtype,
                        self._tags(None), alone=self.per_band, axis=self._axis)
                for own in groups
            ),
        ]  # fmt: skip
        check_different([content.path for content in contents])
        return list(map(self._output_of, contents))

    def _output_of(self, content: Content) -> Output:
        """Return what writes a file, by the end of its name."""
        kind = FORMATS[content.path.suffix.lower()]
        if kind != "GeoTIFF":
            check_names(content, kind)
        if kind == "Zarr":
            return ZarrOutput(content, self._compress, self._form.zarr_format)
        if kind == "NetCDF":
            return ConvertedOutput(content, self._compress, NetCdf(compression(self._form.compress, content.path)))
        if self._form.driver == "COG" and content.axis is None:
            return ConvertedOutput(content, self._compress, CloudOptimized(self._compress))
        return GeoTiffOutput(content, self._compress)

    def _map_of(self, files: Sequence[Pending]) -> Path:
        return files[len(self._beside)].final

    def _tags(self, layers: LayerFile | None) -> dict[str, Any]:
        """Return what a file's provenance says about the file; paths in it are relative to the map."""
        if layers is not None:
            map_ = os.path.relpath(os.path.realpath(self.path), os.path.realpath(layers.path.parent))
            return {"written": layers.kind, "map": Path(map_).as_posix(), "bands": [band.name for band in layers.bands]}
        return {"files": self.path.name} if self.per_band else {}

    @property
    def encode(self) -> Encoder:
        """The encoder that workers apply to a block; available after `begin`."""
        return Encoder(tuple((len(output.content.bands), output.encoder) for output in self._outputs))

    def write(self, block: Block, encoded: tuple[Any, ...]) -> tuple[PlacedTiles, ...]:
        """Accept one block; return the places, sizes and checksums of its tiles.

        Raises
        ------
        OutputError
            When the file system refuses.
        """
        files = []
        for output, tiles in zip(self._outputs, encoded, strict=True):
            placed = output.write(block, tiles)
            self._unsynced += placed.size
            files.append(placed)
        late = time.monotonic() - self._synced > SYNC_SECONDS
        if (late or self._unsynced >= SYNC_BYTES) and self._syncing.idle:
            self._unsynced, self._synced = 0, time.monotonic()
            self._syncing.start(path for output in self._outputs for path in output.unsynced())
        return tuple(files)

    def restore(self, done: DoneBlock) -> bool:
        """Accept the tiles of a block that an earlier run wrote; False if they are damaged.

        Raises
        ------
        OutputError
            When a file cannot be read.
        """
        if len(done.files) != len(self._outputs):
            return False
        pairs = list(zip(self._outputs, done.files, strict=True))
        if not all(output.holds(done.block, tiles) for output, tiles in pairs):
            return False
        for output, tiles in pairs:
            output.place(done.block, tiles)
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
            output.complete(provenance)
        files = [output.names for output in self._outputs]
        try:
            commit([file.seal() for file in files])
            moved = [output.names for output in self._outputs if not output.in_place]
        except (InputError, ValueError) as error:
            raise OutputError(f"{self.path}: cannot be completed ({error})") from None
        if moved:
            raise OutputError(f"{moved[0].final}: {moved[0].temporary.name} beside it was replaced by another file")
        if os.name == "nt":  # open files cannot be renamed there
            for output in self._outputs:
                output.close(keep=True)
        publish(files, files, overwrite=self._overwrite)
        written = open_map(self._map_of(files))
        return Map(written.grid, written.bands, written.provenance, timings, written.files)

    def end(self, bands: tuple[Band, ...], grid: Grid, dtype: str, seals: Sequence[Seal]) -> Map:
        """Rename the files that an earlier run completed but could not rename any more.

        Parameters
        ----------
        bands, grid, dtype
            As in `begin`.
        seals
            The seals that that run handed to `commit`.

        Raises
        ------
        OutputError
            When a file is gone or was replaced, or cannot be renamed.
        """
        outputs = self._make(grid, bands, dtype)
        files = [output.names for output in outputs]
        if len(seals) != len(files):
            raise OutputError(f"{self.path}: its journal is damaged; --restart computes the map again")
        waiting = [output for output, seal in zip(outputs, seals, strict=True) if output.names.is_waiting(seal)]
        for output in waiting:
            output.check_again()  # which restores a sidecar that alone got its name
        publish(files, [output.names for output in waiting], overwrite=self._overwrite)
        return open_map(self._map_of(files))

    def abort(self, *, keep: bool) -> None:
        """Close the temporary files, and remove them unless another run is to resume from them."""
        self._syncing.close()
        for output in self._outputs:
            output.close(keep=keep)
        self._outputs = []


def _is_store(path: Path) -> bool:
    return path.suffix.lower() == STORE
