"""Maps with q-values: the two bands for which all pixels of a map must be known."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.jobs.copying import CopiedMap, axis_of_bands
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.task import Task
from pixelwise.maps.copies import moved
from pixelwise.maps.false_discovery import ADDED, CAUTION, Adjusted, FalseDiscovery, adjust, pvalues_of, with_added
from pixelwise.maps.files import FileSink
from pixelwise.maps.map import Map
from pixelwise.maps.outputs import FileFormat
from pixelwise.stacks.base import Layout

__all__ = ["BandStack", "adjust_map", "adjusted_in_memory", "with_significance"]

log = logging.getLogger(__name__)


class BandStack(Protocol):
    """A stack whose layers are the bands of a map, after those of stacks that are written beside it, if any."""

    @property
    def grid(self) -> Grid:
        """The grid of the map."""

    @property
    def count(self) -> int:
        """Number of layers."""

    @property
    def layout(self) -> Layout:
        """How the map is stored."""

    def read(self, block: Block) -> NDArray[Any]:
        """Return (layer, y, x) of a block, in the type of the map."""

    def layer(self, block: Block, place: int) -> NDArray[Any]:
        """Return (y, x) of one layer, from 0."""


@dataclass(frozen=True)
class _BandsOf:
    """The bands of a map; see `BandStack`."""

    map_: Map
    dtype: str

    @property
    def grid(self) -> Grid:
        """The grid of the map."""
        return self.map_.grid

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.map_.bands)

    @property
    def axis(self) -> TimeAxis:
        """One date for each band."""
        return axis_of_bands(self.count)

    @property
    def layout(self) -> Layout:
        """How the map is read best."""
        return Layout(itemsize=np.dtype(self.dtype).itemsize)

    def read(self, block: Block) -> NDArray[Any]:
        """Return (band, y, x) of a block."""
        return np.stack([self.layer(block, place) for place in range(self.count)])

    def layer(self, block: Block, place: int) -> NDArray[Any]:
        """Return (y, x) of a band, from 0."""
        return self.map_.read(self.map_.names[place], block).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class _Significant:
    """The bands of a map, with q-values and significance before the status; see `Stack`.

    Attributes
    ----------
    source
        The map.
    place
        Which layer has the p-values.
    after
        How many layers come before those that are added.
    adjusted
        The p-values, adjusted.
    """

    source: BandStack
    place: int
    after: int
    adjusted: Adjusted

    @property
    def grid(self) -> Grid:
        """The grid of the map."""
        return self.source.grid

    @property
    def axis(self) -> TimeAxis:
        """One date for each layer."""
        return axis_of_bands(self.source.count + len(ADDED))

    @property
    def layout(self) -> Layout:
        """How the map is stored."""
        return self.source.layout

    def read(self, block: Block) -> NDArray[Any]:
        """Return (layer, y, x) of a block."""
        layers, qvalues = self.source.read(block), self.adjusted.read(block)
        codes = self.adjusted.codes(layers[self.place], qvalues)
        added = np.stack([qvalues, codes.astype(qvalues.dtype)]).astype(layers.dtype, copy=False)
        return np.concatenate([layers[: self.after], added, layers[self.after :]])


@contextmanager
def with_significance(
    task: Task, request: FalseDiscovery, asked: str | None = None, map_: object = "the map"
) -> Iterator[Task]:
    """Yield the job that writes a map together with its q-values.

    Parameters
    ----------
    task
        A job that copies a map: its stack is a `BandStack`, its method a `CopiedMap`.
    request
        The rate and the method.
    asked
        Name of the band with p-values; None for those of the first band.
    map_
        The name of the map that is copied, for messages.

    Raises
    ------
    ParameterError
        When the map has no such p-values, or has q-values.
    InputError, OutputError, ResourceError
        As `adjust` does.
    """
    stack = cast("BandStack", task.stacks[0])
    assert isinstance(task.method, CopiedMap)  # noqa: S101 - as documented
    pvalue = pvalues_of(task.named, asked)
    first = stack.count - len(task.named)
    places = {band.name: place for place, band in enumerate(task.named, first)}
    with adjust(
        stack.grid,
        task.named,
        lambda name, block: stack.layer(block, places[name]),
        request,
        pvalue=pvalue,
        dtype=task.dtype,
        folder=task.folder,
        map_=map_,
    ) as adjusted:
        log.info("%s", adjusted)
        named = with_added(task.named, pvalue)
        full = _Significant(stack, places[pvalue], places.get(STATUS_BAND.name, stack.count), adjusted)
        method = CopiedMap((*task.method.given[:first], *named))
        yield replace(
            task,
            stacks=(full,),
            method=method,
            bound=method.bind(full.axis, None, {}),
            named=named,
            provenance={
                **task.provenance,
                "bands": [band.name for band in named],
                "fdr": adjusted.describe(),
            },
        )


def adjust_map(
    map_: Map, request: FalseDiscovery, output: Path | None, execution: Execution, pvalue: str | None = None
) -> Map:
    """Return a new map with all bands of a map, its q-values, and which pixels are significant.

    Parameters
    ----------
    map_
        A map, which stays as it is.
    request
        The rate and the method.
    output
        The new map; None for memory.
    execution
        Workers, memory, the form of the new map, and whether a finished one may be replaced.
    pvalue
        Name of the band with p-values; None for those of the first band, or else the only ones.

    Raises
    ------
    ParameterError
        When the map has no such p-values, or has q-values.
    InputError
        When the map cannot be read, or p-values are not from 0 to 1.
    OutputError, ResourceError
        When the new map cannot be written.
    """
    began = time.perf_counter()
    if output is None:
        return adjusted_in_memory(map_, request, pvalue)
    sink = FileSink(
        output,
        inputs=map_.paths,
        overwrite=execution.overwrite,
        form=FileFormat(execution.compress, execution.zarr_format, execution.driver),
    )
    named = with_added(map_.bands, pvalues_of(map_.bands, pvalue))
    dtype = _dtype_of(map_, pvalues_of(map_.bands, pvalue))
    sink.check_anew(map_.grid, named, dtype)
    before = map_.paths[0].parent if map_.paths else Path()
    provenance = _cautioned(moved({k: v for k, v in map_.provenance.items() if k != "files"}, before, output.parent))
    stack, method = _BandsOf(map_, dtype), CopiedMap(map_.bands)
    bound = method.bind(stack.axis, None, {})
    task = Task((stack,), method, bound, map_.bands, dtype, sink, provenance, output.parent)
    # Nothing is kept if this is stopped: the map is still there.
    limits = replace(execution.limits, journal_seconds=math.inf)
    with with_significance(task, request, pvalue, _name_of(map_)) as full:
        return full.carry_out(replace(execution, executor="threads", limits=limits), began)


def adjusted_in_memory(map_: Map, request: FalseDiscovery, pvalue: str | None = None) -> Map:
    """Return a map in memory with all bands of a map, its q-values, and which pixels are significant.

    Raises
    ------
    ParameterError, InputError, OutputError, ResourceError
        As `adjust_map` does.
    """
    chosen = pvalues_of(map_.bands, pvalue)
    dtype = _dtype_of(map_, chosen)
    with adjust(map_.grid, map_.bands, map_.read, request, pvalue=chosen, dtype=dtype, map_=_name_of(map_)) as adjusted:
        log.info("%s", adjusted)
        qvalues = adjusted.read(map_.grid.block)
        codes = adjusted.codes(map_[chosen], qvalues).astype(np.int32)
        bands = with_added(map_.bands, chosen)
        added = dict(zip(ADDED, (qvalues, codes), strict=True))
        arrays = {band.name: added[band.name] if band.name in added else map_[band.name] for band in bands}
        provenance = {
            **_cautioned({name: value for name, value in map_.provenance.items() if name != "files"}),
            "bands": [band.name for band in bands],
            "fdr": adjusted.describe(),
        }
    return Map(map_.grid, bands, provenance, map_.timings, arrays=arrays)


def _name_of(map_: Map) -> str:
    """Return the name of a map, for messages."""
    return str(map_.paths[0]) if map_.paths else "the map"


def _cautioned(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a map says about its making, with what to know of q-values among its warnings."""
    before = provenance.get("warnings")
    before = before if isinstance(before, list) else []
    if CAUTION in before:
        return dict(provenance)
    log.warning(CAUTION)
    return {**provenance, "warnings": [*before, CAUTION]}


def _dtype_of(map_: Map, pvalue: str) -> str:
    """Return the type of the numbers of a map."""
    found = map_.read(pvalue, Block(0, 0, 1, 1)).dtype.name
    if found not in ("float32", "float64"):
        raise ParameterError(f"band {pvalue} does not hold p-values: its numbers are {found}")
    return found
