"""The variables of a map or a stack of layers by the CF conventions, for every format that has variables."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, band_from_file
from pixelwise.dates.cf_axis import bounds_of, time_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.maps.outputs import Content
from pixelwise.rasters.conventions import (
    SPATIAL_REF,
    Coordinate,
    band_attributes,
    coordinates_of,
    dimensions_of,
    mapping_of,
)
from pixelwise.rasters.headers import TAG
from pixelwise.rasters.placing import placed

__all__ = [
    "COORDINATES",
    "LAYERS",
    "PLACE",
    "UNIT",
    "Variable",
    "check_names",
    "described",
    "kind_attributes",
    "variables_of",
]

#: Values of a variable, None if it has none, and its attributes.
Found = tuple[Any, Mapping[str, Any]]

#: Attributes of a variable: the unit of its band as a GeoTIFF has it, where CF writes it in another way; how many bands
#: come before it; and the names of its layers, if it has several.
UNIT, PLACE, LAYERS = "pixelwise_unit", "pixelwise_place", "pixelwise_layers"
#: The kind of its numbers, and the name of the band with their p-values.
KIND, PVALUE = "pixelwise_kind", "pixelwise_pvalue"


#: Bytes of a name: those of a folder (255), of a variable of NetCDF (256).
LONGEST_NAME = 255

#: The variables that place the pixels.
COORDINATES = ("y", "x", "lat", "lon", SPATIAL_REF)


@dataclass(frozen=True, eq=False)
class Variable:
    """One variable.

    Attributes
    ----------
    name, dimensions, attributes
        As the conventions have them.
    values
        Its values; None if these are bands of blocks.
    bands
        Its bands: one, or all layers of a stack.
    place
        How many bands come before these.
    """

    name: str
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]
    values: NDArray[Any] | None = None
    bands: tuple[Band, ...] = ()
    place: int = 0


def variables_of(content: Content) -> Iterator[Variable]:
    """Yield the variables of a file: coordinates, grid mapping and time, then bands in their order."""
    for name, (values, attributes) in coordinates_of(content.grid).items():
        yield Variable(name, dimensions_of(name, values), dict(attributes), values)
    yield Variable(SPATIAL_REF, (), mapping_of(content.grid), np.array(0, dtype=np.int32))
    # Without `coordinates`, xarray makes a variable of the grid mapping, and rioxarray loses the CRS.
    flat = [name for name, (values, _) in coordinates_of(content.grid).items() if values.ndim > 1]
    beside = " ".join([*flat, SPATIAL_REF])
    layers = 0
    if content.axis is not None:
        layers = len(content.axis)
        numbers, attributes = time_of(content.axis)
        bounds = bounds_of(content.axis)
        if bounds is not None:
            yield Variable("time_bnds", ("time", "bnds"), {}, bounds)
            attributes["bounds"] = "time_bnds"
        yield Variable("time", ("time",), dict(attributes), numbers)
        yield _variable(content.name, ("time", "y", "x"), content.bands[:layers], 0, beside)
    for place in range(layers, len(content.bands)):
        yield _variable(content.bands[place].name, ("y", "x"), content.bands[place : place + 1], place, beside)


def kind_attributes(band: Band) -> dict[str, str]:
    """Return the attributes that say what the numbers of a band are; CF has none for it."""
    return {name: text for name, text in ((KIND, band.kind), (PVALUE, band.pvalue)) if text}


def _variable(name: str, dimensions: tuple[str, ...], bands: tuple[Band, ...], place: int, beside: str) -> Variable:
    attributes = {**band_attributes(bands[0]), "grid_mapping": SPATIAL_REF, "coordinates": beside, PLACE: place}
    if bands[0].unit != attributes.get("units", ""):
        attributes[UNIT] = bands[0].unit
    attributes.update(kind_attributes(bands[0]))
    if len(dimensions) > 2:
        attributes[LAYERS] = [band.name for band in bands]
    return Variable(name, dimensions, attributes, None, bands, place)


def check_names(content: Content, kind: str) -> None:
    """Refuse bands whose names a file of variables cannot hold, before anything is computed.

    Parameters
    ----------
    content
        What the file is to hold.
    kind
        ``Zarr`` or ``NetCDF``.

    Raises
    ------
    ParameterError
        When one is that of a coordinate, or no name in this format.
    """
    found = list(variables_of(content))
    bands = [variable.name for variable in found if variable.bands]
    # A rotated grid has no `y`, but readers would take a band of that name for it.
    taken = {*COORDINATES, *(name for one in found if not one.bands for name in (one.name, *one.dimensions))}
    for name in bands:
        reason = _why_not(name, kind)
        # Ignoring case: some file systems do too.
        if name.lower() in taken:
            reason = "is the name of its coordinate"
        if reason:
            raise ParameterError(
                f"{content.path}: band {name!r} {reason}; rename it, or write a GeoTIFF, where any name is possible"
            )


def _why_not(name: str, kind: str) -> str:
    """Return why a name is none of a variable; "" if it can be."""
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        return f"has a name of more than {LONGEST_NAME} bytes, the longest possible"
    if kind == "Zarr":
        # A folder of the store: beside its own files, and the hidden ones of a job.
        reserved = name.startswith((".", "__")) or name.lower() == "zarr.json"
        return "has a name that Zarr reserves" if reserved else ""
    if not (name[0].isalnum() or name[0] == "_" or ord(name[0]) > 127) or name.endswith(" "):
        return "has a name that NetCDF forbids: expected a letter, a number or _ at first and no blank at last"
    changed = unicodedata.normalize("NFC", name) != name
    return "has a name that NetCDF would spell with other characters (Unicode NFC)" if changed else ""


def described(
    path: Path,
    size: tuple[int, int],
    coordinates: Mapping[str, Found],
    attributes: Mapping[str, Any],
    variables: Iterable[tuple[str, Mapping[str, Any], np.dtype[Any]]],
) -> tuple[Grid, str | None, list[Band]]:
    """Return the grid, the provenance as text (None if there is none), and the bands of what `variables_of` described.

    Parameters
    ----------
    path
        The file, for errors.
    size
        Rows and columns.
    coordinates
        Values and attributes of those of ``COORDINATES`` that the file has.
    attributes
        Attributes of the file.
    variables
        Name, attributes and type of each variable that holds bands, in their order.

    Raises
    ------
    InputError
        When the coordinates are no grid.
    """
    try:
        grid = _grid_in(size, coordinates, attributes)
    except InputError as error:
        raise InputError(*(f"{path}: {line}" for line in error.problems)) from None
    text = attributes.get(TAG)
    bands = [band for name, own, dtype in variables for band in _bands_of(name, own, integer=dtype.kind in "iu")]
    return grid, text if isinstance(text, str) else None, bands


def _grid_in(size: tuple[int, int], found: Mapping[str, Found], attributes: Mapping[str, Any]) -> Grid:
    """Return the grid of variables that were made by `variables_of`."""
    mapping = dict(found[SPATIAL_REF][1]) if SPATIAL_REF in found else {}
    each = (found["lat"], found["lon"]) if "lat" in found and "lon" in found else None
    for name, (values, _) in zip(("lat", "lon"), each or (), strict=False):
        if values.shape != size:
            raise InputError(f"its {name} has the size {values.shape}; expected {size}")
    nothing: Found = (None, {})
    y, x = (Coordinate(name, length, *found.get(name, nothing)) for name, length in zip("yx", size, strict=True))
    return placed(y, x, mapping, attributes, each)


def _bands_of(name: str, attributes: Mapping[str, Any], *, integer: bool) -> Iterator[Band]:
    """Yield the bands of a variable that was described by `variables_of`."""
    unit = str(attributes.get(UNIT, attributes.get("units", "")))
    kind, pvalue = (str(attributes.get(said, "")) for said in (KIND, PVALUE))
    description = str(attributes.get("long_name", ""))
    layers = attributes.get(LAYERS, name)
    # NetCDF has no lists of one text.
    for layer in [layers] if isinstance(layers, str) else layers:
        yield band_from_file(str(layer), description, unit, integer=integer, kind=kind, pvalue=pvalue)
