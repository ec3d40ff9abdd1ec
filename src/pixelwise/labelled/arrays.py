"""What a `xarray.DataArray` says about itself: its time axis, its dimensions, what its numbers mean, where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.labels import axis_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.labelled.stack import ArrayStack, Decoding, grid_without_place
from pixelwise.rasters.conventions import SPATIAL_REF, Coordinate, grid_of, plane_of
from pixelwise.rasters.packing import DEFAULT_FILLS, is_unsigned, packing_of, valid_range
from pixelwise.rasters.placing import placed
from pixelwise.words import shown, unknown

try:
    import xarray
except ImportError as error:  # pragma: no cover - the tests' environment has it
    raise ParameterError('this needs xarray: pip install "pixelwise[xarray]"') from error

__all__ = ["Labelled", "aligned"]

#: Attributes that say which number means missing: CF's, and odc-stac's.
MISSING = ("_FillValue", "missing_value", "nodata")
#: Attributes that say which values are valid.
LIMITS = ("valid_range", "valid_min", "valid_max")
#: Attributes of packed numbers, and what they are where nothing is packed.
PACKED = {"scale_factor": 1.0, "add_offset": 0.0}


#: Rounding steps that values may be beyond the limits: those of a mean of a few layers.
ROUNDING = 4
#: Numbers below are rather positions than years of our era.
FIRST_LIKELY_YEAR = 1000


@dataclass(frozen=True, eq=False)
class Labelled:
    """An array with a time axis.

    Attributes
    ----------
    array
        The array; its first dimension is that of time, the last two are treated as rows and columns.
    axis
        Its dates.
    name
        What messages call it.
    decoding
        What its numbers mean.
    order
        Its dimensions but that of time, in the order in which they were given.
    """

    array: xarray.DataArray
    axis: TimeAxis
    name: str
    decoding: Decoding
    order: tuple[str, ...]

    @classmethod
    def of(cls, array: Any, dim: str, *, what: str = "", halo: int = 0) -> Labelled:
        """Check an array; nothing is computed.

        Parameters
        ----------
        array
            The array.
        dim
            Its dimension of time.
        what
            What messages call it; by default its name.
        halo
            Pixels that the method reads around each: if any, rows and columns must be known.

        Raises
        ------
        InputError
            When its times, its type or its attributes make no sense.
        ParameterError
            When it is no array, or has no such dimension.
        """
        if not isinstance(array, xarray.DataArray):
            variables = f" (one of {', '.join(map(str, array.data_vars))})" if isinstance(array, xarray.Dataset) else ""
            raise ParameterError(f"expected a xarray.DataArray{variables}, not {type(array).__name__}")
        name = what or (f"array {array.name!r}" if array.name else "the array")
        if dim not in array.dims:
            raise unknown(f"dimension of {name}", dim, map(str, array.dims))
        try:
            decoding = _decoding_of(array, name)
            if dim not in array.coords:
                raise InputError(
                    f"its dimension {dim!r} has no coordinate; expected dates or years: "
                    f"array.assign_coords({{{dim!r}: ...}})"
                )
            axis = axis_of(array[dim].values, dim, array[dim].attrs)
            others = tuple(str(name) for name in array.dims if name != dim)
            if 0 in array.shape:
                raise InputError(f"it has no pixels: its shape is {array.shape}")
        except InputError as error:
            raise InputError(*(f"{name}: {problem}" for problem in error.problems)) from None
        plane = _plane(array, others, name) if halo else others[-2:]
        extra = tuple(other for other in others if other not in plane)
        return cls(array.transpose(dim, *extra, *plane), axis, name, decoding, others)

    @property
    def dim(self) -> str:
        """The dimension of time."""
        return str(self.array.dims[0])

    @property
    def pixel_dims(self) -> tuple[str, ...]:
        """The other dimensions, as they lie in `array`."""
        return tuple(map(str, self.array.dims[1:]))

    @property
    def chunked(self) -> bool:
        """Whether it is lazy."""
        return self.array.chunks is not None

    def stack(self, values: Any = None, *, gap: int = 0, grid: Grid | None = None) -> ArrayStack:
        """Return its pixels as a stack; `values` instead of its own, if given."""
        found = planes_of(self.array.data if values is None else values)
        place = grid or grid_without_place(found, gap)
        unit = str(self.array.attrs.get("units", ""))
        return ArrayStack(found, self.axis, place, self.decoding, unit, self.remarks, gap)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know about its times; one line each."""
        first, last = self.axis.years[0], self.axis.years[-1]
        times = self.array[self.dim]
        found = []
        bounds = times.attrs.get("bounds", times.encoding.get("bounds"))
        if bounds:
            found.append(
                f"{self.name}: its times {self.dim!r} are used as they are; their bounds ({bounds}), by which "
                "open_stack dates the layers of a file, are ignored"
            )
        if times.dtype.kind != "M" and 0 <= first <= last < FIRST_LIKELY_YEAR:
            numbers = (
                f"the numbers {first:g} to {last:g}, which are read as years: slopes are per unit of these numbers"
            )
            found.append(f"{self.name}: its times {self.dim!r} are {numbers}")
        return tuple(found)

    def georeferenced(self) -> tuple[Labelled, Grid]:
        """Return the array with its first row in the north and its first column in the west, and its grid.

        Raises
        ------
        InputError
            When it has further dimensions, or its coordinates give no grid.
        """
        dims = self.pixel_dims
        plane = _plane(self.array, dims, self.name) if len(dims) >= 2 else dims
        if len(dims) != 2:
            further = [name for name in dims if name not in plane] if len(dims) > 2 else []
            choose = f"; select one of {', '.join(further)} (array.isel({further[0]}=0))" if further else ""
            raise InputError(f"{self.name}: a map has rows and columns, but it has the dimensions {dims}{choose}")
        array = self.array.transpose(self.dim, *plane)
        for name in plane:
            values = array[name].values if name in array.coords else None
            descending = values is not None and len(values) > 1 and bool(values[0] > values[-1])
            if values is not None and descending != (name == plane[0]) and len(values) > 1:
                array = array.isel({name: slice(None, None, -1)})
        y, x = (_coordinate(array, name) for name in plane)
        mapping = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", SPATIAL_REF))
        about = array.coords[mapping].attrs if mapping in array.coords else {}
        try:
            # Rows and columns without coordinates have a place only if a transform is given.
            bare = y.values is None and x.values is None
            grid = (grid_of if bare else placed)(y, x, about, _place_attributes(array))
        except InputError as error:
            way_out = "; without an output, a dataset keeps its coordinates (.to_netcdf, .to_zarr)"
            raise InputError(*(f"{self.name}: {problem}{way_out}" for problem in error.problems)) from None
        return Labelled(array, self.axis, self.name, self.decoding, self.order), grid


def planes_of(values: Any) -> Any:
    """Return (time, ...) as (time, ..., y, x): with one row, or one pixel, if dimensions are lacking."""
    lacking = max(3 - values.ndim, 0)
    return values.reshape((values.shape[0], *(1,) * lacking, *values.shape[1:])) if lacking else values


def _plane(array: xarray.DataArray, dims: tuple[str, ...], name: str) -> tuple[str, ...]:
    known = {dim: array[dim].attrs if dim in array.coords else {} for dim in dims}
    plane = plane_of(known)
    if plane is None and len(dims) == 2:
        return dims
    if plane is None:
        raise ParameterError(
            f"{name}: which of its dimensions {', '.join(dims)} are rows and columns is unknown; expected y and x, "
            "lat and lon, or attributes axis or standard_name of coordinates"
        )
    return plane


def _coordinate(array: xarray.DataArray, name: str) -> Coordinate:
    size = array.sizes[name]
    if name not in array.coords:
        return Coordinate(name, size)
    return Coordinate(name, size, array[name].values, array[name].attrs)


def _place_attributes(array: xarray.DataArray) -> dict[str, Any]:
    """Return what an array's attributes say about its place; stackstac has the EPSG code as a coordinate as well."""
    found = dict(array.attrs)
    if "epsg" in array.coords and array["epsg"].ndim == 0 and "crs" not in found:
        found["crs"] = f"EPSG:{int(array['epsg'])}"
    return found


def _decoding_of(array: xarray.DataArray, name: str) -> Decoding:
    """Return what the numbers of an array mean.

    Raises
    ------
    InputError
        When they are no real numbers, or packed.
    """
    dtype = array.dtype
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        remedy = '; array.astype("uint8") makes 0 and 1 of it' if dtype.kind == "b" else ""
        raise InputError(f"it holds {dtype} values; expected real numbers of at most 64 bits{remedy}")
    for attribute, plain in PACKED.items():
        if attribute in array.attrs and not np.all(np.asarray(array.attrs[attribute]) == plain):
            raise InputError(
                f"its attribute {attribute}={shown(array.attrs[attribute])} says that its numbers are packed: decode "
                "them (xarray.decode_cf, or mask_and_scale=True on opening); if they are decoded already, delete the "
                f"attribute (del array.attrs[{attribute!r}])"
            )
    present = [attribute for attribute in MISSING if array.attrs.get(attribute) is not None]
    said: dict[float, str] = {}
    for attribute in present:
        for number in _numbers(array.attrs[attribute], attribute):
            said.setdefault(number, attribute)
    known = {number: attribute for number, attribute in said.items() if not np.isnan(number)}
    limits = tuple(attribute for attribute in LIMITS if array.attrs.get(attribute) is not None)
    # Attributes keep the stored numbers, which xarray decoded.
    stored = np.dtype(array.encoding.get("dtype", dtype) or dtype)
    if is_unsigned(array.encoding, stored):
        stored = np.dtype(f"u{stored.itemsize}")
    valid = valid_range(array.attrs, stored, packing_of(array.encoding))
    if dtype.kind != "f":
        return Decoding(name, tuple(known), (), valid, limits)
    if dtype.itemsize > 2:
        known.setdefault(DEFAULT_FILLS["f8"], "")
    rounding = _rounding_of(dtype, [array.attrs[attribute] for attribute in limits])
    return Decoding(name, (), tuple(known.items()), valid, limits, rounding)


def _rounding_of(dtype: np.dtype[Any], stated: Sequence[Any]) -> float:
    """Return the part of a limit that counts as rounding: the mean of float32 values -1.8 may be -1.8000001.

    Steps are those of the array or of the attributes, whichever are coarser.
    """
    types = [dtype, *(np.asarray(one).dtype for one in stated)]
    return ROUNDING * max(float(np.finfo(one).eps) for one in types if one.kind == "f")


def _numbers(value: Any, attribute: str) -> list[float]:
    try:
        return [float(number) for number in np.atleast_1d(value)]
    except (TypeError, ValueError):
        raise InputError(f"its attribute {attribute}={shown(value)} is no number") from None


def aligned(others: Mapping[str, Any], response: Labelled) -> dict[str, tuple[Labelled, Any]]:
    """Return covariates with the pixels of the response: labelled arrays, and their (time, ...) values.

    A covariate may lack dimensions of the response, such as an index that is the same for all pixels.

    Raises
    ------
    InputError, ParameterError
        When one has other dimensions or coordinates than the response, besides time.
    """
    found = {}
    for name, other in others.items():
        one = Labelled.of(other, response.dim, what=f"input {name!r}")
        further = [dim for dim in one.pixel_dims if dim not in response.pixel_dims]
        if further:
            raise ParameterError(
                f"input {name!r} has the dimension {further[0]!r}, which the response lacks (its dimensions: "
                f"{', '.join(response.pixel_dims)}): select one (array.isel({further[0]}=0))"
            )
        for dim in one.pixel_dims:
            _check_same(name, dim, one.array, response.array)
        dims = [dim for dim in response.pixel_dims if dim in one.pixel_dims]
        values = one.array.transpose(one.dim, *dims).data
        shape = [response.array.sizes[dim] if dim in dims else 1 for dim in response.pixel_dims]
        found[name] = one, values.reshape((len(values), *shape))
    return found


def _check_same(name: str, dim: str, other: xarray.DataArray, response: xarray.DataArray) -> None:
    """Refuse a covariate whose pixels are not those of the response."""
    mine, theirs = (_labels(array, dim) for array in (response, other))
    remedy = f"{name}.reindex_like(response, method='nearest', tolerance=...) puts both on one grid"
    if other.sizes[dim] != response.sizes[dim]:
        raise InputError(
            f"input {name!r} has {other.sizes[dim]} pixels along {dim!r}, the response {response.sizes[dim]}: {remedy}"
        )
    if mine is not None and theirs is not None and not np.array_equal(mine, theirs):
        at = int(np.flatnonzero(mine != theirs)[0])
        raise InputError(
            f"input {name!r} has other coordinates {dim!r} than the response: {theirs[at]} instead of {mine[at]} at "
            f"number {at + 1}; {remedy}"
        )


def _labels(array: xarray.DataArray, dim: str) -> NDArray[Any] | None:
    return array[dim].values if dim in array.coords else None
