"""What raster files say about themselves: headers, read through an explicit list of local drivers."""

from __future__ import annotations

import codecs
import logging
import math
import os
import shlex
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from pixelwise.errors import InputError
from pixelwise.grid import Grid

__all__ = [
    "GDAL_VERSION",
    "RASTER_SUFFIXES",
    "TAG",
    "WHOLE_FILES",
    "BandHeader",
    "Header",
    "allowed_drivers",
    "files_behind",
    "is_vrt",
    "open_local",
    "read_header",
    "sources_of",
]

#: Local raster formats. GDAL's network, service and container drivers are never tried, nor ERS, whose header may name
#: any file, also one of the network, that GDAL then opens with any driver.
DRIVERS = (
    "GTiff", "VRT", "JP2OpenJPEG", "RRASTER", "ENVI", "HFA", "AAIGrid", "EHdr", "RST", "SAGA", "GSBG",
    "ILWIS", "PCRaster", "PNG", "JPEG", "SRTMHGT", "USGSDEM",
)  # fmt: skip

#: GDAL's option by which a raw file (ENVI, EHdr) that is too short cannot be opened: it would be read as zeros.
WHOLE_FILES = {"RAW_CHECK_FILE_SIZE": "YES"}

#: Files in a folder that have one of these must open; others are ignored.
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

CONTAINERS = frozenset((".nc", ".nc4", ".hdf", ".h5", ".he5"))

#: VRTs whose sources stand in elements that are walked; a processed one names files in its arguments.
VRT_CLASSES = ("VRTDataset", "VRTWarpedDataset")
SOURCE_TAGS = ("sourcefilename", "sourcedataset")
#: Elements that may hold any text, which GDAL does not open.
TEXT_TAGS = ("srs", "mdi", "description", "metadata", "category")

#: The tag of files that pixelwise wrote.
TAG = "PIXELWISE"

log = logging.getLogger("pixelwise")

GDAL_VERSION: str = rasterio.__gdal_version__

COMPLEX = ("complex", "complex64", "complex128", "complex_int16")


@dataclass(frozen=True, slots=True)
class BandHeader:
    """One band of a file.

    Attributes
    ----------
    index
        GDAL's number, from 1.
    dtype
        NumPy's name of the type in the file.
    nodata
        As the file declares it, None where it does not.
    scale, offset
        The value is ``stored * scale + offset``.
    description, unit
        Empty where the file has none.
    masked
        Whether a mask band or alpha says which pixels are missing.
    by_alpha
        Whether that is alpha.
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

    `alpha` are bands that GDAL takes for the opacity of the others: the fourth one in a file of four bands of bytes,
    also where it is data like the others. They are among `bands` only where `alpha_is_data`.

    Attributes
    ----------
    written
        Whether pixelwise wrote it: a map of some method, or layers with their dates.
    is_map
        Whether it is such a map.
    remark
        What a user should know of how it was read; empty where there is nothing.
    """

    path: Path
    driver: str
    grid: Grid
    georeferenced: bool
    bands: tuple[BandHeader, ...]
    block_height: int
    block_width: int
    pixel_interleaved: bool
    compression: str
    size: int
    mtime_ns: int
    written: bool = False
    is_map: bool = False
    remark: str = ""
    alpha: tuple[BandHeader, ...] = ()
    alpha_is_data: bool = False

    def with_alpha_as_data(self) -> Header:
        """Return the header of which alpha is a band like the others, and masks none of them."""
        if not self.alpha or self.alpha_is_data:
            return self
        bands = sorted((*self.bands, *self.alpha), key=lambda band: band.index)
        plain = tuple(replace(band, masked=band.masked and not band.by_alpha, by_alpha=False) for band in bands)
        return replace(self, bands=plain, alpha_is_data=True)

    @property
    def pixel_size(self) -> int:
        """Bytes of a pixel in a block, of all bands where pixels are interleaved."""
        itemsize = max(np.dtype(band.dtype).itemsize for band in self.bands)
        return itemsize * (len(self.bands) if self.pixel_interleaved else 1)

    @property
    def decoded(self) -> int:
        """Bytes that are decoded at once: one block."""
        return self.block_height * self.block_width * self.pixel_size

    @property
    def resident(self) -> int:
        """Bytes that GDAL keeps of a dataset that was read from, as estimated.

        A compressed block, a decoded one of interleaved bands, and the decoder. Measured per dataset, of 300 to
        1000: 0.3 to 0.5 MB for 256 x 256 LZW, 1.6 to 2.2 MB for 512 x 512 ZSTD, 3.6 to 5.0 MB for 256 x 256 of
        21 interleaved bands.
        """
        blocks = math.ceil(self.grid.height / self.block_height) * math.ceil(self.grid.width / self.block_width)
        if not self.pixel_interleaved:
            blocks *= len(self.bands)
        # A VRT's own size says nothing of its sources.
        compressed = self.decoded if self.driver == "VRT" else min(int(1.5 * self.size / blocks), self.decoded)
        # It grows with the largest so far, and leaves gaps behind.
        buffer = compressed + compressed // 2
        interleaved = self.decoded if self.pixel_interleaved and len(self.bands) > 1 else 0
        # ZSTD keeps a window of the size of a block, and tables.
        decoder = self.decoded if "zstd" in self.compression else 0
        return (64 << 10) + buffer + interleaved + decoder


@cache
def allowed_drivers() -> tuple[str, ...]:
    """Return the drivers of `DRIVERS` that this GDAL has."""
    with rasterio.Env() as env:
        present = env.drivers()
    return tuple(driver for driver in DRIVERS if driver in present)


def plain_drivers() -> tuple[str, ...]:
    """Return the drivers of files that name no others: a VRT is one only where `is_vrt` says so."""
    return tuple(driver for driver in allowed_drivers() if driver != "VRT")


def read_header(path: Path) -> Header:
    """Read a file's header.

    Raises
    ------
    InputError
        When it is missing, empty, no raster, has only control points, or holds complex numbers; a VRT also when
        it names a source that is missing, remote, no raster, or the VRT itself.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        name = os.fsencode(path).decode("utf-8", "backslashreplace")
        if "\\x" not in name:
            raise InputError(f"{name}: this locale has no such names; set PYTHONUTF8=1 (or LC_ALL=C.UTF-8)") from None
        raise InputError(f"{name}: its name is not UTF-8, so that GDAL cannot open it: rename the file") from None
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise InputError(f"{path}: no path of a file") from None
    if stat.st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    with open_local(path) as dataset:
        if dataset.count == 0:
            raise InputError(f"{path}: has no raster band of its own (a container of sub-datasets?)")
        _check_pages(dataset, path)
        gcps, _ = dataset.gcps
        if gcps and dataset.transform == Affine.identity():
            raise InputError(
                f"{path}: is placed by {len(gcps)} ground control points only; warp it to a grid first (gdalwarp)"
            )
        try:
            grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        height, width = dataset.block_shapes[0]
        alpha = [interpretation == ColorInterp.alpha for interpretation in dataset.colorinterp]
        flags = dataset.mask_flag_enums
        descriptions, units, remark = _texts(dataset, path)
        # One tag only: rasterio warns of all others that are not UTF-8.
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
        bands = tuple(band for band, is_alpha in zip(every, alpha, strict=True) if not is_alpha)
        if not bands or any(band.dtype in COMPLEX for band in bands):
            raise InputError(f"{path}: holds {dataset.dtypes[0]} bands; real numbers are wanted")
        return Header(
            path=path,
            driver=dataset.driver,
            grid=grid,
            georeferenced=dataset.crs is not None or dataset.transform != Affine.identity(),
            bands=bands,
            block_height=height,
            block_width=width,
            pixel_interleaved=dataset.interleaving is not None and dataset.interleaving.value == "PIXEL",
            compression=dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").lower(),
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            alpha=tuple(band for band, is_alpha in zip(every, alpha, strict=True) if is_alpha),
            written=written,
            # Layers are called by their dates.
            is_map=written and not (descriptions[0] or "")[:4].isdigit(),
            remark=remark,
        )


def _check_pages(dataset: DatasetReader, path: Path) -> None:
    """Refuse a TIFF whose further pages could be layers too: GDAL reads the first one.

    Pages of another size, such as a thumbnail, are no layers on the grid of the first.
    """
    if dataset.driver != "GTiff":
        return
    pages = dataset.subdatasets
    for page in pages[1:]:
        with open_with(Path(page), ("GTiff",)) as other:
            if other.shape != dataset.shape:
                continue
        command = shlex.join(["rio", "convert", pages[1], f"{path.stem}_2{path.suffix}"])
        raise InputError(
            f"{path}: has {len(pages)} pages (TIFF directories), of which only the first would be read; "
            f"make a file of each, as here of the second: {command}"
        )


def _texts(dataset: DatasetReader, path: Path) -> tuple[Sequence[str | None], Sequence[str | None], str]:
    """Return descriptions and units of all bands, and a remark where older programs did not write UTF-8."""
    try:
        return dataset.descriptions, dataset.units, ""
    except UnicodeDecodeError:
        pass
    # rasterio gives no bytes, but GDAL writes them into a VRT as they are.
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
    """Read bytes as Latin-1 that are not UTF-8: a handler of errors, which leaves what is UTF-8 as it is."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - it is used for decoding only
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("pixelwise.latin-1", _as_latin_1)


def open_local(path: Path) -> DatasetReader:
    """Open a file with a local driver, a VRT only where all its sources are local files too.

    Raises
    ------
    InputError
        When it is no such file.
    """
    if is_vrt(path):
        check_vrt(path)
        return open_with(path, ("VRT",))
    return open_with(path, plain_drivers())


def open_with(path: Path, drivers: Sequence[str]) -> DatasetReader:
    """Open a file with the first of some drivers that knows it.

    Raises
    ------
    InputError
        When none does, or the file is broken.
    """
    # A raster without coordinates is legal input; the warning would be an error in strict programs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # rasterio.open() takes one driver only, its reader a list of those to try.
            with rasterio.Env(**WHOLE_FILES):
                return DatasetReader(str(path), driver=list(drivers), sharing=False)
        except RasterioError as error:
            hint = "; NetCDF and HDF are not read: export GeoTIFFs first" if path.suffix.lower() in CONTAINERS else ""
            raise InputError(f"{path}: not a raster that can be read ({_reason(error, path)}){hint}") from None


def _reason(error: Exception, path: Path) -> str:
    """Return GDAL's reason in one line, without the path that the message names anyway."""
    text = " ".join(str(error).split())
    return text.replace(f"'{path}' ", "").replace(f"{path}: ", "").replace(str(path), path.name)


def is_vrt(path: Path) -> bool:
    """Whether a file is a VRT by its name, or by its content as GDAL sees it."""
    if path.suffix.lower() == ".vrt":
        return True
    try:
        with path.open("rb") as file:
            return b"<VRTDataset" in file.read(1024)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def check_vrt(path: Path, seen: frozenset[Path] = frozenset()) -> None:
    """Walk a VRT's sources: each must be a local file of an allowed driver, so that no VRT reaches the network.

    Raises
    ------
    InputError
        When it is not XML, names a missing or remote source, or names itself.
    """
    this = path.resolve()
    if this in seen:
        raise InputError(f"{path}: this VRT is a source of itself")
    for name, source in sources_of(path).items():
        if name.startswith("/vsi") or not source.is_file():
            raise InputError(f"{path}: its source {name!r} is not a local file")
        if is_vrt(source):
            check_vrt(source, seen | {this})
            continue
        try:
            open_with(source, plain_drivers()).close()
        except InputError as error:
            raise InputError(f"{path}: a source of this VRT is wrong: {error}") from None


def sources_of(path: Path) -> dict[str, Path]:
    """Return the sources of a VRT, by the names that it gives them."""
    try:
        root = ET.fromstring(path.read_bytes())  # noqa: S314 - expat resolves no external entities
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ET.ParseError as error:
        raise InputError(f"{path}: not a VRT ({error})") from None
    kind = _attributes(root).get("subclass", "VRTDataset")
    if kind not in VRT_CLASSES:
        raise InputError(f"{path}: a VRT of class {kind} is not read; make a GeoTIFF of it first")
    found = {}
    for node in root.iter():
        tag = _local(node.tag)
        text = (node.text or "").strip()
        if tag in SOURCE_TAGS:
            relative = _attributes(node).get("relativetovrt", "0") != "0"
            found[text] = path.parent / text if relative else Path(text)
        elif tag not in TEXT_TAGS and any("/vsi" in value or "://" in value for value in (text, *node.attrib.values())):
            raise InputError(f"{path}: its element {tag} names {text!r}, which is not a local file")
    return found


def _local(name: str) -> str:
    """Return a name of XML as GDAL compares it: without regard to case and name space."""
    return name.rpartition("}")[2].lower()


def _attributes(node: ET.Element) -> dict[str, str]:
    return {_local(name): value for name, value in node.items()}


def files_behind(path: Path) -> Iterator[Path]:
    """Yield a file that `read_header` accepts, and if it is a VRT all that is behind it."""
    yield path
    if is_vrt(path):
        for source in sources_of(path).values():
            yield from files_behind(source)


def lossless_in_float32(dtype: str) -> bool:
    """Whether every value of a stored type is a float32."""
    return dtype == "float32" or (np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2)
