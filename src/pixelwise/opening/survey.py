"""Turn what a user names into a stack: find the files, read their headers, date them, fit them together.

Every problem is collected, so that one run shows all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixelwise.dates.names import undated_names
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.grid import Grid
from pixelwise.opening.assembly import assemble
from pixelwise.opening.given_crs import with_given_crs
from pixelwise.opening.observation import Findings
from pixelwise.opening.observe import observe
from pixelwise.opening.rectified import rectified
from pixelwise.opening.sources import Source, resolve
from pixelwise.rasters.area import load_area
from pixelwise.rasters.handles import largest_behind
from pixelwise.rasters.headers import Header, stamps_of
from pixelwise.rasters.nodata import spelled
from pixelwise.rasters.pieces import WARP_TILE, Piece
from pixelwise.rasters.urls import Location
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.file_reader import Derivation
from pixelwise.stacks.gains import AppliedGains
from pixelwise.stacks.layers import Layer, chosen_layers, words_of_choice
from pixelwise.stacks.parts import DateOptions, ValueOptions
from pixelwise.stacks.raster import MOST_LISTED, RasterStack, log
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import NAMED, first_of

__all__ = ["Survey", "composite_of", "open_layers", "open_stack", "survey"]


@dataclass(frozen=True)
class Survey:
    """What was found: the layers that could be read, and every problem.

    Attributes
    ----------
    layers
        Layers by ascending date.
    headers
        Headers of all files that could be opened, by path.
    grid
        The grid of all layers; None if they have none in common.
    problems
        One line each; a stack can be opened only if there are none.
    undated
        Files that could be opened but belong to no layer.
    derivation
        How values are computed from stored numbers.
    remarks
        What was left out, one line each.
    gains
        What made the scenes comparable; None if nothing did.
    """

    spec: InputSpec
    layers: tuple[Layer, ...]
    headers: Mapping[Location, Header] = field(repr=False)
    grid: Grid | None
    problems: tuple[str, ...]
    undated: tuple[Location, ...] = ()
    derivation: Derivation = field(default_factory=Derivation)
    remarks: tuple[str, ...] = ()
    gains: AppliedGains | None = None

    def stack(self) -> RasterStack:
        """Return the stack.

        Raises
        ------
        InputError
            With all problems, if there are any.
        """
        if self.problems or self.grid is None:
            raise InputError(*self.problems)
        if self.grid.places is not None and (self.spec.region is not None or self.spec.where is not None):
            option = "region" if self.spec.region is not None else "where"
            raise InputError(
                f"{option}: the pixels form no regular grid, as {self.grid.places.reason}: "
                "cut the area out of the file before, with cdo sellonlatbox say"
            )
        area = load_area(self.spec.region, self.spec.where, self.grid, self.spec.allow_scheme, self.spec.crs)
        pieces = {piece.path: piece for layer in self.layers for piece in layer.pieces}
        masks = {piece.path: piece for layer in self.layers for piece in layer.masks}
        used = [self.headers[path] for path in pieces]
        opened = [*used, *(self.headers[path] for path in masks.keys() - pieces.keys())]
        blocks = Counter(
            (header.block_height, header.block_width) if pieces[header.path].warp is None else WARP_TILE
            for header in used
        )
        decoded = {header.path: _decoded(header, {**masks, **pieces}[header.path]) for header in opened}
        largest = max(decoded, key=decoded.__getitem__)
        units = {band.unit for header in used for band in header.bands}
        stack = RasterStack(
            grid=self.grid,
            layers=self.layers,
            spec=self.spec,
            source_block=blocks.most_common(1)[0][0],
            derivation=self.derivation,
            block_bytes=decoded[largest],
            largest=largest,
            pixel_size=max(header.pixel_size for header in opened),
            open_file_bytes=max(header.open_file_bytes for header in opened),
            stamps={**stamps_of(opened), **area.stamps},
            area=area,
            alpha_read=frozenset(h.path for h in used if h.alpha_is_data),
            alpha_masks={
                h.path: (h.alpha[0].index, len(h.bands) + len(h.alpha))
                for h in used
                if h.alpha and not h.alpha_is_data and pieces[h.path].masked and pieces[h.path].warp is None
            },
            written=frozenset(h.path for h in used if h.written),
            remarks=(*self.remarks, *(h.remark for h in opened if h.remark)),
            interleaved=frozenset(h.path for h in used if h.pixel_interleaved and len(h.bands) > 1),
            unit=units.pop() if len(units) == 1 and self.derivation.expression is None else "",
            gains=self.gains,
            behind={header.path: header.further for header in opened if header.further},
        )
        if self.spec.bounds is None:
            return stack
        stack = stack.crop(self.grid.block_of_bounds(self.spec.bounds))
        if stack.area.region is not None and stack.area.region.block is None:
            raise InputError(f"region {self.spec.region} is outside the bounds {self.spec.bounds}: no pixels are left")
        return stack


def _decoded(header: Header, piece: Piece) -> int:
    """Return the bytes held while a block of a file is decoded, or a tile of it is warped."""
    if header.array is not None:
        return header.block_bytes
    decoded = max(header.block_bytes, largest_behind(header.path, header.stamp))
    if piece.warp is None:
        return decoded
    across, down = piece.warp.scale
    # GDAL reads the source pixels of a tile, two more on each side for the kernel, and their validity.
    behind = (WARP_TILE[1] * across + 4) * (WARP_TILE[0] * down + 4)
    return decoded + int(behind * (header.pixel_size + 5))


def open_stack(source: Source, spec: InputSpec | None = None, **options: Any) -> RasterStack:
    """Open raster files as a stack: headers only, sorted by date, on one grid.

    Parameters
    ----------
    source
        A raster, NetCDF or HDF5 file or Zarr store, a folder (not its sub-folders), a glob, ``@list.txt`` (one path per
        line), or a CSV with ``path,date``; a list of these; or a mapping of path to date.
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
    chosen = (spec or InputSpec()).replace(**options)
    if chosen.composite is not None:
        raise ParameterError(
            f"composite {chosen.composite!r} is not an option of open_stack: use open_stack(...).composite(...)"
        )
    return survey(source, chosen).stack()


def open_layers(source: Source, spec: InputSpec) -> FileStack:
    """Open raster files as `open_stack` does, and make composites of them if the options ask for it.

    Raises
    ------
    InputError, ParameterError
        As `open_stack` and `RasterStack.composite` do.
    """
    return composite_of(survey(source, spec).stack())


def composite_of(stack: RasterStack) -> FileStack:
    """Return the composites that a stack's own options ask for, or the stack itself if they ask for none.

    Raises
    ------
    InputError, ParameterError
        As `RasterStack.composite` does.
    """
    spec = stack.spec
    if spec.composite is None:
        return stack
    return stack.composite(
        spec.composite, spec.every, spec.season, spec.min_count, equal_count=spec.equal_count,
        parameters=spec.composites.parameters,
    )  # fmt: skip


def survey(source: Source, spec: InputSpec) -> Survey:
    """Examine a source, and collect its problems instead of raising them.

    Raises
    ------
    InputError
        Only when no file is found at all.
    ParameterError
        When a product, a band of it or a formula is unknown.
    """
    # A file that is named twice (a folder, and a glob of it) is still one file.
    entries = list(dict.fromkeys(resolve(source, spec.allow_scheme, spec.asset)))
    problems = Problems()
    found = with_given_crs(observe(entries, spec, problems), spec.crs, problems)
    remarks, gains = list(found.remarks), None
    layers, grid = assemble(found.observations, spec.place, spec.dates, problems, spec.allow_scheme)
    if grid is not None:
        with problems.caught():
            layers = chosen_layers(layers, spec.dates)
        layers, gains = rectified(layers, spec, problems, remarks)
        if spec.bounds is not None:
            with problems.caught(parameters=True):
                grid.block_of_bounds(spec.bounds)
    if len(layers) < 2 and not problems:
        problems.add(_too_few(layers, entries, spec.dates))
    for text in _overrides(spec.values):
        log.info(text)
    if different := _different_units(found):
        remarks.append(different)
        log.warning(different)
    dated = {
        file.header.path
        for observation in found.observations
        for file in (*observation.bands, *observation.masks)
        if file is not None
    }
    undated = tuple(path for path in found.headers if path not in dated)
    if spec.times is None and (odd := undated_names([path.as_posix() for path in undated])):
        undated = tuple(path for path in undated if path.as_posix() in set(odd))
    return Survey(spec, layers, found.headers, grid, problems.lines, undated, found.derivation, tuple(remarks), gains)


def _too_few(layers: Sequence[Layer], entries: Sequence[Any], dates: DateOptions) -> str:
    found_dates = ", ".join(layer.iso_date for layer in layers)
    found = f"{len(layers)} date{'' if len(layers) == 1 else 's'}" + (f" ({found_dates})" if found_dates else "")
    files = f"{len(entries)} file{'' if len(entries) == 1 else 's'}"
    return f"{found} in {files}{words_of_choice(dates)}: a series needs at least two"


def _different_units(found: Findings) -> str:
    """Say that values have several units, which nobody converts; empty if they have one."""
    units = {one.bands[0].band.unit: one.header.path for one in found.observations if one.bands[0].band.unit}
    if len(units) < 2 or found.derivation.expression is not None:
        return ""
    listed = ", ".join(f"{unit} ({path})" for unit, path in list(units.items())[:NAMED])
    return f"values have different units, which are not converted: {listed}"


def _overrides(values: ValueOptions) -> Iterable[str]:
    for name in ("nodata", "scale", "offset"):
        value = getattr(values, name)
        if value is not None:
            text = first_of([*map(spelled, value if isinstance(value, tuple) else (value,))], MOST_LISTED)
            yield f"{name} {text} is used instead of what the files say"
