"""What pictures and classes need to know of a map, whatever holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.grid import Block, Grid

__all__ = ["Source"]


class Source(Protocol):
    """Named bands on a grid, read as a whole or in parts: a `Map`."""

    @property
    def grid(self) -> Grid:
        """Where the pixels are."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands in order."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How they were made; empty if nobody knows."""

    def band(self, name: str) -> Band:
        """Return the description of a band; an unknown name is a `ParameterError`."""

    def read(self, name: str, block: Block) -> NDArray[Any]:
        """Return a part of a band as (y, x) array."""

    def blocks(self) -> Iterator[Block]:
        """Return the blocks in which it is read with the least work."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a band as (y, x) array."""

    def __contains__(self, name: object) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...
