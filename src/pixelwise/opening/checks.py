"""Warn of what looks wrong in a stack although it can be computed, judging by a small sample of pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.method import Method
from pixelwise.opening.fill_values import find_fill_values
from pixelwise.opening.gain_checks import warnings_of_applied
from pixelwise.opening.named_sensors import LANDSAT_FAMILIES, sensors_of
from pixelwise.opening.pairing import Pairing
from pixelwise.opening.scene_counts import (
    clear_counts,
    counts_that_matter,
    made_before,
    more_scenes,
    scenes_of,
    short_periods,
)
from pixelwise.opening.sensor_pairs import chain_of, overlapping, pairs_of
from pixelwise.rasters.handles import HANDLES, reading
from pixelwise.rasters.nodata import is_among, nodata_bounds, spelled
from pixelwise.rasters.pieces import Piece, WindowError
from pixelwise.rasters.urls import Location
from pixelwise.rasters.windows import read_with_retries
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.raster import RasterStack
from pixelwise.stacks.sampling import (
    FEW_VALID,
    MOST_WINDOWS,
    QUICK_LAYERS,
    SAMPLE_PIXELS,
    SAMPLE_WINDOWS,
    read_windows,
    sample_blocks,
    thinned,
)

__all__ = ["masked_share", "warnings_of", "warnings_of_all"]

#: Layers whose level or scale differs by this factor do not belong together.
FACTOR = 10.0
#: No NDVI is larger; noise a little above 1 does occur.
NDVI_LIMIT = 1.5
#: Usual scales of NDVI: MODIS and most exports, some others, and 8-bit products.
NDVI_SCALES = (0.0001, 0.001, 0.01)

#: If the bulk of scaled values is below this, the numbers were not packed: NDVI of 0.9 became 0.00009.
SCALED_AWAY = 0.015

#: How many values, and of how many files, are checked if files declare different nodata: this takes 0.2 s, and covers
#: all values of a few small files.
MOST_CHECKED, MOST_CHECKED_FILES = 4 << 20, 64


@np.errstate(over="ignore", invalid="ignore")
def warnings_of(
    stack: FileStack, method: Method | None = None, *, quick: bool = False, clear: Sequence[float] | None = None
) -> list[str]:
    """Return what a user should look at before a job, one line each.

    Parameters
    ----------
    stack
        Opened without problems; a few windows are read.
    method
        The method to be applied to it.
    quick
        Check only a few layers, as a job does before it begins.
    clear
        The result of `clear_counts`, if it is known already.

    Raises
    ------
    InputError
        When a window cannot be read.
    """
    scenes = scenes_of(stack)
    looked_at = scenes
    if quick and len(scenes) > QUICK_LAYERS:
        chosen = np.linspace(0, len(scenes) - 1, QUICK_LAYERS).astype(int)
        looked_at = replace(scenes, layers=tuple(scenes.layers[i] for i in chosen))
    # Gains would spread a fill value over as many values as there are scenes, and interpolation over any number.
    looked_at = looked_at.unrectified.uninterpolated
    sampled = _sample_of(looked_at, lenient=quick)
    sample = sampled.values
    differing, named = _nodata_differs(scenes)
    fill_values, filled = _fill_values(looked_at, sampled, named)
    found = [
        *_alpha(scenes),
        *_impossible_nodata(scenes),
        *differing,
        *_sensors(scenes),
        *warnings_of_applied(scenes),
        *fill_values,
        *_scales(scenes),
        *_scaled_twice(scenes),
        *_levels(looked_at, sample),
        *_ndvi(looked_at, np.where(filled, np.nan, sample)),
    ]
    if isinstance(stack, CompositeStack):
        if clear is None:
            clear = clear_counts(stack) if quick else counts_that_matter(stack, sample)
        found += [*short_periods(stack), *more_scenes(stack, clear)]
    found += made_before(stack, scenes)
    if method is not None:
        found += _warnings_of_dates(stack.axis, method)
    return found


def warnings_of_all(
    pairing: Pairing[Any], method: Method, *, quick: bool = False, clear: Mapping[str, Sequence[float]] | None = None
) -> list[str]:
    """Return the warnings for a response and for each covariate, the latter preceded by its name.

    Parameters
    ----------
    pairing, method, quick
        As in `warnings_of`.
    clear
        The result of `clear_counts` for each stack, by name, "" for the response.

    Raises
    ------
    InputError
        When a window cannot be read.
    """
    if isinstance(pairing.stack, FileStack):
        found = warnings_of(pairing.stack, method, quick=quick, clear=clear.get("") if clear else None)
    else:
        found = _warnings_of_dates(pairing.stack.axis, method)
    for name, other in pairing.inputs.items():
        if isinstance(other, FileStack):
            of_other = warnings_of(other, quick=quick, clear=clear.get(name) if clear else None)
            found += [f"{name}: {text}" for text in of_other]
    return found


@np.errstate(over="ignore", invalid="ignore")
def masked_share(stack: RasterStack) -> float | None:
    """Return the share of sampled pixels that masks reject; None if there are no masks.

    Raises
    ------
    InputError
        When a mask cannot be read.
    """
    if not stack.derivation.qualities:
        return None
    with reading((stack,)):
        total = rejected = 0
        for number, block in enumerate(sample_blocks(stack, MOST_WINDOWS)):
            if number >= SAMPLE_WINDOWS and total and rejected <= (1 - FEW_VALID) * total:
                break
            counts = stack.masked(block)
            total, rejected = total + int(counts[0]), rejected + int(counts[1])
    return rejected / total if total else None


def _impossible_nodata(stack: RasterStack) -> Iterator[str]:
    piece = stack.layers[0].pieces[0]
    kind = np.dtype(piece.dtype)
    if stack.spec.nodata is None or kind.kind not in "iu":
        return
    limits = np.iinfo(kind)
    for value in stack.spec.nodata:
        if not (limits.min <= value <= limits.max and float(value).is_integer()):
            yield f"nodata {spelled(value)} never occurs in {piece.dtype} files: is it the value of another product?"


def _alpha(stack: RasterStack) -> Iterator[str]:
    """Warn of a band that masks the others but can hardly be opacity, as it holds more than two values."""
    pieces = {piece.path: piece for layer in stack.layers for piece in layer.pieces}
    masking = [path for path in stack.alpha_masks if path in pieces]
    if not masking:
        return
    path = masking[0]
    band, count = stack.alpha_masks[path]
    alone = replace(pieces[path], band=band, nodata=(), masked=False)
    with reading():
        stored = np.unique(np.concatenate([*_stored_blocks(stack, alone, SAMPLE_PIXELS), np.empty(0, alone.dtype)]))
    if stored.size > 2 or not np.isin(stored, (0, 1, 255, 65535)).all():
        colours = ",".join("undefined" if number == band else "gray" for number in range(1, count + 1))
        yield (
            f"{_named(masking)}: band {band} is treated as alpha, so its zeros mask the other bands, but it holds more "
            f"than two values; if it is data, mark it as such: rio edit-info --colorinterp {colours} {path}"
        )


def _sensors(stack: RasterStack) -> Iterator[str]:
    """Warn if the images are from sensors with different bands, and nothing makes them comparable."""
    named = list(zip(stack.layers, sensors_of(stack.layers), strict=True))
    codes = dict.fromkeys(code for _, sensors in named for code in sensors)
    dates = {code: [layer.iso_date for layer, sensors in named if code in sensors] for code in codes}
    known = stack.derivation.families or LANDSAT_FAMILIES
    families = [[code for code in family if code in dates] for family in known]
    present = [family for family in families if family]
    if len(present) < 2 or stack.gains is not None:
        return
    listed = []
    for family in sorted(present, key=lambda codes: min(dates[code][0] for code in codes)):
        own = sorted(date for code in family for date in dates[code])
        listed.append(f"{'/'.join(family)} {len(own)}, {own[0]} to {own[-1]}")
    told = f"the images are from several sensors ({'; '.join(listed)}) whose bands differ: a step from one to the next "
    if not stack.derivation.families:
        yield (
            f"{told}may look like a trend; compute the values from scenes that are made comparable (pixelwise rectify "
            "--product landsat-c2-l2), or use one sensor"
        )
        return
    product = "" if stack.spec.product is None else f" --product {stack.spec.product}"
    how = "--per sensor" if _are_linked(stack) else f"--per scene --season {stack.spec.season or 'MM-DD..MM-DD'}"
    yield (
        f"{told}may look like a trend; make them comparable with pixelwise rectify SCENES{product} {how} -o gains.csv, "
        "then give --gains gains.csv"
    )


def _are_linked(stack: RasterStack) -> bool:
    """Whether scenes of different sensors are near enough in time for gains per sensor."""
    dated = [(image, layer.date.date()) for layer in stack.layers for image in layer.images]
    images, sensors, dates = [one for one, _ in dated], [one.sensor for one, _ in dated], [day for _, day in dated]
    try:
        chain_of(sensors, dates, pairs_of(sensors, dates, together=overlapping(images)))
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class _Sample:
    """A sample of a stack: every pixel of some windows, and a regular selection of them.

    Attributes
    ----------
    whole
        (time, pixel) values of every pixel.
    values
        (time, pixel) float64 values of the selected ones.
    packing
        Scale and offset from stored numbers to values, if all layers have the same and no formula is used; else None.
    integer
        Whether stored numbers are integers.
    """

    whole: Floats
    values: Floats
    packing: tuple[float, float] | None
    integer: bool

    def stored(self, values: Floats) -> Floats:
        """Return float64 stored numbers of values; the values themselves if they have no common packing."""
        numbers: Floats = np.asarray(values, dtype=np.float64)
        if self.packing not in (None, (1.0, 0.0)):
            scale, offset = self.packing
            numbers = (numbers - offset) / scale
            numbers = np.rint(numbers) if self.integer else numbers
        return numbers


def _sample_of(stack: RasterStack, *, lenient: bool) -> _Sample:
    whole = read_windows(stack, SAMPLE_WINDOWS, lenient=lenient)
    pieces = [piece for layer in stack.layers for piece in layer.pieces]
    packings = {(piece.scale, piece.offset) for piece in pieces}
    one = len(packings) == 1 and stack.derivation.expression is None
    integer = all(np.dtype(piece.dtype).kind in "iu" for piece in pieces)
    return _Sample(whole, thinned(whole), packings.pop() if one else None, integer)


def _fill_values(stack: RasterStack, sample: _Sample, named: Collection[float]) -> tuple[list[str], NDArray[np.bool_]]:
    """Warn of values that look like fill values; also return where they are in the sample.

    Values beyond the range of the selected pixels are counted in all pixels that were read.
    """
    values = sample.values[~np.isnan(sample.values)]
    nowhere = np.zeros(sample.values.shape, dtype=bool)
    if not values.size:
        return ["the sampled windows hold no valid pixel: are nodata and the valid range right?"], nowhere
    if values.min() == values.max() and not (np.abs(sample.whole - values[0]) > 0).any():
        return [f"every sampled pixel is {values[0]:.10g}"], nowhere
    beyond = sample.whole[(sample.whole < values.min()) | (sample.whole > values.max())]
    rare, counts = np.unique(sample.stored(beyond), return_counts=True)
    found = find_fill_values(sample.stored(values), dict(zip(rare.tolist(), counts.tolist(), strict=True)))
    total = int(np.count_nonzero(~np.isnan(sample.whole)))
    pieces = [piece for layer in stack.layers for piece in layer.pieces]
    declared = dict.fromkeys(value for piece in pieces for value in piece.nodata if not np.isnan(value))
    texts = []
    for value in (value for value in found if value not in named):
        occurrences = [int(np.count_nonzero(sample.stored(row) == value)) for row in sample.whole]
        layers = np.flatnonzero(occurrences)
        # The few digits of float32 are enough if all files in which it occurs have that type.
        stored = {piece.dtype for layer in layers.tolist() for piece in stack.layers[layer].pieces}
        dtype = "float32" if stored == {"float32"} else "float64"
        listed = ",".join([spelled(one) for one in declared] + [spelled(value, dtype)])
        remedy = f"give --nodata={listed}" if sample.packing is not None else "exclude it with --valid-range LOW,HIGH"
        only = f", only in {stack.layers[layers[0]].pieces[0].path}" if len(layers) == 1 < len(occurrences) else ""
        texts.append(
            f"the value {spelled(value, dtype)} occurs {_times(sum(occurrences))} among {total} sampled values "
            f"({100 * sum(occurrences) / total:.2g} %){only}, and is not nodata; if it means missing, {remedy}"
        )
    return texts, np.isin(sample.stored(sample.values), found)


def _nodata_differs(stack: RasterStack) -> tuple[list[str], set[float]]:
    """Warn of files that declare different nodata from others, or none, and count how often that of the others occurs.

    Returns
    -------
    tuple
        A line for each way in which files differ, and the values named in the lines.
    """
    texts: list[str] = []
    named: set[float] = set()
    images = [image for layer in stack.layers for image in layer.images]
    for role in range(max(len(image.bands) for image in images)):
        groups: dict[tuple[float, ...], list[Piece]] = {}
        for piece in (piece for image in images for piece in image.bands[role]):
            # A mask says what is missing, and NaN is missing in all files.
            if piece.nodata or not piece.masked:
                groups.setdefault(tuple(sorted(v for v in piece.nodata if not np.isnan(v))), []).append(piece)
        usual = max(groups, key=lambda nodata: len(groups[nodata]), default=())
        union = list(dict.fromkeys(value for nodata in (usual, *groups) for value in nodata))
        for nodata, pieces in groups.items():
            foreign = tuple(value for value in union if value not in nodata)
            odd = [piece for piece in pieces if len(nodata_bounds(foreign, piece.dtype))]
            if not odd:
                continue
            # Masks may reject such values: then only headers can be compared.
            found, looked = (0, 0) if stack.derivation.qualities else _count_stored(foreign, stack, odd)
            # The majority is reported only if the value occurs in it; otherwise the odd files are.
            if nodata == usual and nodata and not found:
                continue
            named.update(foreign)
            others = {piece.path for other, group in groups.items() if set(other) & set(foreign) for piece in group}
            texts.append(
                f"{_named([piece.path for piece in odd])} declare{'s' * (len({p.path for p in odd}) == 1)} "
                f"{f'nodata {_listed(nodata)}' if nodata else 'no nodata'}, but {_count_of(others)} "
                f"declare{'s' * (len(others) == 1)} {_listed(foreign)}"
                + (f", which occurs {_times(found)} among {looked} values checked there" if found else "")
                + (f", which does not occur in {looked} values checked there" if looked and not found else "")
                + f"; if it means missing in all files, give --nodata={_listed(union)}"
            )
    return texts, named


def _listed(values: Iterable[float]) -> str:
    return ",".join(map(spelled, values))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _count_of(paths: Collection[Location]) -> str:
    return f"{len(paths)} other file{'s' * (len(paths) > 1)}"


def _named(paths: Iterable[Location]) -> str:
    first, *others = dict.fromkeys(paths)
    return f"{first}{f' and {len(others)} more files' if len(others) > 1 else ' and 1 more file' if others else ''}"


def _count_stored(values: Sequence[float], stack: RasterStack, pieces: Sequence[Piece]) -> tuple[int, int]:
    """Count stored values in some files, and the numbers checked: all, or about `MOST_CHECKED` of them in blocks."""
    found = looked = 0
    chosen = [
        pieces[i] for i in np.unique(np.linspace(0, len(pieces) - 1, min(len(pieces), MOST_CHECKED_FILES)).astype(int))
    ]
    with reading():
        for piece in chosen:
            bounds = nodata_bounds(values, piece.dtype)
            for stored in _stored_blocks(stack, piece, MOST_CHECKED // len(chosen)):
                found += int(np.count_nonzero(is_among(stored, bounds)))
                looked += stored.size
    return found, looked


def _stored_blocks(stack: RasterStack, piece: Piece, most: int) -> Iterator[NDArray[Any]]:
    """Yield valid stored numbers of blocks spread evenly across a piece, about `most` pixels in total."""
    inside = piece.block.intersection(stack.grid.block)
    if inside is None:
        return
    height, width = min(stack.layout.block_height, inside.height), min(stack.layout.block_width, inside.width)
    # Strips of one row are read several at once.
    height = min(height * -(-SAMPLE_PIXELS // (height * width)), inside.height)
    down, across = -(-inside.height // height), -(-inside.width // width)
    for number in np.unique(np.linspace(0, down * across - 1, max(most // (height * width), 1)).astype(int)).tolist():
        row, col = number // across * height, number % across * width
        block = Block(row, col, min(height, inside.height - row), min(width, inside.width - col))
        window = block.shift(inside.row - piece.block.row, inside.col - piece.block.col)
        raw = np.empty((1, window.height, window.width), dtype=piece.dtype)
        try:
            masks = read_with_retries(piece, (piece.band,), window, raw, HANDLES.open_files)
        except WindowError:
            if stack.spec.on_read_error == "stop":
                raise
            continue
        missing = is_among(raw, piece.nodata_bounds) | (raw != raw)
        yield raw[~missing if masks is None else ~missing & (masks != 0)]


def _scaled_twice(stack: RasterStack) -> Iterator[str]:
    """Warn of numbers that are values already, but are multiplied by a scale meant for integers."""
    if stack.spec.scale is not None:
        return
    scaled = [
        piece
        for layer in stack.layers
        for piece in layer.pieces
        if np.dtype(piece.dtype).kind == "f" and 0 < abs(piece.scale) < 1
    ]
    with reading():
        for place in np.unique(np.linspace(0, len(scaled) - 1, min(len(scaled), SAMPLE_WINDOWS)).astype(int)).tolist():
            piece = scaled[place]
            stored = np.concatenate([*_stored_blocks(stack, piece, SAMPLE_PIXELS), np.empty(0, piece.dtype)])
            stored = np.abs(stored[np.isfinite(stored)]).astype(np.float64)
            if not stored.size or (stored != np.floor(stored)).mean() <= 0.5:
                continue
            # The largest may be an outlier.
            bulk = float(np.quantile(stored, 0.98))
            if bulk * abs(piece.scale) < SCALED_AWAY:
                yield (
                    f"{_named([piece.path, *(other.path for other in scaled)])}: {piece.dtype} numbers up to "
                    f"{bulk:.3g} are multiplied by {piece.scale:.10g}, giving {bulk * abs(piece.scale):.2g}: "
                    f"if they are scaled already, give --scale 1{' --offset 0' * (piece.offset != 0)}"
                )
                return


def _scales(stack: RasterStack) -> Iterator[str]:
    scales = {piece.scale for layer in stack.layers for piece in layer.pieces}
    for scale in sorted(scales):
        if abs(scale) > 1:
            yield f"scale {scale:.10g} is above 1; most products divide (0.0001): is it intended? (--scale overrides)"
    if min(abs(s) for s in scales) * FACTOR <= max(abs(s) for s in scales):
        listed = ", ".join(f"{scale:.10g}" for scale in sorted(scales))
        yield f"layers have different scales: {listed}"


def _levels(stack: RasterStack, sample: Floats) -> Iterator[str]:
    levels = np.array([np.median(np.abs(row[~np.isnan(row)])) if (~np.isnan(row)).any() else np.nan for row in sample])
    usual = np.nanmedian(levels) if np.isfinite(levels).any() else np.nan
    if not usual > 0:
        return
    # No scale turns a value into 0.
    odd = np.flatnonzero((levels > usual * FACTOR) | ((levels < usual / FACTOR) & (levels > 0)))
    # Layers near zero are rare but real (snow, night); a wrong scale changes whole layers by a factor of 10 or more.
    for index in odd[:5]:
        layer = stack.layers[index]
        yield (
            f"{layer.pieces[0].path}: its typical value {levels[index]:.4g} differs by more "
            f"than a factor of {FACTOR:.0f} from that of the stack, {usual:.4g}: is its scale different?"
        )
    if len(odd) > 5:
        yield f"... and {len(odd) - 5} more layers with a different level"


def _ndvi(stack: RasterStack, sample: Floats) -> Iterator[str]:
    names = " ".join(path.name for path in stack.paths).lower()
    if "ndvi" not in names or not np.isfinite(sample).any():
        return
    largest = float(np.nanmax(np.abs(sample)))
    if largest <= NDVI_LIMIT:
        return
    # The bulk gives the power of ten; the largest value may be an outlier.
    bulk = float(np.nanquantile(np.abs(sample), 0.98))
    remedy = "is it a sum, scaled, or a fill value? (--scale, --nodata, --valid-range)"
    for scale in NDVI_SCALES:
        if 0.3 <= bulk * scale <= NDVI_LIMIT:
            remedy = f"try --scale {scale:g}"
    yield f"the names say NDVI, but sampled values reach {largest:.10g}: {remedy}"


def _warnings_of_dates(axis: TimeAxis, method: Method) -> list[str]:
    """Return warnings about a method that follow from the dates alone; no file is read."""
    return [*_seasons(axis, method), *method.cautions(axis)]


def _seasons(axis: TimeAxis, method: Method) -> Iterator[str]:
    years = axis.calendar_years
    per_year = len(axis) / max(len(set(years.tolist())), 1)
    if method.season_term or len(set(years.tolist())) == len(years):
        return
    yield (
        f"{per_year:.1f} layers per year, but {method.name} has no season term: unequal seasons can look "
        "like a trend; make one layer per year (--composite), choose --months, or fit the season too (harmonic)"
    )
