"""Assemble observations into layers: pieces into images, images into layers, all on one grid."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

from pixelwise.choices import SameDate
from pixelwise.crs import crs_remedy, meant_code
from pixelwise.errors import InputError, Problems
from pixelwise.grid import Block, Grid
from pixelwise.opening.mosaic import Member, common_grid, lattice_remedy, members_of
from pixelwise.opening.named_files import second_download
from pixelwise.opening.observation import BandFile, Observation
from pixelwise.opening.quality import ZOOMS
from pixelwise.opening.sensors import product_of_bands
from pixelwise.rasters.headers import read_header
from pixelwise.rasters.nodata import spelled
from pixelwise.rasters.pieces import WARP_TILE, Piece, Warp
from pixelwise.rasters.resolution import named_lattice, names_crs
from pixelwise.rasters.urls import location_of
from pixelwise.stacks.images import Image
from pixelwise.stacks.parts import DateOptions, PlaceOptions
from pixelwise.stacks.raster import Layer
from pixelwise.words import NAMED, shortened, shown

__all__ = ["assemble"]

log = logging.getLogger(__name__)

#: A resolution that is named and so many times finer or coarser than the pixels of the files is a mistake of units.
MOST_FINER, MOST_COARSER = 100.0, 10_000.0
#: So many times is unusual enough for a warning.
UNUSUAL = 20.0


def assemble(
    found: Sequence[Observation], place: PlaceOptions, dates: DateOptions, problems: Problems, allowed: Sequence[str]
) -> tuple[tuple[Layer, ...], Grid | None]:
    """Assemble pieces into members and members into layers, all on one grid; collect problems."""
    # Two days that only another calendar distinguishes are two layers.
    dated: dict[tuple[datetime, int], list[Observation]] = defaultdict(list)
    with problems.caught("align: ") as failure:
        place, target = _target(place, allowed)
    if failure:
        return (), None
    placed = [band for observation in found for band in (*observation.bands, *observation.masks) if band is not None]
    with_crs = next((band for band in placed if band.header.grid.crs is not None), None)
    if target is not None and target.crs is None and with_crs is not None:
        remedy = crs_remedy(place.align, with_crs.header.path, option=True)
        problems.add(f"align: {place.align}: has no CRS, but the files have {with_crs.header.grid.crs_name}; {remedy}")
        return (), None
    found = _on_one_lattice(found, target, place, problems)
    for observation in found:
        moment = observation.reading.moment
        dated[moment.date(dates.period), moment.excess_of(dates.period)].append(observation)
    if not dated:
        return (), None
    precisions = {observation.reading.moment.precision for observation in found}
    if "year" in precisions and len(precisions) > 1:
        problems.add(_mixed_precision(found))
    if len({observation.reading.moment.calendar for observation in found}) > 1:
        problems.add(_mixed_calendars(found))
    unfit = Problems()
    members = {key: members_of(dated[key], dates.same_date, unfit) for key in sorted(dated)}
    problems.add(*shortened(unfit.lines, "dates"))
    grid = common_grid([member for group in members.values() for member in group], place, target, problems, allowed)
    layers: list[Layer] = []
    repeated = Problems()
    outside = 0
    for (date, excess), group in members.items():
        made = _layers_of_date((date, excess), group, grid, dates.same_date, repeated, partial=place.partial)
        outside += not made
        layers += made
    problems.add(*shortened(repeated.lines, "dates"))
    if outside:
        log.info(f"{outside} of {len(members)} dates lie outside the extent and are left out")
    return tuple(layers), grid


def _target(place: PlaceOptions, allowed: Sequence[str]) -> tuple[PlaceOptions, Grid | None]:
    """Return the grid with which files are aligned, if any, and the place with the extent that it stands for."""
    if place.align is None:
        return place, None
    if names_crs(place.align):  # a lattice without an extent
        return replace(place, extent=place.extent or "union"), named_lattice(place.align)
    code, comma, size = place.align.partition(",")
    if comma and (meant := meant_code(code)) is not None and not Path(place.align).exists():
        raise InputError(f"{shown(place.align)} is no file; did you mean {meant},{size}?")
    header = read_header(location_of(place.align, allowed))
    return place, (header if place.crs is None else header.with_crs(place.crs)).grid


def _on_one_lattice(
    found: Sequence[Observation], target: Grid | None, place: PlaceOptions, problems: Problems
) -> list[Observation]:
    """Align bands and masks with the target, if there is one; else report those that are on another lattice."""
    nearest = replace(place, resampling="nearest")
    placed: list[Observation] = []
    refused = Problems()
    for observation in found:
        with refused.caught():
            if target is None:
                bands = observation.bands
                for band in bands[1:]:
                    _check_lattice(band, observation)
            else:
                bands = tuple(_aligned(band, target, place) for band in observation.bands)
                _check_resolution(bands, target, place)
            masks = tuple(
                None if mask is None else _mask_placed(mask, target, observation.bands[0], nearest)
                for mask in observation.masks
            )
            placed.append(replace(observation, bands=bands, masks=masks))
    problems.add(*shortened(refused.distinct))
    if target is not None and placed:
        _warn_of_resolution(placed[0].bands[0], target, place)
    return placed


def _check_resolution(bands: Sequence[BandFile], target: Grid, place: PlaceOptions) -> None:
    """Refuse a resolution that cannot be meant, where it is named rather than that of a raster."""
    for band in bands:
        scale = 1.0 if band.warp is None else band.warp.scale[0]
        if names_crs(str(place.align)) and not 1 / MOST_FINER <= scale <= MOST_COARSER:
            raise InputError(_resolutions(band, target, scale, place))


def _warn_of_resolution(band: BandFile, target: Grid, place: PlaceOptions) -> None:
    scale = 1.0 if band.warp is None else band.warp.scale[0]
    if names_crs(str(place.align)) and not 1 / UNUSUAL <= scale <= UNUSUAL:
        log.warning(_resolutions(band, target, scale, place))


def _resolutions(band: BandFile, target: Grid, scale: float, place: PlaceOptions) -> str:
    """Name the size of a file's pixels in the units of the target, and that of the target's."""
    code = str(place.align).partition(",")[0]
    unit = "degrees" if target.crs is not None and target.crs.is_geographic else "units"
    own, wanted = float(f"{target.transform.a / scale:.2g}"), target.transform.a
    return (
        f"{band.header.path}: its pixels are about {own:g} {unit} of {code}, and --align {place.align} makes pixels of "
        f"{wanted:g}; a resolution near theirs is {code},{own:g}"
    )


def _check_lattice(band: BandFile, observation: Observation) -> None:
    if not observation.grid.shares_lattice(band.grid):
        raise InputError(
            f"{band.header.path}: its pixels are not aligned with those of {observation.header.path} "
            f"({'; '.join(observation.grid.differences(band.grid))}); "
            f"{lattice_remedy(observation.header, band.header)}"
        )


def _mask_placed(mask: BandFile, target: Grid | None, image: BandFile, place: PlaceOptions) -> BandFile:
    """Place a mask on a lattice: as it is if each of its pixels covers whole pixels, else by the nearest pixels.

    Parameters
    ----------
    mask
        The mask as in its file.
    target
        The grid with which files are aligned; None if nothing may be warped.
    image
        Its image as in its file.

    Raises
    ------
    InputError
        When it is on another lattice and nothing may be warped.
    """
    lattice = image.grid if target is None else target
    for zoom in ZOOMS:
        finer = mask.header.grid.refined(zoom)
        if lattice.shares_lattice(finer):
            return replace(mask, grid=finer, zoom=zoom)
    if target is not None:
        return _aligned(mask, target, place)
    raise InputError(
        f"{mask.header.path}: the pixels of the mask are not aligned with those of its image "
        f"({'; '.join(lattice.differences(mask.header.grid))}); {lattice_remedy(image.header, mask.header)}"
    )


def _aligned(band: BandFile, target: Grid, place: PlaceOptions) -> BandFile:
    """Align a band with a grid.

    Raises
    ------
    InputError
        When it cannot be aligned.
    """
    header = band.header
    if target.shares_lattice(header.grid):
        return band
    try:
        footprint, scale = target.footprint(header.grid)
    except InputError as error:
        like = target.crs if names_crs(str(place.align)) else place.align
        remedy = f"; {crs_remedy(header.path, like, option=True)}" if header.grid.crs is None else ""
        raise InputError(f"{header.path}: cannot be aligned: {error}{remedy}") from None
    if header.alpha and (header.alpha_is_data or not band.nodata):
        alpha = header.alpha[0]
        options = (
            f"-colorinterp_{alpha.index} undefined"
            if header.alpha_is_data
            else f"-b {band.band.index} -mask {alpha.index}"
        )
        raise InputError(
            f"{header.path}: cannot be aligned, as GDAL treats band {alpha} as alpha; "
            f"make a file without it first: gdal_translate {options} IN OUT"
        )
    if place.resampling != "nearest" and len(band.nodata) > 1:
        listed = ", ".join(spelled(value) for value in band.nodata)
        raise InputError(
            f"{header.path}: has several nodata values ({listed}), but GDAL excludes only one from a mean; "
            "use --resampling nearest"
        )
    # A warped area starts where a tile starts, with tiles counted from the target's origin.
    height, width = WARP_TILE
    top, left = footprint.row // height * height, footprint.col // width * width
    whole = target.crop(
        Block(top, left, footprint.row + footprint.height - top, footprint.col + footprint.width - left)
    )
    assert whole.crs is not None  # noqa: S101 - there is a footprint
    warp = Warp(
        crs=whole.crs.to_wkt(),
        transform=tuple(whole.transform)[:6],
        height=whole.height,
        width=whole.width,
        resampling=place.resampling,
        scale=scale,
        anchor=(footprint.row - top, footprint.col - left),
        source_crs=header.grid.crs.to_wkt() if header.crs_is_given and header.grid.crs is not None else None,
    )
    grid = target.crop(footprint)
    return replace(band, grid=grid, warp=warp)


def _mixed_precision(found: Sequence[Observation]) -> str:
    years = [o.header.path.name for o in found if o.reading.moment.precision == "year"]
    others = [o.header.path.name for o in found if o.reading.moment.precision != "year"]
    return (
        f"{len(years)} name(s) have only a year ({years[0]}), {len(others)} a date ({others[0]}): "
        "expected the same precision for all; give dates for all with --times FILE (path,date)"
    )


def _mixed_calendars(found: Sequence[Observation]) -> str:
    first = found[0]
    other = next(o for o in found if o.reading.moment.calendar != first.reading.moment.calendar)
    named = (f"{o.header.path} has the calendar {o.reading.moment.calendar}" for o in (first, other))
    return f"{', '.join(named)}: expected one calendar for all, as their decimal years differ; stack those of one only"


def _layers_of_date(
    when: tuple[datetime, int],
    members: Sequence[Member],
    grid: Grid | None,
    same_date: SameDate | None,
    problems: Problems,
    *,
    partial: bool,
) -> list[Layer]:
    images = [_image(member, grid, partial=partial) for member in members]
    readings = [member.observations[0].reading for member in members]
    layers = [
        Layer(when[0], reading.moment.precision, reading.rule, (image,), None, reading.moment.calendar, when[1])
        for reading, image in zip(readings, images, strict=True)
    ]
    if partial:
        layers = [layer for layer in layers if layer.pieces]
        images = [image for image in images if image.pieces]
    if len(layers) > 1 and same_date in (None, "keep") and all(member.part for member in members):
        return [replace(layers[0], images=tuple(images), reduce="mosaic")]
    if len(layers) <= 1 or same_date == "keep":
        return layers
    if same_date == "first" and any(piece.warp for image in images for piece in image.pieces):
        problems.add(
            f"{len(members)} images have the date {layers[0].iso_date}, and {members[0].path} or another is warped: "
            "which pixels it covers is unknown, only which have a value; use --same-date mosaic instead of first"
        )
        return layers
    if same_date is None:
        names = ", ".join(str(member.path) for member in members[:NAMED])
        kinds = sorted({piece.dtype for image in images for piece in image.pieces})
        product = product_of_bands([member.path for member in members])
        # Nobody wants the mean of NDVI and cloud masks.
        if product is not None:
            remedy = f"they are bands of one image: use --product {product} --value FORMULA (or --band NAME)"
        elif len(kinds) > 1:
            remedy = (
                f"they are stored as {' and '.join(kinds)}: choose one product with a quoted glob such as '*NDVI*.tif'"
            )
        else:
            again = second_download([member.path for member in members])
            remedy = f"{again}choose with --same-date {'|'.join(get_args(SameDate))}"
        problems.add(
            f"{len(members)} layers have the date {layers[0].iso_date}: {names}"
            f"{', ...' if len(members) > NAMED else ''}; {remedy}"
        )
        return layers
    if same_date == "first" and grid is not None and _covers(images[0], grid.block):
        return layers[:1]
    return [replace(layers[0], images=tuple(images), reduce=same_date)]


def _covers(image: Image, block: Block) -> bool:
    shared = [piece.block.intersection(block) for piece in image.pieces]
    return sum(part.pixels for part in shared if part) == block.pixels


def _image(member: Member, grid: Grid | None, *, partial: bool) -> Image:
    """Return an image on the grid; with `partial`, without the pieces outside it."""
    lattice = grid or member.grid
    partial = partial and grid is not None

    def pieces(files: Iterable[BandFile], *, partial: bool) -> tuple[Piece, ...]:
        placed = [_piece(file, lattice.place_of(file.grid)) for file in files]
        # A mask may serve all pieces of an image.
        return tuple(dict.fromkeys(p for p in placed if not partial or p.block.intersection(lattice.block) is not None))

    bands = zip(*(observation.bands for observation in member.observations), strict=True)
    masks, clear = [], []
    for index in range(len(member.observations[0].masks)):
        files = [(observation.masks[index], observation.grid) for observation in member.observations]
        # Also those outside: they may grow into the grid, and an image without any would seem to have no masks.
        masks.append(pieces([file for file, _ in files if file is not None], partial=False))
        clear.append(tuple(lattice.place_of(own) for file, own in files if file is None))
    return Image(
        tuple(pieces(files, partial=partial) for files in bands),
        tuple(masks),
        tuple(clear),
        member.observations[0].sensor,
        tuple(band.label for band in member.observations[0].bands),
    )


def _piece(file: BandFile, place: Block) -> Piece:
    return Piece(
        path=file.header.path,
        driver=file.header.driver,
        band=file.band.index,
        block=place,
        dtype=file.band.dtype,
        nodata=file.nodata,
        scale=file.scale,
        offset=file.offset,
        masked=file.band.masked,
        georeferenced=file.header.georeferenced,
        valid=file.valid,
        warp=file.warp,
        zoom=file.zoom,
        array=file.header.array,
        stamp=file.header.remote_stamp,
    )
