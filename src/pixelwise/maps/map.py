"""The result of a job: named bands on a grid, in memory or in files."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from pixelwise.bands import Band, band_from_file
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.stores import NETCDF, STORE, is_our_store
from pixelwise.maps.tag import FIELDS, LARGEST_UNASKED, LONGEST_TEXT, decode_provenance, misfit
from pixelwise.rasters.datasets import GDAL_ERRORS, local_only, open_alone, open_geotiff
from pixelwise.rasters.headers import TAG, grid_of
from pixelwise.regular_files import check_encodable
from pixelwise.words import html_table, one_line, unknown

if TYPE_CHECKING:
    import xarray

    from pixelwise.pictures.tally import Tally

__all__ = [
    "Map",
    "Timings",
    "is_map",
    "open_map",
    "open_quietly",
    "read_block",
    "tag_of",
]

#: Four times the edge of a tile: blocks of 4 MB, each tile in one of them.
READ_EDGE = 1024


@dataclass(frozen=True)
class Timings:
    """How the time of a job was spent.

    Attributes
    ----------
    read, kernel, encode
        Seconds, summed over all workers.
    write, wait
        Seconds of the parent process: writing, and waiting for blocks.
    total
        Seconds from start to end; in a map's tag, to the moment when the last block was written.
    pixels, bytes_read
        Pixels of the map, and bytes of decoded input.
    """

    read: float = 0.0
    kernel: float = 0.0
    encode: float = 0.0
    write: float = 0.0
    wait: float = 0.0
    total: float = 0.0
    pixels: int = 0
    bytes_read: int = 0

    def as_dict(self) -> dict[str, float]:
        """Return the timings for JSON, in seconds to the millisecond."""
        return {name: round(value, 3) for name, value in asdict(self).items()}

    def after(self, before: Timings) -> Timings:
        """Return the timings of a job that came after another, and of both together where they are not the same."""
        names = ("read", "kernel", "encode", "write", "wait")
        both = {name: getattr(self, name) + getattr(before, name) for name in names}
        return replace(self, bytes_read=before.bytes_read, **both)

    @classmethod
    def from_provenance(cls, provenance: Mapping[str, Any]) -> Timings:
        """Return the timings in a map's tag; zeros if it holds none, or anything but numbers."""
        found = provenance.get("timings")
        known = found if isinstance(found, dict) else {}
        names = [field.name for field in fields(cls)]
        numbers: dict[str, Any] = {name: known[name] for name in names if isinstance(known.get(name), (int, float))}
        return cls(**numbers)

    def __str__(self) -> str:
        speed = self.pixels / self.total / 1e6 if self.total else 0.0
        return (
            f"read {self.read:.2f} s, kernel {self.kernel:.2f} s, encode {self.encode:.2f} s (all workers); "
            f"write {self.write:.2f} s, wait {self.wait:.2f} s; total {self.total:.2f} s, "
            f"{self.bytes_read / 1e6:.0f} MB, {speed:.2f} Mpx/s"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Map:
    """Named bands on a grid.

    ``map["slope"]`` is a (y, x) array, NaN where missing; ``n`` and ``status`` are integers.

    Attributes
    ----------
    grid
        The grid of the input.
    bands
        The bands in order, ``status`` last.
    provenance
        Method, parameters, inputs, versions: see "Provenance" in the documentation.
    timings
        Timings of the job that made it.
    files
        Where each band is: path and number from 1; empty for a map in memory.
    """

    grid: Grid
    bands: tuple[Band, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    files: Mapping[str, tuple[Path, int]] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for band in self.bands:
            if band.name not in self.files and band.name not in self.arrays:
                raise ValueError(f"band {band.name} has neither an array nor a file")

    def __repr__(self) -> str:
        where = ", ".join(str(path) for path in self.paths[:3]) or "in memory"
        return f"<Map: {', '.join(self.names)}; {self.grid}; {where}>"

    def _repr_html_(self) -> str:
        """Return what notebooks show: what it is, how it was made, and its bands; no pixel is read."""
        from pixelwise.maps.info import facts_of

        bands = ((f"band {band.name}", f"{band.description} ({band.unit})" if band.unit else band.description)
                 for band in self.bands)  # fmt: skip
        return html_table("pixelwise Map", [*facts_of(self).items(), *bands])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(band.name for band in self.bands)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.bands)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a band as (y, x) array.

        Raises
        ------
        ParameterError
            When there is no such band.
        """
        band = self.band(name)
        if name in self.arrays:
            return self.arrays[name]
        path, number = self.files[name]
        if path.suffix.lower() in (STORE, NETCDF):
            from pixelwise.maps import reading

            return reading.read_array(path, name)
        with open_quietly(path) as dataset:
            values = dataset.read(number)
        return values.astype(band.dtype(values.dtype.name), copy=False)  # type: ignore[no-any-return]

    def read(self, name: str, block: Block) -> NDArray[Any]:
        """Return a part of a band as (y, x) array; of a map in files, only this part is read.

        Parameters
        ----------
        name
            Name of the band.
        block
            Rows and columns, within the grid.

        Raises
        ------
        ParameterError
            When there is no such band.
        InputError
            When it cannot be read.
        """
        band = self.band(name)
        if name in self.arrays:
            return self.arrays[name][block.slices]
        path, number = self.files[name]
        if path.suffix.lower() in (STORE, NETCDF):
            from pixelwise.maps import reading

            return reading.read_window(path, name, block)
        values = read_block(path, block, number)
        return values.astype(band.dtype(values.dtype.name), copy=False)

    def blocks(self) -> Iterator[Block]:
        """Return the blocks in which the map is read with the least work, from the top left to the bottom right."""
        return self.grid.blocks(READ_EDGE, READ_EDGE)

    def band(self, name: str) -> Band:
        """Return the description of a band; an unknown name is a `ParameterError`."""
        for band in self.bands:
            if band.name == name:
                return band
        raise unknown("band", name, self.names)

    @property
    def status(self) -> NDArray[np.uint8]:
        """(y, x) why each pixel has its values; 0 is ok."""
        return self["status"]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold the map; none in memory."""
        return tuple(dict.fromkeys(path for path, _ in self.files.values()))

    # Both need optional packages, which are imported only on use.
    def to_xarray(self) -> xarray.Dataset:
        """Return an `xarray.Dataset` with one (y, x) variable per band; needs the extra ``xarray``.

        Attributes, coordinates and the variable ``spatial_ref`` follow the CF conventions; rioxarray and GDAL find the
        CRS. ``n`` and ``status`` are integers. The attribute ``PIXELWISE`` holds the provenance as in a GeoTIFF's tag.
        """
        from pixelwise.maps.dataset import dataset_of

        return dataset_of(self)

    def save(self, path: str | Path, **options: Any) -> Map:
        """Write the map to a file, or copy it into another format, and return it as it then is.

        Parameters
        ----------
        path
            ``.tif``, ``.zarr`` or ``.nc``; with ``{band}`` in its name, one file per band.
        **options
            ``compress``, ``zarr_format``, ``driver`` and ``overwrite``, as in `apply`.

        Raises
        ------
        OutputError
            When the file exists, or cannot be written.
        ParameterError
            When its format cannot hold the map.
        InputError
            When the map cannot be read.
        """
        from pixelwise.maps.copies import save_map

        return save_map(self, path, **options)

    def plot(self, band: str | Sequence[str] | None = None, **options: Any) -> Any:
        """Draw a band (the first by default), or several, and return the matplotlib figure; needs the extra ``plot``.

        See `pixelwise.pictures.picture.plot_map` for the options.
        """
        from pixelwise.pictures.picture import plot_map

        return plot_map(self, band, **options)

    def classify(self, path: str | Path, band: str | None = None, **options: Any) -> Tally:
        """Write a band (the first by default) in classes, with a style for QGIS, and return what each class covers.

        See `pixelwise.maps.classified.classify` for the options.
        """
        from pixelwise.maps.classified import classify

        return classify(self, path, band, **options)


def open_quietly(path: Path) -> Any:
    """Open a map's file; missing georeferencing is legal here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return open_geotiff(path)


def read_block(path: Path, block: Block, number: int | None = None) -> NDArray[Any]:
    """Return (band, y, x) of a block of a GeoTIFF as it is stored, or (y, x) of one band.

    Parameters
    ----------
    path
        The file.
    block
        Rows and columns.
    number
        Number of the band, from 1; None for all.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    try:
        with open_quietly(path) as dataset:
            return dataset.read(number, window=Window(block.col, block.row, block.width, block.height))  # type: ignore[no-any-return]
    except GDAL_ERRORS as error:
        raise InputError(f"{path}: cannot be read ({one_line(error.__cause__ or error)})") from None


def open_map(path: str | Path) -> Map:
    """Open a map that was written by `apply`.

    Parameters
    ----------
    path
        A GeoTIFF, a Zarr store or a NetCDF file; for one file per band, a name with ``{band}`` or any of the files.

    Raises
    ------
    InputError
        When it cannot be read or was not written by pixelwise.
    """
    first = Path(path)
    if "{band}" in first.name:
        own_files = files_of_pattern(first) or _alike(first)
        if not own_files:
            raise InputError(f"{first}: no such file")
        first = own_files[0]
    map_, missing = open_rest(first)
    if missing:
        raise InputError(
            f"{missing[0]}: no such file, though {first.name} says that it holds a band of the same map; compute the "
            "map again"
        )
    return map_


def files_of_pattern(pattern: Path) -> list[Path]:
    """Return the files that belong to a map of one file per band, as they say themselves.

    Parameters
    ----------
    pattern
        The name of the map, with ``{band}``.
    """
    return [file for file in _alike(pattern) if (tag_of(file) or ({},))[0].get("files") == pattern.name]


def _alike(pattern: Path) -> list[Path]:
    before, _, after = pattern.name.partition("{band}")
    return sorted(pattern.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"))


def open_rest(first: Path) -> tuple[Map, list[Path]]:
    """Open a map of which files may be missing, by one that is there, and return these as well.

    Raises
    ------
    InputError
        As `open_map`.
    """
    grid, provenance, own = _read_file(first)
    pattern = provenance.get("files")
    if pattern is not None and not _names_siblings(pattern, provenance.get("bands")):
        raise InputError(f"{first}: its tag {TAG} is damaged: it does not name files of this folder")
    if pattern is None:
        placed = {band.name: (first, i) for i, band in enumerate(own, 1)}
        return Map(grid, tuple(own), provenance, Timings.from_provenance(provenance), placed), []
    bands, files, missing = [], {}, []
    for name in provenance["bands"]:
        file = first.parent / pattern.replace("{band}", name)
        if not file.exists():
            missing.append(file)
            continue
        _, other, columns = _read_file(file)
        if other != provenance:
            raise InputError(
                f"{file}: is from a different job than {first.name}; were both written by the same command?"
            )
        bands += columns
        files[name] = (file, 1)
    return Map(grid, tuple(bands), provenance, Timings.from_provenance(provenance), files), missing


def _names_siblings(pattern: Any, bands: Any) -> bool:
    """Whether a tag names one file per band beside its own: it may come from anywhere, and must not lead elsewhere."""
    names = [pattern, *bands] if isinstance(bands, list) else [None]
    proper = all(isinstance(name, str) and 0 < len(name) < 256 and not set(name) & set("/\\:\0") for name in names)
    return proper and "{band}" in pattern and len(set(bands)) == len(bands)


def is_map(path: Path) -> bool:
    """Whether a file or store was written by pixelwise, whatever is beside it."""
    if path.suffix.lower() == STORE:
        return is_our_store(path)
    if path.suffix.lower() == NETCDF:
        from pixelwise.maps import reading

        return reading.is_netcdf_map(path)
    try:
        with local_only(), open_alone(path) as dataset:
            return dataset.get_tag_item(TAG) is not None
    except (*GDAL_ERRORS, InputError):
        return False


def tag_of(path: Path) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return the provenance of any file that has one, and the names of its bands; None if it is damaged."""
    if path.suffix.lower() in (STORE, NETCDF):
        from pixelwise.maps import reading

        try:
            _, text, bands = reading.read_head(path)
            return None if text is None else (decode_provenance(text, LARGEST_UNASKED), tuple(b.name for b in bands))
        except (InputError, ParameterError):
            return None
    try:
        with open_quietly(path) as dataset:
            text = dataset.get_tag_item(TAG)
            descriptions = tuple(name or "" for name in dataset.descriptions)
        return None if text is None else (decode_provenance(text, LARGEST_UNASKED), descriptions)
    except (*GDAL_ERRORS, InputError, UnicodeDecodeError):
        return None


def _read_file(path: Path) -> tuple[Grid, dict[str, Any], list[Band]]:
    """Return the grid, the provenance and the bands of one file or store, checked."""
    check_encodable(path)
    if path.suffix.lower() in (STORE, NETCDF):
        from pixelwise.maps import reading

        grid, text, bands = reading.read_head(path)
    else:
        grid, text, bands = _read_geotiff(path)
    if text is None:
        raise InputError(f"{path}: not a pixelwise map (its tag {TAG} is missing)")
    if any(len(words) > LONGEST_TEXT for band in bands for words in (band.name, band.description, band.unit)):
        raise InputError(f"{path}: the name, description or unit of a band is longer than {LONGEST_TEXT} characters")
    try:
        provenance = decode_provenance(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if why := misfit(provenance, FIELDS):
        raise InputError(f"{path}: the tag {TAG} is damaged ({why})")
    return grid, provenance, bands


def _read_geotiff(path: Path) -> tuple[Grid, str | None, list[Band]]:
    try:
        with open_quietly(path) as dataset:
            text = dataset.get_tag_item(TAG)
            grid = grid_of(dataset, path)
            columns = list(zip(dataset.indexes, dataset.descriptions, dataset.units, strict=True))
            tags = [dataset.tags(index) for index, _, _ in columns]
    except GDAL_ERRORS as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: descriptions or units of its bands are not UTF-8: not as pixelwise wrote them"
        ) from None
    bands = [
        band_from_file(
            name or str(index),
            tag.get("DESCRIPTION", ""),
            unit or "",
            integer=tag.get("INTEGER") == "YES",
            kind=tag.get("KIND", ""),
            pvalue=tag.get("PVALUE", ""),
        )
        for (index, name, unit), tag in zip(columns, tags, strict=True)
    ]
    return grid, text, bands
