"""Put together the pieces of one image, and images on one grid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from pixelwise.choices import Extent, SameDate
from pixelwise.crs import crs_remedy
from pixelwise.dates.axis import Moment
from pixelwise.dates.paths import shard_of
from pixelwise.errors import Problems
from pixelwise.grid import Block, Grid, around_all
from pixelwise.opening.named_files import second_download
from pixelwise.opening.observation import Observation
from pixelwise.opening.sensors import product_of_bands
from pixelwise.rasters.headers import Header, read_header
from pixelwise.rasters.urls import Location, location_of
from pixelwise.stacks.parts import PlaceOptions
from pixelwise.words import shortened

__all__ = ["Member", "common_grid", "lattice_remedy", "members_of"]


def lattice_remedy(first: Header, other: Header) -> str:
    """Say how to put two files on one lattice."""
    without = [header for header in (first, other) if header.grid.crs is None]
    if len(without) == 1:
        # Without a CRS nothing can be warped.
        return crs_remedy(without[0].path, (other if without[0] is first else first).path, option=True)
    return "align both with --align FILE"


@dataclass(frozen=True)
class Member:
    """Files that together form one image of one date: a single file, or pieces on one lattice.

    If the pieces do not fit together, which has been reported, it is not `whole`. A `part` is one piece of an image
    whose frame overlaps those of its neighbours.
    """

    observations: tuple[Observation, ...]
    blocks: tuple[Block, ...]
    grid: Grid
    whole: bool = True
    part: bool = False

    @property
    def path(self) -> Location:
        """The first file."""
        return self.observations[0].header.path

    def placed_on(self, grid: Grid) -> list[Block]:
        """Return the places of its pieces on a grid with the same lattice."""
        place = grid.place_of(self.grid)
        return [block.shift(place.row, place.col) for block in self.blocks]


def members_of(observations: Sequence[Observation], same_date: SameDate | None, problems: Problems) -> list[Member]:
    """Group observations of one date: shards by their stem, then pieces on one lattice that do not overlap."""
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
    if (same_date is not None or all(member.part for member in members)) and _overlapping(placed):
        return members
    return [_mosaic([o for member in members for o in member.observations], problems)]


def _images_of_stem(group: Sequence[Observation], problems: Problems) -> list[Member]:
    """Return the pieces of one export as one image; warped ones, whose frames overlap, as images of their own."""
    if len(group) > 1 and any(observation.bands[0].warp is not None for observation in group):
        ordered = sorted(group, key=lambda o: o.header.path.name)
        return [Member((one,), (one.grid.block,), one.grid, part=True) for one in ordered]
    return [_mosaic(group, problems)]


def _overlapping(blocks: Sequence[Block]) -> tuple[int, int] | None:
    """Return the first two blocks that share pixels."""
    for i, block in enumerate(blocks):
        for j in range(i):
            if block.intersection(blocks[j]) is not None:
                return j, i
    return None


def _mosaic(group: Sequence[Observation], problems: Problems) -> Member:
    """Place files on their common lattice by whole-pixel offsets."""
    group = sorted(group, key=lambda o: o.header.path.name)
    first = group[0].grid
    if len(group) == 1:
        return Member(tuple(group), (first.block,), first)
    for observation in group:
        if not first.shares_lattice(observation.grid):
            problems.add(
                f"{observation.header.path}: is a piece of the same image as {group[0].header.path}, "
                f"but their pixels are not aligned ({'; '.join(first.differences(observation.grid))})"
            )
            return Member((group[0],), (first.block,), first, whole=False)
    blocks = [first.place_of(observation.grid) for observation in group]
    both = _overlapping(blocks)
    if both is not None:
        j, i = both
        product = product_of_bands([group[j].header.path, group[i].header.path])
        remedy = (
            f"{second_download([group[j].header.path, group[i].header.path])}"
            f"choose with --same-date {'|'.join(get_args(SameDate))}, or give each its own date"
            if product is None
            else f"they are bands of one image: use --product {product} --value FORMULA (or --band NAME)"
        )
        problems.add(
            f"{group[j].header.path} and {group[i].header.path} overlap and have the same date "
            f"({group[i].reading.moment}): {remedy}"
        )
        return Member((group[0],), (first.block,), first, whole=False)
    around = around_all(blocks)
    return Member(tuple(group), tuple(b.shift(-around.row, -around.col) for b in blocks), first.crop(around))


def common_grid(
    members: Sequence[Member], place: PlaceOptions, target: Grid | None, problems: Problems, allowed: Sequence[str]
) -> Grid | None:
    """Return the grid of all members: that of the first, the union if images come in pieces, or the requested one.

    Parameters
    ----------
    members
        Members by ascending date.
    place
        Which extent is requested.
    target
        The grid with which files are aligned.
    """
    reference = members[0].grid
    on_lattice = all(reference.shares_lattice(member.grid) for member in members)
    if place.extent is not None or target is not None:
        if on_lattice:
            return _requested_grid(members, place, target, problems, allowed)
        return _not_on_one_grid(members, problems, lattice=True)
    in_pieces = any(len(m.observations) > 1 or shard_of(m.path.name) is not None for m in members)
    if in_pieces and on_lattice:
        union = reference.crop(around_all([reference.place_of(member.grid) for member in members]))
        problems.add(*shortened(list(_missing_pieces([m for m in members if m.whole], union))))
        return union
    return _not_on_one_grid(members, problems, lattice=False)


def _requested_grid(
    members: Sequence[Member], place: PlaceOptions, target: Grid | None, problems: Problems, allowed: Sequence[str]
) -> Grid | None:
    """Return the grid that `extent` requests, on the members' common lattice."""
    # If there is a target, its georeferencing is used, to the last digit.
    lattice, extent = target or members[0].grid, place.extent
    places = [_touched(member, lattice.place_of(member.grid)) for member in members]
    if extent is None:
        return lattice
    if extent == "union":
        return lattice.crop(around_all(places))
    if extent == "first":
        return lattice.crop(places[0])
    if extent == "intersection":
        shared: Block | None = places[0]
        for member, own in zip(members, places, strict=True):
            shared = shared.intersection(own) if shared else None
            if shared is None:
                problems.add(f"extent intersection is empty: {member.path} shares no pixel with the images before it")
                return None
        assert shared is not None  # noqa: S101 - for mypy
        return lattice.crop(shared)
    with problems.caught("extent: ", parameters=True) as failure:
        if isinstance(extent, tuple):
            return lattice.crop(lattice.block_around(extent))
        header = read_header(location_of(extent, allowed))
        header = header if place.crs is None else header.with_crs(place.crs)
    if failure:
        return None
    if not lattice.shares_lattice(header.grid):
        remedy = f"align the files to it (--align {extent})"
        if (header.grid.crs is None) != (lattice.crs is None):
            remedy = lattice_remedy(members[0].observations[0].header, header)
        problems.add(
            f"extent: the pixels of {extent} are not aligned with those of {members[0].path} "
            f"({'; '.join(lattice.differences(header.grid))}); {remedy}"
        )
        return None
    return header.grid


def _touched(member: Member, place: Block) -> Block:
    """Return the pixels that a member touches: a warped one is placed with a margin of one pixel."""
    if member.observations[0].bands[0].warp is None:
        return place
    return Block(place.row + 1, place.col + 1, max(place.height - 2, 1), max(place.width - 2, 1))


def _not_on_one_grid(members: Sequence[Member], problems: Problems, *, lattice: bool) -> Grid | None:
    """Return the grid of all members; else report those on another grid or, with `lattice`, another lattice."""

    def differs(grid: Grid, other: Grid) -> bool:
        return not grid.shares_lattice(other) if lattice else bool(grid.differences(other))

    # Report the odd ones, not all those that differ from an odd first one.
    # All time steps of an array have one grid. Its WKT, as the name of a CRS without a code takes 0.2 s.
    grids = {id(member.grid): member.grid for member in members}
    kind_of = {
        key: (grid.crs and grid.crs.to_wkt(), grid.height, grid.width, tuple(grid.transform))
        for key, grid in grids.items()
    }
    kinds = [kind_of[id(member.grid)] for member in members]
    usual = members[kinds.index(Counter(kinds).most_common(1)[0][0])]
    different = [
        f"{member.path}: {'; '.join(usual.grid.differences(member.grid))}"
        for member in members
        if differs(usual.grid, member.grid)
    ]
    if not different:
        return members[0].grid
    one_lattice = all(usual.grid.shares_lattice(member.grid) for member in members)
    problems.add(
        f"the rasters {'have pixels that are not aligned' if lattice else 'are not on one grid'}; "
        f"{len(different)} differ{'s' * (len(different) == 1)} from {usual.path}:"
    )
    problems.add(*different)
    lacking = [member.path for member in members if member.grid.crs is None]
    known = [member.path for member in (usual, *members) if member.grid.crs is not None]
    if lacking and known:
        others = f"; likewise {len(lacking) - 1} more" if len(lacking) > 1 else ""
        problems.add(f"{lacking[0]} has no CRS; {crs_remedy(lacking[0], known[0], option=True)}{others}")
        return None
    problems.add(
        f"their pixels are aligned: choose the area to cover with --extent {'|'.join(get_args(Extent))}|L,B,R,T|FILE"
        if one_lattice
        else f"align them with {_lattice_words(usual)}, and --resampling nearest|bilinear|..., or stack only those "
        "that match"
    )
    return None


def _lattice_words(usual: Member) -> str:
    """Return the options that align files: with the CRS and the pixel size of most of them, or with a raster."""
    grid = usual.grid
    code = None if grid.crs is None else grid.crs.to_epsg()
    if code is None or grid.transform.a != -grid.transform.e:
        return "--align FILE"
    return f"--align EPSG:{code},{grid.transform.a:.10g} (CRS and pixel size) or --align FILE"


def _missing_pieces(members: Sequence[Member], grid: Grid) -> Iterable[str]:
    """Describe images that do not cover the whole grid, and the pieces that they lack but others have."""
    placed = [set(member.placed_on(grid)) for member in members]
    # Pieces form rows and columns: there is one wherever these cross.
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
            text = f"{member.path}: its pieces do not cover {grid.size}" + (f" (missing: {gap})" if gap else "")
        # One file may hold many dates.
        found.setdefault(text, []).append(member.observations[0].reading.moment)
    for text, moments in found.items():
        more = f" and {len(moments) - 1} more dates" if len(moments) > 1 else ""
        yield f"{text} ({moments[0]}{more}); --extent union uses what there is"
