"""The interface of objects that accept finished blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.grid import Block, Grid
from pixelwise.maps.map import Map, Timings
from pixelwise.maps.records import DoneBlock, Layout, PlacedTiles, Seal

__all__ = ["Encode", "Sink"]

#: Called by the worker that computed a block, with the block, its (band, y, x) values and (y, x) status; returns what
#: the sink's `write` accepts. It knows the block, so that it may write it there and then. Picklable.
Encode = Callable[[Block, NDArray[Any], NDArray[Any]], Any]


class Sink(Protocol):
    """Takes the blocks of one map, each once, in any order.

    ``begin`` is called first; then, for each block, ``write``, or ``restore`` if an earlier run wrote it; then either
    ``finish`` or ``abort``. Nothing has its final name until ``finish`` has checked it.
    """

    def begin(
        self,
        grid: Grid,
        layout: Layout,
        bands: tuple[Band, ...],
        dtype: str,
        provenance: Mapping[str, Any],
        *,
        resumed: bool,
    ) -> Layout:
        """Prepare for the bands of a map, ``status`` last; return the layout of the files.

        If an earlier run is to be `resumed`, `layout` is what this returned there; else it is what the plan suggests.
        """

    @property
    def encode(self) -> Encode:
        """The function that workers apply to a block; available after ``begin``."""

    def write(self, block: Block, encoded: Any) -> tuple[PlacedTiles, ...]:
        """Accept a block; return what ``restore`` needs to find it again."""

    def restore(self, done: DoneBlock) -> bool:
        """Accept a block that an earlier run wrote; False if it is damaged."""

    def finish(self, provenance: Mapping[str, Any], timings: Timings, commit: Callable[[Sequence[Seal]], None]) -> Map:
        """Complete the map, pass `commit` the seals of its files when only names are missing, and return the map."""

    def abort(self, *, keep: bool) -> None:
        """Close whatever was begun, and remove it unless another run is to resume; may follow any other call."""
