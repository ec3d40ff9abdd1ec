"""What `fuzz.py` compares with: plain rasterio and NumPy, and nothing of the product."""

from __future__ import annotations

import contextlib
import ctypes
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.fuzz_changes import Tiff

#: Of the reference: rasters of more are not read, and a command must not read them either.
LARGEST = 64 << 20
#: Rasters cut into more blocks are read as a whole only.
MOST_BLOCKS = 4096
#: Text, where what follows a line that is broken has no place: GDAL would look for it 2^n times.
LINE_AFTER_LINE = ("AAIGrid",)


def perturb(value: int) -> None:
    """Fill memory when it is handed out, so that what is read of it without being written shows (glibc only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-6, value)


class Unread(Exception):
    """The reference cannot read it."""


@dataclass
class Plain:
    """One band as plain rasterio reads it."""

    transform: tuple[float, ...]
    values: Any
    lost: Any
    #: Rectangles that are lost together.
    windows: list[tuple[slice, slice]] = field(default_factory=list)
    #: Pixels that two reads differ in.
    unsteady: Any = None


def read_plainly(
    path: Path, band: int, driver: str, options: dict[str, Any], blockwise: bool, columnwise: bool = False
) -> Plain:
    """Read a band of a file: values in float64, NaN where missing."""
    from rasterio.errors import RasterioError
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

    try:
        with DatasetReader(str(path), driver=[driver], sharing=False) as dataset:
            if not 1 <= band <= dataset.count:
                raise Unread(f"has no band {band}")
            if dataset.height * dataset.width > LARGEST:
                raise Unread(f"{dataset.height} x {dataset.width} pixels are many")
            windows = []
            height, width = dataset.block_shapes[band - 1]
            if -(-dataset.height // height) * -(-dataset.width // width) <= MOST_BLOCKS:
                windows = [window for _, window in dataset.block_windows(band)]
            dtype = np.dtype(dataset.dtypes[band - 1])
            if dtype.kind == "c":
                raise Unread("complex")
            stored = np.zeros(dataset.shape, dtype)
            masks = np.full(dataset.shape, 255, np.uint8)
            lost = np.zeros(dataset.shape, bool)
            flags = {flag.name for flag in dataset.mask_flag_enums[band - 1]}
            masked = not flags & {"all_valid", "nodata"}
            parts: Sequence[Window | None] = windows if blockwise and windows else [None]
            if columnwise and dataset.width <= MOST_BLOCKS:
                parts = [Window(column, 0, 1, dataset.height) for column in range(dataset.width)]
            for window in parts:
                place = window.toslices() if window is not None else (slice(None), slice(None))
                if driver in LINE_AFTER_LINE and blockwise and lost.any():
                    lost[place] = True
                    continue
                try:
                    stored[place] = dataset.read(band, window=window)
                    if masked:
                        masks[place] = dataset.read_masks(band, window=window)
                except RasterioError as error:
                    if not blockwise:
                        raise Unread(str(error.__cause__ or error)) from None
                    lost[place] = True
            nodata = options.get("nodata", dataset.nodatavals[band - 1])
            scale = options.get("scale", dataset.scales[band - 1])
            offset = options.get("offset", dataset.offsets[band - 1])
            transform = tuple(dataset.transform)[:6]
            places = [window.toslices() for window in windows]
    except (
        RasterioError,
        UnicodeDecodeError,
        ValueError,
        OverflowError,
        MemoryError,
        AttributeError,
        TypeError,
    ) as error:
        raise Unread(str(error)) from None
    with np.errstate(all="ignore"):
        valid = (masks != 0) & ~is_nodata(stored, nodata) & ~lost
        values = stored.astype(np.float64)
        if scale != 1 or offset != 0:
            values = values * scale + offset
        low, high = options.get("valid_range", (-np.inf, np.inf))
        valid &= np.isfinite(values) & (low <= values) & (values <= high)
    return Plain(transform, np.where(valid, values, np.nan), lost, places)


def is_nodata(stored: Any, nodata: float | None) -> Any:
    """Return which stored numbers are nodata, by GDAL's rule (ARE_REAL_EQUAL in gdal_priv.h)."""
    if nodata is None or np.isnan(nodata):
        return np.zeros(stored.shape, bool)
    if stored.dtype.kind != "f":
        limits = np.iinfo(stored.dtype)
        if not (limits.min <= nodata <= limits.max and float(nodata).is_integer()):
            return np.zeros(stored.shape, bool)
        return stored == stored.dtype.type(int(nodata))
    wanted = stored.dtype.type(nodata)
    near = np.finfo(np.float32).eps * np.abs(stored + wanted) * 2
    return (stored == wanted) | ((np.abs(stored - wanted) < near) & np.isfinite(wanted))


def read_thrice(path: Path, band: int, driver: str, options: dict[str, Any], blockwise: bool) -> Plain:
    """Read a band by other windows from other memory; pixels that differ are undefined."""
    warnings.simplefilter("ignore")
    found = []
    for fill, by_block in ((0x11, blockwise), (0xE7, True), (0xE7, blockwise)):
        perturb(fill)
        found.append(read_plainly(path, band, driver, options, by_block))
    if driver == "VRT" and not blockwise:
        # NaN that a VRT declares to be integers is -32768 where GDAL converts eight numbers at once, and 0 elsewhere.
        found.append(read_plainly(path, band, driver, options, blockwise=False, columnwise=True))
    first, *others = found
    first.unsteady = np.zeros(first.values.shape, bool)
    for other in others:
        if other.values.shape != first.values.shape:
            raise Unread("two reads differ in size")
        first.unsteady |= ~((first.values == other.values) | (np.isnan(first.values) & np.isnan(other.values)))
        first.unsteady |= other.lost & ~first.lost
    if driver == "GTiff" and has_longer_streams(path):
        first.unsteady[:] = True
    return first


def has_longer_streams(path: Path) -> bool:
    """Whether a DEFLATE block holds more than the raster: GDAL leaves bytes undefined, which may be the same thrice."""
    import rasterio

    try:
        tiff = Tiff.parse(path.read_bytes())
        compression = tiff.find(259)
        if compression is None or tiff.numbers(compression)[0] not in (8, 32946):
            return False
        with rasterio.open(path) as dataset:
            height, width = dataset.block_shapes[0]
            samples = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
            line = width * samples * np.dtype(dataset.dtypes[0]).itemsize
            across, down = -(-dataset.width // width), -(-dataset.height // height)
            tiled, total = dataset.profile["tiled"], dataset.height
        for index in range(len(tiff.numbers(tiff.blocks()[0]))):
            rows = height if tiled else min(height, total - index // across % down * height)
            if len(zlib.decompressobj().decompress(tiff.block(index), rows * line + 1)) > rows * line:
                return True
    except (rasterio.errors.RasterioError, zlib.error, struct.error, ValueError, IndexError, KeyError, TypeError):
        pass
    return False


def summarized(layers: Sequence[Any]) -> dict[str, Any]:
    """Return what `summary` must find in (time, y, x)."""
    values = np.stack(list(layers))
    valid = ~np.isnan(values)
    n = valid.sum(axis=0)
    order = np.arange(len(values))[:, None, None]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        earliest = np.where(valid, order, len(values)).min(axis=0).clip(max=len(values) - 1)
        latest = np.where(valid, order, -1).max(axis=0).clip(min=0)
        found = {
            "min": np.nanmin(values, axis=0),
            "max": np.nanmax(values, axis=0),
            "first": np.take_along_axis(values, earliest[None], axis=0)[0],
            "last": np.take_along_axis(values, latest[None], axis=0)[0],
            "mean": np.nansum(values.astype(np.longdouble), axis=0) / n,
        }
    return {"n": n, **{name: np.where(n >= 2, band, np.nan) for name, band in found.items()}}


def differing(found: dict[str, Any], wanted: dict[str, Any], scale: float) -> Any:
    """Return at which pixels a map is not what it must be."""
    wrong = np.zeros(found["n"].shape, bool)
    with np.errstate(all="ignore"):
        for name, band in wanted.items():
            mine = found[name]
            same = (mine == band) | (np.isnan(mine) & np.isnan(band))
            # Sums of three numbers, and values that are scaled: rounded in another order.
            if name == "mean":
                size = np.maximum(np.abs(wanted["min"]), np.abs(wanted["max"]))
                same |= (np.abs(mine - band) <= 1e-14 * size) | (size > 1e300)
            elif scale and name != "n":
                same |= np.abs(mine - band) <= scale * np.abs(band)
            wrong |= ~same
    return wrong


def read_map(path: Path) -> tuple[dict[str, Any], tuple[float, ...]]:
    """Read a map of ours with plain rasterio."""
    import rasterio

    with rasterio.open(path) as dataset:
        bands = {name: dataset.read(i) for i, name in enumerate(dataset.descriptions, 1)}
        return bands, tuple(dataset.transform)[:6]
