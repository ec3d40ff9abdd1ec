"""What an array of a NetCDF, HDF5 or Zarr file says about itself: dimensions, place, missing values, times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.rasters.array_groups import LISTED, TIMES, ArrayGroup, attribute
from pixelwise.rasters.conventions import SPATIAL_REF, Coordinate, is_latitude, is_longitude, plane_of
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.packing import is_unsigned, missing_numbers, packing_of, valid_range
from pixelwise.rasters.pieces import ArrayPlace
from pixelwise.rasters.placing import EachPixel, north_up, placed
from pixelwise.words import first_of, unknown

__all__ = ["ArrayHeader", "TimeValues", "header_of"]

#: Rows and columns at once of an array that is not stored in chunks.
ROWS = 256
#: Coordinates that option ``select`` names may differ by this share.
CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class TimeValues:
    """A time coordinate.

    Attributes
    ----------
    name
        Its name.
    numbers
        (time,) numbers, datetime64 or text.
    unit, calendar
        Its attributes, empty where it has none.
    bounds
        (time, 2) beginnings and ends of periods; None if it has none.
    bounds_words
        Their own unit and calendar, empty where they have none.
    """

    name: str
    numbers: NDArray[Any]
    unit: str
    calendar: str
    bounds: NDArray[Any] | None = None
    bounds_words: tuple[str, str] = ("", "")


@dataclass(frozen=True, eq=False)
class ArrayHeader:
    """One array, as `Header` describes a raster, and what only arrays have.

    Attributes
    ----------
    header
        Its bands are time steps, not dated yet.
    nodata
        Stored numbers that are missing.
    valid
        Smallest and largest valid value, scaled.
    times
        When its steps are; None if the file does not say.
    remarks
        What a user should know about how it is read, one line each.
    """

    header: Header
    nodata: tuple[float, ...]
    valid: tuple[float, float]
    times: TimeValues | None
    remarks: tuple[str, ...] = ()


def header_of(group: ArrayGroup, name: str, select: Mapping[str, str]) -> ArrayHeader:
    """Return the header of an array.

    Parameters
    ----------
    group
        The group that it is in.
    name
        Its name.
    select
        Values of dimensions besides time, rows and columns, by name.

    Raises
    ------
    InputError
        When there is no such array, its dimensions cannot be recognized, or its pixels have no place.
    """
    if name not in group.variables:
        raise InputError(f"{group.path}: {unknown('variable', name, group.names)}")
    try:
        return _Described(group, name, select).header()
    except (InputError, ParameterError) as error:
        lines = error.problems if isinstance(error, InputError) else (str(error),)
        raise InputError(*(f"{group.path}: {name}: {line}" for line in lines)) from None


class _Described:
    """One array with its coordinates."""

    def __init__(self, group: ArrayGroup, name: str, select: Mapping[str, str]) -> None:
        self.group, self.name, self.select = group, name, select
        self.variable = variable = group.variables[name]
        if variable.dtype.kind not in "iufb" or len(variable.dims) < 2:
            shape = ", ".join(map(str, variable.dims)) or "no dimension"
            raise InputError(f"holds {variable.dtype} values with {shape}; expected numbers with rows and columns")
        self.dims: tuple[str, ...] = variable.dims
        self.coordinates = {dim: self._coordinate(dim) for dim in self.dims}
        self.time = _time_of(self.dims, self.coordinates)
        self.mapping = self._mapping()
        self.each: EachPixel | None = None
        self.remarks: list[str] = []
        self.y, self.x, self.fixed = self._plane()

    def header(self) -> ArrayHeader:
        """Return everything that is known about it."""
        variable = self.variable
        stored = variable.dtype.newbyteorder("=")
        unsigned = is_unsigned(variable.attrs, stored)
        dtype = f"uint{8 * stored.itemsize}" if unsigned else READ_AS.get(stored.name, stored.name)
        chunks, chunk_bytes = _chunks(variable, self.time)
        grid, flipped = self._grid()
        if grid.places is not None:
            self.remarks.append(f"{grid.places.reason}: maps can be written as Zarr or NetCDF, not as GeoTIFF")
        place = ArrayPlace(
            self.group.group, self.name, self.time, self.y, self.x, self.fixed, flipped,
            (chunks[self.y], chunks[self.x]), chunks.get(self.time, 1), chunk_bytes, unsigned,
        )  # fmt: skip
        scale, offset = packing = packing_of(variable.attrs)
        nodata = missing_numbers(variable.attrs, np.dtype(dtype), netcdf=self.group.driver == "NetCDF")
        unit = str(variable.attrs.get("units", "")).strip()
        bands = tuple(
            BandHeader(index, dtype, nodata[0] if nodata else None, scale, offset, "", unit, masked=False)
            for index in range(1, (variable.sizes[self.time] if self.time else 1) + 1)
        )
        header = Header(
            self.group.path, self.group.driver, grid, grid.crs is not None or grid.transform != Affine.identity(),
            bands, min(chunks[self.y], grid.height), min(chunks[self.x], grid.width), pixel_interleaved=False,
            compression="", stamp=self.group.stamp, written=self.group.written, array=place,
        )  # fmt: skip
        valid = valid_range(variable.attrs, np.dtype(dtype), packing)
        return ArrayHeader(header, nodata, valid, self._times(), tuple(self.remarks))

    def _coordinate(self, dim: str) -> Any | None:
        """Return the one-dimensional coordinate variable of a dimension; None if it has none."""
        variables = self.group.variables
        named = str(attribute(self.variable, "coordinates")).split()
        found = [variables[name] for name in dict.fromkeys((dim, *named)) if name in variables]
        known = [one for one in found if one.dims == (dim,) and one.dtype.kind in "iufMUSTO"]
        # A row number besides says less than a latitude.
        telling = [one for one in known if _is_time(one) or is_latitude(one.attrs) or is_longitude(one.attrs)]
        return next(iter((*telling, *known)), None)

    def _mapping(self) -> dict[str, Any]:
        """Return the attributes of the grid mapping."""
        variables = self.group.variables
        # The extended form is `crs: x y`.
        named = str(attribute(self.variable, "grid_mapping")).replace(":", " ").split()[:1]
        for name in named or (SPATIAL_REF, "crs"):
            if name in variables:
                return dict(variables[name].attrs)
        if named:
            raise InputError(f"names the grid mapping {named[0]!r}, which the file does not have")
        return {}

    def _plane(self) -> tuple[str, str, tuple[tuple[str, int], ...]]:
        """Return the dimensions of rows and of columns, and the indices of others; note what had to be guessed."""
        about = {dim: dict(one.attrs) if one is not None else {} for dim, one in self.coordinates.items()}
        about.pop(self.time, None)
        found = plane_of(about)
        of_each = self._dims_of_each_pixel()
        on_earth = found is not None and (
            bool(self.mapping) or (is_latitude(about[found[0]]) and is_longitude(about[found[1]]))
        )
        if of_each is not None and not on_earth:
            # Numbers of rows and columns beside latitudes and longitudes of each pixel say nothing.
            found = of_each
            self.coordinates.update(dict.fromkeys(found, None))
            self.each = self._each_pixel(found)
        fixed = self._fixed(found)
        if found is not None:
            return (*found, fixed)
        left = [dim for dim in self.dims if dim not in (self.time, *(dim for dim, _ in fixed))]
        if len(left) != 2:
            raise InputError(
                f"has the dimensions {', '.join(self.dims)}; which of them are rows and columns is unknown: expected y "
                "and x, lat and lon, or coordinates with units such as degrees_north"
            )
        self.remarks.append(f"its dimensions {left[0]} and {left[1]} are treated as rows and columns")
        return left[0], left[1], fixed

    def _fixed(self, plane: tuple[str, str] | None) -> tuple[tuple[str, int], ...]:
        """Return the indices of dimensions that are neither time nor rows nor columns."""
        sizes, fixed = self.variable.sizes, []
        for dim, wanted in self.select.items():
            if dim not in self.dims:
                raise InputError(f"has no dimension {dim!r} to select from; its dimensions are {', '.join(self.dims)}")
            if dim in (self.time, *(plane or ())):
                raise InputError(
                    f"{dim!r} is time, rows or columns: choose dates by --start, --end; pixels by --bounds"
                )
            fixed.append((dim, _index_of(dim, self._values(dim), wanted)))
        left = [dim for dim in self.dims if dim not in (self.time, *self.select, *(plane or ()))]
        if plane is None:
            # Those without coordinates may be rows and columns.
            left = [dim for dim in left if sizes[dim] == 1 or self.coordinates[dim] is not None]
        for dim in left:
            if sizes[dim] != 1:
                raise InputError(
                    f"has the dimensions {', '.join(self.dims)}: choose one of the {sizes[dim]} values of "
                    f"{dim} with --select {dim}=VALUE ({_listed(self._values(dim))})"
                )
            fixed.append((dim, 0))
        return tuple(sorted(fixed))

    def _values(self, dim: str) -> NDArray[Any]:
        """Return the values of a dimension; the numbers from 0 if it has none."""
        coordinate = self.coordinates[dim]
        return np.arange(self.variable.sizes[dim]) if coordinate is None else self.group.values_of(coordinate)

    def _grid(self) -> tuple[Grid, tuple[bool, bool]]:
        """Return where pixels are, north and west first, and whether rows and columns are stored the other way."""
        attributes = {**self.group.attributes, **self.variable.attrs}
        axes = _in_degrees([self._axis(self.y), self._axis(self.x)], self.mapping)
        return north_up(placed(axes[0], axes[1], self.mapping, attributes, self.each))

    def _axis(self, dim: str) -> Coordinate:
        coordinate, size = self.coordinates[dim], self.variable.sizes[dim]
        if coordinate is None or coordinate.dtype.kind not in "iuf":
            return Coordinate(dim, size)
        bounds = self.group.variables.get(str(attribute(coordinate, "bounds")))
        known = bounds is not None and bounds.shape == (size, 2) and size == 1
        edges = self.group.values_of(bounds) if known else None
        return Coordinate(dim, size, self.group.values_of(coordinate), coordinate.attrs, edges)

    def _latitudes_and_longitudes(self) -> tuple[Any, Any] | None:
        """Return the variables with a latitude and a longitude of each pixel."""
        found: dict[str, Any] = {}
        for name in str(attribute(self.variable, "coordinates")).split():
            other = self.group.variables.get(name)
            if other is not None and len(other.dims) == 2 and set(other.dims) < set(self.dims):
                kind = "y" if is_latitude(other.attrs) else "x" if is_longitude(other.attrs) else ""
                found.setdefault(kind, other)
        if not {"y", "x"} <= found.keys() or set(found["y"].dims) != set(found["x"].dims):
            return None
        return found["y"], found["x"]

    def _dims_of_each_pixel(self) -> tuple[str, str] | None:
        """Return the dimensions of latitudes and longitudes of each pixel; None if there are none."""
        found = self._latitudes_and_longitudes()
        return None if found is None else (found[0].dims[0], found[0].dims[1])

    def _each_pixel(self, plane: tuple[str, str]) -> EachPixel | None:
        found = self._latitudes_and_longitudes()
        if found is None:
            return None
        north, east = (self.group.values_of(one.transpose(*plane)) for one in found)
        return (north, found[0].attrs), (east, found[1].attrs)

    def _times(self) -> TimeValues | None:
        """Return when the time steps are, or the only one."""
        variables = self.group.variables
        if self.time:
            coordinate = self.coordinates[self.time]
        else:
            named = ("time", *str(attribute(self.variable, "coordinates")).split())
            alone = [variables[name] for name in named if name in variables]
            coordinate = next((one for one in alone if one.size == 1 and _is_time(one)), None)
        if coordinate is None:
            return None
        if attribute(coordinate, "climatology"):
            raise InputError(
                f"its times are climatological ({attribute(coordinate, 'climatology')}): means of the same months or "
                "hours of many years, which are not a series"
            )
        numbers = np.reshape(self.group.values_of(coordinate), -1)
        bounds = variables.get(str(attribute(coordinate, "bounds")))
        words = _time_words(coordinate)
        if bounds is None or bounds.size != 2 * numbers.size:
            return TimeValues(self.time or "time", numbers, *words)
        edges = np.reshape(self.group.values_of(bounds), (-1, 2))
        return TimeValues(self.time or "time", numbers, *words, edges, _time_words(bounds))


#: Types that are read as others: half precision, which no kernel knows, and truth values.
READ_AS = {"float16": "float32", "float128": "float64", "bool": "uint8"}


def _in_degrees(axes: Sequence[Coordinate], mapping: Mapping[str, Any]) -> Sequence[Coordinate]:
    """Return latitudes and longitudes with the units that many programs lose, if names and values leave no doubt."""
    found = []
    for axis, names, (low, high), unit in zip(
        axes, (("lat", "latitude"), ("lon", "longitude")), ((-90, 90), (-180, 360)),
        ("degrees_north", "degrees_east"), strict=True,
    ):  # fmt: skip
        named = axis.name.lower() in names and axis.values is not None
        if mapping or not named or axis.attributes.get("units") or axis.values is None:
            return axes
        if not ((axis.values >= low) & (axis.values <= high)).all():
            return axes
        found.append(replace(axis, attributes={**axis.attributes, "units": unit}))
    return found


def _is_time(variable: Any) -> bool:
    from pixelwise.dates.cf_times import is_time_unit

    unit = str(attribute(variable, "units"))
    return variable.dtype.kind == "M" or is_time_unit(unit) or variable.attrs.get("standard_name") == "time"


def _time_words(variable: Any) -> tuple[str, str]:
    return str(attribute(variable, "units")), str(attribute(variable, "calendar"))


def _time_of(dims: Sequence[str], coordinates: Mapping[str, Any]) -> str:
    """Return the name of the dimension of time; empty if there is none."""
    known = [dim for dim in dims if coordinates[dim] is not None and _is_time(coordinates[dim])]
    # A forecast has the time of its reference besides.
    named = [dim for dim in known or dims if dim.lower() in TIMES]
    if len(known) > 1 and not named:
        raise InputError(f"has several dimensions of time ({', '.join(known)}): choose one with --select of the others")
    return (named or known or [""])[0]


def _chunks(variable: Any, time: str) -> tuple[dict[str, int], int]:
    """Return how many steps of each dimension are decoded together, and bytes of a decoded chunk."""
    chunks, sizes = variable.encoding.get("chunks") or variable.encoding.get("chunksizes"), variable.sizes
    if chunks and all(isinstance(size, int) for size in chunks):
        # A chunk may be much larger than the array.
        found = {dim: min(size, sizes[dim]) or 1 for dim, size in zip(variable.dims, chunks, strict=True)}
        return found, math.prod(chunks) * variable.dtype.itemsize
    # Not in chunks: any window is read as it is, best by whole rows.
    last = variable.dims[-1]
    found = {dim: sizes[dim] if dim == last else 1 if dim == time else min(ROWS, sizes[dim]) for dim in sizes}
    return found, math.prod(found.values()) * variable.dtype.itemsize


def _index_of(dim: str, values: NDArray[Any], wanted: str) -> int:
    """Return the index of a value of a dimension, by number or as text."""
    if values.dtype.kind in "OSUT":
        texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
        matches = [index for index, text in enumerate(texts) if text.strip() == wanted.strip()]
    else:
        try:
            number = float(wanted)
        except ValueError:
            raise InputError(f"--select {dim}={wanted} is not a number ({_listed(values)})") from None
        numbers = np.asarray(values, dtype=np.float64)
        # Comparisons with NaN are false.
        close = np.abs(numbers - number) <= CLOSE * abs(number)
        matches = np.flatnonzero(close & np.isfinite(number)).tolist()
    if len(matches) > 1:
        raise InputError(f"has {len(matches)} values of {dim} that are {wanted}: expected one")
    if not matches:
        raise InputError(f"has no {dim} {wanted}; expected one of {_listed(values)}")
    return matches[0]


def _listed(values: NDArray[Any]) -> str:
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values.tolist()]
    return first_of(words, LISTED)
