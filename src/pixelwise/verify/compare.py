"""Recompute pixels of a map from its inputs, slowly and in a different way from `apply`, and compare them.

A map may come from anywhere, so what it says about how it was made is data, never an instruction: files outside its
folder and functions are opened and run only if the user names them again.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Floats, Status, rescale
from pixelwise.errors import InputError, ParameterError
from pixelwise.maps.false_discovery import ADDED, FalseDiscovery
from pixelwise.maps.map import Map, open_map
from pixelwise.method import Method
from pixelwise.opening.sources import Source
from pixelwise.rasters.datasets import local_only
from pixelwise.stacks.parts import ServerOptions
from pixelwise.verify.gains import lines_of
from pixelwise.verify.making import Making, making_of, version_of
from pixelwise.verify.pixels import MOST_KEPT, Input, inputs_of, lacking_layers, read_map, series_of
from pixelwise.verify.qvalues import differing_qvalues, without_qvalues
from pixelwise.verify.recompute import recomputation
from pixelwise.verify.sources import check_unchanged, places_of, table_of_gains

__all__ = ["Difference", "Verification", "verify"]

#: Values held at once: 32 MB.
AT_ONCE = 4 << 20

#: Largest sample of pixels: drawing it takes up to 400 MB. Larger comparisons use all pixels, which are not drawn.
LARGEST_SAMPLE = 10_000_000

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of a map that differs from what its inputs give.

    Attributes
    ----------
    band
        Name of the band.
    row, col
        Row and column of the pixel, from 0.
    x, y
        Its centre, in units of the map's CRS.
    value, recomputed
        What the map holds, and what it should hold.
    """

    band: str
    row: int
    col: int
    x: float
    y: float
    value: float
    recomputed: float


@dataclass(frozen=True)
class Verification:
    """The result of a comparison.

    Attributes
    ----------
    pixels, total
        Pixels compared, and pixels in all.
    files
        Number of input files of the map.
    by
        What recomputed the pixels.
    tolerance
        Largest relative difference accepted; 0 if numbers must be identical.
    differing
        Number of numbers that differ.
    differences
        The first thousand differences, row by row.
    made_by
        The version of pixelwise named in the map; empty if it names none.
    """

    pixels: int
    total: int
    files: int
    by: str
    tolerance: float
    differing: int
    differences: tuple[Difference, ...]
    made_by: str = ""


@local_only()
def verify(
    map_path: str | Path,
    source: Source | None = None,
    *,
    allow_scheme: Sequence[str] = (),
    gains: str | Path | None = None,
    method: str | Method | Callable[..., Any] | None = None,
    pixels: int = 1000,
    everything: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Recompute pixels of a map from its inputs, and compare.

    Files are read with rasterio alone, one run of pixels at a time; missing values, dates and duplicates are handled in
    plain NumPy, and `ols` in exact arithmetic. Where there is no second implementation, the method itself computes one
    pixel at a time.

    Parameters
    ----------
    map_path
        As for `open_map`.
    source
        Input files outside the map's folder, as for `open_stack`: no other files outside it are opened.
    allow_scheme
        Schemes of servers from which files that `source` names may be read.
    gains
        The table of gains with which the map was made, if it is outside the map's folder or was moved.
    method
        The function that made the map: ``file.py:function`` or the function itself. It is run only if given here.
    pixels
        How many to compare, drawn at random without replacement.
    everything
        Compare all pixels instead.
    seed
        Seed of the random sample.
    progress
        Called with the number of pixels done and in all.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        When the map or its inputs cannot be read, inputs have changed, or the map cannot be verified.
    ParameterError
        When a function must be given, or is not the one that made the map.
    """
    if pixels < 1:
        raise ParameterError(f"pixels {pixels} is impossible: expected at least one")
    if pixels > LARGEST_SAMPLE and not everything:
        raise ParameterError(
            f"pixels {pixels} is impossible: at most {LARGEST_SAMPLE} are drawn; --all (everything=True) compares all"
        )
    path = Path(map_path)
    whole = open_map(path)
    map_, request = without_qvalues(whole, path)
    making = making_of(map_, path)
    compute = recomputation(making, method, map_, path)
    allowed = ServerOptions(allow_scheme=tuple(allow_scheme)).allow_scheme
    places = places_of(making, map_.paths[0].parent, source, path, allowed)
    behind = {name: Path(os.path.normpath(map_.paths[0].parent.resolve() / name)) for name in making.behind}
    check_unchanged(making.files | making.behind, places | behind)
    instead = shlex.join(["pixelwise", "verify", str(path), "--gains", "FILE"])
    table = table_of_gains(making, map_.paths[0].parent, gains, path, instead)
    inputs = inputs_of(making, places, map_)
    lines = None if table is None else _lines_of(making, inputs, table)
    kinds = np.array([[map_.band(name).integer] for name in map_.names])
    relative = np.where(kinds, 0.0, compute.tolerance)
    dtype = np.dtype(making.output.dtype)
    scaled = dict(zip((band.name for band in compute.bands), rescale(compute.bands, making.output.per)[1], strict=True))
    factors = np.array([[scaled.get(name, 1.0)] for name in map_.names])
    total = map_.grid.height * map_.grid.width
    compared = total if everything else min(pixels, total)
    differing = done = 0
    kept: list[Difference] = []
    for chosen in _chosen(total, compared, seed, max(1, AT_ONCE // making.pieces)):
        rows, cols = np.divmod(chosen, map_.grid.width)
        found = read_map(map_, rows, cols)
        series, lost = series_of(making, inputs, map_.grid.transform, rows, cols, lines)
        try:
            expected, slack = (table * factors for table in compute(series))
        except ArithmeticError:
            raise InputError(f"{path}: cannot be verified: its numbers are too large for float64") from None
        status = expected[map_.names.index(STATUS_BAND.name)]
        lacking = lacking_layers(making, series)
        expected[np.ix_(~kinds[:, 0], lacking)] = np.nan
        status[lacking & (status != Status.NO_OBSERVATION)] = Status.TOO_FEW
        status[lost & (status == Status.OK)] = Status.DATES_LOST
        wrong = _wrong(found, expected, slack, relative, dtype)
        differing += int(np.count_nonzero(wrong))
        for pixel, band in np.argwhere(wrong.T)[: MOST_KEPT - len(kept)].tolist():
            row, col = int(rows[pixel]), int(cols[pixel])
            x, y = map_.grid.transform @ (col + 0.5, row + 0.5)
            value, recomputed = float(found[band, pixel]), float(expected[band, pixel])
            kept.append(Difference(map_.names[band], row, col, x, y, value, recomputed))
        done += len(chosen)
        if progress is not None:
            progress(done, compared)
    by = compute.by
    if request is not None:
        by += f", and {' and '.join(ADDED)} of all pixels from the p-values in the map"
        differing += _compare_qvalues(whole, request, making.output.dtype, path, kept)
    return Verification(compared, total, len(places), by, compute.tolerance, differing, tuple(kept), version_of(map_))


def _lines_of(making: Making, inputs: Sequence[Input], table: Path) -> Floats:
    """Return (2, piece) gains and offsets of the pieces of a map."""
    dates = [layer.text for layer in making.layers for _ in layer.pieces]
    pieces = {
        target: (file.path, label, dates[target])
        for file in inputs
        for target, label in zip(file.targets, file.labels_of(making.spec), strict=True)
    }
    return lines_of(table, [pieces[target] for target in range(making.pieces)])


def _compare_qvalues(map_: Map, request: FalseDiscovery, dtype: str, path: Path, kept: list[Difference]) -> int:
    """Return how many numbers differ in bands that depend on all pixels; add the first to those that are kept."""
    differing = 0
    for name, block, wrong, found, wanted in differing_qvalues(map_, request, dtype, path):
        differing += int(np.count_nonzero(wrong))
        for row, col in np.argwhere(wrong)[: MOST_KEPT - len(kept)].tolist():
            x, y = map_.grid.transform @ (block.col + col + 0.5, block.row + row + 0.5)
            value, recomputed = float(found[row, col]), float(wanted[row, col])
            kept.append(Difference(name, block.row + row, block.col + col, x, y, value, recomputed))
    return differing


def _chosen(total: int, count: int, seed: int, at_once: int) -> Iterator[NDArray[np.int64]]:
    """Yield numbers of pixels, row by row, `at_once` at a time: `count` of `total`, the same for the same seed."""
    if count == total:
        yield from (np.arange(start, min(start + at_once, total)) for start in range(0, total, at_once))
        return
    sample = np.sort(_drawn(np.random.default_rng(seed), total, count))
    yield from (sample[start : start + at_once] for start in range(0, count, at_once))


def _drawn(rng: np.random.Generator, total: int, count: int) -> NDArray[np.int64]:
    """Return `count` different numbers below `total`, using memory for only a few times `count`."""
    # In between, NumPy would create all numbers first: 4 GB to draw 10 million.
    if not 4 * count < total < 100 * count or total <= 1 << 20:
        chosen: NDArray[np.int64] = rng.choice(total, count, replace=False, shuffle=False)
        return chosen
    found = np.empty(0, dtype=np.int64)
    while len(found) < count:
        found = np.union1d(found, rng.integers(total, size=count))
    return found[rng.choice(len(found), count, replace=False, shuffle=False)]


def _wrong(found: Floats, expected: Floats, slack: Floats, relative: Floats, dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return (band, pixel): whether numbers differ; `expected` is rounded to the map's type."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype).astype(np.float64)
        # Numbers too small for the type lose digits, and eventually become 0.
        smallest = np.where(relative > 0, np.finfo(dtype).tiny, 0.0)
        near = np.abs(found - rounded) <= relative * np.abs(expected) + slack + smallest
    wrong: NDArray[np.bool_] = ~(near | (found == rounded) | (np.isnan(found) & np.isnan(expected)))
    return wrong
