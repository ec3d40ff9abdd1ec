"""Maps as GeoTIFF: one file with all bands, or one file per band."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import warnings
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from pixelwise.disk import BackgroundSync, sync
from pixelwise.errors import OutputError
from pixelwise.grid import Block, Grid, same_crs
from pixelwise.headers import files_behind
from pixelwise.map import TAG, Map, Timings, encode_provenance, is_map, open_map, open_quietly
from pixelwise.method import Band
from pixelwise.plan import Plan

__all__ = ["PARTIAL", "Compression", "GeoTiffSink"]

Compression = Literal["zstd", "deflate", "lzw", "none"]

SUFFIXES = (".tif", ".tiff")
#: GDAL's sidecar for what a file itself cannot hold.
PAM = ".aux.xml"

#: Between an output's name and who writes it, in the name of a file that is not complete.
PARTIAL = ".partial-"

#: What other programs put beside a GeoTIFF: statistics, overviews, a mask.
SIDECARS = (PAM, ".ovr", ".msk")

#: So much output is brought to disk while the job goes on: at its end the rest takes a moment, not a second.
SYNC_BYTES = 32 << 20

#: Level 1 of ZSTD or DEFLATE: encoding at the usual levels costs as much as decoding all the input.
OPTIONS: dict[str, dict[str, Any]] = {
    "zstd": {"compress": "zstd", "zstd_level": 1},
    "deflate": {"compress": "deflate", "zlevel": 1},
    "lzw": {"compress": "lzw"},
    "none": {},
}


@cache
def has_zstd() -> bool:
    """Whether this GDAL writes ZSTD."""
    try:
        with MemoryFile() as memory, memory.open(
            driver="GTiff", width=1, height=1, count=1, dtype="uint8", compress="zstd", crs="EPSG:4326",
            transform=rasterio.Affine(1, 0, 1, 0, -1, 1),
        ):  # fmt: skip
            return True
    except RasterioError:
        return False


class GeoTiffSink:
    """Writes whole tiles into a temporary file beside the output, then checks it and renames it.

    Parameters
    ----------
    path
        The output; with ``{band}`` in its name, one file per band, each with its own type.
    inputs
        Files of the input: none of them may be the output.
    overwrite
        Whether a finished map may be replaced; it stays until the new one is complete.
    compress
        ``zstd`` (the default where GDAL has it), ``deflate``, ``lzw`` or ``none``.

    Raises
    ------
    OutputError
        When the output cannot be written there.
    """

    writes_in_worker = False

    def __init__(
        self,
        path: str | Path,
        *,
        inputs: Collection[Path] = (),
        overwrite: bool = False,
        compress: Compression | None = None,
    ) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._compress = compress or ("zstd" if has_zstd() else "deflate")
        self._inputs = tuple(inputs)
        self._datasets: list[Any] = []
        self._temporary: list[Path] = []
        self._final: list[Path] = []
        self._bands: tuple[Band, ...] = ()
        self._grid: Grid | None = None
        self._unsynced = 0
        self._syncing = BackgroundSync(str(path))
        self._check_folder()
        if not self.per_band:
            self._check_target(self.path)

    @property
    def per_band(self) -> bool:
        """Whether each band gets its own file."""
        return "{band}" in self.path.name

    def _check_folder(self) -> None:
        folder = self.path.parent
        if self.path.suffix.lower() not in SUFFIXES:
            raise OutputError(f"{self.path}: a map is a GeoTIFF: its name must end in .tif")
        if not folder.is_dir():
            raise OutputError(f"{self.path}: the folder {folder} does not exist")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{self.path}: the folder {folder} is not writable")

    def _check_target(self, target: Path) -> None:
        try:
            folder, exists = target.is_dir(), target.exists()
        except OSError as error:  # the name is too long
            raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
        if folder:
            raise OutputError(f"{target}: is a folder")
        if exists and self._is_input(target):
            raise OutputError(f"{target}: is one of the inputs; choose another output")
        if exists and not self._overwrite:
            raise OutputError(f"{target}: exists already; --overwrite replaces it when the new map is complete")
        if exists and not is_map(target):
            raise OutputError(f"{target}: is no map of pixelwise, and only maps are replaced; choose another name")

    def _is_input(self, target: Path) -> bool:
        """Whether a file is read, by itself or through a VRT; links are followed."""
        return any(_identity(file) == _identity(target) for input_ in self._inputs for file in files_behind(input_))

    def begin(self, plan: Plan, bands: tuple[Band, ...], dtype: str) -> None:
        """Create the temporary files, and remove those that a killed run left.

        The caller makes sure that no other run writes this output.

        Raises
        ------
        OutputError
            When a file exists or cannot be created.
        """
        self._bands, self._grid = bands, plan.grid
        profile = {
            "driver": "GTiff",
            "height": plan.grid.height,
            "width": plan.grid.width,
            "crs": plan.grid.crs,
            "transform": plan.grid.transform,
            "tiled": True,
            "blockxsize": plan.tile_width,
            "blockysize": plan.tile_height,
            "interleave": "band",
            "bigtiff": "if_safer",
            **OPTIONS[self._compress],
        }
        groups = [(band,) for band in bands] if self.per_band else [bands]
        for group in groups:
            final = Path(str(self.path).replace("{band}", group[0].name))
            self._check_target(final)
            self._final.append(final)
            self._open(final, group, profile, dtype)

    def _open(self, final: Path, bands: tuple[Band, ...], profile: dict[str, Any], dtype: str) -> None:
        for leftover in final.parent.glob(f".{glob.escape(final.stem)}{PARTIAL}*{final.suffix}*"):
            leftover.unlink(missing_ok=True)
        # The folder of the output, so that the rename stays within one file system; hidden, so that no glob
        # takes it for a layer.
        token = f"{os.getpid()}-{secrets.token_hex(4)}"
        temporary = final.with_name(f".{final.stem}{PARTIAL}{token}{final.suffix}")
        alone = len(bands) == 1 and self.per_band
        kind = bands[0].dtype(dtype) if alone else dtype
        self._temporary.append(temporary)
        # An integer band of its own has no missing pixels.
        nodata = None if alone and bands[0].integer else np.nan
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(temporary, "w", count=len(bands), dtype=kind, nodata=nodata, **profile)
        except (RasterioError, OSError) as error:
            raise OutputError(f"{final}: cannot be created ({' '.join(str(error).split())})") from None
        self._datasets.append(dataset)
        for index, band in enumerate(bands, 1):
            dataset.set_band_description(index, band.name)
            dataset.set_band_unit(index, band.unit)
            dataset.update_tags(index, DESCRIPTION=band.description, INTEGER="YES" if band.integer else "NO")

    def write(self, block: Block, values: NDArray[Any], status: NDArray[Any]) -> None:
        """Write one block: whole tiles, so that none is compressed twice.

        Raises
        ------
        OutputError
            When the file system refuses.
        """
        window = Window(block.col, block.row, block.width, block.height)
        try:
            if self.per_band:
                for dataset, layer in zip(self._datasets, (*values, status), strict=True):
                    dataset.write(layer.astype(dataset.dtypes[0], copy=False), 1, window=window)
            else:
                self._datasets[0].write(values, list(range(1, len(values) + 1)), window=window)
                self._datasets[0].write(status.astype(values.dtype), len(values) + 1, window=window)
        except (RasterioError, OSError) as error:
            raise OutputError(f"{self.path}: cannot be written ({' '.join(str(error).split())}); disk full?") from None
        self._unsynced += values.nbytes
        if self._unsynced >= SYNC_BYTES and self._syncing.idle:
            self._unsynced = 0
            self._syncing.start(*self._temporary)

    def finish(self, provenance: Mapping[str, Any], timings: Timings) -> Map:
        """Close, sync, check and rename all files; return the map.

        Raises
        ------
        OutputError
            When a file does not read back as it was written.
        """
        if self.per_band:
            provenance = {**provenance, "files": self.path.name}
        try:
            for dataset in self._datasets:
                dataset.update_tags(**{TAG: encode_provenance(provenance)})
                dataset.close()
            self._datasets = []
            self._syncing.wait()
            for temporary in self._temporary:
                sync(temporary)
                self._check_written(temporary)
        except (RasterioError, OSError) as error:
            raise OutputError(
                f"{self.path}: cannot be completed ({' '.join(str(error).split())}); disk full?"
            ) from None
        for temporary, final in zip(self._temporary, self._final, strict=True):
            # What belongs to the map that is replaced, or is left of another, would be taken for this one's.
            for suffix in SIDECARS:
                final.with_name(final.name + suffix).unlink(missing_ok=True)
            if (sidecar := temporary.with_name(temporary.name + PAM)).exists():
                sidecar.replace(final.with_name(final.name + PAM))
            temporary.replace(final)
        self._temporary = []
        sync(self.path.parent)
        written = open_map(self._final[0])
        return Map(written.grid, written.bands, written.provenance, timings, written.files)

    def _check_written(self, path: Path) -> None:
        """Open a finished file as any reader would, and read its last block."""
        with open_quietly(path) as dataset:
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
            sidecar = path.with_name(path.name + PAM)
            sidecar.write_text(f"<PAMDataset><SRS>{escape(self._grid.crs.to_wkt())}</SRS></PAMDataset>\n")
            sync(sidecar)
            with open_quietly(path) as dataset:
                if not same_crs(dataset.crs, self._grid.crs):
                    raise OutputError(f"{self.path}: a GeoTIFF cannot hold the CRS {self._grid.crs_name}")

    def abort(self) -> None:
        """Remove the temporary files."""
        for dataset in self._datasets:
            with contextlib.suppress(RasterioError, OSError):
                dataset.close()
        self._datasets = []
        self._syncing.close()
        for temporary in self._temporary:
            temporary.unlink(missing_ok=True)
            temporary.with_name(temporary.name + PAM).unlink(missing_ok=True)
        self._temporary = []


def _identity(path: Path) -> Path:
    return path.resolve()
