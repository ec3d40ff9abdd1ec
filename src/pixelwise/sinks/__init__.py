"""Where finished blocks go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.map import Map, Timings
from pixelwise.method import Band
from pixelwise.plan import Plan

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes the blocks of one map, each once, in any order.

    ``begin`` is called first; then ``write`` for each block; then either ``finish`` or ``abort``. Nothing
    stands under its final name before ``finish`` has checked it.
    """

    #: Whether ``write`` is called by the worker that computed the block, not by the parent.
    writes_in_worker: bool

    def begin(self, plan: Plan, bands: tuple[Band, ...], dtype: str) -> None:
        """Prepare for the bands of a map, ``status`` last, and the blocks of a plan."""

    def write(self, block: Block, values: NDArray[Any], status: NDArray[Any]) -> None:
        """Take the (band, y, x) values and the (y, x) status of one block."""

    def finish(self, provenance: Mapping[str, Any], timings: Timings) -> Map:
        """Complete the map, give it its final name, and return it."""

    def abort(self) -> None:
        """Remove whatever was begun; may follow any of the other calls."""
