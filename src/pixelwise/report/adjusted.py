"""Areas of the classes after p-values were adjusted for their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.choices import Correction
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.classified import scheme_for
from pixelwise.maps.false_discovery import ADDED, Adjusted, FalseDiscovery, adjust, with_added
from pixelwise.maps.map import Map
from pixelwise.pictures.scheme import TestScheme
from pixelwise.pictures.tally import Tally, tally_of

__all__ = ["AdjustedTally", "adjusted_tally"]

#: The share of false discoveries among the significant pixels, where the map does not say one (Wilks 2016: 0.1).
USUAL_RATE = 0.1

REFERENCES: Mapping[Correction, str] = {"bh": "Benjamini and Hochberg 1995", "by": "Benjamini and Yekutieli 2001"}


@dataclass(frozen=True, eq=False)
class _WithQvalues:
    """A map with the bands that `fdr` would add; see `pictures.source.Source`."""

    map: Map
    adjusted: Adjusted

    @property
    def grid(self) -> Grid:
        return self.map.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return with_added(self.map.bands, self.adjusted.pvalue)

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {**self.map.provenance, "fdr": self.adjusted.describe()}

    def band(self, name: str) -> Band:
        return next(band for band in self.bands if band.name == name)

    def read(self, name: str, block: Block) -> NDArray[Any]:
        if name not in ADDED:
            return self.map.read(name, block)
        qvalues = self.adjusted.read(block)
        if name == ADDED[0]:
            return qvalues
        return self.adjusted.codes(self.map.read(self.adjusted.pvalue, block), qvalues)

    def blocks(self) -> Iterator[Block]:
        return self.map.blocks()

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.read(name, self.grid.block)

    def __contains__(self, name: object) -> bool:
        return name in self.map or name in ADDED

    def __iter__(self) -> Iterator[str]:
        return (band.name for band in self.bands)


@dataclass(frozen=True, eq=False)
class AdjustedTally:
    """How much is significant after adjusting, and how it was adjusted.

    Attributes
    ----------
    tally
        The classes by q-values, and what they cover.
    request
        The rate, and the method of adjusting.
    tests
        How many tests there are.
    """

    tally: Tally
    request: FalseDiscovery
    tests: int

    @property
    def reference(self) -> str:
        """Where the method of adjusting is from."""
        return REFERENCES[self.request.method]


def adjusted_tally(map_: Map, band: Band) -> AdjustedTally | None:
    """Return how much is significant by q-values: those of the map, or else those that `fdr` would write.

    Parameters
    ----------
    map_
        The map.
    band
        Its band with the tests.

    Returns
    -------
    AdjustedTally or None
        None where the band has no p-values, or nothing is adjusted as there is no second test.
    """
    if not band.pvalue or band.pvalue not in map_:
        return None
    if any(other.kind == "test" and other.pvalue == band.pvalue for other in map_.bands):
        found = _of_map(map_, band)
    else:
        dtype = map_.read(band.pvalue, Block(0, 0, 1, 1)).dtype.name
        request = FalseDiscovery.of(USUAL_RATE)
        with adjust(map_.grid, map_.bands, map_.read, request, pvalue=band.pvalue, dtype=dtype) as adjusted:
            source = _WithQvalues(map_, adjusted)
            found = AdjustedTally(tally_of(source, scheme_for(source, band.name)), request, adjusted.tests)
    return found if found.tests > 1 else None


def _of_map(map_: Map, band: Band) -> AdjustedTally:
    """Return what the q-values of a map say, and how they were computed, as far as the map tells."""
    scheme = scheme_for(map_, band.name)
    assert isinstance(scheme, TestScheme)  # noqa: S101  (its band has q-values)
    tally = tally_of(map_, scheme)
    try:
        request = FalseDiscovery.from_provenance(map_.provenance)
    except ParameterError:  # a tag may say anything
        request = None
    said = map_.provenance.get("fdr")
    tests = said.get("tests") if isinstance(said, Mapping) else None
    if not isinstance(tests, int) or isinstance(tests, bool) or not 0 <= tests <= map_.grid.height * map_.grid.width:
        tests = sum(int(n) for one, n in zip(scheme.classes, tally.pixels, strict=True) if one.tested)
    return AdjustedTally(tally, request or FalseDiscovery(scheme.levels[0]), tests)
