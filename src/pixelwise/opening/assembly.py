"""From observations to layers: pieces to images, images to layers, layers to one grid."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pixelwise.dates.axis import Moment
from pixelwise.dates.names import shard_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid, around_all, crs_remedy
from pixelwise.opening.observe import ZOOMS, BandFile, Observation, product_of_bands
from pixelwise.rasters.headers import Header, read_header
from pixelwise.rasters.nodata import spelled
from pixelwise.rasters.windows import WARP_TILE, Piece, Warp
from pixelwise.stacks.raster import Layer
from pixelwise.stacks.shares import Image
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import NAMED, shortened

__all__ = ["assemble"]

log = logging.getLogger(__name__)


def assemble(
    found: Sequence[Observation], spec: InputSpec, problems: list[str]
) -> tuple[tuple[Layer, ...], Grid | None]:
    """Fit observations together: pieces to members, members to layers, layers to one grid.

    Problems are collected.
    """
    dated: dict[datetime, list[Observation]] = defaultdict(list)
    try:
        target = None if spec.align is None else read_header(Path(spec.align)).grid
    except InputError as error:
        problems.extend(f"align: {text}" for text in error.problems)
        return (), None
    placed = [band for observation in found for band in (*observation.bands, *observation.masks) if band is not None]
    with_crs = next((band for band in placed if band.header.grid.crs is not None), None)
    if target is not None and target.crs is None and with_crs is not None:
        remedy = crs_remedy(Path(str(spec.align)), with_crs.header.path)
        problems.append(f"align: {spec.align}: has no CRS, the files have {with_crs.header.grid.crs_name}; {remedy}")
        return (), None
    found = _on_one_lattice(found, target, spec, problems)
    for observation in found:
        dated[observation.reading.moment.date(spec.period)].append(observation)
    if not dated:
        return (), None
    precisions = {observation.reading.moment.precision for observation in found}
    if "year" in precisions and len(precisions) > 1:
        problems.append(_mixed_precision(found))
    unfit: list[str] = []
    members = {date: _members(dated[date], spec, unfit) for date in sorted(dated)}
    problems.extend(shortened(unfit, "dates"))
    grid = _common_grid([member for group in members.values() for member in group], spec, target, problems)
    layers: list[Layer] = []
    repeated: list[str] = []
    outside = 0
    for date, group in members.items():
        made = _layers_of_date(date, group, grid, spec, repeated)
        outside += not made
        layers += made
    problems.extend(shortened(repeated, "dates"))
    if outside:
        log.info(f"{outside} of {len(members)} dates lie outside the extent and are left out")
    return tuple(layers), grid


def _on_one_lattice(
    found: Sequence[Observation], target: Grid | None, spec: InputSpec, problems: list[str]
) -> list[Observation]:
    """Put bands and masks that lie on another lattice on that of a grid, where there is one, else name them."""
    placed: list[Observation] = []
    refused: list[str] = []
    for observation in found:
        try:
            if target is None:
                bands = observation.bands
                for band in bands[1:]:
                    _check_lattice(band, observation)
            else:
                bands = tuple(_aligned(band, target, spec, spec.resampling) for band in observation.bands)
            masks = tuple(
                None if mask is None else _mask_placed(mask, target, observation.bands[0], spec)
                for mask in observation.masks
            )
        except InputError as error:
            refused.extend(error.problems)
            continue
        placed.append(replace(observation, bands=bands, masks=masks))
    problems.extend(shortened(list(dict.fromkeys(refused))))
    return placed


def _check_lattice(band: BandFile, observation: Observation) -> None:
    if not observation.grid.shares_lattice(band.grid):
        raise InputError(
            f"{band.header.path}: is not on the lattice of {observation.header.path} "
            f"({'; '.join(observation.grid.differences(band.grid))}); {_one_lattice(observation.header, band.header)}"
        )


def _one_lattice(first: Header, other: Header) -> str:
    """Say how two files get on one lattice."""
    without = [header for header in (first, other) if header.grid.crs is None]
    if len(without) == 1:
        # Without a CRS nothing can be warped.
        return crs_remedy(without[0].path, (other if without[0] is first else first).path)
    return "put both on one with --align FILE"


def _mask_placed(mask: BandFile, target: Grid | None, image: BandFile, spec: InputSpec) -> BandFile:
    """Put a mask on a lattice: as it is, each of its pixels over several, or the nearest of its pixels.

    Parameters
    ----------
    mask
        As its file has it.
    target
        That on whose lattice files are put; None where nothing may be warped.
    image
        Its image, as its file has it.

    Raises
    ------
    InputError
        When it lies on another lattice and nothing may be warped.
    """
    lattice = image.grid if target is None else target
    for zoom in ZOOMS:
        finer = mask.header.grid.refined(zoom)
        if lattice.shares_lattice(finer):
            return replace(mask, grid=finer, zoom=zoom)
    if target is not None:
        return _aligned(mask, target, spec, "nearest")
    raise InputError(
        f"{mask.header.path}: the mask is on another lattice than its image "
        f"({'; '.join(lattice.differences(mask.header.grid))}); {_one_lattice(image.header, mask.header)}"
    )


def _aligned(band: BandFile, target: Grid, spec: InputSpec, resampling: str) -> BandFile:
    """Put a band on a grid's lattice.

    Raises
    ------
    InputError
        When it cannot be placed.
    """
    header = band.header
    if target.shares_lattice(header.grid):
        return band
    try:
        footprint, scale = target.footprint(header.grid)
    except InputError as error:
        remedy = f"; {crs_remedy(header.path, Path(str(spec.align)))}" if header.grid.crs is None else ""
        raise InputError(f"{header.path}: cannot be aligned: {error}{remedy}") from None
    if header.alpha and (header.alpha_is_data or not band.nodata):
        alpha = header.alpha[0]
        options = (
            f"-colorinterp_{alpha.index} undefined"
            if header.alpha_is_data
            else f"-b {band.band.index} -mask {alpha.index}"
        )
        raise InputError(
            f"{header.path}: cannot be aligned, as GDAL takes band {alpha} for alpha; "
            f"make a file without it first: gdal_translate {options} IN OUT"
        )
    if resampling != "nearest" and len(band.nodata) > 1:
        listed = ", ".join(spelled(value) for value in band.nodata)
        raise InputError(
            f"{header.path}: has several nodata values ({listed}), but GDAL leaves one out of a mean; "
            "use --resampling nearest"
        )
    # What is warped begins where a tile begins that is counted from the target's origin.
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
        resampling=resampling,
        scale=scale,
        anchor=(footprint.row - top, footprint.col - left),
    )
    grid = target.crop(footprint)
    return replace(band, grid=grid, warp=warp)


def _mixed_precision(found: Sequence[Observation]) -> str:
    years = [o.header.path.name for o in found if o.reading.moment.precision == "year"]
    others = [o.header.path.name for o in found if o.reading.moment.precision != "year"]
    return (
        f"{len(years)} name(s) carry only a year ({years[0]}), {len(others)} a date ({others[0]}): "
        "one scale of time is wanted; give dates for all with --times FILE (path,date)"
    )


@dataclass(frozen=True)
class _Member:
    """Files that together are one image of one date: a single file, or pieces on one lattice.

    Not `whole` is one whose pieces do not fit, which was said already; a `part` is a piece of one image whose frame
    reaches into its neighbours.
    """

    observations: tuple[Observation, ...]
    blocks: tuple[Block, ...]
    grid: Grid
    whole: bool = True
    part: bool = False

    @property
    def path(self) -> Path:
        return self.observations[0].header.path

    def placed_on(self, grid: Grid) -> list[Block]:
        """Return where its pieces lie on a grid of its lattice."""
        place = grid.place_of(self.grid)
        return [block.shift(place.row, place.col) for block in self.blocks]


def _members(observations: Sequence[Observation], spec: InputSpec, problems: list[str]) -> list[_Member]:
    """Group what has one date: shards by their stem, then pieces on one lattice that do not overlap."""
    stems: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        stems[observation.stem].append(observation)
    members = [member for _, group in sorted(stems.items()) for member in _images_of_stem(group, problems)]
    first = members[0].grid
    if not any(first.differences(member.grid) for member in members[1:]):
        return members
    if not all(first.shares_lattice(member.grid) for member in members):
        return members
    placed = [block for member in members for block in member.placed_on(first)]
    if (spec.same_date is not None or all(member.part for member in members)) and _overlapping(placed):
        return members
    return [_mosaic([o for member in members for o in member.observations], problems)]


def _images_of_stem(group: Sequence[Observation], problems: list[str]) -> list[_Member]:
    """Return the pieces of one export as one image; warped ones, whose frames overlap, as images of their own."""
    if len(group) > 1 and any(observation.bands[0].warp is not None for observation in group):
        ordered = sorted(group, key=lambda o: o.header.path.name)
        return [_Member((one,), (one.grid.block,), one.grid, part=True) for one in ordered]
    return [_mosaic(group, problems)]


def _overlapping(blocks: Sequence[Block]) -> tuple[int, int] | None:
    """Return the first two blocks that share pixels."""
    for i, block in enumerate(blocks):
        for j in range(i):
            if block.intersection(blocks[j]) is not None:
                return j, i
    return None


def _mosaic(group: Sequence[Observation], problems: list[str]) -> _Member:
    """Place files on their common lattice by whole-pixel offsets."""
    group = sorted(group, key=lambda o: o.header.path.name)
    first = group[0].grid
    if len(group) == 1:
        return _Member(tuple(group), (first.block,), first)
    for observation in group:
        if not first.shares_lattice(observation.grid):
            problems.append(
                f"{observation.header.path}: is a piece of the same image as {group[0].header.path}, "
                f"but not on its lattice ({'; '.join(first.differences(observation.grid))})"
            )
            return _Member((group[0],), (first.block,), first, whole=False)
    blocks = [first.place_of(observation.grid) for observation in group]
    both = _overlapping(blocks)
    if both is not None:
        j, i = both
        product = product_of_bands([group[j].header.path, group[i].header.path])
        remedy = (
            "settle it with --same-date keep|first|mosaic|mean|max, or give each its own date"
            if product is None
            else f"they are bands of one image: say so with --product {product} --value FORMULA (or --band NAME)"
        )
        problems.append(
            f"{group[j].header.path} and {group[i].header.path} overlap and have the same date "
            f"({group[i].reading.moment}): {remedy}"
        )
        return _Member((group[0],), (first.block,), first, whole=False)
    around = around_all(blocks)
    return _Member(tuple(group), tuple(b.shift(-around.row, -around.col) for b in blocks), first.crop(around))


def _common_grid(members: Sequence[_Member], spec: InputSpec, target: Grid | None, problems: list[str]) -> Grid | None:
    """Return the grid of all members: the first one's, the union of all where images come in pieces, or what is asked.

    Parameters
    ----------
    members
        By ascending date.
    target
        That on whose lattice files are put.
    """
    reference = members[0].grid
    on_lattice = all(reference.shares_lattice(member.grid) for member in members)
    if spec.extent is not None or target is not None:
        if on_lattice:
            return _grid_asked_for(members, spec, target, problems)
        return _not_on_one_grid(members, problems, lattice=True)
    in_pieces = any(len(m.observations) > 1 or shard_of(m.path.name) is not None for m in members)
    if in_pieces and on_lattice:
        union = reference.crop(around_all([reference.place_of(member.grid) for member in members]))
        problems.extend(shortened(list(_missing_pieces([m for m in members if m.whole], union))))
        return union
    return _not_on_one_grid(members, problems, lattice=False)


def _grid_asked_for(
    members: Sequence[_Member], spec: InputSpec, target: Grid | None, problems: list[str]
) -> Grid | None:
    """Return the grid that ``extent`` says, on the members' common lattice."""
    # Georeferencing is that of the target, where there is one, to the last digit.
    lattice = target or members[0].grid
    places = [lattice.place_of(member.grid) for member in members]
    if spec.extent is None:
        return lattice
    if spec.extent == "union":
        return lattice.crop(around_all(places))
    if spec.extent == "first":
        return lattice.crop(places[0])
    if spec.extent == "intersection":
        shared: Block | None = places[0]
        for member, place in zip(members, places, strict=True):
            shared = shared.intersection(place) if shared else None
            if shared is None:
                problems.append(
                    f"extent intersection is empty: {member.path} shares no pixel with all images before it"
                )
                return None
        assert shared is not None  # noqa: S101 - for mypy
        return lattice.crop(shared)
    try:
        if isinstance(spec.extent, tuple):
            return lattice.crop(lattice.block_around(spec.extent))
        header = read_header(Path(spec.extent))
    except InputError as error:
        problems.extend(f"extent: {text}" for text in error.problems)
        return None
    except ParameterError as error:
        problems.append(f"extent: {error}")
        return None
    if not lattice.shares_lattice(header.grid):
        remedy = f"align the files to it (--align {spec.extent})"
        if (header.grid.crs is None) != (lattice.crs is None):
            remedy = _one_lattice(members[0].observations[0].header, header)
        problems.append(
            f"extent: {spec.extent} is not on the lattice of {members[0].path} "
            f"({'; '.join(lattice.differences(header.grid))}); {remedy}"
        )
        return None
    return header.grid


def _not_on_one_grid(members: Sequence[_Member], problems: list[str], *, lattice: bool) -> Grid | None:
    """Return the grid that all members are on; else name those that are on another grid, or even lattice."""

    def differs(grid: Grid, other: Grid) -> bool:
        return not grid.shares_lattice(other) if lattice else bool(grid.differences(other))

    # Where they differ, the odd ones are named, not all those that differ from an odd first one.
    kinds = [(m.grid.crs_name, m.grid.height, m.grid.width, tuple(m.grid.transform)) for m in members]
    usual = members[kinds.index(Counter(kinds).most_common(1)[0][0])]
    different = [
        f"{member.path}: {'; '.join(usual.grid.differences(member.grid))}"
        for member in members
        if differs(usual.grid, member.grid)
    ]
    if not different:
        return members[0].grid
    one_lattice = all(usual.grid.shares_lattice(member.grid) for member in members)
    problems.append(
        f"the rasters are not on one {'lattice' if lattice else 'grid'}; {len(different)} differ from {usual.path}:"
    )
    problems.extend(different)
    lacking = [member.path for member in members if member.grid.crs is None]
    known = [member.path for member in (usual, *members) if member.grid.crs is not None]
    if lacking and known:
        others = f"; likewise {len(lacking) - 1} more" if len(lacking) > 1 else ""
        problems.append(f"{lacking[0]} has no CRS; {crs_remedy(lacking[0], known[0])}{others}")
        return None
    problems.append(
        "they lie on one lattice: choose what to cover with --extent union|intersection|first|L,B,R,T|FILE"
        if one_lattice
        else "put them on one lattice with --align FILE --resampling nearest|bilinear|..., "
        "or stack those that fit together"
    )
    return None


def _missing_pieces(members: Sequence[_Member], grid: Grid) -> Iterable[str]:
    """Say which images do not cover the whole grid, and which piece that others have is missing."""
    placed = [set(member.placed_on(grid)) for member in members]
    # Pieces stand in rows and columns: where two of these cross, there is a piece.
    known = set().union(*placed)
    rows, cols = {(b.row, b.height) for b in known}, {(b.col, b.width) for b in known}
    places = [Block(row, col, height, width) for row, height in sorted(rows) for col, width in sorted(cols)]
    found: dict[str, list[Moment]] = {}
    for member, blocks in zip(members, placed, strict=True):
        if sum(block.pixels for block in blocks) == grid.block.pixels:
            continue
        missing = [place for place in places if all(place.intersection(block) is None for block in blocks)]
        shard = shard_of(member.path.name)
        if shard is not None and missing:
            names = ", ".join(f"{shard[0]}-{b.row:010d}-{b.col:010d}{member.path.suffix}" for b in missing)
            text = f"{member.path.parent / shard[0]}: a piece is missing: {names}"
        else:
            gap = ", ".join(
                f"rows {b.row}..{b.row + b.height - 1} columns {b.col}..{b.col + b.width - 1}" for b in missing
            )
            text = f"{member.path}: its pieces do not cover {grid.height} x {grid.width} pixels" + (
                f" (missing: {gap})" if gap else ""
            )
        # One file may hold many dates.
        found.setdefault(text, []).append(member.observations[0].reading.moment)
    for text, moments in found.items():
        more = f" and {len(moments) - 1} more dates" if len(moments) > 1 else ""
        yield f"{text} ({moments[0]}{more}); --extent union takes what there is"


def _layers_of_date(
    date: datetime,
    members: Sequence[_Member],
    grid: Grid | None,
    spec: InputSpec,
    problems: list[str],
) -> list[Layer]:
    images = [_image(member, grid, spec) for member in members]
    readings = [member.observations[0].reading for member in members]
    layers = [
        Layer(date, reading.moment.precision, reading.rule, (image,))
        for reading, image in zip(readings, images, strict=True)
    ]
    if spec.extent is not None or spec.align is not None:
        layers = [layer for layer in layers if layer.pieces]
        images = [image for image in images if image.pieces]
    if len(layers) > 1 and spec.same_date in (None, "keep") and all(member.part for member in members):
        return [replace(layers[0], images=tuple(images), reduce="mosaic")]
    if len(layers) <= 1 or spec.same_date == "keep":
        return layers
    if spec.same_date == "first" and any(piece.warp for image in images for piece in image.pieces):
        problems.append(
            f"{len(members)} images have the date {layers[0].iso_date}, and {members[0].path} or another is warped: "
            "which pixels it covers is not known, only which have a value; use --same-date mosaic instead of first"
        )
        return layers
    if spec.same_date is None:
        names = ", ".join(str(member.path) for member in members[:NAMED])
        kinds = sorted({piece.dtype for image in images for piece in image.pieces})
        product = product_of_bands([member.path for member in members])
        # A mean of NDVI and cloud masks is nobody's wish.
        if product is not None:
            remedy = f"they are bands of one image: say so with --product {product} --value FORMULA (or --band NAME)"
        elif len(kinds) > 1:
            remedy = (
                f"they are stored as {' and '.join(kinds)}: choose one product with a quoted glob such as '*NDVI*.tif'"
            )
        else:
            remedy = "settle it with --same-date keep|first|mosaic|mean|max"
        problems.append(
            f"{len(members)} layers have the date {layers[0].iso_date}: {names}"
            f"{', ...' if len(members) > NAMED else ''}; {remedy}"
        )
        return layers
    if spec.same_date == "first" and grid is not None and _covers(images[0], grid.block):
        return layers[:1]
    return [replace(layers[0], images=tuple(images), reduce=spec.same_date)]


def _covers(image: Image, block: Block) -> bool:
    shared = [piece.block.intersection(block) for piece in image.pieces]
    return sum(part.pixels for part in shared if part) == block.pixels


def _image(member: _Member, grid: Grid | None, spec: InputSpec) -> Image:
    """Return an image on the grid, without pieces that lie outside where that may be."""
    lattice = grid or member.grid
    partial = grid is not None and (spec.extent is not None or spec.align is not None)

    def pieces(files: Iterable[BandFile], *, partial: bool) -> tuple[Piece, ...]:
        placed = [_piece(file, lattice.place_of(file.grid)) for file in files]
        # A mask may serve all pieces of an image.
        return tuple(dict.fromkeys(p for p in placed if not partial or p.block.intersection(lattice.block) is not None))

    bands = zip(*(observation.bands for observation in member.observations), strict=True)
    masks, clear = [], []
    for index in range(len(member.observations[0].masks)):
        files = [(observation.masks[index], observation.grid) for observation in member.observations]
        # All of them, also outside: what lies there grows, and an image without any would pass for one without masks.
        masks.append(pieces([file for file, _ in files if file is not None], partial=False))
        clear.append(tuple(lattice.place_of(own) for file, own in files if file is None))
    return Image(
        tuple(pieces(files, partial=partial) for files in bands),
        tuple(masks),
        tuple(clear),
        member.observations[0].sensor,
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
    )
