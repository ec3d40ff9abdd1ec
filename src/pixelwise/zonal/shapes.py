"""Polygons as zones: where they lie on a grid, and how much of each pixel they cover."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.crs import crs_name, same_crs
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import LARGEST_COORDINATE, Block, Grid
from pixelwise.rasters.polygons import POLYGON, Features, read_features
from pixelwise.rasters.region import MARGIN, GapError, canonical, curved, extent_in, pixels_of, words
from pixelwise.zonal.cover import Cover, Runs

__all__ = ["ShapeZones", "load_shapes"]

log = logging.getLogger(__name__)

#: A shape with more corners is cut into strips first: each block would go through all of them.
MANY_CORNERS = 1000

#: GEOS's numbers of the kinds of shapes that hold polygons only.
AREAL = (POLYGON, 6)

#: A share of a zone that rounding alone may miss.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class ShapeZones:
    """Polygons on a grid.

    Attributes
    ----------
    features
        What the file says: shapes in its own coordinates, and attributes.
    grid
        The grid.
    placed
        (zone,) shapes near the grid, x counting columns and y rows, upwards: row 3 lies between -3 and -4. Empty
        where a shape does not come near.
    covered
        (zone,) share of each polygon, in units of its coordinates, that lies on the grid.
    """

    features: Features
    grid: Grid
    placed: Any
    covered: Floats

    @property
    def name(self) -> str:
        """The file and its layer."""
        return self.features.name

    def __len__(self) -> int:
        return len(self.placed)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """(zone,) attributes by name."""
        return self.features.attributes

    def groups(self, edge: int) -> Iterator[tuple[int, ...]]:
        """Return zones that lie in one block of this edge together, if they are small, and others one by one.

        Neighbours come after each other, so that blocks are read once for many.
        """
        left, bottom, right, top = self._bounds.T
        first = np.floor(np.stack([-top, left]) / edge)
        last = np.ceil(np.stack([-bottom, right]) / edge) - 1
        within = (first == last).all(axis=0)
        pixels = (np.ceil(right - left) + 1) * (np.ceil(top - bottom) + 1)
        group: list[int] = []
        most = 0.0
        for zone in np.lexsort(first[::-1]).tolist():
            together = group and within[zone] and within[group[0]] and (first[:, zone] == first[:, group[0]]).all()
            if group and not (together and most + pixels[zone] <= edge * edge):
                yield tuple(group)
                group, most = [], 0.0
            group.append(zone)
            most += pixels[zone]
        yield tuple(group)

    def blocks(self, group: tuple[int, ...], edge: int) -> Iterator[Block]:
        """Return the blocks of this edge that a group touches; those of one zone row by row."""
        seen: set[Block] = set()
        for zone in group:
            for block in self._blocks_of(zone, edge):
                if block not in seen:
                    yield block
                if len(group) > 1:
                    seen.add(block)

    def _blocks_of(self, zone: int, edge: int) -> Iterator[Block]:
        import shapely

        left, bottom, right, top = self._bounds[zone]
        if not left < right:
            return
        first, last = _range(-top, -bottom, edge, self.grid.height)
        for row in range(first, last, edge):
            height = min(edge, self.grid.height - row)
            strip = self._strip(zone, row, height)
            low, _, high, _ = shapely.bounds(strip)
            begin, end = _range(low, high, edge, self.grid.width) if low < high else (0, 0)
            shapely.prepare(strip)
            for col in range(begin, end, edge):
                block = Block(row, col, height, min(edge, self.grid.width - col))
                if shapely.intersects(strip, _box(block)):
                    yield block

    def cover(self, group: tuple[int, ...], block: Block) -> Cover:
        """Return the pixels of a block that the zones of a group cover."""
        found = [self._cover(self._strip(zone, block.row, block.height), block) for zone in group]
        if len(found) == 1:
            cells, fractions = found[0]
        else:
            cells, fractions = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Cover(cells, fractions, Runs.of(np.repeat(np.arange(len(group)), [len(own) for own, _ in found])))

    @cached_property
    def _bounds(self) -> Floats:
        """(zone, 4) left, bottom, right, top; NaN for empty shapes."""
        import shapely

        return shapely.bounds(self.placed)  # type: ignore[no-any-return]

    @cached_property
    def _last(self) -> dict[tuple[int, int], Any]:
        """The strip that was cut last, which all blocks of a row share."""
        return {}

    def _strip(self, zone: int, row: int, height: int) -> Any:
        import shapely

        shape = self.placed[zone]
        if shapely.get_num_coordinates(shape) <= MANY_CORNERS:
            return shape
        if (zone, row) not in self._last:
            self._last.clear()
            strip = _box(Block(row, -1, height, self.grid.width + 2))
            self._last[zone, row] = _areal(shapely.intersection(shape, strip))
        return self._last[zone, row]

    @staticmethod
    def _cover(shape: Any, block: Block) -> tuple[NDArray[np.int64], Floats]:
        """Return the pixels of a block that a shape covers, and the fraction of each, by exactextract.

        Only the part of the block around the shape is handed to it.
        """
        import shapely

        from pixelwise.zonal.fractions import fractions_of

        left, bottom, right, top = shapely.bounds(shape)
        first, last = _range(-top - block.row, -bottom - block.row, 1, block.height)
        begin, end = _range(left - block.col, right - block.col, 1, block.width)
        if first >= last or begin >= end:
            return np.empty(0, np.int64), np.empty(0)
        height, width = last - first, end - begin
        part = Block(block.row + first, block.col + begin, height, width)
        if height * width > 1 and shapely.covers(shape, _box(part)):
            cells, fractions = np.arange(height * width), np.ones(height * width)
        else:
            cells, fractions = fractions_of(shapely.to_wkb(shape), part)
        return (cells // width + first) * block.width + cells % width + begin, fractions


def _range(low: float, high: float, edge: int, size: int) -> tuple[int, int]:
    """Return the begin of the first piece that an interval touches, and the end of the last, in [0, size]."""
    if not low < high:
        return 0, 0
    first = int(np.clip(np.floor(low / edge), 0, size)) * edge
    last = int(np.clip(np.ceil(high / edge), 0, size)) * edge
    return first, min(last, size)


def _box(block: Block) -> Any:
    import shapely

    return shapely.box(block.col, -block.row - block.height, block.col + block.width, -block.row)


def _areal(shape: Any) -> Any:
    """Return the polygons of a shape, without the points and lines that cutting leaves."""
    import shapely

    if shapely.get_type_id(shape) in AREAL:
        return shape
    parts = shapely.get_parts(shape)
    return shapely.multipolygons(shapely.get_parts(parts[np.isin(shapely.get_type_id(parts), AREAL)]))


def load_shapes(source: str, grid: Grid) -> ShapeZones:
    """Read polygons and place them on a grid.

    Edges are cut into parts that follow their curve in the grid's CRS, as those of ``--region`` are.

    Raises
    ------
    InputError
        When the file cannot be read, holds anything but polygons, has no CRS, or lies outside the grid.
    ParameterError
        When the packages that read it are missing.
    """
    _check_packages()
    features = read_features(source, "zones")
    name = f"zones {features.name}"
    if not len(features.shapes):
        raise InputError(f"{name}: holds no polygons")
    if grid.places is not None:
        raise InputError(f"{name}: the pixels of the map form no regular grid, as {grid.places.reason}")
    if features.crs is None and grid.crs is not None:
        raise InputError(
            f"{name}: has no CRS, the map has {grid.crs_name}; say which it is: "
            f"ogr2ogr -a_srs EPSG:NUMBER zones.gpkg {features.path}"
        )
    if features.crs is not None and grid.crs is None:
        raise InputError(f"{name}: has {crs_name(features.crs)}, but the map has no CRS; use zones without a CRS")
    shapes = _polygons(features, name)
    near, owners, whole = _near(shapes, features, grid)
    placed = _placed(near, features, grid, name)
    return _collected(features, grid, placed, owners, (near, whole))


def _check_packages() -> None:
    try:
        import exactextract  # noqa: F401
        import pyogrio  # noqa: F401
        import shapely  # noqa: F401
    except ImportError as error:
        raise ParameterError(f"zones need {error.name}: pip install 'pixelwise[zones]'") from None


def _polygons(features: Features, name: str) -> Any:
    """Return (zone,) valid polygons; anything else is refused."""
    import shapely

    shapes = np.where(shapely.is_missing(features.shapes), shapely.Polygon(), features.shapes)
    for number in np.flatnonzero(~np.isin(shapely.get_type_id(shapes), AREAL)):
        parts = shapely.get_parts(shapes[number])
        if not np.isin(shapely.get_type_id(parts), AREAL).all():
            kind = next(part.geom_type for part in parts if shapely.get_type_id(part) not in AREAL)
            raise InputError(f"{name}: feature {number + 1} is a {kind}, which has no area; expected polygons")
        shapes[number] = shapely.union_all(parts) if len(parts) else shapely.Polygon()
    points = shapely.get_coordinates(shapes)
    if not len(points):
        raise InputError(f"{name}: holds no polygons")
    if not (np.abs(points) <= LARGEST_COORDINATE).all():
        raise InputError(f"{name}: a polygon has coordinates that are not numbers, or beyond {LARGEST_COORDINATE:g}")
    valid = shapely.is_valid(shapes)
    if not valid.all():
        log.warning("%s: %d of %d polygons cross themselves and were made valid", name, (~valid).sum(), len(valid))
        shapes[~valid] = _valid(shapes[~valid])
    return shapes


def _valid(shapes: Any) -> Any:
    import shapely

    mended = shapely.make_valid(shapes, method="structure", keep_collapsed=False)
    return np.array([*map(_areal, mended), None], object)[:-1]


def _near(shapes: Any, features: Features, grid: Grid) -> tuple[Any, NDArray[np.int64], Floats]:
    """Return polygons that come near the grid, cut off not far beyond it, the zone of each, and areas of the whole."""
    import shapely

    whole = shapely.area(shapes)
    zones = np.arange(len(shapes))
    around = extent_in(features.crs, grid)
    if around is None:
        return shapes, zones, whole
    left, bottom, right, top = around
    aside, above = MARGIN * (right - left), MARGIN * (top - bottom)
    limits = shapely.box(left - aside, bottom - above, right + aside, top + above)
    # Longitudes may be counted from -180 or from 0.
    turns = (-360.0, 0.0, 360.0) if features.crs is not None and features.crs.is_geographic else (0.0,)
    found, owners = [], []
    for turn in turns:
        turned = shapely.transform(shapes, lambda points, turn=turn: points + np.array([turn, 0.0])) if turn else shapes
        touching = shapely.intersects(turned, shapely.box(*around))
        turned = turned[touching]
        beyond = ~shapely.covers(limits, turned)
        turned[beyond] = shapely.intersection(turned[beyond], limits)
        found += [_areal(shape) for shape in turned]
        owners.append(zones[touching])
    return np.array([*found, None], object)[:-1], np.concatenate(owners), whole


def _placed(shapes: Any, features: Features, grid: Grid, name: str) -> Any:
    """Return polygons with x counting columns and y counting rows upwards."""
    import shapely

    place = pixels_of(name, features.crs, grid)
    if same_crs(grid.crs, features.crs):
        return shapely.transform(shapes, lambda points: place(points) * (1.0, -1.0))
    polygons, of_polygon = shapely.get_parts(shapes, return_index=True)
    rings, of_ring = shapely.get_rings(polygons, return_index=True)
    points, of_point = shapely.get_coordinates(rings, return_index=True)
    follows = of_point[1:] == of_point[:-1]
    edges, ring = np.hstack([points[:-1], points[1:]])[follows], of_point[1:][follows]
    # Both polygons that share an edge cut it into the same parts.
    one_way = canonical(edges)
    backward = (one_way != edges).any(axis=1)
    try:
        parts, edge, begin = curved(one_way, place)
    except GapError:
        raise InputError(
            f"{name}: an edge is torn apart in {grid.crs_name}; cut the polygons there, or clip them around the map"
        ) from None
    order = np.lexsort((np.where(backward[edge], -begin, begin), edge))
    parts, edge = parts[order], edge[order]
    starts = np.where(backward[edge, None], parts[:, 2:], parts[:, :2]) * (1.0, -1.0)
    # Rings are closed by shapely.
    placed = shapely.polygons(shapely.linearrings(starts, indices=ring[edge]), indices=of_ring)
    found = [shapely.multipolygons(parts) for parts in _by_owner(placed, of_polygon, len(shapes))]
    return np.array([*found, None], object)[:-1]


def _by_owner(parts: Any, owners: NDArray[np.int64], count: int) -> list[Any]:
    """Return the parts of each owner, from 0 on."""
    order = np.argsort(owners, kind="stable")
    return np.split(parts[order], np.searchsorted(owners[order], np.arange(1, count)))


def _collected(
    features: Features, grid: Grid, placed: Any, owners: NDArray[np.int64], areas: tuple[Any, Floats]
) -> ShapeZones:
    """Return the zones, each with all its parts, and the share of each that lies on the grid."""
    import shapely

    near, whole = areas
    invalid = ~shapely.is_valid(placed)
    placed[invalid] = _valid(placed[invalid])
    inside = shapely.area(shapely.intersection(placed, shapely.box(0, -grid.height, grid.width, 0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(shapely.area(near) * (inside / shapely.area(placed)))
    count = len(features.shapes)
    with np.errstate(invalid="ignore", divide="ignore"):
        covered = np.nan_to_num(np.bincount(owners, weights=shares, minlength=count) / whole)
    covered[covered > 1 - ROUNDING] = 1.0
    zones = _by_owner(placed, owners, count)
    shapes = [parts[0] if len(parts) == 1 else shapely.union_all(parts) for parts in zones]
    if not (covered > 0).any():
        around = extent_in(features.crs, grid) or grid.bounds
        bounds = tuple(map(float, shapely.total_bounds(features.shapes)))
        raise InputError(
            f"zones {features.name}: all lie outside the map: they cover {words(bounds)}, "  # type: ignore[arg-type]
            f"the map {words(around)} in {crs_name(features.crs)}"
        )
    return ShapeZones(features, grid, np.array([*map(_areal, shapes), None], object)[:-1], covered)
