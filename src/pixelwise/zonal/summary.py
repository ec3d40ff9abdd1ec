"""What a map says of each zone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Floats, Status
from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.maps.classified import scheme_for
from pixelwise.maps.map import Map
from pixelwise.pictures.scheme import ContinuousScheme, Scheme, TestScheme
from pixelwise.rasters.cell_areas import CellAreas
from pixelwise.zonal.series import Origin, check_origin, series_of
from pixelwise.zonal.shapes import Cover
from pixelwise.zonal.table import ZoneTable, sources_of
from pixelwise.zonal.tally import Circular, Median, Moments, Search, search_medians
from pixelwise.zonal.zones import Zones, load_zones

__all__ = ["summarize"]

Progress = Callable[[int, int], None]

#: Four times the edge of a tile, as `Map.blocks` has it.
EDGE = 1024

#: Blocks that are kept, of 30 MB with five bands: a zone that is smaller than one touches at most four.
KEPT = 4

#: Values of one band that are kept for medians: 12 MB. Larger zones are read again (`search_medians`).
MOST_KEPT = 1 << 20

#: Statuses of pixels whose whole numbers, which are never missing, say nothing.
NO_NUMBER = (Status.NO_OBSERVATION, Status.OUTSIDE)


def summarize(
    map_: Map,
    source: str | Path,
    *,
    bands: Sequence[str] | None = None,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    origin: Origin | None = None,
    progress: Progress | None = None,
) -> ZoneTable:
    """Summarize a map by zones, as `pixelwise.api.zones` describes.

    Parameters
    ----------
    map_, source, bands, classes, significant, pvalue, progress
        As there.
    origin
        What the map was made of, for the mean series.

    Raises
    ------
    InputError, ParameterError
        As there.
    """
    chosen = _chosen(map_, bands)
    scheme = _scheme(map_, chosen[0], classes, significant, pvalue)
    if origin is not None:
        check_origin(origin)
    zones = load_zones(source, map_)
    found = _Summary(map_, zones, chosen, scheme).columns(progress)
    table = ZoneTable.of(zones, found, sources_of(source, map_))
    if origin is None:
        return table
    series = series_of(map_, zones, origin.stack, table)
    return table.with_series(series, series.trend(origin.method, origin.making.output, map_.names))


def _chosen(map_: Map, names: Sequence[str] | None) -> tuple[Band, ...]:
    """Return the bands to summarize."""
    if isinstance(names, str):  # would be read letter by letter
        raise ParameterError(
            f"bands={names!r} is one string: expected a list of names, as in bands={names.split(',')!r}"
        )
    if names is None:
        bands = tuple(band for band in map_.bands if band.kind != "code")
    else:
        bands = tuple(map_.band(name) for name in dict.fromkeys(names))
    for band in bands:
        if band.kind == "code":
            raise ParameterError(f"band {band.name} holds codes, which have no mean: leave it out of the bands")
    if not bands:
        raise ParameterError(f"no band to summarize (the map has: {', '.join(map_.names)})")
    return bands


def _scheme(
    map_: Map, band: Band, classes: str | Sequence[float] | None, significant: float | None, pvalue: str | None
) -> Scheme | None:
    """Return the classes whose areas are wanted; None if nobody asked for any and the band has no test."""
    if classes is None and significant is None and pvalue is None and (not band.pvalue or band.pvalue not in map_):
        return None
    scheme = scheme_for(map_, band.name, classes=classes, significant=significant, pvalue=pvalue)
    if isinstance(scheme, ContinuousScheme):
        raise ParameterError("classes continuous have no areas: choose others, such as quintile")
    return scheme


@dataclass(eq=False)
class _Pixels:
    """A block of a map, with pixels in one row."""

    areas: Floats | None
    status: NDArray[np.uint8] | None
    values: dict[str, NDArray[Any]]
    codes: NDArray[np.uint8] | None

    def weights(self, cover: Cover) -> Floats:
        """Return the weights of covered pixels: square kilometres, or fractions."""
        cells, fractions = cover
        return fractions if self.areas is None else fractions * self.areas[cells]

    def known(self, band: Band, cells: NDArray[np.int64], weights: Floats) -> tuple[NDArray[Any], Floats]:
        """Return the values of covered pixels that have one, with their weights."""
        values = self.values[band.name][cells]
        if not band.integer or self.status is None:
            known = np.isfinite(values)
        else:
            known = ~np.isin(self.status[cells], NO_NUMBER)
        return (values, weights) if known.all() else (values[known], weights[known])


@dataclass(eq=False)
class _Zone:
    """What is known of one zone so far."""

    weight: float = 0.0
    valid: float = 0.0
    tested: float = 0.0
    classes: Floats = field(default_factory=lambda: np.zeros(256))
    means: dict[str, Moments | Circular] = field(default_factory=dict)
    medians: dict[str, Median] = field(default_factory=dict)


class _Summary:
    """The work of `summarize`."""

    def __init__(self, map_: Map, zones: Zones, bands: tuple[Band, ...], scheme: Scheme | None) -> None:
        self._map, self._zones, self._bands, self._scheme = map_, zones, bands, scheme
        self._areas = CellAreas(map_.grid)
        self._read = lru_cache(KEPT)(self._read_block)
        corner = Block(0, 0, 1, 1)
        # A raster that pixelwise did not make may give integers for some blocks.
        self._kinds = {
            band.name: np.dtype(np.float32 if map_.read(band.name, corner).dtype == np.float32 else np.float64)
            for band in bands
        }
        self._tested = np.zeros(256, bool)
        if isinstance(scheme, TestScheme):
            self._tested[: len(scheme.classes)] = [one.tested for one in scheme.classes]

    def columns(self, progress: Progress | None) -> dict[str, Floats]:
        """Return (zone,) columns by name."""
        found: list[_Zone] = [_Zone() for _ in range(len(self._zones))]
        rows: list[dict[str, float]] = [{} for _ in found]
        done = 0
        for group in self._zones.groups(EDGE):
            for zone in group:
                found[zone] = self._begin(MOST_KEPT // len(group))
            for block in self._zones.blocks(group, EDGE):
                pixels = self._read(block)
                for zone, cover in self._zones.covers(group, block):
                    self._add(found[zone], pixels, cover)
            searched = self._search(group, found)
            for zone in group:
                rows[zone] = self._row(found[zone], searched.get(zone, {}))
                found[zone] = _Zone()  # its values are no longer needed
            done += len(group)
            if progress is not None:
                progress(done, len(rows))
        return self._with_covered(rows)

    def _read_block(self, block: Block) -> _Pixels:
        areas = self._areas.of(block).ravel() if self._areas.known else None
        status = self._map.read(STATUS_BAND.name, block).ravel() if STATUS_BAND.name in self._map else None
        values = {
            name: self._map.read(name, block).ravel().astype(kind, copy=False) for name, kind in self._kinds.items()
        }
        codes = None if self._scheme is None else self._scheme.codes(self._map, block).ravel()
        return _Pixels(areas, status, values, codes)

    def _begin(self, most: int) -> _Zone:
        directions = [band for band in self._bands if band.kind == "day of year"]
        means = {band.name: Circular() if band in directions else Moments() for band in self._bands}
        return _Zone(means=means, medians={band.name: Median(most) for band in self._bands if band not in directions})

    def _add(self, zone: _Zone, pixels: _Pixels, cover: Cover) -> None:
        cells, fractions = cover
        weights = pixels.weights(cover)
        zone.weight += float(weights.sum())
        if pixels.codes is not None:
            codes = pixels.codes[cells]
            zone.classes += np.bincount(codes, weights=weights, minlength=256)
            zone.tested += float(fractions[self._tested[codes]].sum())
        for number, band in enumerate(self._bands):
            values, own = pixels.known(band, cells, weights)
            zone.means[band.name].add(values.astype(np.float64), own)
            if band.name in zone.medians:
                zone.medians[band.name].add(values, own)
            if number == 0:
                zone.valid += float(own.sum())

    def _search(self, group: tuple[int, ...], found: Sequence[_Zone]) -> dict[int, dict[str, float]]:
        """Return the medians, by zone and band, of those that have too many values."""
        wanted = [(zone, band) for zone in group for band in self._bands
                  if band.name in found[zone].medians and found[zone].medians[band.name].full]  # fmt: skip
        searches = [Search(found[zone].medians[band.name].weight, self._kinds[band.name]) for zone, band in wanted]

        def read(numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[Any], Floats]]:
            for block in self._zones.blocks(group, EDGE):
                pixels = self._read(block)
                for zone, cover in self._zones.covers(group, block):
                    weights = pixels.weights(cover)
                    for number in numbers:
                        if wanted[number][0] == zone:
                            band = wanted[number][1]
                            yield number, *pixels.known(band, cover[0], weights)

        search_medians(searches, read)
        medians: dict[int, dict[str, float]] = {}
        for (zone, band), search in zip(wanted, searches, strict=True):
            medians.setdefault(zone, {})[band.name] = search.value
        return medians

    def _row(self, zone: _Zone, searched: Mapping[str, float]) -> dict[str, float]:
        """Return the columns of a zone."""
        unit = "km2" if self._areas.known else "pixels"
        row = {f"zone_{unit}": zone.weight, f"valid_{unit}": zone.valid}
        if self._scheme is not None:
            if isinstance(self._scheme, TestScheme):
                row[f"tested_{unit}"] = float(zone.classes[self._tested].sum())
                row["tested_pixels"] = zone.tested
            for one, area in zip(self._scheme.classes, zone.classes, strict=False):
                row[f"{_slug(one.label, tested=isinstance(self._scheme, TestScheme))}_{unit}"] = float(area)
        for name, mean in zone.means.items():
            empty = mean.weight == 0
            row[f"{name}_mean"] = np.nan if empty else mean.mean
            if name in zone.medians:
                median = zone.medians[name]
                row[f"{name}_median"] = np.nan if empty else searched[name] if median.full else median.value
            row[f"{name}_sd"] = np.nan if empty else mean.sd
        return row

    def _with_covered(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
        """Return columns by name."""
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        first, *others = columns
        return {first: columns[first], "covered": self._zones.covered, **{name: columns[name] for name in others}}


def _slug(label: str, *, tested: bool) -> str:
    """Return the name of a class in a column: ``significant_decrease`` for ``significant decrease, p < 0.05``."""
    if tested:
        label = re.sub(r"(, | \()[pq] .*", "", label)
    return re.sub(r"[^0-9A-Za-z.+-]+", "_", label.replace("\N{MINUS SIGN}", "-")).strip("_")
