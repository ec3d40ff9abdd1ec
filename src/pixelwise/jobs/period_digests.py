"""What each period of a stack of composites is made of, as a digest that a later run compares with its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.maps.outputs import relative
from pixelwise.rasters.pieces import Piece
from pixelwise.rasters.urls import Location
from pixelwise.stacks.composite import CompositeStack, FunctionReducer
from pixelwise.stacks.layers import Layer
from pixelwise.stacks.raster import RasterStack

__all__ = ["period_digests"]


def period_digests(stack: CompositeStack, folder: Path | None) -> list[str]:
    """Return a digest for each period of everything that decides its values, besides options and grid.

    These are the layers of the period with how their numbers become values, and size and modification time of every
    file that is read for them. Equal digests mean equal values, if options and versions are the same.

    Parameters
    ----------
    stack
        The composites.
    folder
        Folder of the output, to which paths are relative.

    Returns
    -------
    list of str
        Empty if they cannot be compared with those of another run: a function of the user's own makes them, or another
        stack decides which layer's value is taken.
    """
    scenes = stack.scenes
    if not isinstance(scenes, RasterStack) or isinstance(stack.reducer, FunctionReducer) or stack.by is not None:
        return []
    beside = _beside(scenes)

    def files(layer: Layer) -> Iterator[Location]:
        for path in dict.fromkeys(piece.path for piece in (*layer.pieces, *layer.masks)):
            for one in (path, *scenes.behind.get(path, ())):
                yield one
                if isinstance(one, Path):
                    yield from beside.get((one.parent, one.stem.lower()), ())

    def facts(layer: Layer) -> tuple[Any, ...]:
        pieces = [_named(layer.pieces, folder), _named(layer.masks, folder)]
        stamps = sorted((relative(path, folder), repr(scenes.stamps[path])) for path in set(files(layer)))
        return layer.iso_date, layer.precision, layer.reduce, layer.sensors, pieces, stamps

    # One layer with scaled numbers makes all of them float64, in which a mean has other last digits.
    common = (str(scenes.dtype), repr(scenes.derivation), scenes.axis.calendar)
    made_of = ([facts(scenes.layers[int(index)]) for index in members] for members in stack.periods.members)
    return [hashlib.sha256(repr((common, one)).encode()).hexdigest()[:32] for one in made_of]


def _named(pieces: Iterable[Piece], folder: Path | None) -> list[tuple[str, str]]:
    """Return pieces with their paths as the map names them."""
    return [(relative(piece.path, folder), repr(replace(piece, path=Path("-")))) for piece in pieces]


def _beside(scenes: RasterStack) -> dict[tuple[Path, str], list[Location]]:
    """Return by folder and stem which of the files that are read may be sidecars of another one.

    ``a.b.tif.aux.xml`` may belong to ``a.b.tif``, and to ``a.tif`` for all its name says: then one scene too many is
    read again.
    """
    found: dict[tuple[Path, str], list[Location]] = {}
    for path in scenes.stamps.keys() - set(scenes.paths):
        if isinstance(path, Path):
            stem = path.name.lower()
            while "." in stem:
                stem = stem.rpartition(".")[0]
                found.setdefault((path.parent, stem), []).append(path)
    return found
