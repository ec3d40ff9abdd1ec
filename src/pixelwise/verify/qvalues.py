"""Q-values of a map made again of its p-values: of all, as each depends on all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.maps.false_discovery import ADDED, FalseDiscovery, adjust
from pixelwise.maps.map import Map
from pixelwise.verify.making import damaged, short

__all__ = ["differing_qvalues", "without_qvalues"]


def without_qvalues(map_: Map, path: Path) -> tuple[Map, FalseDiscovery | None]:
    """Return a map without the bands that depend on all pixels, and what they were made with; None if it has none.

    Raises
    ------
    InputError
        When its tags and its bands do not agree.
    """
    try:
        request = FalseDiscovery.from_provenance(map_.provenance)
    except ParameterError as error:
        raise damaged(path, error) from None
    # A part asks for q-values, which only the whole map has.
    if request is None or ("part" in map_.provenance and not set(ADDED) & set(map_.names)):
        return map_, None
    if missing := [name for name in ADDED if name not in map_]:
        raise damaged(path, f"it has a false discovery rate, but no band {missing[0]}")
    if (pvalue := map_.provenance["fdr"].get("pvalue")) not in map_.names:
        raise damaged(path, f"there is no band {short(pvalue)}")
    named = map_.provenance.get("bands")
    rest = [name for name in named if name not in ADDED] if isinstance(named, list) else named
    bands = tuple(band for band in map_.bands if band.name not in ADDED)
    files = {name: file for name, file in map_.files.items() if name not in ADDED}
    return replace(map_, bands=bands, provenance={**map_.provenance, "bands": rest}, files=files), request


def differing_qvalues(
    map_: Map, request: FalseDiscovery, dtype: str, path: Path
) -> Iterator[tuple[str, Block, NDArray[np.bool_], NDArray[Any], NDArray[Any]]]:
    """Yield for each block and each of both bands which pixels differ, what the map holds, and what it should hold.

    Parameters
    ----------
    map_
        The map, with q-values.
    request
        What its tags say.
    dtype
        The type of its numbers.
    path
        Its name, for messages.

    Yields
    ------
    tuple
        The band, the block, and three (y, x) arrays.

    Raises
    ------
    InputError
        When p-values do not lie between 0 and 1, or numbers in its tags are wrong.
    """
    said, plain = map_.provenance["fdr"], [band for band in map_.bands if band.name not in ADDED]
    with adjust(map_.grid, plain, map_.read, request, pvalue=said["pvalue"], dtype=dtype, map_=path) as adjusted:
        for name, value in adjusted.describe().items():
            if name in ("tests", "rejected", "threshold") and said.get(name) != value:
                raise damaged(path, f"fdr.{name} is {short(said.get(name))}, its p-values give {value}")
        for block in map_.blocks():
            qvalues = adjusted.read(block)
            codes = adjusted.codes(map_.read(said["pvalue"], block), qvalues)
            for name, wanted in zip(ADDED, (qvalues, codes), strict=True):
                found = map_.read(name, block)
                same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
                yield name, block, ~same, found, wanted
