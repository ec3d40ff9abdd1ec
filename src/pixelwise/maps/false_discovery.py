"""The false discovery rate: which pixels are significant if a test was made at each, exactly and in bounded memory.

References
----------
Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289; Benjamini & Yekutieli (2001), Ann. Stat. 29:1165; for fields in
space: Wilks (2016), Bull. Am. Meteorol. Soc. 97:2263.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Status
from pixelwise.choices import Correction
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.map import READ_EDGE
from pixelwise.maps.ranks import Ranks, Row
from pixelwise.maps.scratch import Numbers
from pixelwise.words import not_a_choice, shown, unknown

__all__ = ["ADDED", "CAUTION", "Adjusted", "FalseDiscovery", "added_bands", "adjust", "pvalues_of", "with_added"]

#: Names of the bands that are added to a map.
ADDED = ("qvalue", "significant")


#: Of noise with a lag-1 correlation of 0.4, 84 to 94 % of maps of independent pixels have one at q = 0.1 by `trend`,
#: whose p-values below 1e-4 are 12 to 21 times too frequent (benchmarks/false_discovery.py).
CAUTION = (
    "fdr: where noise is autocorrelated, the smallest p-values are too small, and so are q-values: do not trust a few "
    'significant pixels, nor a small patch of them; see "Significant among many" in the documentation'
)


@dataclass(frozen=True)
class FalseDiscovery:
    """Which share of the significant pixels may be significant by chance.

    Attributes
    ----------
    q
        The share, on average over many maps: between 0 and 1, both excluded.
    method
        ``bh`` (Benjamini & Hochberg) holds if tests are independent or positively dependent, as those of neighbouring
        pixels are; ``by`` (Benjamini & Yekutieli) whatever the dependence, and finds fewer.

    Raises
    ------
    ParameterError
        When there is no such share or method.
    """

    q: float
    method: Correction = "bh"

    def __post_init__(self) -> None:
        if isinstance(self.q, bool) or not isinstance(self.q, (int, float)) or not 0 < self.q < 1:
            raise ParameterError(f"q {shown(self.q)} is impossible: expected a number between 0 and 1, such as 0.1")
        if self.method not in get_args(Correction):
            raise not_a_choice("method", str(self.method), get_args(Correction))

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return what a user gave: ``0.1``, or as text ``"0.1"``, ``"bh:0.1"`` or ``"by:0.1"``.

        Raises
        ------
        ParameterError
            When it is something else.
        """
        if not isinstance(given, str):
            return cls(given)
        method, _, number = given.rpartition(":")
        try:
            q = float(number)
        except ValueError:
            raise ParameterError(f"fdr {shown(given)}: expected a number such as 0.1, or by:0.1") from None
        return cls(q, method.strip() or "bh")  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Return it for the tags of a map."""
        return {"q": self.q, "method": self.method}

    @classmethod
    def from_provenance(cls, provenance: Mapping[str, Any]) -> Self | None:
        """Return what the tags of a map, or of a part of one, ask for; None if they do not mention it.

        Raises
        ------
        ParameterError
            When no job has recorded this.
        """
        said = provenance.get("fdr")
        if said is None:
            return None
        if not isinstance(said, dict):
            raise ParameterError(f"fdr is {shown(said)}")
        return cls(said.get("q"), said.get("method"))  # type: ignore[arg-type]


def added_bands(pvalue: str) -> tuple[Band, Band]:
    """Return the bands that are added to a map, made from the named band of p-values."""
    words = "Smallest false discovery rate at which the pixel is significant"
    return (
        Band("qvalue", words, kind="test", pvalue=pvalue),
        Band("significant", "0 not significant, 1 significant, 2 not tested", integer=True, kind="code"),
    )


def with_added(bands: Sequence[Band], pvalue: str) -> tuple[Band, ...]:
    """Return all bands of a map with those that are added, which come before the status."""
    own = [band for band in bands if band.name != STATUS_BAND.name]
    return (*own, *added_bands(pvalue), *(band for band in bands if band.name == STATUS_BAND.name))


def pvalues_of(bands: Sequence[Band], asked: str | None = None) -> str:
    """Return the band of p-values that are to be adjusted.

    Parameters
    ----------
    bands
        All bands of the map.
    asked
        Its name; None for the p-values of the first band, or else the only ones.

    Raises
    ------
    ParameterError
        When there is none, it is not clear which, it does not hold p-values, or they have been adjusted.
    """
    names = [band.name for band in bands]
    for name in ADDED:
        if name in names:
            raise ParameterError(f"the map has a band {name} already: adjust the p-values of a map without it")
    tests = [band.name for band in bands if band.kind == "test" and not band.pvalue]
    if asked is not None:
        band = next((band for band in bands if band.name == asked), None)
        if band is None:
            raise unknown("band", asked, names)
        if band.kind not in ("", "test") or band.integer:
            among = f": those of this map are in {', '.join(tests)}" if tests else ""
            raise ParameterError(f"band {asked} does not hold p-values{among}")
        return asked
    first = bands[0].pvalue
    # Maps of before bands said what they are have this name for it.
    unsaid = [band.name for band in bands if band.name == "pvalue" and not band.kind]
    if first and first not in names:
        raise ParameterError(
            f"the false discovery rate needs the band {first}, which is not among those of the map: {', '.join(names)}"
        )
    if first or len(tests or unsaid) == 1:
        return first or (tests or unsaid)[0]
    if tests:
        raise ParameterError(
            f"the map has several bands of p-values, {', '.join(tests)}: say which: pixelwise fdr MAP --pvalue BAND"
        )
    raise ParameterError(f"the map has no p-values, which the false discovery rate needs: it has {', '.join(names)}")


@dataclass(frozen=True)
class Adjusted:
    """P-values of a map, adjusted for their number; close it when it is not needed any more.

    Attributes
    ----------
    request
        The rate and the method.
    pvalue
        The band that holds the p-values.
    domain
        Which pixels are tests, in words.
    tests, rejected
        Number of tests, and of those that are significant.
    threshold
        The largest p-value that is significant; None if none is.
    grid
        The pixels of the map.
    qvalues
        Row by row, in the map's type; NaN where there is no test.
    """

    request: FalseDiscovery
    pvalue: str
    domain: str
    tests: int
    rejected: int
    threshold: float | None
    grid: Grid
    qvalues: Numbers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.qvalues.close()

    def read(self, block: Block) -> NDArray[Any]:
        """Return the (y, x) q-values of a block."""
        return _read(self.qvalues, self.grid, block)

    def codes(self, pvalues: NDArray[Any], qvalues: NDArray[Any]) -> NDArray[np.uint8]:
        """Return for each pixel 0 (not significant), 1 (significant) or 2 (not tested).

        Parameters
        ----------
        pvalues
            As stored. They are compared with the threshold, because q-values in float32 are rounded.
        qvalues
            NaN where there is no test.
        """
        threshold = -1.0 if self.threshold is None else self.threshold
        found = (pvalues.astype(np.float64, copy=False) <= threshold).astype(np.uint8)
        found[np.isnan(qvalues)] = NOT_TESTED
        return found

    def describe(self) -> dict[str, Any]:
        """Return it for the tags of the map."""
        half = f"{self.request.q / 2:.6g}"
        return {
            **self.request.describe(),
            "pvalue": self.pvalue,
            "qvalue": ADDED[0],
            "significant": ADDED[1],
            "tests": self.tests,
            "rejected": self.rejected,
            "threshold": self.threshold,
            "domain": self.domain,
            "note": f"where tests of neighbours are correlated, q = {self.request.q:.6g} is about as strict as a test "
            f"of the whole map at the level {half} (q = 2 alpha; Wilks 2016, doi:10.1175/BAMS-D-15-00267.1)",
        }

    def __str__(self) -> str:
        if self.threshold is None:
            found = "none is significant"
        else:
            found = f"{self.rejected} are significant ({self.rejected / self.tests:.1%}): those with a p-value of at "
            found += f"most {self.threshold:.4g}"
        return f"of {self.tests} tests, {found} at a false discovery rate of {self.request.q:.6g}"


#: Where there is no test, in the band `significant`.
NOT_TESTED = 2


def adjust(
    grid: Grid,
    bands: Sequence[Band],
    read: Callable[[str, Block], NDArray[Any]],
    request: FalseDiscovery,
    *,
    pvalue: str,
    dtype: str = "float32",
    folder: Path | None = None,
    map_: object = "the map",
) -> Adjusted:
    """Adjust the p-values of a map for their number.

    The answer is that of `scipy.stats.false_discovery_control` for all p-values as float64, to the last bit; q-values
    are then rounded to the map's type. Whatever the number of pixels, it takes 60 MB of memory; of files without a
    name, it takes the size of the band twice, or a little more for float64.

    Parameters
    ----------
    grid, bands
        The map. With a band ``status``, tests are the pixels of status 0.
    read
        Returns a block of a band, by its name.
    request
        The rate and the method.
    pvalue
        Name of the band with the p-values. NaN is no test.
    dtype
        ``float32`` or ``float64``: the type of the map, whose p-values are taken as they are stored.
    folder
        Where the files are; None for the system's folder of temporary files.
    map_
        Its name, for messages.

    Raises
    ------
    InputError
        When a value is not from 0 to 1, or cannot be read.
    OutputError, ResourceError
        When a file cannot be written.
    """
    coded = any(band.name == STATUS_BAND.name for band in bands)
    domain = f"pixels {'of status 0 ' * coded}with a {pvalue}"
    numbers = Numbers(grid.height * grid.width, np.dtype(dtype), folder)
    try:
        tests = 0
        for block in grid.blocks(READ_EDGE, READ_EDGE):
            found = read(pvalue, block).astype(dtype, copy=False)
            tested = np.isfinite(found)
            if coded:
                tested &= read(STATUS_BAND.name, block) == Status.OK
            chosen = found[tested]
            if len(chosen) and not (chosen.min() >= 0 and chosen.max() <= 1):
                strange = chosen[(chosen < 0) | (chosen > 1)][0]
                raise InputError(f"{map_}: band {pvalue} has the value {strange:g}: p-values lie between 0 and 1")
            tests += len(chosen)
            # -0.0 becomes 0.0, whose bit pattern is the smallest.
            _write(numbers, grid, block, np.where(tested, found, np.nan) + 0.0)
        ranks = Ranks(tests, request.q, dependent=request.method == "by")
        Row(numbers, folder, ranks).replace()
    except BaseException:
        numbers.close()
        raise
    return Adjusted(request, pvalue, domain, tests, ranks.rejected, ranks.threshold, grid, numbers)


def _rows(grid: Grid, block: Block) -> Iterator[tuple[int, int, slice]]:
    """Yield runs of a block in a row of all pixels: where one begins, its length, and which rows of the block it is."""
    if block.width == grid.width:
        yield block.row * grid.width, block.pixels, slice(None)
        return
    for row in range(block.height):
        yield (block.row + row) * grid.width + block.col, block.width, slice(row, row + 1)


def _write(numbers: Numbers, grid: Grid, block: Block, values: NDArray[Any]) -> None:
    for start, _, rows in _rows(grid, block):
        numbers.write(start, values[rows])


def _read(numbers: Numbers, grid: Grid, block: Block) -> NDArray[Any]:
    found = np.empty((block.height, block.width), dtype=numbers.dtype)
    for start, count, rows in _rows(grid, block):
        found[rows] = numbers.read(start, count).reshape(-1, block.width)
    return found
