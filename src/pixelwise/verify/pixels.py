"""Pixels of a map and of its inputs, read in a different way from `apply`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine, TransformNotInvertibleError
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from pixelwise.bands import Floats
from pixelwise.crs import crs_named, same_crs
from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.jobs.plan import smaller_blocks
from pixelwise.maps.map import Map, open_quietly
from pixelwise.maps.reading import read_points
from pixelwise.maps.stores import NETCDF, STORE
from pixelwise.rasters.arrays import array_driver
from pixelwise.rasters.checked import alpha_of, streams_of
from pixelwise.rasters.datasets import GDAL_ERRORS, open_local
from pixelwise.rasters.handles import largest_behind
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.remote import FailedRequestError, stamp_of
from pixelwise.rasters.remote_datasets import open_remote
from pixelwise.rasters.streams import Streams
from pixelwise.rasters.urls import Location, Url, local_path
from pixelwise.rasters.zlib_blocks import PlainBlocks, open_plainly
from pixelwise.stacks.spec import InputSpec
from pixelwise.verify.arrays import ArrayInput, array_input
from pixelwise.verify.making import EPOCH, Making
from pixelwise.verify.sources import NAMED
from pixelwise.words import one_line, width_by_height

__all__ = ["MOST_KEPT", "Input", "inputs_of", "lacking_layers", "read_map", "series_of"]

#: Bytes of a decoded block of a file, which is read for every pixel in it.
LARGEST_BLOCK = 2 << 30

#: Number of differences that are kept; all are counted.
MOST_KEPT = 1000

#: How far apart, in pixels, the pixel centres of a map and its inputs may be: `open_stack` allows 0.01.
OFF_CENTRE = 0.02


@dataclass(frozen=True)
class _Input:
    """One file, what its bands declare missing, and the rows of the pieces' table that they fill."""

    path: Location
    height: int
    width: int
    inverse: Affine
    bands: tuple[int, ...]
    targets: tuple[int, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[tuple[float, ...], ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    masked: tuple[bool, ...]
    labels: tuple[str, ...]

    def labels_of(self, spec: InputSpec) -> tuple[str, ...]:
        """Return what tables of gains call each band."""
        return self.labels


Input = _Input | ArrayInput


def inputs_of(making: Making, places: Mapping[str, Location], map_: Map) -> list[Input]:
    """Read what each file says about itself; options of the job take precedence."""
    spec = making.spec
    uses: dict[str, list[tuple[int, int]]] = {}
    pieces = [piece for layer in making.layers for piece in layer.pieces]
    for target, (name, band) in enumerate(pieces):
        uses.setdefault(name, []).append((band, target))
    inputs: list[Input] = []
    for name, used in uses.items():
        path = places[name]
        if array_driver(path):
            inputs.append(array_input(local_path(path, "an array"), used))
            continue
        with _dataset_of(path) as dataset:
            given = None if spec.crs is None else crs_named(spec.crs, "crs")
            if not same_crs(map_.grid.crs, given if dataset.crs is None else dataset.crs):
                raise InputError(f"{path}: its CRS is not that of the map")
            bands = tuple(band for band, _ in used)
            if max(bands) > dataset.count:
                raise InputError(f"{path}: has {dataset.count} bands, but the map was made from band {max(bands)}")
            _check_blocks(dataset, path)
            # Properties of all bands; each is read only once.
            declared, flags = dataset.nodatavals, [set(own) for own in dataset.mask_flag_enums]
            unmasked = {MaskFlags.all_valid, MaskFlags.nodata}
            if name in making.alpha_read:
                unmasked.add(MaskFlags.alpha)
            dtypes, scales, offsets = dataset.dtypes, dataset.scales, dataset.offsets
            if any(dtypes[b - 1].startswith("complex") for b in bands):
                raise InputError(f"{path}: holds complex numbers; expected real numbers")
            try:
                inverse = ~dataset.transform
            except TransformNotInvertibleError:
                raise InputError(f"{path}: is not on the grid of the map: its pixels have zero size") from None
            inputs.append(
                _Input(
                    path=path,
                    height=dataset.height,
                    width=dataset.width,
                    inverse=inverse,
                    bands=bands,
                    targets=tuple(target for _, target in used),
                    dtypes=tuple(dtypes[b - 1] for b in bands),
                    nodata=tuple(_nodata(declared[b - 1], spec) for b in bands),
                    scales=tuple(scales[b - 1] if spec.scale is None else spec.scale for b in bands),
                    offsets=tuple(offsets[b - 1] if spec.offset is None else spec.offset for b in bands),
                    masked=tuple(not flags[b - 1] & unmasked for b in bands),
                    labels=tuple(dataset.descriptions[b - 1] or f"b{b}" for b in bands),
                )
            )
    return inputs


def _dataset_of(path: Location) -> Any:
    """Open a file with GDAL."""
    return open_remote(path, stamp_of(path)) if isinstance(path, Url) else open_local(path)


def _check_blocks(dataset: Any, path: Location) -> None:
    """Refuse blocks that need too much memory: a file's head may claim any size, and compress to almost nothing."""
    behind = largest_behind(path, dataset.file.stamp if isinstance(path, Url) else None)
    if behind > LARGEST_BLOCK:
        raise InputError(
            f"{path}: cannot be verified: a block of its masks or sources takes {behind / 1e9:.0f} GB, more than "
            f"{LARGEST_BLOCK / 1e9:.1f}; write it with smaller ones: {smaller_blocks(str(path))}"
        )
    interleaved = dataset.count if str(dataset.profile.get("interleave")) == "pixel" else 1
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        size = height * width * interleaved * getattr(np, dtype, np.complex128)().itemsize
        if size > LARGEST_BLOCK:
            raise InputError(
                f"{path}: cannot be verified: its blocks of {width_by_height(width, height)} take "
                f"{size / 1e9:.0f} GB each, more than {LARGEST_BLOCK / 1e9:.1f}; write it with smaller "
                f"ones: {smaller_blocks(str(path))}"
            )


def _nodata(declared: float | None, spec: InputSpec) -> tuple[float, ...]:
    if spec.nodata is not None:
        return spec.nodata
    return () if declared is None else (declared,)


def series_of(
    making: Making,
    inputs: Sequence[Input],
    transform: Affine,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    lines: Floats | None = None,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (time, pixel) values of some pixels of the map, NaN where missing, and which of them were unreadable.

    `lines` are (2, piece) gains and offsets.
    """
    x, y = _apply(transform, cols + 0.5, rows + 0.5)
    values = np.full((making.pieces, len(rows)), np.nan)
    covered = np.zeros(values.shape, dtype=bool)
    lost = np.zeros(len(rows), dtype=bool)
    for file in inputs:
        if isinstance(file, ArrayInput):
            found, there = file.values_at(making.spec, x, y)
            targets = np.array(file.targets)
            values[np.ix_(targets, there)], covered[np.ix_(targets, there)] = found[:, there], True
            continue
        file_cols, file_rows = _apply(file.inverse, x, y)
        inside = (file_cols >= 0) & (file_cols < file.width) & (file_rows >= 0) & (file_rows < file.height)
        pixels = np.flatnonzero(inside)
        if not len(pixels):
            continue
        off = max(float(np.abs(place[pixels] % 1 - 0.5).max()) for place in (file_cols, file_rows))
        if off > OFF_CENTRE:
            raise InputError(f"{file.path}: is not on the grid of the map: off by {off:.2g} pixels")
        covered[np.ix_(np.array(file.targets), pixels)] = True
        at = file_rows[pixels].astype(np.int64), file_cols[pixels].astype(np.int64)
        with _explained(file.path), _dataset_of(file.path) as dataset, _opened(dataset, file) as reader:
            kinds = list(zip(file.dtypes, file.masked, strict=True))
            for dtype, masked in dict.fromkeys(kinds):
                members = [index for index, kind in enumerate(kinds) if kind == (dtype, masked)]
                bands = [file.bands[index] for index in members]
                stored = np.empty((len(bands), len(pixels)), dtype=dtype)
                valid = np.full(stored.shape, 255, dtype=np.uint8)
                for run, window in _runs(*at):
                    if making.spec.on_read_error == "missing":
                        lost[pixels[run]] |= _read_intact_blocks(
                            reader, bands, window, stored[:, run], valid[:, run], masked
                        )
                        continue
                    stored[:, run] = reader.pixels(bands, window)[:, 0]
                    if masked:
                        valid[:, run] = reader.masks(bands, window)[:, 0]
                for row, mask, index in zip(stored, valid, members, strict=True):
                    decoded = _decoded(row, file.nodata[index], file.scales[index], file.offsets[index], making.spec)
                    values[file.targets[index], pixels] = np.where(mask == 0, np.nan, decoded)
    if lines is not None:
        values = values * lines[0][:, None] + lines[1][:, None]
    return _layers(making, values, covered), lost


@dataclass(frozen=True)
class _Reader:
    """An open file.

    Attributes
    ----------
    dataset
        The file as opened by GDAL.
    plain
        The file opened again, if GDAL would return numbers for damaged blocks.
    streams
        What must be checked before GDAL reads it.
    """

    dataset: Any
    plain: PlainBlocks | None
    streams: Streams

    def shape(self, band: int) -> tuple[int, int]:
        """Return rows and columns of a block."""
        shape: tuple[int, int] = self.dataset.block_shapes[band - 1] if self.plain is None else self.plain.shape
        return shape

    def pixels(self, bands: Sequence[int], window: Window) -> NDArray[Any]:
        """Return (band, y, x)."""
        if self.plain is None:
            self._check(bands, window, pixels=True)
            found: NDArray[Any] = self.dataset.read(list(bands), window=window)
            return found
        found = np.empty((len(bands), window.height, window.width), dtype=self.dataset.dtypes[bands[0] - 1])
        for (index, row, col), _ in np.ndenumerate(found):
            y, x = window.row_off + row, window.col_off + col
            value = self.plain.pixel(bands[index], y, x)
            if value is None:  # GDAL knows what an absent block holds
                value = self.dataset.read(bands[index], window=Window(x, y, 1, 1))[0, 0]
            found[index, row, col] = value
        return found

    def masks(self, bands: Sequence[int], window: Window) -> NDArray[Any]:
        """Return (band, y, x), 0 where pixels are missing."""
        alpha = alpha_of(self.dataset, bands[0])
        if alpha is not None:
            return np.repeat(self.pixels([alpha], window) != 0, len(bands), axis=0)
        self._check(bands, window, pixels=False)
        found: NDArray[Any] = self.dataset.read_masks(list(bands), window=window)
        return found

    def _check(self, bands: Sequence[int], window: Window, *, pixels: bool) -> None:
        block = Block(window.row_off, window.col_off, window.height, window.width)
        self.streams.check(bands, block, pixels=pixels, masks=not pixels)


@contextmanager
def _opened(dataset: Any, file: _Input) -> Iterator[_Reader]:
    """Open what else is needed of a file."""
    alike = dataset.driver == "GTiff" and len(set(file.dtypes)) == 1
    source = dataset.file if isinstance(file.path, Url) else file.path
    blocks = open_plainly(source, file.height, file.width, file.dtypes[0]) if alike else None
    with nullcontext() if blocks is None else blocks:
        streams = Streams(()) if dataset.driver == "VRT" else streams_of(dataset)
        yield _Reader(dataset, blocks, streams)


def _read_intact_blocks(
    reader: _Reader,
    bands: Sequence[int],
    window: Window,
    stored: NDArray[Any],
    valid: NDArray[np.uint8],
    masked: bool,
) -> NDArray[np.bool_]:
    """Read pixels band by band into `stored`, and whether they are `valid`; return which could not be read."""
    lost = np.zeros(stored.shape[1], dtype=bool)
    for row, band in enumerate(bands):
        height, width = reader.shape(band)
        # One pixel at a time, by the file's block around it: files lose data in whole blocks.
        for pixel in range(stored.shape[1]):
            y, x = window.row_off, window.col_off + pixel
            top, left = y // height * height, x // width * width
            dataset = reader.dataset
            around = Window(left, top, min(width, dataset.width - left), min(height, dataset.height - top))
            one = around if reader.plain is None else Window(x, y, 1, 1)
            try:
                stored[row, pixel] = reader.pixels([band], one)[0, y - one.row_off, x - one.col_off]
                if masked:
                    one = around if reader.plain is None or alpha_of(dataset, band) is None else one
                    valid[row, pixel] = reader.masks([band], one)[0, y - one.row_off, x - one.col_off]
            except (*GDAL_ERRORS, DamagedBlockError, FailedRequestError):
                stored[row, pixel] = valid[row, pixel] = 0
                lost[pixel] = True
    return lost


def _apply(transform: Affine, cols: NDArray[Any], rows: NDArray[Any]) -> tuple[Floats, Floats]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * cols + b * rows + c, d * cols + e * rows + f


def _runs(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Iterator[tuple[slice, Window]]:
    """Yield runs of neighbours within a row: their positions, and their window."""
    ends = np.flatnonzero((np.diff(rows) != 0) | (np.diff(cols) != 1)) + 1
    for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(rows)], strict=True):
        yield slice(start, stop), Window(int(cols[start]), int(rows[start]), stop - start, 1)


def _decoded(
    stored: NDArray[Any], nodata: Sequence[float], scale: float, offset: float, spec: InputSpec
) -> NDArray[np.float64]:
    """Return values of stored numbers, NaN where missing; see docs/decisions/0002."""
    kind, scaled = stored.dtype, scale != 1 or offset != 0
    missing = np.zeros(stored.shape, dtype=bool)
    with np.errstate(all="ignore"):
        for value in nodata:
            if kind.kind == "f":
                # Compared like in GDAL (ARE_REAL_EQUAL): within rounding to float32, even for float64.
                meant = kind.type(value)
                near = kind.type(np.finfo(np.float32).eps) * np.abs(stored + meant) * 2
                missing |= (stored == meant) | (np.abs(stored - meant) < near)
            elif float(value).is_integer() and np.iinfo(kind).min <= value <= np.iinfo(kind).max:
                missing |= stored == kind.type(int(value))
        values = stored.astype(np.float64)
        if scaled:
            values = values * scale + offset
        low, high = spec.valid_range or (-math.inf, math.inf)
        if kind == np.float32 and not scaled:
            # As stored: -0.2 in float32 is slightly below -0.2 in float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        missing |= ~np.isfinite(values) | (values < low) | (values > high)
    values[missing] = np.nan
    return values


def _layers(making: Making, values: Floats, covered: NDArray[np.bool_]) -> Floats:
    """Turn (piece, pixel) into (time, pixel): the piece that a pixel lies in or, of several, their mean or maximum."""
    table = np.full((len(making.layers), values.shape[1]), np.nan)
    first = 0
    for index, layer in enumerate(making.layers):
        own = slice(first, first + len(layer.pieces))
        first = own.stop
        if making.spec.same_date == "max":
            table[index] = np.fmax.reduce(values[own], axis=0)
        elif making.spec.same_date == "mean":
            count = np.count_nonzero(~np.isnan(values[own]), axis=0)
            total = np.zeros(values.shape[1])
            # One after the other, in the order of the job, as another order may round differently.
            for row in values[own]:
                total += np.where(np.isnan(row), 0.0, row)
            table[index, count > 0] = total[count > 0] / count[count > 0]
        elif making.spec.same_date in ("first", "mosaic"):
            usable = covered[own] if making.spec.same_date == "first" else ~np.isnan(values[own])
            # argmax finds the first valid piece; if there is none, any piece is missing.
            table[index] = np.take_along_axis(values[own], usable.argmax(axis=0)[None], axis=0)[0]
        elif (covered[own].sum(axis=0) > 1).any():
            raise InputError(f"pieces of {layer.date.date()} overlap: {', '.join(n for n, _ in layer.pieces[:NAMED])}")
        else:
            table[index] = np.fmax.reduce(values[own], axis=0)
    return table


def lacking_layers(making: Making, series: Floats) -> NDArray[np.bool_]:
    """Return which pixels of (time, pixel) have too few valid layers, or layers too close together, for their map."""
    layers, valid = making.layers, ~np.isnan(series)
    yearly = any(layer.precision == "year" for layer in layers)
    times = np.array([layer.year if yearly else (layer.date - EPOCH).total_seconds() for layer in layers])
    span = np.where(valid, times[:, None], -np.inf).max(axis=0) - np.where(valid, times[:, None], np.inf).min(axis=0)
    # A limit that is reached exactly is met, however the product is rounded.
    needs = making.output.needs
    shares = np.array([needs.min_valid, needs.min_span]) * (1 - 1e-12)
    lacking: NDArray[np.bool_] = valid.sum(axis=0) < shares[0] * len(layers)
    if shares[1]:
        lacking |= span < shares[1] * (times[-1] - times[0])
    return lacking


def read_map(map_: Map, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Return (band, pixel) of some pixels of a map."""
    found = np.empty((len(map_.names), len(rows)))
    for path in map_.paths:
        if path.suffix.lower() in (STORE, NETCDF):
            return read_points(path, map_.names, rows, cols)
        own = [(index, map_.files[name][1]) for index, name in enumerate(map_.names) if map_.files[name][0] == path]
        with _explained(path), open_quietly(path) as dataset:
            for run, window in _runs(rows, cols):
                found[[index for index, _ in own], run] = dataset.read([n for _, n in own], window=window)[:, 0]
    return found


@contextmanager
def _explained(path: Location) -> Iterator[None]:
    """Name the file where GDAL fails."""
    try:
        yield
    except (*GDAL_ERRORS, DamagedBlockError, FailedRequestError) as error:
        reason = one_line(error.__cause__ or error)
        raise InputError(f"{path}: cannot be read ({reason}); is the file truncated?") from None
