"""Zones on the grid of a map: polygons, or classes of a raster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.grid import Block
from pixelwise.maps.map import Map
from pixelwise.rasters.polygons import is_vector, local_file
from pixelwise.zonal.classes import RasterZones, load_classes
from pixelwise.zonal.cover import Cover
from pixelwise.zonal.shapes import ShapeZones, load_shapes

__all__ = ["Zones", "load_zones"]


class Zones(Protocol):
    """Zones on a grid, whatever they are made of."""

    @property
    def name(self) -> str:
        """Where they come from."""

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """(zone,) what is known of each."""

    @property
    def covered(self) -> Floats:
        """(zone,) share of each that lies on the grid."""

    def __len__(self) -> int: ...

    def groups(self, edge: int) -> Iterator[tuple[int, ...]]:
        """Return numbers of zones that are best computed together."""

    def blocks(self, group: tuple[int, ...], edge: int) -> Iterator[Block]:
        """Return the blocks of this edge in which a group may have pixels."""

    def cover(self, group: tuple[int, ...], block: Block) -> Cover:
        """Return the pixels of a block that the zones of a group cover."""


def load_zones(source: str | Path, map_: Map) -> ShapeZones | RasterZones:
    """Return the zones of a file on the grid of a map.

    Parameters
    ----------
    source
        Polygons (``FILE``, or ``FILE:LAYER``), or a raster of integers with the pixels of the map.

    Raises
    ------
    InputError, ParameterError
        As `zones` does.
    """
    text = str(source)
    return load_shapes(text, map_.grid) if is_vector(text) else load_classes(local_file(text, "zones"), map_.grid)
