"""What a map says of each zone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.scheme import ContinuousScheme, Scheme, TestScheme
from pixelwise.rasters.cell_areas import CellAreas
from pixelwise.zonal.cover import Cover, Runs
from pixelwise.zonal.outside import warn_of_outside
from pixelwise.zonal.series import Origin, check_origin, series_of
from pixelwise.zonal.table import ZoneTable, inputs_of_zones
from pixelwise.zonal.tally import Circular, Medians, Moments, Search, search_medians
from pixelwise.zonal.zones import Zones, load_zones

__all__ = ["summarize"]

#: Columns of the level of significance: by p-values, or by q-values.
LEVELS = ("p_below", "q_at_most")

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

#: Four times the edge of a tile, as `Map.blocks` has it.
EDGE = 1024

#: Blocks that are kept, of 30 MB with five bands: a zone that is smaller than one touches at most four.
KEPT = 4

#: Values of one band that are kept for medians: 20 MB. If there are more, they are read again (`search_medians`).
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
    warn_of_outside(zones)
    found = _Summary(map_, zones, chosen, scheme).columns(progress)
    inputs = inputs_of_zones(source, map_)
    for text in disagreements(map_) if isinstance(scheme, TestScheme) and chosen[0] == map_.bands[0] else ():
        log.warning(text)
    if origin is None:
        return ZoneTable.of(zones, found, inputs)
    series = series_of(map_, zones, origin.stack, inputs)
    trend = series.trend(origin.method, origin.making.output, map_.names)
    return ZoneTable.of(zones, {**found, **trend}, inputs, series)


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
    """Return the classes whose areas are requested; None if none are requested and the band has no test."""
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
        return cover.fractions if self.areas is None else cover.fractions * self.areas[cover.cells]

    def known(self, band: Band, cover: Cover, weights: Floats) -> tuple[NDArray[Any], Floats, Runs]:
        """Return the values of covered pixels that have one, with their weights."""
        values = self.values[band.name][cover.cells]
        if not band.integer or self.status is None:
            known = np.isfinite(values)
        else:
            known = ~np.isin(self.status[cover.cells], NO_NUMBER)
        if known.all():
            return values, weights, cover.runs
        return values[known], weights[known], cover.runs.keep(known)


class _Group:
    """What is known so far of zones that are computed together."""

    def __init__(self, count: int, bands: Sequence[Band], scheme: Scheme | None) -> None:
        self.count = count
        self.weight, self.valid, self.tested = (np.zeros(count) for _ in range(3))
        self.classes = np.zeros((count, 0 if scheme is None else len(scheme.classes)))
        directions = [band for band in bands if band.kind == "day of year"]
        self.means = {band.name: Circular(count) if band in directions else Moments(count) for band in bands}
        self.medians = {band.name: Medians(count, MOST_KEPT) for band in bands if band not in directions}

    def add_classes(self, codes: NDArray[np.uint8], weights: Floats, runs: Runs) -> None:
        """Add the classes of pixels; those without one have larger codes."""
        some = codes < self.classes.shape[1]
        places = runs.spread(runs.places)[some] * self.classes.shape[1] + codes[some]
        found = np.bincount(places, weights=weights[some], minlength=self.classes.size)
        self.classes += found.reshape(self.classes.shape)


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
        columns: dict[str, Floats] = {}
        done = 0
        for group in self._zones.groups(EDGE):
            found = _Group(len(group), self._bands, self._scheme)
            for block in self._zones.blocks(group, EDGE):
                self._add(found, self._read(block), self._zones.cover(group, block))
            for name, values in self._columns_of(found, self._search(group, found)).items():
                columns.setdefault(name, np.full(len(self._zones), np.nan))[list(group)] = values
            done += len(group)
            if progress is not None:
                progress(done, len(self._zones))
        # The map covers none of a zone that is elsewhere: that is known, and nothing else is.
        elsewhere = self._zones.covered == 0
        for name in list(columns)[1:]:
            if name not in LEVELS:
                columns[name][elsewhere] = np.nan
        first, *others = columns
        return {first: columns[first], "covered": self._zones.covered, **{name: columns[name] for name in others}}

    def _read_block(self, block: Block) -> _Pixels:
        areas = self._areas.of(block).ravel() if self._areas.known else None
        status = self._map.read(STATUS_BAND.name, block).ravel() if STATUS_BAND.name in self._map else None
        values = {
            name: self._map.read(name, block).ravel().astype(kind, copy=False) for name, kind in self._kinds.items()
        }
        codes = None if self._scheme is None else self._scheme.codes(self._map, block).ravel()
        return _Pixels(areas, status, values, codes)

    def _add(self, found: _Group, pixels: _Pixels, cover: Cover) -> None:
        runs, weights = cover.runs, pixels.weights(cover)
        found.weight[runs.places] += runs.sum(weights)
        if pixels.codes is not None:
            codes = pixels.codes[cover.cells]
            found.add_classes(codes, weights, runs)
            found.tested[runs.places] += runs.sum(np.where(self._tested[codes], cover.fractions, 0.0))
        for number, band in enumerate(self._bands):
            values, own, kept = pixels.known(band, cover, weights)
            found.means[band.name].add(values.astype(np.float64), own, kept)
            if band.name in found.medians:
                found.medians[band.name].add(values, own, kept)
            if number == 0:
                found.valid[kept.places] += kept.sum(own)

    def _search(self, group: tuple[int, ...], found: _Group) -> dict[str, Floats]:
        """Return the medians of the bands that have too many values."""
        wanted = [band for band in self._bands if band.name in found.medians and found.medians[band.name].full]
        searches = [Search(found.medians[band.name].weight, self._kinds[band.name]) for band in wanted]

        def read(numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[Any], Floats, Runs]]:
            for block in self._zones.blocks(group, EDGE):
                pixels, cover = self._read(block), self._zones.cover(group, block)
                weights = pixels.weights(cover)
                for number in numbers:
                    yield number, *pixels.known(wanted[number], cover, weights)

        search_medians(searches, read)
        return {band.name: search.values for band, search in zip(wanted, searches, strict=True)}

    def _columns_of(self, found: _Group, searched: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the columns of a group of zones."""
        unit = "km2" if self._areas.known else "pixels"
        columns = {f"zone_{unit}": found.weight, f"valid_{unit}": found.valid}
        if self._scheme is not None:
            if tested := isinstance(self._scheme, TestScheme):
                if len(self._scheme.levels) == 1:
                    # What the areas of significant classes are areas of.
                    name = LEVELS[self._scheme.adjusted]
                    columns[name] = np.full(len(found.weight), self._scheme.levels[0])
                columns[f"tested_{unit}"] = found.classes[:, self._tested[: found.classes.shape[1]]].sum(axis=1)
                columns["tested_pixels"] = found.tested
            slugs = [_slug(one.label, tested=tested) for one in self._scheme.classes]
            columns |= {f"{slug}_{unit}": areas for slug, areas in zip(slugs, found.classes.T, strict=True)}
            columns |= self._shares(found.classes, slugs)
        for name, mean in found.means.items():
            columns[f"{name}_mean"] = mean.mean
            if name in found.medians:
                columns[f"{name}_median"] = searched[name] if name in searched else found.medians[name].values
            columns[f"{name}_sd"] = mean.sd
        return columns

    def _shares(self, classes: Floats, slugs: Sequence[str]) -> dict[str, Floats]:
        """Return shares of the tested area, or of the area with a class where classes have no test; NaN without any."""
        counted = self._tested[: len(slugs)] if isinstance(self._scheme, TestScheme) else np.ones(len(slugs), bool)
        whole = classes[:, counted].sum(axis=1)
        whole[whole == 0] = np.nan
        return {f"{slugs[place]}_share": classes[:, place] / whole for place in np.flatnonzero(counted).tolist()}


def _slug(label: str, *, tested: bool) -> str:
    """Return the name of a class in a column: ``significant_decrease`` for ``significant decrease, p < 0.05``."""
    if tested:
        label = re.sub(r"(, | \()[pq] .*", "", label)
    return re.sub(r"[^0-9A-Za-z.+-]+", "_", label.replace("\N{MINUS SIGN}", "-")).strip("_")
