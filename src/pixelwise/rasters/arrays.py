"""Arrays in NetCDF, HDF5 and Zarr: opened as xarray's lazily indexed variables, and read by windows.

xarray only finds the pixels: numbers come as they are stored, and missing ones, scale and time are dealt with here as
for any other file. Its own decoding may scale 16-bit integers in float32.
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.netcdf_lock import NETCDF, lock_of
from pixelwise.rasters.packing import without_sign
from pixelwise.rasters.pieces import ArrayPlace
from pixelwise.rasters.remote import RemoteError, read_whole, stamp_of
from pixelwise.rasters.stamps import RemoteStamp
from pixelwise.rasters.urls import Location, Url, local_path
from pixelwise.regular_files import open_regular
from pixelwise.words import first_of, one_line

__all__ = [
    "ARRAY_SUFFIXES",
    "ArrayFile",
    "array_driver",
    "is_zarr",
    "open_dataset",
    "open_window_source",
    "remote_metadata",
]

#: Suffixes of files that the NetCDF library reads.
NETCDF_SUFFIXES = frozenset([".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5", ".he5"])
ZARR_SUFFIX = ".zarr"
ARRAY_SUFFIXES = NETCDF_SUFFIXES | {ZARR_SUFFIX}

#: What a folder must have to be a Zarr store: of version 3, and of version 2.
ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

ENGINES = {"NetCDF": ("netcdf4", "netCDF4", "netcdf"), "Zarr": ("zarr", "zarr", "zarr")}

#: Bytes read by one call: more costs memory beside the block, less costs calls (a millisecond each in zarr).
CALL_BYTES = 16 << 20


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, or a group or array of one."""
    return any(os.path.isfile(path / name) for name in ZARR_METADATA)  # noqa: PTH113 - a name may be too long


def array_driver(path: Location) -> str:
    """Return what reads a file or store, ``NetCDF`` or ``Zarr``; empty for a raster that GDAL reads."""
    suffix = path.suffix.lower()
    if suffix in NETCDF_SUFFIXES:
        return "NetCDF"
    return "Zarr" if suffix == ZARR_SUFFIX or (isinstance(path, Path) and is_zarr(path)) else ""


def open_dataset(path: Location, driver: str, group: str = "") -> Any:
    """Open the variables of a group, none of which is read.

    Coordinates are not read either: those of a stranger's Zarr store may be objects, and reading these runs code.

    Raises
    ------
    InputError
        When it is not what its name says, or has no such group.
    ParameterError
        When the package that reads it is not installed.
    """
    engine, package, extra = ENGINES[driver]
    if isinstance(path, Url) and driver != "Zarr":
        raise InputError(
            f"{path}: {driver} is read from local files only; download it first, or write it as Zarr there"
        )
    if driver == "Zarr" and isinstance(path, Path) and path.is_dir() and not is_zarr(path):
        raise InputError(
            f"{path}: is a folder without Zarr metadata (expected {' or '.join(ZARR_METADATA[:2])}): copy it again, "
            "hidden files too"
        )
    try:
        import xarray

        __import__(package)
    except ImportError:
        raise ParameterError(f'{path}: reading it needs {package}: pip install "pixelwise[{extra}]"') from None
    options: dict[str, Any] = {}
    source: Any = path
    if driver == "Zarr":
        from pixelwise.rasters.zarr_files import RegularFiles, RemoteStore

        source = RemoteStore(path) if isinstance(path, Url) else RegularFiles(path)
        options["consolidated"] = _is_consolidated(path)
    common: dict[str, Any] = {
        "engine": engine, "group": group or None, "chunks": None, "cache": False, "mask_and_scale": False,
        "decode_times": False, "decode_coords": False, "concat_characters": False, "create_default_indexes": False,
        **options,
    }  # fmt: skip
    try:
        with lock_of(driver):
            return xarray.open_dataset(source, **common)
    # Backends raise whatever their libraries do.
    except Exception as error:
        if group and options.get("consolidated"):
            # A group that was added later is not in the consolidated metadata.
            with contextlib.suppress(Exception):
                return xarray.open_dataset(source, **{**common, "consolidated": False})
        raise _explained(path, driver, group, error) from None


def _is_consolidated(path: Location) -> bool:
    """Whether a store has the metadata of all its arrays in one file; xarray warns where it looks for it in vain."""
    if isinstance(path, Url):
        return remote_metadata(path)[2]
    if (path / ".zmetadata").exists():
        return True
    try:
        with open_regular(path / "zarr.json") as file:
            return bool(json.load(file).get("consolidated_metadata"))
    except (InputError, OSError, ValueError, AttributeError):
        return False


def remote_metadata(url: Url) -> tuple[Url, RemoteStamp, bool]:
    """Return the file with the metadata of a store on a server, its stamp, and whether it has those of all arrays.

    Raises
    ------
    InputError
        When there is none.
    """
    for name in (".zmetadata", *ZARR_METADATA):
        try:
            stamp = stamp_of(url / name)
        except RemoteError:  # it is not there
            continue
        whole = name == ".zmetadata"
        if name == "zarr.json":
            with contextlib.suppress(ValueError, AttributeError):
                whole = bool(json.loads(read_whole(url / name)).get("consolidated_metadata"))
        return url / name, stamp, whole
    raise InputError(f"{url}: no Zarr store is there (looked for {', '.join(ZARR_METADATA)}), or access is denied")


def _explained(path: Location, driver: str, group: str, error: Exception) -> InputError:
    """Say why a file or a group of it cannot be opened."""
    if group:
        try:
            known = list(groups_of(path, driver))
        except InputError:
            known = []
        if known and group.strip("/") not in known:
            return InputError(f"{path}: has no group {group!r}; its groups are {first_of(known, 20)}")
    reason = one_line(getattr(error, "strerror", "") or error).replace(f"'{path}'", "").strip(": ")
    return InputError(f"{path}: cannot be opened as {driver} ({reason}); is it complete?")


def groups_of(path: Location, driver: str) -> Iterator[str]:
    """Yield the names of all groups, the outermost first.

    Raises
    ------
    InputError
        When it cannot be opened.
    """
    try:
        if driver == "Zarr":
            import zarr

            from pixelwise.rasters.zarr_files import RemoteStore

            place = RemoteStore(path) if isinstance(path, Url) else str(path)
            members = zarr.open_group(place, mode="r").members(max_depth=None)
            yield from sorted(name for name, member in members if isinstance(member, zarr.Group))
            return
        import netCDF4

        with NETCDF, netCDF4.Dataset(local_path(path, "NetCDF")) as dataset:
            below = [dataset]
            while below:
                for inner in below.pop(0).groups.values():
                    yield inner.path.strip("/")
                    below.append(inner)
    except Exception as error:
        raise InputError(f"{path}: its groups cannot be listed ({one_line(error)})") from None


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An open array: windows of pixels of some of its time steps.

    Attributes
    ----------
    variable
        xarray's, lazily indexed.
    place
        Which dimensions are time, rows and columns.
    height, width
        Rows and columns.
    driver
        What reads it.
    release
        Called once, when it is closed or dropped: a thread that ends drops its files.
    """

    variable: Any
    place: ArrayPlace
    height: int
    width: int
    driver: str
    release: Callable[[], None]
    #: Bytes of one time step and pixel.
    itemsize: int = field(init=False)
    _closing: weakref.finalize[Any, ArrayFile] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "itemsize", self.variable.dtype.itemsize)
        object.__setattr__(self, "_closing", weakref.finalize(self, self.release))

    @property
    def block_shapes(self) -> Sequence[tuple[int, int]]:
        """Rows and columns of the chunks, of each time step."""
        steps = self.variable.sizes[self.place.time] if self.place.time else 1
        return [self.place.chunk] * steps

    def read(self, bands: tuple[int, ...], block: Block, out: NDArray[Any]) -> None:
        """Read a window of some time steps, numbered from 1, into `out` (band, y, x).

        Raises
        ------
        DamagedBlockError
            When a chunk cannot be decoded.
        """
        steps = np.array(bands) - 1
        most = max(CALL_BYTES // (block.pixels * self.itemsize), 1)
        for rows, first, last in _calls(steps, self.place.time_chunk, most):
            slab = self._slab(slice(first, last), block)
            wanted = steps[rows] - first
            whole = len(wanted) == last - first and bool((np.diff(wanted) == 1).all())
            out[_as_slice(rows)] = slab if whole else slab[wanted]

    def _slab(self, steps: slice, block: Block) -> NDArray[Any]:
        """Return (time, y, x) of consecutive time steps."""
        place = self.place
        top = self.height - block.row - block.height if place.flipped[0] else block.row
        left = self.width - block.col - block.width if place.flipped[1] else block.col
        window = {
            place.time: steps,
            place.y: slice(top, top + block.height),
            place.x: slice(left, left + block.width),
            **dict(place.fixed),
        }
        try:
            with lock_of(self.driver):
                stored = self.variable[tuple(window[name] for name in self.variable.dims)]
                values: NDArray[Any] = stored.values
        except MemoryError:
            raise
        # Decoders raise whatever they like: zlib.error, RuntimeError, ValueError, OSError, KeyError, ...
        except Exception as error:
            raise DamagedBlockError(one_line(error) or type(error).__name__) from error
        order = [name for name in (place.time, place.y, place.x) if name]
        values = values.transpose([stored.dims.index(name) for name in order])
        if not place.time:
            values = values[None]
        if place.unsigned:
            values = without_sign(values)
        return values[:, :: -1 if place.flipped[0] else 1, :: -1 if place.flipped[1] else 1]

    def close(self) -> None:
        """Close the file."""
        self._closing()


#: NetCDF files that are open in this process, by path and group, and how many use each. Threads take turns anyway, and
#: two threads that open and close a file that a third part of the program holds open crash it (netCDF4 1.7.5).
_OPEN: dict[tuple[Location, str], tuple[Any, int]] = {}


def open_window_source(path: Location, driver: str, place: ArrayPlace, height: int, width: int) -> ArrayFile:
    """Open an array to read windows of it.

    Raises
    ------
    InputError
        When it cannot be opened, or is no longer the array whose header was read.
    """
    with lock_of(driver):
        if driver == "NetCDF":
            key = path, place.group
            dataset, users = _OPEN.get(key) or (open_dataset(path, driver, place.group), 0)
            _OPEN[key] = dataset, users + 1
            release: Callable[[], None] = partial(_release, key)
        else:
            dataset = open_dataset(path, driver, place.group)
            release = dataset.close
        variable = dataset.variables.get(place.variable)
        sizes = {} if variable is None else variable.sizes
        if (sizes.get(place.y), sizes.get(place.x)) != (height, width):
            release()
            raise InputError(f"{path}: {place.variable} has changed since its header was read")
        return ArrayFile(variable, place, height, width, driver, release)


def _release(key: tuple[Location, str]) -> None:
    """Close a file if nobody uses it any more."""
    with NETCDF:
        dataset, users = _OPEN.pop(key)
        if users > 1:
            _OPEN[key] = dataset, users - 1
        else:
            dataset.close()


def _calls(steps: NDArray[np.int64], chunk: int, most: int) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """Divide time steps among calls that decode no chunk twice.

    Parameters
    ----------
    steps
        Time steps, in any order.
    chunk
        Time steps in one chunk.
    most
        Time steps that one call may read, if these are several chunks.

    Yields
    ------
    tuple
        Positions in `steps`, and the first time step of the call and the one after its last.
    """
    order = np.argsort(steps, kind="stable")
    ascending = steps[order]
    begin = 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            last, following = int(ascending[end - 1]), int(ascending[end])
            joined = following // chunk == last // chunk
            fits = (following // chunk + 1) * chunk - ascending[begin] <= most
            if joined or (following == last + 1 and fits):
                continue
        yield order[begin:end], int(ascending[begin]), int(ascending[end - 1]) + 1
        begin = end


def _as_slice(rows: NDArray[np.int64]) -> Any:
    """Return positions as a slice if they are consecutive: copying is then twice as fast."""
    if bool((np.diff(rows) == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
