"""The variables in one group of a NetCDF, HDF5 or Zarr file, and which of them hold pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from pixelwise.errors import InputError
from pixelwise.rasters.arrays import array_driver, groups_of, open_dataset, remote_metadata
from pixelwise.rasters.headers import TAG
from pixelwise.rasters.netcdf_lock import lock_of
from pixelwise.rasters.packing import unpacked
from pixelwise.rasters.stamps import FileStamp, Stamp
from pixelwise.rasters.urls import Location, Url
from pixelwise.regular_files import check_encodable, check_regular
from pixelwise.words import first_of, one_line

__all__ = ["TIMES", "ArrayGroup", "attribute"]

#: Names of dimensions that are taken for time if no unit says so.
TIMES = ("time", "t", "year", "date")
#: How many names a message lists, and how many variables it describes.
LISTED, MOST_NAMES = 8, 40
#: A coordinate has at most this many values, and its chunks: 2 GiB of float64.
MOST_COORDINATES = 1 << 28


def attribute(variable: Any, name: str) -> Any:
    """Return an attribute, wherever xarray keeps it; empty if there is none."""
    return variable.attrs.get(name, variable.encoding.get(name)) or ""


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

    path: Location
    group: str = ""
    driver: str = field(init=False)
    stamp: Stamp = field(init=False)
    _datasets: list[Any] = field(init=False, repr=False)
    variables: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.driver = array_driver(self.path)
        self.stamp = self._looked_at()
        if self.stamp.size == 0:
            raise InputError(f"{self.path}: is empty (0 bytes); copy or export it again")
        # Coordinates may be in a group around it (CF, section 2.7).
        parts = self.group.strip("/").split("/") if self.group else []
        around = ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]
        self._datasets = []
        try:
            for name in around:
                self._datasets.append(open_dataset(self.path, self.driver, name))
        except BaseException:
            self._close()
            raise
        self.variables = {}
        for dataset in self._datasets:
            self.variables = {**dataset.variables, **self.variables}

    def _looked_at(self) -> Stamp:
        """Return what the file or store is like now; of one on a server, what that says of its metadata."""
        if isinstance(self.path, Url):
            if self.path.query or self.driver != "Zarr":
                raise InputError(f"{self.path}: of arrays on servers, only Zarr stores without a query are read")
            return remote_metadata(self.path)[1]
        check_encodable(self.path)
        if not self.path.is_dir():
            check_regular(self.path)
        return FileStamp.of(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with lock_of(self.driver):
            for dataset in self._datasets:
                dataset.close()

    def values_of(self, variable: Any) -> NDArray[Any]:
        """Return all values of a small variable, decoded; NaN where missing.

        Raises
        ------
        InputError
            When it is too large for a coordinate.
        """
        sizes = variable.encoding.get("chunks") or variable.encoding.get("chunksizes") or ()
        chunk = math.prod(size for size in sizes if isinstance(size, int))
        if max(chunk, variable.size) > MOST_COORDINATES:
            raise InputError(f"a coordinate of {variable.size} values in chunks of {chunk} is too large")
        if variable.dtype.kind == "O" and self.driver != "NetCDF":
            raise InputError("a coordinate holds objects, which are not read")
        with lock_of(self.driver):
            return unpacked(variable.values, variable.attrs)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the group."""
        return dict(self._datasets[0].attrs)

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that can hold a series of images, or one image: of numbers, with two dimensions or more."""
        variables, auxiliary = self._datasets[0].variables, self._auxiliary
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
        return TAG in self.attributes

    @property
    def is_map(self) -> bool:
        """Whether it is a map, whose bands have no dates."""
        return self.written and not any(dim.lower() in TIMES for dim in self._datasets[0].dims)

    @cached_property
    def _auxiliary(self) -> frozenset[str]:
        """Names of variables that describe others: coordinates, bounds, grid mappings."""
        found = set(self._datasets[0].dims)
        for variable in self.variables.values():
            for name in ("coordinates", "bounds", "grid_mapping", "climatology"):
                found.update(str(attribute(variable, name)).replace(":", " ").split())
        return frozenset(found)

    def _described(self, name: str) -> str:
        """Return a name with its unit and long name."""
        attributes = self.variables[name].attrs
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
