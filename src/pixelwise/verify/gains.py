"""Gains of the pieces of a map, looked up in their table in a different way from `apply`."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise.bands import Floats
from pixelwise.errors import InputError
from pixelwise.rasters.urls import Location, Url
from pixelwise.regular_files import read_text

__all__ = ["lines_of"]


def lines_of(table: Path, pieces: Sequence[tuple[Location, str, str]]) -> Floats:
    """Return (2, piece) gains and offsets.

    Parameters
    ----------
    table
        The table, whose content is that with which the map was made.
    pieces
        Where the file of each piece is, what its band is called, and its date.

    Raises
    ------
    InputError
        When a piece has no row: the map cannot have been made with this table.
    """
    rows = _rows_of(table)
    by_place: dict[str, list[dict[str, str]]] = {}
    by_name: dict[str, set[str]] = {}
    for row in rows:
        name = row["path"]
        place = name.split("?")[0] if "://" in name else os.path.realpath(table.parent / name)
        by_place.setdefault(place, []).append(row)
        by_name.setdefault(Path(name).name, set()).add(place)
    found = np.empty((2, len(pieces)))
    for number, (file, band, date) in enumerate(pieces):
        place = str(file) if isinstance(file, Url) else os.path.realpath(file)
        if place not in by_place and len(by_name.get(file.name, ())) == 1:
            [place] = by_name[file.name]
            if os.path.exists(place):  # noqa: PTH110 - a name alone stands only for what has moved
                raise InputError(f"gains {table}: belongs to {place}, not to {file}, but the map was made with it")
        own = [row for row in by_place.get(place, []) if row["band"] == band]
        exact = [row for row in own if row["date"] == date] or own
        if not exact or (len(exact) > 1 and len({(row["gain"], row["offset"]) for row in exact}) > 1):
            raise InputError(f"gains {table}: has no row for {file}, band {band}, {date}, but the map was made with it")
        found[:, number] = [float(exact[0][name].replace(",", ".")) for name in ("gain", "offset")]
    return found


def _rows_of(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table by name of column."""
    lines = [line for line in read_text(table).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    comma, semicolon = ("," in lines[0], ";" in lines[0]) if lines else (True, False)
    reader = csv.reader(lines, delimiter="," if comma else ";" if semicolon else "\t")
    names = [name.strip().lower() for name in next(reader, [])]
    return [dict(zip(names, map(str.strip, cells), strict=True)) for cells in reader]
