"""Pixels of NetCDF, HDF5 and Zarr, found by their coordinates instead of by windows of rows and columns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import InputError
from pixelwise.rasters.arrays import array_driver, open_dataset
from pixelwise.rasters.netcdf_lock import lock_of
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import one_line

__all__ = ["ArrayInput", "array_input", "check_store"]

#: Bytes of a decoded chunk, which is read for every pixel in it.
LARGEST_CHUNK = 2 << 30
#: How far from the centre of a pixel of the file that of the map may be, in pixels.
OFF_CENTRE = 0.02


@dataclass(frozen=True)
class ArrayInput:
    """One file, and the rows of the pieces' table that its time steps fill.

    Attributes
    ----------
    steps
        (time,) numbers of the time steps, from 1.
    targets
        (time,) rows of the table.
    """

    path: Path
    steps: tuple[int, ...]
    targets: tuple[int, ...]

    def values_at(self, spec: InputSpec, x: Floats, y: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Return (time, pixel) values at some points, NaN where missing, and (pixel,) which lie in the file.

        Raises
        ------
        InputError
            When the file is not what the map says, or cannot be read.
        """
        driver = array_driver(self.path)
        with lock_of(driver), open_dataset(self.path, driver, spec.group or "") as dataset:
            variable = self._variable(dataset, spec)
            plane = [dim for dim in variable.dims if dim != self._time(variable, dataset)][-2:]
            # By xarray's own decoding, which also unpacks coordinates.
            import xarray

            decoded = xarray.decode_cf(dataset, decode_times=False, decode_coords=False)
            rows, columns = _rows_and_columns(dataset, plane)
            mapping = dataset.variables.get(str(variable.attrs.get("grid_mapping", "")))
            height = 1.0 if mapping is None else float(mapping.attrs.get("perspective_point_height", 1.0))
            places = [_nearest(self.path, decoded, dim, points, height) for dim, points in ((rows, y), (columns, x))]
            inside = (places[0] >= 0) & (places[1] >= 0)
            table = np.full((len(self.steps), len(x)), np.nan)
            for pixel in np.flatnonzero(inside).tolist():
                chosen = {rows: int(places[0][pixel]), columns: int(places[1][pixel])}
                try:
                    stored = np.atleast_1d(variable.isel(chosen).values)
                except Exception as error:  # decoders raise whatever they like
                    raise InputError(f"{self.path}: cannot be read ({one_line(error)}); is it damaged?") from None
                if max(self.steps) > len(stored):
                    raise InputError(
                        f"{self.path}: has {len(stored)} time steps, but the map was made from step {max(self.steps)}"
                    )
                table[:, pixel] = _unpacked(stored[np.array(self.steps) - 1], variable, spec, netcdf=driver == "NetCDF")
        return table, inside

    def labels_of(self, spec: InputSpec) -> tuple[str, ...]:
        """Return what tables of gains call each time step: the name of the variable."""
        driver = array_driver(self.path)
        with lock_of(driver), open_dataset(self.path, driver, spec.group or "") as dataset:
            return (self._name(dataset, spec),) * len(self.steps)

    def _name(self, dataset: Any, spec: InputSpec) -> str:
        """Return the name of the array that was read."""
        found = [name for name, one in dataset.data_vars.items() if one.ndim >= 2 and not set(one.dims) <= {"bnds"}]
        if spec.variable is not None:
            found = [spec.variable]
        most = max((dataset[name].ndim for name in found if name in dataset), default=0)
        found = [name for name in found if name in dataset and dataset[name].ndim == most]
        if len(found) != 1:
            raise InputError(f"{self.path}: has no variable {spec.variable or 'of which it is clear that it was read'}")
        return str(found[0])

    def _variable(self, dataset: Any, spec: InputSpec) -> Any:
        """Return the array at the chosen values of its other dimensions."""
        coordinates = {dim for dim in dataset.dims if dim in dataset.variables}
        variable = dataset[self._name(dataset, spec)].variable
        sizes = [size for key in ("chunks", "chunksizes") for size in variable.encoding.get(key) or ()]
        if sizes and np.prod(np.array(sizes, dtype=float)) * variable.dtype.itemsize > LARGEST_CHUNK:
            raise InputError(f"{self.path}: cannot be verified: a chunk takes more than {LARGEST_CHUNK / 1e9:.1f} GB")
        for dim, value in spec.arrays.selected.items():
            values = dataset[dim].values if dim in coordinates else np.arange(variable.sizes.get(dim, 0))
            if dim not in variable.dims or not len(values):
                raise InputError(f"{self.path}: has no dimension {dim!r}")
            variable = variable.isel({dim: int(np.abs(values.astype(float) - float(value)).argmin())})
        return variable

    def _time(self, variable: Any, dataset: Any) -> str | None:
        """Return the dimension of time: the one whose unit says so, or that is called so."""
        for dim in variable.dims:
            attributes = dataset[dim].attrs if dim in dataset.variables else {}
            if " since " in str(attributes.get("units", "")) or " as %Y" in str(attributes.get("units", "")):
                return str(dim)
        named = [str(dim) for dim in variable.dims if str(dim).lower() in ("time", "t", "year", "date")]
        return named[0] if named else None


def array_input(path: Path, used: Sequence[tuple[int, int]]) -> ArrayInput:
    """Return a file of arrays, with the time steps that are used and their rows in the table of pieces."""
    steps, targets = zip(*used, strict=True)
    return ArrayInput(path, tuple(steps), tuple(targets))


def check_store(store: Path, map_: Path) -> None:
    """Refuse a store that the user did not name if anything in it is a link, which may lead anywhere.

    Raises
    ------
    InputError
    """
    for folder, below, files in os.walk(store):
        for name in (*below, *files):
            place = Path(folder) / name
            if place.is_symlink():
                raise InputError(f"{map_}: its file {store} contains a link, {place}; name the store if you mean it")


def _rows_and_columns(dataset: Any, plane: Sequence[str]) -> tuple[str, str]:
    """Return which of two dimensions are rows and columns, by their units or the first letters of their names."""
    first = plane[0]
    words = dataset[first].attrs if first in dataset.variables else {}
    east = "east" in str(words.get("units", "")).lower() or words.get("axis") == "X" or first.lower()[:2] in ("x", "lo")
    return (plane[1], first) if east else (first, plane[1])


def _nearest(path: Path, dataset: Any, dim: str, points: Floats, height: float) -> NDArray[np.int64]:
    """Return the index of the pixel at each point; -1 outside.

    Coordinates may be in metres, kilometres, or angles seen from a height: points tell which.

    Raises
    ------
    InputError
        When points are not centres of pixels.
    """
    if dim not in dataset.variables:
        raise InputError(
            f"{path}: cannot be compared, as verify finds pixels by coordinates, which dimension {dim} does not have "
            "(a curvilinear grid?)"
        )
    values = dataset[dim].values
    centres = values.astype(np.float64)
    if values.dtype == np.float32:
        centres = np.array([float(str(value)) for value in values])
    order = np.argsort(centres)
    best, off = np.full(len(points), -1), 0.0
    for factor in (1.0, 1000.0, 0.001, height):
        scaled = centres[order] * factor
        step = np.ptp(scaled) / max(len(scaled) - 1, 1) or 1.0
        place = np.abs(scaled[None] - points[:, None]).argmin(axis=1)
        apart = np.abs(scaled[place] - points) / step
        inside = apart <= 0.5
        if np.count_nonzero(inside) > np.count_nonzero(best >= 0):
            best, off = np.where(inside, order[place], -1), float(apart[inside].max())
    if off > OFF_CENTRE:
        raise InputError(f"{path}: its {dim} are not those of the map: off by {off:.2g} pixels")
    return best


def _unpacked(stored: NDArray[Any], variable: Any, spec: InputSpec, *, netcdf: bool) -> Floats:
    """Return (time,) values of stored numbers, NaN where they are missing."""
    attributes: Mapping[str, Any] = variable.attrs
    if stored.dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true":
        stored = stored.view(stored.dtype.str.replace("i", "u"))
    kind = stored.dtype

    def meant(value: Any) -> Any:
        """Return a number of an attribute as the type of the pixels means it."""
        number = float(value)
        return number + 2.0 ** (8 * kind.itemsize) if kind.kind == "u" and number < 0 else number

    declared = [value for key in ("_FillValue", "missing_value") for value in np.ravel(attributes.get(key, []))]
    if netcdf and "_FillValue" not in attributes and kind.itemsize > 1:
        import netCDF4

        declared += [netCDF4.default_fillvals[f"{kind.kind}{kind.itemsize}"]]
    numbers = np.array([meant(value) for value in (declared if spec.nodata is None else spec.nodata)])
    missing = np.isin(stored, numbers.astype(kind) if kind.kind == "f" else numbers) | (stored != stored)
    values = stored.astype(np.float64)
    scale = float(attributes.get("scale_factor", 1.0)) if spec.scale is None else spec.scale
    offset = float(attributes.get("add_offset", 0.0)) if spec.offset is None else spec.offset
    packed = (scale, offset) != (1.0, 0.0)
    ends = np.ravel(attributes.get("valid_range", []))
    limits = [("valid_min", np.greater_equal, ends[:1]), ("valid_max", np.less_equal, ends[1:2])]
    for name, holds, own in limits if spec.scale is None and spec.offset is None else ():
        for end in own if len(ends) == 2 else np.ravel(attributes.get(name, [])):
            unpacked = packed and kind.kind in "iu" and np.asarray(end).dtype.kind == "f"
            with np.errstate(invalid="ignore"):
                missing |= ~holds(values * scale + offset, end) if unpacked else ~holds(stored, kind.type(meant(end)))
    if packed:
        values = values * scale + offset
    low, high = spec.valid_range or (-np.inf, np.inf)
    if kind == np.float32 and not packed:
        low, high = float(np.float32(low)), float(np.float32(high))
    missing |= ~np.isfinite(values) | (values < low) | (values > high)
    values[missing] = np.nan
    return values
