"""What the arrays of a NetCDF, HDF5 or Zarr file say about themselves: dimensions, places, missing values, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.rasters.arrays import array_driver, groups_of, open_dataset
from pixelwise.rasters.conventions import SPATIAL_REF, Coordinate, is_latitude, is_longitude, plane_of
from pixelwise.rasters.headers import TAG, BandHeader, Header
from pixelwise.rasters.packing import missing_numbers, packing_of, valid_range
from pixelwise.rasters.pieces import ArrayPlace
from pixelwise.rasters.placing import EachPixel, north_up, placed
from pixelwise.rasters.stamps import FileStamp
from pixelwise.regular_files import check_encodable, check_regular
from pixelwise.words import first_of, one_line, unknown

__all__ = ["ArrayGroup", "ArrayHeader", "TimeValues"]

#: Rows and columns at once of an array that is not stored in chunks.
ROWS = 256
#: Names of dimensions that are taken for time if no unit says so.
TIMES = ("time", "t", "year", "date")
#: How many values of a dimension a message lists.
LISTED = 8
#: How many variables a message describes.
MOST_NAMES = 40
#: Coordinates that option ``select`` names may differ by this share.
CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class TimeValues:
    """A time coordinate as it is stored.

    Attributes
    ----------
    name
        Its name.
    numbers
        (time,) numbers or datetime64.
    unit, calendar
        Its attributes, empty where it has none.
    bounds
        (time, 2) in the same unit; None if it has none.
    """

    name: str
    numbers: NDArray[Any]
    unit: str
    calendar: str
    bounds: NDArray[Any] | None = None


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


@dataclass(eq=False)
class ArrayGroup:
    """The arrays in one group of a file; a context that closes the file.

    Parameters
    ----------
    path
        The file or store.
    group
        The group; empty for the outermost.

    Raises
    ------
    InputError
        When it cannot be opened.
    ParameterError
        When the package that reads it is not installed.
    """

    path: Path
    group: str = ""
    driver: str = field(init=False)
    stamp: FileStamp = field(init=False)
    _dataset: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_encodable(self.path)
        self.driver = array_driver(self.path)
        if not self.path.is_dir():
            check_regular(self.path)
        self.stamp = FileStamp.of(self.path)
        if self.stamp.size == 0:
            raise InputError(f"{self.path}: is empty (0 bytes); copy or export it again")
        self._dataset = open_dataset(self.path, self.driver, self.group)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._dataset.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that can hold a series of images, or one image: of numbers, with two dimensions or more."""
        variables, auxiliary = self._dataset.variables, self._auxiliary
        found = [
            name
            for name, variable in variables.items()
            if name not in auxiliary and variable.dtype.kind in "iufb" and len(variable.dims) >= 2
        ]
        # Longitudes and latitudes of every pixel have two dimensions where others have three.
        most = max((len(variables[name].dims) for name in found), default=0)
        return tuple(name for name in found if len(variables[name].dims) >= min(most, 3))

    @property
    def written(self) -> bool:
        """Whether pixelwise wrote it: a map, or dated layers."""
        return TAG in self._dataset.attrs

    @property
    def is_map(self) -> bool:
        """Whether it is a map, whose bands have no dates."""
        return self.written and not any(dim.lower() in TIMES for dim in self._dataset.dims)

    @cached_property
    def _auxiliary(self) -> frozenset[str]:
        """Names of variables that describe others: coordinates, bounds, grid mappings."""
        found = set(self._dataset.dims)
        for variable in self._dataset.variables.values():
            for attribute in ("coordinates", "bounds", "grid_mapping", "climatology", "ancillary_variables"):
                if attribute != "ancillary_variables":
                    found.update(str(_attribute(variable, attribute)).replace(":", " ").split())
        return frozenset(found)

    def _described(self, name: str) -> str:
        """Return a name with its unit and long name."""
        attributes = self._dataset.variables[name].attrs
        words = [one_line(attributes[key]) for key in ("units", "long_name") if attributes.get(key)]
        return f"{name} ({', '.join(words)})" if words else name

    def only_name(self) -> str:
        """Return the name of the array where there is no choice.

        Raises
        ------
        InputError
            When there are several, which it lists, or none.
        """
        names = self.names
        where = f"{self.path}: its group {self.group!r}" if self.group else f"{self.path}:"
        if not names:
            groups = [] if self.group else self._groups()
            inner = f"; choose a group with --group {first_of(groups, LISTED, '|')}" if groups else ""
            raise InputError(f"{where} holds no array of numbers with rows and columns{inner}")
        if len(names) > 1:
            listed = "; ".join(map(self._described, names[:MOST_NAMES]))
            more = f"; and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            raise InputError(f"{where} holds {len(names)} variables: choose one with --variable NAME: {listed}{more}")
        return names[0]

    def _groups(self) -> list[str]:
        try:
            return list(groups_of(self.path, self.driver))
        except InputError:
            return []

    def header(self, name: str, select: Mapping[str, str]) -> ArrayHeader:
        """Return the header of an array.

        Parameters
        ----------
        name
            Its name.
        select
            Values of dimensions besides time, rows and columns, by name.

        Raises
        ------
        InputError
            When there is no such array, its dimensions cannot be told, or its pixels have no place.
        """
        if name not in self._dataset.variables:
            raise InputError(f"{self.path}: {unknown('variable', name, self.names)}")
        variable = self._dataset.variables[name]
        try:
            return self._header_of(name, variable, select)
        except (InputError, ParameterError) as error:
            lines = error.problems if isinstance(error, InputError) else (str(error),)
            raise InputError(*(f"{self.path}: {name}: {line}" for line in lines)) from None

    def _header_of(self, name: str, variable: Any, select: Mapping[str, str]) -> ArrayHeader:
        if variable.dtype.kind not in "iufb" or len(variable.dims) < 2:
            shape = ", ".join(map(str, variable.dims)) or "no dimension"
            raise InputError(f"holds {variable.dtype} values with {shape}; expected numbers with rows and columns")
        coordinates = {dim: self._coordinate(dim, variable) for dim in variable.dims}
        time = _time_of(variable.dims, coordinates)
        fixed = self._fixed(variable, coordinates, time, select)
        y, x, remarks = _plane(variable, coordinates, time, fixed)
        chunks = _chunks(variable, time)
        grid, flipped = self._grid(variable, coordinates, y, x)
        if grid.places is not None:
            remarks.append(f"{grid.places.reason}: maps can be written as Zarr or NetCDF, not as GeoTIFF")
        unsigned = variable.dtype.kind == "i" and str(variable.attrs.get("_Unsigned", "")).lower() == "true"
        place = ArrayPlace(
            self.group, name, time, y, x, fixed, flipped, (chunks[y], chunks[x]), chunks.get(time, 1), unsigned
        )
        kind = variable.dtype.newbyteorder("=")
        dtype = "uint8" if kind.kind == "b" else f"uint{8 * kind.itemsize}" if unsigned else kind.name
        scale, offset = packing = packing_of(variable.attrs)
        nodata = missing_numbers(variable.attrs, np.dtype(dtype), netcdf=self.driver == "NetCDF")
        unit = str(variable.attrs.get("units", "")).strip()
        bands = tuple(
            BandHeader(index, dtype, nodata[0] if nodata else None, scale, offset, "", unit, masked=False)
            for index in range(1, (variable.sizes[time] if time else 1) + 1)
        )
        header = Header(
            self.path, self.driver, grid, grid.crs is not None or grid.transform != Affine.identity(), bands,
            min(chunks[y], grid.height), min(chunks[x], grid.width),
            pixel_interleaved=False, compression="", stamp=self.stamp, written=self.written, array=place,
        )  # fmt: skip
        times = self._times(variable, coordinates, time)
        return ArrayHeader(header, nodata, valid_range(variable.attrs, np.dtype(dtype), packing), times, tuple(remarks))

    def _coordinate(self, dim: str, variable: Any) -> Any | None:
        """Return the one-dimensional coordinate variable of a dimension; None if it has none."""
        variables = self._dataset.variables
        named = str(_attribute(variable, "coordinates")).split()
        # Text may be dates; in Zarr, objects are decoded by running what the store says.
        kinds = "iufMUST" + "O" * (self.driver == "NetCDF")
        for name in (dim, *named):
            if name in variables and variables[name].dims == (dim,) and variables[name].dtype.kind in kinds:
                found = variables[name]
                if found.dtype.kind in "iufM" or dim.lower() in TIMES:
                    return found
        return None

    def _fixed(
        self, variable: Any, coordinates: Mapping[str, Any], time: str, select: Mapping[str, str]
    ) -> tuple[tuple[str, int], ...]:
        """Return the indices of dimensions that are neither time nor rows nor columns."""
        plane = _plane_names(coordinates, time)
        fixed = []
        for dim, wanted in select.items():
            if dim not in variable.dims:
                raise InputError(
                    f"has no dimension {dim!r} to select from; its dimensions are {', '.join(variable.dims)}"
                )
            if dim in (time, *(plane or ())):
                raise InputError(
                    f"{dim!r} is time, rows or columns: choose dates by --start, --end; pixels by --bounds"
                )
            fixed.append((dim, _index_of(dim, coordinates[dim], variable.sizes[dim], wanted)))
        left = [dim for dim in variable.dims if dim not in (time, *select, *(plane or ()))]
        if plane is None:
            # Those without coordinates may be rows and columns.
            left = [dim for dim in left if variable.sizes[dim] == 1 or coordinates[dim] is not None]
        for dim in left:
            if variable.sizes[dim] != 1:
                raise InputError(
                    f"has the dimensions {', '.join(variable.dims)}: choose one of the {variable.sizes[dim]} values of "
                    f"{dim} with --select {dim}=VALUE ({_listed(coordinates[dim], variable.sizes[dim])})"
                )
            fixed.append((dim, 0))
        return tuple(sorted(fixed))

    def _grid(self, variable: Any, coordinates: Mapping[str, Any], y: str, x: str) -> tuple[Grid, tuple[bool, bool]]:
        """Return where pixels are, north and west first, and whether rows and columns are stored the other way."""
        mapping = self._mapping(variable)
        attributes = {**self._dataset.attrs, **variable.attrs}
        axes = _in_degrees([self._axis(dim, variable.sizes[dim], coordinates[dim]) for dim in (y, x)], mapping)
        return north_up(placed(axes[0], axes[1], mapping, attributes, self._of_each_pixel(variable, y, x)))

    def _of_each_pixel(self, variable: Any, y: str, x: str) -> EachPixel | None:
        """Return latitudes and longitudes of each pixel; None if there are none."""
        found: dict[str, Any] = {}
        for name in str(_attribute(variable, "coordinates")).split():
            other = self._dataset.variables.get(name)
            if other is not None and set(other.dims) == {y, x} and other.dtype.kind == "f":
                kind = "y" if is_latitude(other.attrs) else "x" if is_longitude(other.attrs) else ""
                found.setdefault(kind, other)
        if not {"y", "x"} <= found.keys():
            return None
        north, east = (found[kind].transpose(y, x) for kind in ("y", "x"))
        return (north.values, north.attrs), (east.values, east.attrs)

    def _axis(self, dim: str, size: int, coordinate: Any | None) -> Coordinate:
        if coordinate is None or coordinate.dtype.kind not in "iuf":
            return Coordinate(dim, size)
        bounds = self._dataset.variables.get(str(_attribute(coordinate, "bounds")))
        edges = bounds.values if bounds is not None and bounds.shape == (size, 2) and size == 1 else None
        return Coordinate(dim, size, coordinate.values, coordinate.attrs, edges)

    def _mapping(self, variable: Any) -> dict[str, Any]:
        """Return the attributes of the grid mapping."""
        variables = self._dataset.variables
        # The extended form is `crs: x y`.
        named = str(_attribute(variable, "grid_mapping")).replace(":", " ").split()[:1]
        for name in named or (SPATIAL_REF, "crs"):
            if name in variables:
                return dict(variables[name].attrs)
        if named:
            raise InputError(f"names the grid mapping {named[0]!r}, which the file does not have")
        return {}

    def _times(self, variable: Any, coordinates: Mapping[str, Any], time: str) -> TimeValues | None:
        """Return when the time steps are, or the only one."""
        variables = self._dataset.variables
        if not time:
            named = ("time", *str(_attribute(variable, "coordinates")).split())
            alone = [
                variables[n] for n in named if n in variables and variables[n].size == 1 and _is_time(variables[n])
            ]
            if not alone:
                return None
            return TimeValues("time", np.reshape(alone[0].values, 1), *_time_words(alone[0]))
        coordinate = coordinates[time]
        if coordinate is None:
            return None
        if _attribute(coordinate, "climatology"):
            raise InputError(
                f"its times are climatological ({_attribute(coordinate, 'climatology')}): means of the same months or "
                "hours of many years, which are no series"
            )
        bounds = variables.get(str(_attribute(coordinate, "bounds")))
        whole = bounds is not None and bounds.shape == (coordinate.size, 2)
        return TimeValues(time, coordinate.values, *_time_words(coordinate), bounds.values if whole else None)


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


def _attribute(variable: Any, name: str) -> Any:
    """Return an attribute, wherever xarray keeps it; empty if there is none."""
    return variable.attrs.get(name, variable.encoding.get(name)) or ""


def _is_time(variable: Any) -> bool:
    from pixelwise.dates.cf_times import is_time_unit

    unit = str(_attribute(variable, "units"))
    return variable.dtype.kind == "M" or is_time_unit(unit) or variable.attrs.get("standard_name") == "time"


def _time_words(variable: Any) -> tuple[str, str]:
    return str(_attribute(variable, "units")), str(_attribute(variable, "calendar"))


def _time_of(dims: Sequence[str], coordinates: Mapping[str, Any]) -> str:
    """Return the name of the dimension of time; empty if there is none."""
    known = [dim for dim in dims if coordinates[dim] is not None and _is_time(coordinates[dim])]
    # A forecast has the time of its reference besides.
    named = [dim for dim in known or dims if dim.lower() in TIMES]
    if len(known) > 1 and not named:
        raise InputError(f"has several dimensions of time ({', '.join(known)}): choose one with --select of the others")
    return (named or known or [""])[0]


def _plane_names(coordinates: Mapping[str, Any], time: str) -> tuple[str, str] | None:
    attributes = {dim: dict(one.attrs) if one is not None else {} for dim, one in coordinates.items() if dim != time}
    return plane_of(attributes)


def _plane(
    variable: Any, coordinates: Mapping[str, Any], time: str, fixed: Sequence[tuple[str, int]]
) -> tuple[str, str, list[str]]:
    """Return the dimensions of rows and columns, and a remark where they had to be guessed."""
    found = _plane_names(coordinates, time)
    if found is not None:
        return (*found, [])
    left = [dim for dim in variable.dims if dim not in (time, *(dim for dim, _ in fixed))]
    if len(left) != 2:
        raise InputError(
            f"has the dimensions {', '.join(variable.dims)}; which of them are rows and columns is unknown: expected y "
            "and x, lat and lon, or coordinates with units such as degrees_north"
        )
    return left[0], left[1], [f"its dimensions {left[0]} and {left[1]} are taken for rows and columns"]


def _chunks(variable: Any, time: str) -> dict[str, int]:
    """Return how many steps of each dimension are decoded together."""
    chunks = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    if chunks and all(isinstance(size, int) for size in chunks):
        return {dim: min(size, variable.sizes[dim]) or 1 for dim, size in zip(variable.dims, chunks, strict=True)}
    # Not in chunks: any window is read as it is, best by whole rows.
    last, sizes = variable.dims[-1], variable.sizes
    return {dim: sizes[dim] if dim == last else 1 if dim == time else min(ROWS, sizes[dim]) for dim in sizes}


def _index_of(dim: str, coordinate: Any | None, size: int, wanted: str) -> int:
    """Return the index of a value of a dimension."""
    values = np.arange(size) if coordinate is None else coordinate.values
    try:
        number = float(wanted)
    except ValueError:
        raise InputError(f"--select {dim}={wanted} is not a number ({_listed(coordinate, size)})") from None
    apart = np.abs(np.asarray(values, dtype=np.float64) - number)
    nearest = int(apart.argmin())
    if apart[nearest] > CLOSE * max(abs(number), 1e-300):
        raise InputError(f"has no {dim} {wanted}; expected one of {_listed(coordinate, size)}")
    return nearest


def _listed(coordinate: Any | None, size: int) -> str:
    values = range(size) if coordinate is None else coordinate.values.tolist()
    return first_of([f"{value:g}" if isinstance(value, float) else str(value) for value in values], LISTED)
