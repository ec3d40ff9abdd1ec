"""What raster files say about themselves: headers, read with an explicit list of local drivers."""

from __future__ import annotations

import codecs
import logging
import math
import shlex
import struct
import xml.etree.ElementTree as ET
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader, MemoryFile

from pixelwise.crs import crs_name, crs_named, same_crs
from pixelwise.errors import InputError
from pixelwise.grid import Grid
from pixelwise.rasters.datasets import GDAL_ERRORS, files_named, local_only, open_local, open_page
from pixelwise.rasters.pieces import ArrayPlace
from pixelwise.rasters.remote import RemoteFile, in_parallel, stamp_of
from pixelwise.rasters.remote_datasets import open_remote
from pixelwise.rasters.sidecars import sidecars_of
from pixelwise.rasters.stamps import FileStamp, RemoteStamp, Stamp
from pixelwise.rasters.tags import directories
from pixelwise.rasters.urls import Location, Url
from pixelwise.regular_files import check_encodable, check_regular
from pixelwise.words import one_line

__all__ = [
    "GDAL_VERSION",
    "RASTER_SUFFIXES",
    "TAG",
    "BandHeader",
    "Header",
    "fetch_heads",
    "grid_of",
    "lossless_in_float32",
    "read_header",
    "stamps_of",
]

#: Files in a folder with one of these suffixes must open; others are ignored.
RASTER_SUFFIXES = frozenset(
    [
        ".tif",
        ".tiff",
        ".gtif",
        ".gtiff",
        ".vrt",
        ".jp2",
        ".grd",
        ".img",
        ".asc",
        ".bil",
        ".bip",
        ".bsq",
        ".flt",
        ".rst",
        ".sdat",
        ".hgt",
    ]
)

#: The tag of files written by pixelwise.
TAG = "PIXELWISE"

log = logging.getLogger(__name__)

#: Bytes kept for an open array: the NetCDF library caches chunks.
ARRAY_BYTES = {"NetCDF": 20 << 20, "Zarr": 1 << 20}

GDAL_VERSION: str = rasterio.__gdal_version__

COMPLEX = ("complex", "complex64", "complex128", "complex_int16")


@dataclass(frozen=True, slots=True)
class BandHeader:
    """One band of a file.

    Attributes
    ----------
    index
        GDAL's band number, from 1.
    dtype
        NumPy's name of the type in the file.
    nodata
        The value that the file declares; None where it declares none.
    scale, offset
        The value is ``stored * scale + offset``.
    description, unit
        Empty where the file has none.
    masked
        Whether a mask band or alpha says which pixels are missing.
    by_alpha
        Whether alpha does.
    """

    index: int
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    description: str
    unit: str
    masked: bool
    by_alpha: bool = False

    def __str__(self) -> str:
        return f"{self.index} {self.description}" if self.description else str(self.index)


@dataclass(frozen=True, slots=True)
class Header:
    """One file: where its pixels are, how they are stored, and its bands.

    `alpha` are the bands that GDAL takes for the opacity of the others: say, the fourth of four byte bands, even
    where it is data like the others. They are among `bands` only where `alpha_is_data`.

    Attributes
    ----------
    written
        Whether pixelwise wrote it: a map, or a file of dated layers.
    is_map
        Whether it is a map.
    remark
        What a user should know about how it was read; empty where there is nothing.
    further
        Files besides its sidecars that hold its pixels: the data of a header, the sources of a VRT.
    array
        Which array of the file it describes, whose time steps are the bands; None for a raster.
    crs_is_given
        Whether the CRS of the grid is not in the file, but was given by the user.
    """

    path: Location
    driver: str
    grid: Grid
    georeferenced: bool
    bands: tuple[BandHeader, ...]
    block_height: int
    block_width: int
    pixel_interleaved: bool
    compression: str
    stamp: Stamp
    written: bool = False
    is_map: bool = False
    remark: str = ""
    alpha: tuple[BandHeader, ...] = ()
    alpha_is_data: bool = False
    further: tuple[Path, ...] = ()
    array: ArrayPlace | None = None
    crs_is_given: bool = False

    def with_crs(self, text: str) -> Header:
        """Return the header of a file without CRS with the given one; that of a file that has it is unchanged.

        Raises
        ------
        InputError
            When the file has another CRS, or no coordinates either.
        """
        given = crs_named(text, "crs")
        if self.grid.crs is not None:
            if not same_crs(self.grid.crs, given):
                raise InputError(
                    f"{self.path}: has the CRS {self.grid.crs_name}, not {crs_name(given)}: --crs is for files without "
                    "one; --align resamples files to another CRS"
                )
            return self
        if not self.georeferenced:
            raise InputError(
                f"{self.path}: has neither a CRS nor coordinates, so that --crs alone does not place it; write both "
                f"into a copy: gdal_translate -a_srs {text} -a_ullr LEFT TOP RIGHT BOTTOM IN OUT"
            )
        return replace(self, grid=replace(self.grid, crs=given), crs_is_given=True)

    @property
    def remote_stamp(self) -> RemoteStamp | None:
        """What the server said of the file; None for a local one."""
        return self.stamp if isinstance(self.stamp, RemoteStamp) else None

    def with_alpha_as_data(self) -> Header:
        """Return the header with alpha as a band like the others, which masks none of them."""
        if not self.alpha or self.alpha_is_data:
            return self
        bands = sorted((*self.bands, *self.alpha), key=lambda band: band.index)
        plain = tuple(replace(band, masked=band.masked and not band.by_alpha, by_alpha=False) for band in bands)
        return replace(self, bands=plain, alpha_is_data=True)

    @property
    def pixel_size(self) -> int:
        """Bytes per pixel of a block, for all bands that are decoded together."""
        itemsize = max(np.dtype(band.dtype).itemsize for band in self.bands)
        if self.array is not None:
            return itemsize * min(self.array.time_chunk, len(self.bands))
        return itemsize * (len(self.bands) if self.pixel_interleaved else 1)

    @property
    def block_bytes(self) -> int:
        """Bytes of a decoded block."""
        if self.array is not None:
            return self.array.chunk_bytes
        return self.block_height * self.block_width * self.pixel_size

    @property
    def open_file_bytes(self) -> int:
        """Estimated bytes that GDAL keeps for an open dataset that has been read from.

        A compressed block, a decoded one of interleaved bands, and the decoder. Measured per dataset, with 300 to
        1000: 0.3 to 0.5 MB for 256 x 256 LZW, 1.6 to 2.2 MB for 512 x 512 ZSTD, 3.6 to 5.0 MB for 256 x 256 of
        21 interleaved bands.
        """
        if self.array is not None:
            return ARRAY_BYTES[self.driver]
        blocks = math.ceil(self.grid.height / self.block_height) * math.ceil(self.grid.width / self.block_width)
        if not self.pixel_interleaved:
            blocks *= len(self.bands)
        # A VRT's own size says nothing about its sources.
        limit = int(1.5 * self.stamp.size / blocks)
        compressed = self.block_bytes if self.driver == "VRT" else min(limit, self.block_bytes)
        # The buffer grows with the largest block so far, and leaves gaps behind.
        buffer = compressed + compressed // 2
        interleaved = self.block_bytes if self.pixel_interleaved and len(self.bands) > 1 else 0
        # ZSTD keeps a window as large as a block, and tables.
        decoder = self.block_bytes if "zstd" in self.compression else 0
        return (64 << 10) + buffer + interleaved + decoder


def fetch_heads(urls: Sequence[Url]) -> dict[Url, Future[RemoteStamp]]:
    """Ask servers for what `read_header` needs of files, many at once; the results are what they say of each."""
    return dict(zip(urls, in_parallel(_fetch_head, urls), strict=True))


def _fetch_head(url: Url) -> RemoteStamp:
    """Fetch the directories of a TIFF, wherever they are in the file."""
    stamp = stamp_of(url)
    with RemoteFile(url, stamp) as file, suppress(ValueError, struct.error, OSError):
        for _ in directories(cast(BinaryIO, file), (), {}):
            pass
    return stamp


def read_header(path: Location, stamp: RemoteStamp | None = None) -> Header:
    """Read a file's header.

    Parameters
    ----------
    path
        The file.
    stamp
        If it is on a server, what that said when it was asked for its head by `fetch_heads`.

    Raises
    ------
    InputError
        When it is missing, empty or not a raster, has only control points, or holds complex numbers; for a VRT, also
        when a source is missing, remote, not a raster, or the VRT itself.
    """
    if isinstance(path, Url):
        return _remote_header(path, stamp or stamp_of(path))
    check_encodable(path)
    status = FileStamp.from_status(check_regular(path))
    if status.size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    with local_only(), open_local(path) as dataset:
        try:
            return _header_of(dataset, path, status)
        except GDAL_ERRORS as error:
            reason = one_line(error.__cause__ or error)
            raise InputError(f"{path}: its header cannot be read ({reason}); copy or export it again") from None


def _remote_header(url: Url, stamp: RemoteStamp) -> Header:
    """Read the header of a file on a server; see `read_header`."""
    with open_remote(url, stamp) as dataset:
        try:
            return _header_of(dataset, url, stamp)
        except GDAL_ERRORS as error:
            failed = dataset.file.failures[0] if dataset.file.failures else None
            if isinstance(failed, InputError):
                raise failed from None
            reason = one_line(failed or error.__cause__ or error)
            remedy = "upload it again" if failed is None else "try again later"
            raise InputError(f"{url}: its header cannot be read ({reason}); {remedy}") from None


def _header_of(dataset: DatasetReader, path: Location, stamp: Stamp) -> Header:
    """Return the header of an open file."""
    if dataset.count == 0:
        raise InputError(f"{path}: has no raster band of its own (a container of sub-datasets?)")
    _check_pages(dataset, path)
    gcps, _ = dataset.gcps
    if gcps and dataset.transform == Affine.identity():
        raise InputError(
            f"{path}: is placed by {len(gcps)} ground control points only; warp it to a grid first (gdalwarp)"
        )
    grid = grid_of(dataset, path)
    height, width = dataset.block_shapes[0]
    alpha = [interpretation == ColorInterp.alpha for interpretation in dataset.colorinterp]
    flags = dataset.mask_flag_enums
    descriptions, units, remark = _texts(dataset, path)
    # Read this tag alone: rasterio warns about any others that are not UTF-8.
    written = dataset.get_tag_item(TAG) is not None
    columns = zip(
        dataset.indexes, dataset.dtypes, dataset.nodatavals, dataset.scales, dataset.offsets,
        descriptions, units, flags, strict=True,
    )  # fmt: skip
    every = [
        BandHeader(
            index,
            dtype,
            nodata,
            scale,
            offset,
            description or "",
            unit or "",
            not {MaskFlags.all_valid, MaskFlags.nodata} & set(flag),
            MaskFlags.alpha in flag,
        )
        for index, dtype, nodata, scale, offset, description, unit, flag in columns
    ]
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    bands = tuple(band for band, is_alpha in zip(every, alpha, strict=True) if not is_alpha)
    if not bands or any(band.dtype in COMPLEX for band in bands):
        raise InputError(f"{path}: holds {dataset.dtypes[0]} bands; expected real numbers")
    return Header(
        path=path,
        driver=dataset.driver,
        grid=grid,
        georeferenced=dataset.crs is not None or dataset.transform != Affine.identity(),
        bands=bands,
        block_height=height,
        block_width=width,
        # Not `dataset.interleaving`, which accepts only three words: a sidecar may say anything.
        pixel_interleaved=structure.get("INTERLEAVE", "").upper() == "PIXEL",
        compression=structure.get("COMPRESSION", "").lower(),
        stamp=stamp,
        alpha=tuple(band for band, is_alpha in zip(every, alpha, strict=True) if is_alpha),
        written=written,
        # Layers are named after their dates.
        is_map=written and not (descriptions[0] or "")[:4].isdigit(),
        remark=remark,
        further=() if isinstance(path, Url) else files_named(dataset, path),
    )


def stamps_of(headers: Collection[Header]) -> dict[Location, Stamp]:
    """Return the stamps of files and of everything that GDAL reads for them, sidecars included.

    Raises
    ------
    InputError
        When one of them no longer exists.
    """
    stamps = {header.path: header.stamp for header in headers}
    further = [path for header in headers for path in header.further]
    local = [path for path in stamps if not isinstance(path, Url)]
    for path in (*further, *sidecars_of(dict.fromkeys((*local, *further)))):
        if path not in stamps:
            try:
                stamps[path] = FileStamp.of(path)
            except OSError as error:
                raise InputError(
                    f"{path}: vanished since the header that names it was read ({error.strerror})"
                ) from None
    return stamps


def grid_of(dataset: DatasetReader, path: Location) -> Grid:
    """Return the grid of an open file.

    Raises
    ------
    InputError
        When its pixels have no valid place.
    """
    try:
        return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_pages(dataset: DatasetReader, path: Location) -> None:
    """Refuse a TIFF whose further pages could be layers too, as GDAL reads only the first.

    Pages of another size, such as a thumbnail, cannot be layers on the grid of the first.
    """
    if dataset.driver != "GTiff":
        return
    pages = dataset.subdatasets
    for page in pages[1:]:
        with open_page(page) as other:
            if other.shape != dataset.shape:
                continue
        command = shlex.join(["rio", "convert", pages[1], f"{path.stem}_2{path.suffix}"])
        raise InputError(
            f"{path}: has {len(pages)} pages (TIFF directories), of which only the first would be read; "
            f"split it into one file per page; for the second page: {command}"
        )


def _texts(dataset: DatasetReader, path: Location) -> tuple[Sequence[str | None], Sequence[str | None], str]:
    """Return descriptions and units of all bands, and a remark where an old program did not write UTF-8."""
    try:
        return dataset.descriptions, dataset.units, ""
    except UnicodeDecodeError:
        pass
    # rasterio does not return bytes, but GDAL writes them into a VRT unchanged.
    with MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(dataset, file.name, driver="VRT")
        raw = file.read()
    try:
        bands = ET.fromstring(raw.decode("utf-8", "pixelwise.latin-1")).iter("VRTRasterBand")  # noqa: S314 - as below
    except ET.ParseError as error:
        raise InputError(f"{path}: descriptions or units of its bands cannot be read ({error})") from None
    descriptions, units = zip(
        *((band.findtext("Description"), band.findtext("UnitType")) for band in bands), strict=True
    )
    odd = next(text for text in (*descriptions, *units) if text and not text.isascii())
    remark = f"{path}: descriptions or units of its bands are not UTF-8 and are read as Latin-1: {odd!r}"
    log.warning(remark)
    return descriptions, units, remark


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8 as Latin-1: an error handler, which leaves valid UTF-8 as it is."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - it is used for decoding only
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("pixelwise.latin-1", _as_latin_1)


def lossless_in_float32(dtype: str) -> bool:
    """Whether every value of a stored type is exact as float32."""
    return dtype == "float32" or (np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2)
