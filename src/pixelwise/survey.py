"""From what a user names to a stack: find the files, read their headers, date them, fit them together.

Every problem is collected, so that one run shows all of them.
"""

from __future__ import annotations

import glob
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelwise.errors import InputError, ParameterError, unknown
from pixelwise.grid import Block, Grid, around_all
from pixelwise.headers import RASTER_SUFFIXES, BandHeader, Header, files_behind, read_header
from pixelwise.naming import (
    Reading,
    parse_date,
    read_format,
    read_names,
    read_table,
    shard_of,
)
from pixelwise.reading import WARP_TILE, Piece, Warp
from pixelwise.share import Image
from pixelwise.spec import InputSpec
from pixelwise.stack import Layer, RasterStack, chosen_layers, log, words_of_choice
from pixelwise.times import Moment

__all__ = ["Source", "Survey", "open_stack", "resolve", "survey"]

#: What names rasters: a file, folder, glob, ``@list.txt`` or CSV; several of these; or paths with their dates.
Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[Any, Any]

#: At most so many files are named in one problem; the rest is counted.
NAMED = 5


@dataclass(frozen=True)
class Survey:
    """What was found: layers as far as they could be read, and every problem.

    Attributes
    ----------
    layers
        By ascending date.
    headers
        Of every file that could be opened, by path.
    grid
        None where there is none for all layers.
    problems
        One line each; a stack can be opened only where there are none.
    undated
        Files that could be opened but belong to no layer.
    """

    spec: InputSpec
    layers: tuple[Layer, ...]
    headers: Mapping[Path, Header] = field(repr=False)
    grid: Grid | None
    problems: tuple[str, ...]
    undated: tuple[Path, ...] = ()

    def stack(self) -> RasterStack:
        """Return the stack.

        Raises
        ------
        InputError
            With all problems, where there are any.
        """
        if self.problems or self.grid is None:
            raise InputError(*self.problems)
        pieces = {piece.path: piece for layer in self.layers for piece in layer.pieces}
        used = [self.headers[path] for path in pieces]
        blocks = Counter(
            (header.block_height, header.block_width) if pieces[header.path].warp is None else (WARP_TILE, WARP_TILE)
            for header in used
        )
        units = {band.unit for header in used for band in header.bands}
        stack = RasterStack(
            grid=self.grid,
            layers=self.layers,
            spec=self.spec,
            source_block=blocks.most_common(1)[0][0],
            decoded=max(_decoded(header, pieces[header.path]) for header in used),
            pixel_size=max(header.pixel_size for header in used),
            resident=max(header.resident for header in used),
            stats=_stats_of(used),
            unit=units.pop() if len(units) == 1 else "",
        )
        if self.spec.bounds is None:
            return stack
        return stack.crop(self.grid.block_of_bounds(self.spec.bounds))


def _decoded(header: Header, piece: Piece) -> int:
    """Return bytes that are held while a block of a file is decoded, or a tile of it is warped."""
    if piece.warp is None:
        return header.decoded
    across, down = piece.warp.scale
    # GDAL reads the pixels behind a tile, with two for the kernel on each side, and what is valid of them.
    behind = (WARP_TILE * across + 4) * (WARP_TILE * down + 4)
    return header.decoded + int(behind * (header.pixel_size + 5))


def open_stack(source: Source, spec: InputSpec | None = None, **options: Any) -> RasterStack:
    """Open raster files as a stack: headers only, sorted by date, on one grid.

    Parameters
    ----------
    source
        A file, a folder (not its sub-folders), a glob, ``@list.txt`` (one path per line), a CSV with
        ``path,date``; a list of these; or a mapping of path to date.
    spec
        How to read it.
    **options
        Fields of `InputSpec`, such as ``band=1`` or ``nodata=-9999``.

    Returns
    -------
    RasterStack

    Raises
    ------
    InputError
        With every problem found: files, bands, dates, grids.
    ParameterError
        When an option is unknown or impossible.

    Examples
    --------
    >>> stack = open_stack("ndvi/*.tif", start="1990", nodata=-9999)  # doctest: +SKIP
    """
    return survey(source, (spec or InputSpec()).replace(**options)).stack()


def survey(source: Source, spec: InputSpec) -> Survey:
    """Find out all about a source without raising for its problems.

    Raises
    ------
    InputError
        Only when no file can be named at all.
    """
    # A file that is named twice (a folder, and a glob of it) is still one file.
    entries = list(dict.fromkeys(resolve(source)))
    problems: list[str] = []
    headers: dict[Path, Header] = {}
    for path in dict.fromkeys(path for path, _ in entries):
        try:
            headers[path] = read_header(path)
        except InputError as error:
            problems.extend(error.problems)
    found = _observations([(path, date) for path, date in entries if path in headers], headers, spec, problems)
    layers, grid = _assemble(found, spec, problems)
    if grid is not None:
        try:
            layers = chosen_layers(layers, spec)
        except InputError as error:
            problems.extend(error.problems)
        if spec.bounds is not None:
            try:
                grid.block_of_bounds(spec.bounds)
            except ParameterError as error:
                problems.append(str(error))
    if len(layers) < 2 and not problems:
        problems.append(_too_few(layers, entries, spec))
    for text in _overrides(spec):
        log.info(text)
    dated = {observation.header.path for observation in found}
    return Survey(spec, layers, headers, grid, tuple(problems), tuple(p for p in headers if p not in dated))


def _too_few(layers: Sequence[Layer], entries: Sequence[Any], spec: InputSpec) -> str:
    dates = ", ".join(layer.iso_date for layer in layers)
    found = f"{len(layers)} date{'' if len(layers) == 1 else 's'}" + (f" ({dates})" if dates else "")
    files = f"{len(entries)} file{'' if len(entries) == 1 else 's'}"
    return f"{found} in {files}{words_of_choice(spec)}: a series needs at least two"


def _overrides(spec: InputSpec) -> Iterable[str]:
    for name in ("nodata", "scale", "offset"):
        value = getattr(spec, name)
        if value is not None:
            text = ", ".join(f"{number:.10g}" for number in (value if isinstance(value, tuple) else (value,)))
            yield f"{name} {text} is used instead of what the files say"


# ---------------------------------------------------------------------------------------------- files


def resolve(source: Source) -> list[tuple[Path, Moment | None]]:
    """Return the files that a source names, with the dates that it gives them.

    Raises
    ------
    InputError
        When nothing matches, naming what was looked for.
    """
    found: list[tuple[Path, Moment | None]] = []
    problems: list[str] = []
    if isinstance(source, Mapping):
        for path, date in source.items():
            try:
                found.append((Path(path), _moment(date)))
            except ParameterError as error:
                problems.append(f"{path}: {error}")
        items = []
    else:
        items = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    for item in items:
        try:
            found.extend(_resolve_one(os.fspath(item)))
        except InputError as error:
            problems.extend(error.problems)
        except OSError as error:  # a name that is too long, a folder that may not be listed
            problems.append(f"{item}: {error.strerror}")
    if problems or not found:
        raise InputError(*(problems or ["no file is named"]))
    return found


def _resolve_one(text: str) -> list[tuple[Path, Moment | None]]:
    path = Path(text)
    if "://" in text or text.startswith("/vsi"):
        raise InputError(f"{text}: only local files are read; download it first")
    if text.startswith("@"):
        return _read_list(Path(text[1:]))
    if path.is_dir():
        return [(file, None) for file in _rasters_in(path)]
    if path.suffix.lower() == ".csv" and path.is_file():
        return _read_csv(path)
    if path.is_file():
        return [(path, None)]
    if any(character in text for character in "*?["):
        files = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())  # noqa: PTH207 - takes absolute patterns
        if files:
            return [(file, None) for file in files]
        raise InputError(f"no file matches {text!r}" + ("" if path.is_absolute() else f" in {Path.cwd()}"))
    raise InputError(f"{text}: no such file or folder")


def _rasters_in(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in RASTER_SUFFIXES and p.is_file())
    # Hidden files are leftovers of programs (._name.tif of macOS, unfinished outputs).
    files = [file for file in files if not file.name.startswith(".")]
    if files:
        return files
    deeper = sorted({p.suffix for p in folder.rglob("*") if p.suffix.lower() in RASTER_SUFFIXES})
    if deeper:
        raise InputError(
            f"{folder}: only its sub-folders hold rasters; name them with a glob: '{folder}/**/*{deeper[0]}'"
        )
    raise InputError(f"{folder}: no raster in this folder (looked for {' '.join(sorted(RASTER_SUFFIXES))})")


def _read_list(path: Path) -> list[tuple[Path, Moment | None]]:
    lines = _text_of(path).splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise InputError(f"{path}: names no file")
    return [(path.parent / name, None) for name in names]


def _read_csv(path: Path) -> list[tuple[Path, Moment | None]]:
    table = read_table(path)
    if not isinstance(table, dict):
        raise InputError(f"{path}: one column only; a CSV with path,date is wanted")
    return [(path.parent / name, moment) for name, moment in table.items()]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None


def _moment(date: Any) -> Moment:
    if isinstance(date, Moment):
        return date
    return parse_date(date.isoformat() if hasattr(date, "isoformat") else str(date))


# ------------------------------------------------------------------------------------- bands and dates


@dataclass(frozen=True)
class _Observation:
    """One band of one file, with its date."""

    header: Header
    band: BandHeader
    reading: Reading
    grid: Grid
    warp: Warp | None = None

    @property
    def stem(self) -> str:
        """What the pieces of one export have in common."""
        shard = shard_of(self.header.path.name)
        return str(self.header.path if shard is None else self.header.path.parent / shard[0])


def _observations(
    entries: Sequence[tuple[Path, Moment | None]],
    headers: Mapping[Path, Header],
    spec: InputSpec,
    problems: list[str],
) -> list[_Observation]:
    single: list[tuple[Header, BandHeader, Moment | None]] = []
    found: list[_Observation] = []
    undated: list[str] = []
    table = _table_of(spec, problems)
    if table is _BROKEN:
        return []
    for path, date in entries:
        header = headers[path]
        try:
            if spec.band is None and len(header.bands) > 1:
                readings = _dates_of_bands(header, table, dated=date is not None)
                found += [
                    _Observation(header, band, reading, header.grid)
                    for band, reading in zip(header.bands, readings, strict=True)
                ]
            else:
                single.append((header, _band_of(header, spec.band), date))
        except InputError as error:
            undated.extend(error.problems)
    problems.extend(_shortened(undated))
    try:
        readings = _dates_of_files(single, spec, table)
    except InputError as error:
        problems.extend(error.problems)
    else:
        found += [
            _Observation(h, band, reading, h.grid) for (h, band, _), reading in zip(single, readings, strict=True)
        ]
    return found


_BROKEN: list[Moment] = []


def _table_of(spec: InputSpec, problems: list[str]) -> list[Moment] | dict[str, Moment] | None:
    """Read ``--times FILE``; None where it is a format or absent, `_BROKEN` where it cannot be read."""
    if spec.times is None or not Path(spec.times).is_file():
        return None
    try:
        return read_table(Path(spec.times))
    except InputError as error:
        problems.extend(error.problems)
        return _BROKEN


def _dates_of_bands(header: Header, table: Any, *, dated: bool) -> list[Reading]:
    """Date the bands of a multi-band file by a table or by their own descriptions."""
    path, count = header.path, len(header.bands)
    if isinstance(table, list):
        if len(table) != count:
            raise InputError(f"{path}: has {count} bands, but the table of dates has {len(table)} lines")
        return [Reading(moment, "--times") for moment in table]
    listed = ", ".join(str(band) for band in header.bands[:12]) + (", ..." if count > 12 else "")
    if dated:
        raise InputError(f"{path}: has {count} bands ({listed}), but one date; choose one with --band N|NAME")
    names = [band.description for band in header.bands]
    if all(names):
        try:
            return read_names(names, what="band")
        except InputError:
            pass
    raise InputError(
        f"{path}: has {count} bands that are not dates ({listed}); choose one with --band N|NAME, "
        "or date them with --times FILE (one date per line)"
    )


def _band_of(header: Header, wanted: int | str | None) -> BandHeader:
    if wanted is None:
        return header.bands[0]
    for band in header.bands:
        if wanted in (band.index, band.description):
            return band
    matches = [band for band in header.bands if str(wanted).lower() in (band.description.lower(), str(band.index))]
    if len(matches) == 1:
        return matches[0]
    names = [band.description or str(band.index) for band in header.bands]
    raise InputError(f"{header.path}: {unknown('band', str(wanted), names)}")


def _dates_of_files(
    single: Sequence[tuple[Header, BandHeader, Moment | None]], spec: InputSpec, table: Any
) -> list[Reading]:
    if not single:
        return []
    if isinstance(table, dict):
        assert spec.times is not None  # noqa: S101 - a table has a file
        folder = Path(spec.times).parent
        by_path = {(folder / name).resolve(): moment for name, moment in table.items()}
        # A table may lie elsewhere than its files, but a name that it has twice settles nothing.
        often = Counter(Path(name).name for name in table)
        by_name = {Path(name).name: moment for name, moment in table.items() if often[Path(name).name] == 1}
        given = [by_path.get(h.path.resolve(), by_name.get(h.path.name)) for h, _, _ in single]
        missing = [
            f"{h.path}: not in {spec.times}" for (h, _, _), moment in zip(single, given, strict=True) if moment is None
        ]
        if missing:
            raise InputError(*_shortened(missing))
        return [Reading(moment, "--times") for moment in given if moment is not None]
    if isinstance(table, list):
        raise InputError(
            f"{spec.times}: dates without paths serve the bands of one file; path,date is wanted for several files"
        )
    names = [header.path.as_posix() for header, _, moment in single if moment is None]
    read = iter(() if not names else read_names(names) if spec.times is None else read_format(names, spec.times))
    return [next(read) if moment is None else Reading(moment, "given") for _, _, moment in single]


def _shortened(lines: Sequence[str], what: str = "files") -> list[str]:
    """Return the first problems of a kind, and how many more there are."""
    if len(lines) <= NAMED + 1:
        return list(lines)
    return [*lines[:NAMED], f"... and {len(lines) - NAMED} more {what} like these"]


# ------------------------------------------------------------------------------------ layers and grids


def _assemble(
    found: Sequence[_Observation], spec: InputSpec, problems: list[str]
) -> tuple[tuple[Layer, ...], Grid | None]:
    """Fit observations together: pieces to members, members to layers, layers to one grid."""
    dated: dict[datetime, list[_Observation]] = defaultdict(list)
    try:
        target = None if spec.align is None else read_header(Path(spec.align)).grid
    except InputError as error:
        problems.extend(f"align: {text}" for text in error.problems)
        return (), None
    if target is not None:
        found = _aligned(found, target, spec, problems)
    for observation in found:
        dated[observation.reading.moment.date(spec.period)].append(observation)
    if not dated:
        return (), None
    precisions = {observation.reading.moment.precision for observation in found}
    if "year" in precisions and len(precisions) > 1:
        problems.append(_mixed_precision(found))
    members = {date: _members(dated[date], spec, problems) for date in sorted(dated)}
    grid = _common_grid([member for group in members.values() for member in group], spec, target, problems)
    layers: list[Layer] = []
    repeated: list[str] = []
    outside = 0
    for date, group in members.items():
        made = _layers_of_date(date, group, grid, spec, repeated)
        outside += not made
        layers += made
    problems.extend(_shortened(repeated, "dates"))
    if outside:
        log.info(f"{outside} of {len(members)} dates lie outside the extent and are left out")
    return tuple(layers), grid


def _aligned(found: Sequence[_Observation], target: Grid, spec: InputSpec, problems: list[str]) -> list[_Observation]:
    """Put files that lie on another lattice on that of a grid."""
    aligned: list[_Observation] = []
    refused: list[str] = []
    warps: dict[Path, tuple[Grid, Warp | None]] = {}
    for observation in found:
        header = observation.header
        try:
            if header.path not in warps:
                warps[header.path] = _warp_of(header, target, spec.resampling)
        except InputError as error:
            refused.extend(error.problems)
            continue
        grid, warp = warps[header.path]
        aligned.append(replace(observation, grid=grid, warp=warp))
    problems.extend(_shortened(list(dict.fromkeys(refused))))
    return aligned


def _warp_of(header: Header, target: Grid, resampling: str) -> tuple[Grid, Warp | None]:
    """Return where a file comes to lie on a grid's lattice, and how.

    Raises
    ------
    InputError
        When it cannot be placed.
    """
    if target.shares_lattice(header.grid):
        return header.grid, None
    try:
        footprint, scale = target.footprint(header.grid)
    except InputError as error:
        raise InputError(f"{header.path}: cannot be aligned: {error}") from None
    grid = target.crop(footprint)
    assert grid.crs is not None  # noqa: S101 - there is a footprint
    return grid, Warp(
        crs=grid.crs.to_wkt(),
        transform=tuple(grid.transform)[:6],
        height=grid.height,
        width=grid.width,
        resampling=resampling,
        scale=scale,
        anchor=(footprint.row, footprint.col),
    )


def _mixed_precision(found: Sequence[_Observation]) -> str:
    years = [o.header.path.name for o in found if o.reading.moment.precision == "year"]
    others = [o.header.path.name for o in found if o.reading.moment.precision != "year"]
    return (
        f"{len(years)} name(s) carry only a year ({years[0]}), {len(others)} a date ({others[0]}): "
        "one scale of time is wanted; give dates for all with --times FILE (path,date)"
    )


@dataclass(frozen=True)
class _Member:
    """Files that together are one image of one date: a single file, or pieces on one lattice.

    Not `whole` is one whose pieces do not fit, which was said already.
    """

    observations: tuple[_Observation, ...]
    blocks: tuple[Block, ...]
    grid: Grid
    whole: bool = True

    @property
    def path(self) -> Path:
        return self.observations[0].header.path

    def placed_on(self, grid: Grid) -> list[Block]:
        """Return where its pieces lie on a grid of its lattice."""
        place = grid.place_of(self.grid)
        return [block.shift(place.row, place.col) for block in self.blocks]


def _members(observations: Sequence[_Observation], spec: InputSpec, problems: list[str]) -> list[_Member]:
    """Group what has one date: shards by their stem, then pieces on one lattice that do not overlap."""
    stems: dict[str, list[_Observation]] = defaultdict(list)
    for observation in observations:
        stems[observation.stem].append(observation)
    members = [_mosaic(group, problems) for _, group in sorted(stems.items())]
    first = members[0].grid
    if not any(first.differences(member.grid) for member in members[1:]):
        return members
    if not all(first.shares_lattice(member.grid) for member in members):
        return members
    placed = [block for member in members for block in member.placed_on(first)]
    if spec.same_date not in (None, "keep") and _overlapping(placed):
        return members
    return [_mosaic([o for member in members for o in member.observations], problems)]


def _overlapping(blocks: Sequence[Block]) -> tuple[int, int] | None:
    """Return the first two blocks that share pixels."""
    for i, block in enumerate(blocks):
        for j in range(i):
            if block.intersection(blocks[j]) is not None:
                return j, i
    return None


def _mosaic(group: Sequence[_Observation], problems: list[str]) -> _Member:
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
        problems.append(
            f"{group[j].header.path} and {group[i].header.path} overlap and have the same date "
            f"({group[i].reading.moment}): settle it with --same-date first|mosaic|mean|max, or give each its own date"
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
        problems.extend(_shortened(list(_missing_pieces([m for m in members if m.whole], union))))
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
        problems.append(
            f"extent: {spec.extent} is not on the lattice of {members[0].path} "
            f"({'; '.join(lattice.differences(header.grid))}); align the files to it (--align {spec.extent})"
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
    images = [Image(_pieces(member, grid, spec)) for member in members]
    readings = [member.observations[0].reading for member in members]
    layers = [
        Layer(date, reading.moment.precision, reading.rule, (image,))
        for reading, image in zip(readings, images, strict=True)
    ]
    if spec.extent is not None or spec.align is not None:
        layers = [layer for layer in layers if layer.pieces]
        images = [image for image in images if image.pieces]
    if len(layers) <= 1 or spec.same_date == "keep":
        return layers
    if spec.same_date is None:
        names = ", ".join(str(member.path) for member in members[:NAMED])
        kinds = sorted({piece.dtype for image in images for piece in image.pieces})
        # A mean of NDVI and cloud masks is nobody's wish.
        remedy = (
            f"they are stored as {' and '.join(kinds)}: choose one product with a quoted glob such as '*NDVI*.tif'"
            if len(kinds) > 1
            else "settle it with --same-date keep|first|mosaic|mean|max"
        )
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


def _pieces(member: _Member, grid: Grid | None, spec: InputSpec) -> tuple[Piece, ...]:
    """Return the pieces of an image on the grid, without those that lie outside where that may be."""
    places = member.blocks if grid is None else member.placed_on(grid)
    partial = grid is not None and (spec.extent is not None or spec.align is not None)
    return tuple(
        Piece(
            path=observation.header.path,
            driver=observation.header.driver,
            band=observation.band.index,
            block=place,
            dtype=observation.band.dtype,
            nodata=_nodata(observation.band, spec),
            scale=observation.band.scale if spec.scale is None else spec.scale,
            offset=observation.band.offset if spec.offset is None else spec.offset,
            masked=observation.band.masked,
            georeferenced=observation.header.georeferenced,
            valid=spec.valid_range or (-math.inf, math.inf),
            warp=observation.warp,
        )
        for observation, place in zip(member.observations, places, strict=True)
        if not (partial and grid is not None and place.intersection(grid.block) is None)
    )


def _nodata(band: BandHeader, spec: InputSpec) -> tuple[float, ...]:
    if spec.nodata is not None:
        return spec.nodata
    return () if band.nodata is None else (band.nodata,)


def _stats_of(headers: Iterable[Header]) -> dict[Path, tuple[int, int]]:
    """Return size and modification time of files, and of those behind VRTs: their pixels are read too."""
    stats = {header.path: (header.size, header.mtime_ns) for header in headers}
    for header in headers:
        for path in files_behind(header.path) if header.driver == "VRT" else ():
            if path not in stats:
                found = path.stat()
                stats[path] = found.st_size, found.st_mtime_ns
    return stats
