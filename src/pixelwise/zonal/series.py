"""The mean series of zones, and its own trend."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.jobs.answer import LayerOutputs, PostProcessed
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.kernels.jit import compiling
from pixelwise.maps.map import Map
from pixelwise.maps.saving import check_output, save_bytes
from pixelwise.method import Method
from pixelwise.rasters.cell_areas import CellAreas
from pixelwise.rasters.handles import reading
from pixelwise.stacks.base import FileStack
from pixelwise.zonal.table import free_names, spelled
from pixelwise.zonal.zones import Zones

__all__ = ["Origin", "ZoneSeries", "check_origin", "series_of"]

log = logging.getLogger(__name__)

#: Bytes of the values of a block of all layers; four blocks are kept.
BLOCK_BYTES = 64 << 20

#: Smallest edge of a block, and what edges are multiples of: as tiles of files.
STEP = 64

#: Blocks that are kept.
KEPT = 4

#: Columns of the mean series, behind the number of the zone and its attributes.
COLUMNS = ("date", "mean", "share")

#: A part with values that changes by more than this factor from date to date may make a trend by itself.
UNEVEN = 2


class Making(Protocol):
    """How a map was made."""

    @property
    def output(self) -> OutputSpec:
        """What was written of the results."""


class Origin(Protocol):
    """What a map was made of, opened again: see `pixelwise.series`."""

    @property
    def stack(self) -> FileStack:
        """Its layers, on its grid."""

    @property
    def method(self) -> Method:
        """What was applied to them."""

    @property
    def making(self) -> Making:
        """How it was made."""


@dataclass(frozen=True, eq=False)
class ZoneSeries:
    """The mean of each layer in each zone.

    Attributes
    ----------
    axis
        When the layers were observed.
    labels
        (time,) dates as text.
    means
        (time, zone) means weighted by area, NaN where no pixel has a value.
    shares
        (time, zone) share of the zone's area on the map in which pixels have a value.
    attributes
        (zone,) what is known of each zone, by name.
    inputs
        The files that it was made from, which it never replaces.
    """

    axis: TimeAxis
    labels: tuple[str, ...]
    means: Floats
    shares: Floats
    attributes: Mapping[str, NDArray[Any]]
    inputs: tuple[Path, ...]

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the series as text: a line for each zone and date, with the zone's number in the table, from 1.

        Raises
        ------
        OutputError
            When it cannot be written there, or would replace what it was made from.
        """
        target = check_output(path, overwrite=overwrite, suffixes=(".csv",), inputs=self.inputs)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["zone", *self.attributes, *COLUMNS])
        for zone in range(self.means.shape[1]):
            known = [spelled(values[zone]) for values in self.attributes.values()]
            for label, mean, share in zip(self.labels, self.means[:, zone], self.shares[:, zone], strict=True):
                writer.writerow([zone + 1, *known, label, spelled(mean), spelled(share)])
        save_bytes(text.getvalue().encode(), target, overwrite=overwrite)
        return target

    def trend(self, method: Method, output: OutputSpec, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return what a method makes of the series of each zone, by ``series_`` and the name of a band.

        Parameters
        ----------
        method
            The method.
        output
            The unit of time of changes, and how complete a series must be, as of the map.
        names
            Bands to compute, among those of the method.

        Returns
        -------
        dict
            (zone,) numbers, and why each zone has them: ``series_status``, as `Status` has it; ``series_share``, the
            median share of the zone with values at the dates that have any.
        """
        method.check_axis(self.axis)
        method = method.rehearse(self.axis, self.means.copy, self.means.shape[1])
        wanted = [band.name for band in method.bands if band.name in names]
        alone = LayerOutputs((), self.labels, None, self.axis)
        answer = PostProcessed.of(method, self.axis, {}, replace(output, bands=wanted), alone)
        with compiling(method.name):
            found, status = answer((self.means.copy(),))
        columns = {f"series_{band.name}": row for band, row in zip(answer.bands, found, strict=True)}
        columns[f"series_{STATUS_BAND.name}"] = status.astype(np.int64)
        return {**columns, "series_share": self._usual_shares()}

    def _usual_shares(self) -> Floats:
        """Return (zone,) median shares of dates with values; say where shares differ so much that they may tell."""
        shares = np.where(self.shares > 0, self.shares, np.nan)
        some = np.isfinite(shares).any(axis=0)
        usual = np.full(shares.shape[1], np.nan)
        if not some.any():
            return usual
        usual[some] = np.nanmedian(shares[:, some], axis=0)
        low, high = np.nanmin(shares[:, some], axis=0), np.nanmax(shares[:, some], axis=0)
        uneven = high > UNEVEN * low
        if uneven.any():
            worst = int(np.argmax(high / low))
            log.warning(
                "series: in %d of %d zones, the part with values changes by more than a factor of %d between dates "
                "(zone %d: from %.2g to %.2g of it), and their means may change for that reason alone: see the shares "
                "of --series-csv",
                uneven.sum(), len(usual), UNEVEN, np.flatnonzero(some)[worst] + 1, low[worst], high[worst],
            )  # fmt: skip
        return usual


def check_origin(origin: Origin) -> None:
    """Refuse methods that a mean series is not enough for.

    Raises
    ------
    ParameterError
        When the method uses neighbouring pixels.
    """
    if origin.method.halo:
        raise ParameterError(
            f"series: {origin.method.name} uses neighbouring pixels, which the mean of a zone does not have"
        )


def series_of(map_: Map, zones: Zones, stack: FileStack, inputs: tuple[Path, ...]) -> ZoneSeries:
    """Return the mean series of zones.

    Parameters
    ----------
    map_
        The map, on the grid of the stack; its pixels outside the area that was asked for are left out.
    zones
        Zones on that grid.
    stack
        The layers.
    inputs
        The files that they are made from.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    edge = max(int((BLOCK_BYTES / len(stack) / stack.dtype.itemsize) ** 0.5) // STEP, 1) * STEP
    areas = CellAreas(map_.grid)

    @lru_cache(KEPT)
    def read(block: Block) -> tuple[NDArray[Any], Floats]:
        values = stack.read(block).reshape(len(stack), -1)
        weights = areas.of(block).ravel() if areas.known else np.ones(block.pixels)
        if STATUS_BAND.name in map_:
            weights = np.where(map_.read(STATUS_BAND.name, block).ravel() == Status.OUTSIDE, 0.0, weights)
        return values, weights

    # Differences from the first value of a zone: the mean of equal numbers is that number, to the bit, whatever gaps
    # there are, so that a constant series has no trend out of rounding. Sums of rows, not products of matrices: those
    # add up rows in different orders.
    sums, valid, whole = (np.zeros((len(stack), len(zones))) for _ in range(3))
    firsts = np.full(len(zones), np.nan)
    with reading((stack,)):
        for group in zones.groups(edge):
            for block in zones.blocks(group, edge):
                values, areas_of_pixels = read(block)
                for place, cells, fractions in zones.cover(group, block).each():
                    zone, weights = group[place], fractions * areas_of_pixels[cells]
                    chosen = values.take(cells, axis=1)
                    known = np.isfinite(chosen)
                    if np.isnan(firsts[zone]) and known.any():
                        firsts[zone] = chosen[known][0]
                    own = np.where(known, weights, 0.0)
                    valid[:, zone] += own.sum(axis=1)
                    whole[:, zone] += weights.sum()
                    own *= np.where(known, chosen - firsts[zone], 0.0)
                    sums[:, zone] += own.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means, shares = firsts + sums / valid, valid / whole
    attributes = free_names(zones.columns, ("zone", *COLUMNS), f"zones {zones.name}", "the mean series")
    return ZoneSeries(stack.axis, stack.names, means, shares, attributes, inputs)
